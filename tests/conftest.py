import os
from pathlib import Path

import numpy as np
import pytest

from sklearn_qmri import (
    MLP,
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    SelfSupervisedNetRegressor,
    Training,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import IVIM

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
PAPER_BOUNDS = {"f": (0.01, 0.5), "D": (0.01, 4.0), "D_star": (2.0, 300.0)}


def hybrid_net(signal_model=None, **params):
    """Hybrid-label network whose settings of architecture and training are given flat."""
    return HybridLabelNetRegressor(signal_model, **nest(params))


def bias_constrained_net(signal_model=None, **params):
    """Bias-constrained network whose settings of architecture and training are given flat."""
    return BiasConstrainedNetRegressor(signal_model, **nest(params))


def self_supervised_net(signal_model=None, **params):
    """Self-supervised network whose settings of architecture and training are given flat."""
    return SelfSupervisedNetRegressor(signal_model, **nest(params))


def nest(params):
    """Keywords of a network's estimator, its settings in their two objects."""
    values = {"network": MLP(), "training": Training()}
    for value in values.values():
        value.set_params(**{key: params[key] for key in value.get_params() if key in params})
    own = {key for value in values.values() for key in value.get_params()}
    return {key: value for key, value in params.items() if key not in own} | values


@pytest.fixture
def model():
    return IVIM(B_VALUES)


@pytest.fixture
def signals(model):
    return make_signals(model, 60, snr=40, n_repeats=3, random_state=0)


@pytest.fixture(scope="session")
def real_data():
    """Folder of real scans: SKLEARN_QMRI_DATA, or ../shared/data beside the checkout."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("SKLEARN_QMRI_DATA", default))
    if not (folder / "pelvis_ivim" / "dwi.nii.gz").is_file():
        pytest.skip(f"needs the real pelvis scan, which is not in {folder}")
    return folder


@pytest.fixture
def crop(real_data, tmp_path, monkeypatch):
    """A small piece of the real scan, put where the package looks first."""
    import nibabel

    source, folder = real_data / "pelvis_ivim", tmp_path / "data" / "pelvis_ivim"
    folder.mkdir(parents=True)
    for name in ("dwi.nii.gz", "mask.nii.gz"):
        piece = nibabel.load(source / name).slicer[40:80, 80:120, 2:4]
        nibabel.save(piece, folder / name)
    (folder / "dwi.bval").write_text((source / "dwi.bval").read_text())
    monkeypatch.setenv("SKLEARN_QMRI_DATA", str(folder.parent))
    return folder


@pytest.fixture
def rng():
    return np.random.RandomState(0)
