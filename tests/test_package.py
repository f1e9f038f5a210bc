"""What holds for the package as a whole."""

import doctest
import importlib
import pkgutil
import subprocess
import sys

import numpy as np
import pytest

import sklearn_qmri

MODULES = [m.name for m in pkgutil.walk_packages(sklearn_qmri.__path__, "sklearn_qmri.")]


EXTRAS = {  # a call that needs each, on nothing that exists
    "image": "sklearn_qmri.image.load_nifti('x')",
    "image, for masks": "sklearn_qmri.image.compute_mask('x')",
    "plot": "sklearn_qmri.inspection.ParameterMapDisplay({}, ()).plot()",
    "report": "sklearn_qmri.image.report._render.optional('PIL')",
    "model-files": "sklearn_qmri.persistence.load_estimator('x')",
    "cli": "__import__('sklearn_qmri.cli')",
}


@pytest.mark.parametrize("extra", EXTRAS)
def test_core_works_without_the_extras(extra):
    missing = [
        "PIL", "dask", "distributed", "indexed_gzip", "matplotlib", "nibabel", "pandas", "rich",
        "skimage", "skops", "typer",
    ]  # fmt: skip
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({missing}))\n"
        "import sklearn_qmri, sklearn_qmri.compare, sklearn_qmri.datasets, sklearn_qmri.image\n"
        "import sklearn_qmri.inspection, sklearn_qmri.metrics, sklearn_qmri.persistence\n"
        f"try: {EXTRAS[extra]}\n"
        "except (ImportError, SystemExit) as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"pip install 'sklearn-qmri[{extra.partition(',')[0]}]'" in done.stdout


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings(name):
    with np.printoptions(legacy=False):
        result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_public_objects_are_documented():
    for name in ("", "datasets", "inspection", "metrics", "noise", "signal_models"):
        module = importlib.import_module(f"sklearn_qmri.{name}".rstrip("."))
        for public in getattr(module, "__all__", []):
            assert getattr(module, public).__doc__, public
