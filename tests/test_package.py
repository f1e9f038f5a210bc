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


def test_core_imports_without_the_extras():
    extras = ["nibabel", "matplotlib", "typer", "rich", "dask", "pandas"]
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({extras})); "
        "import sklearn_qmri, sklearn_qmri.datasets, sklearn_qmri.image, sklearn_qmri.inspection, "
        "sklearn_qmri.metrics\n"
        "from sklearn_qmri.image import load_nifti\n"
        "try: load_nifti('x')\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "pip install 'sklearn-qmri[image]'" in done.stdout


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
