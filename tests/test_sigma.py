import numpy as np
import pytest
from conftest import hybrid_net

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import Rician
from sklearn_qmri.signal_models import IVIM


@pytest.mark.parametrize("snr", [10, 15, 20, 30, 50])
@pytest.mark.parametrize("background", [0.0, 0.2])
def test_learnt_sigma_is_the_true_one(model, snr, background):
    n_background = int(5000 * background)
    tissue, _ = make_signals(model, 5000 - n_background, snr=snr, random_state=snr)
    air = Rician().sample(np.zeros((n_background, 10)), np.random.RandomState(0)) / snr
    mle = MLEEstimator(model).fit(np.vstack([tissue, air]))
    assert mle.sigma_ * snr == pytest.approx(1, abs=0.03)


def test_learnt_sigma_of_gaussian_noise(model):
    X, _ = make_signals(model, 3000, noise="gaussian", snr=30, random_state=0)
    assert MLEEstimator(model, noise="gaussian").fit(X).sigma_ * 30 == pytest.approx(1, abs=0.03)


def test_voxels_that_the_model_does_not_explain_move_sigma_little(model):
    X, _ = make_signals(model, 4000, snr=30, random_state=0)
    X[:200] *= np.random.RandomState(0).uniform(0.3, 3, (200, 10))  # 5 %, by 50 sigma
    assert MLEEstimator(model).fit(X).sigma_ * 30 == pytest.approx(1, abs=0.08)


def test_sigma_of_perfect_data_is_floored(model):
    X, _ = make_signals(model, 50, noise="gaussian", sigma=1e-300, random_state=0)
    assert 0 < MLEEstimator(model).fit(X).sigma_ < 1e-4


@pytest.mark.parametrize("snr", [3, 30])
def test_sigma_from_known_tissues(model, snr):
    X, y = make_signals(model, 2000, snr=snr, random_state=0)
    net = hybrid_net(model, alpha=0, max_epochs=1).fit(X, y)
    assert net.sigma_ * snr == pytest.approx(1, abs=0.02)


def test_too_few_measurements_to_learn_from():
    model = IVIM([0, 50, 200, 800])
    X, _ = make_signals(model, 100, snr=30, random_state=0)
    with pytest.raises(ValueError, match="4 measurements cannot teach both 4 parameters"):
        MLEEstimator(model).fit(X)


def test_background_alone_teaches_nothing(model):
    air = Rician().sample(np.zeros((500, 10)), np.random.RandomState(0))
    with pytest.raises(ValueError, match="No voxel has a signal above 5 sigma"):
        MLEEstimator(model).fit(air)


def test_rounds_that_run_out_are_reported(model):
    X, _ = make_signals(model, 300, snr=30, random_state=0)
    with pytest.warns(UserWarning, match="still changing by .* after 1 rounds"):
        MLEEstimator(model, max_iter=1).fit(X)
