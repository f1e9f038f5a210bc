"""Settings of the site: ``make docs`` builds it, without the network."""

import importlib
import re
import sys
from pathlib import Path

import sklearn_qmri

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "sklearn_qmri"
author = "the sklearn_qmri developers"
version = release = sklearn_qmri.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "mathml",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/*.py"]
templates_path = ["_templates"]
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", r"[^.]+"),  # `name` may be a parameter or a word; it is a link where it can be
    ("py:.*", r"(joblib|matplotlib|numpy|pandas|scipy|sklearn|skops|skorch|torch)\..*"),  # offline
]

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False  # the template of classes shows them
numpydoc_attributes_as_param_list = True

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "within_subsection_order": "gallery_order.position",
    "backreferences_dir": "auto_examples/backreferences",
    "doc_module": ("sklearn_qmri",),
    "reference_url": {"sklearn_qmri": None},
    "only_warn_on_example_error": False,  # an example that fails, fails the build
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
    "download_all_examples": False,
}

html_math_renderer = "mathml"
html_theme = "pydata_sphinx_theme"
html_title = "sklearn_qmri"
html_favicon = "images/icon.svg"
html_context = {"default_mode": "auto"}
html_copy_source = html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "pygments_light_style": "tango",
}
copyright = "the sklearn_qmri developers, BSD-3-Clause, research use only"


def public_names():
    """Names of the API page, by what they are called in full."""
    modules = re.findall(r"currentmodule:: (\S+)", (HERE / "api.rst").read_text())
    return {name: f"{m}.{name}" for m in modules for name in importlib.import_module(m).__all__}


def link_public_name(app, env, node, contnode):
    """Make `MLEEstimator` and `SignalModel.signal` links without their modules."""
    name, dot, member = node.get("reftarget", "").partition(".")
    if node.get("refdomain") != "py" or name not in PUBLIC:
        return None
    target = f"{PUBLIC[name]}{dot}{member}"
    return env.domains.python_domain.resolve_xref(
        env, node["refdoc"], app.builder, "obj", target, node, contnode
    )


def link_to_gallery(app, docname, source):
    """Turn links to example files, which serve in the repository, into ones to their pages."""
    source[0] = re.sub(r"\(\.\./examples/(\w+)\.py\)", r"(auto_examples/\1.rst)", source[0])


PUBLIC = public_names()


def setup(app):
    app.connect("missing-reference", link_public_name)
    app.connect("source-read", link_to_gallery)
