"""Rejection of single measurements that no tissue explains."""

import warnings

import numpy as np
import pytest

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import ADC, IVIM, T2Decay

MODELS = {
    "IVIM": IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800]),
    "ADC": ADC([0, 0, 200, 400, 600, 800, 1000, 1500]),
    "T2": T2Decay([10, 20, 30, 40, 60, 80, 100, 120]),
}


@pytest.fixture(params=MODELS)
def data(request):
    model = MODELS[request.param]
    X, y = make_signals(model, 3000, snr=30, random_state=0)
    return model, X, y


def reject(model, X):
    return MLEEstimator(model, sigma=1 / 30, outliers="reject").fit(X).estimate(X)


def test_faultless_voxels_are_left_alone(data):
    """In at most about 1 % of them a measurement is rejected, see `_FALSE`."""
    model, X, _ = data
    found = reject(model, X)
    share, error = np.mean(found.n_outliers > 0), np.sqrt(0.01 / len(X))
    assert 0 < share < 0.01 + 3 * error
    plain = MLEEstimator(model, sigma=1 / 30).fit(X).estimate(X)
    same = found.n_outliers == 0
    np.testing.assert_array_equal(found.parameters[same], plain.parameters[same])
    assert found.outliers.shape == X.shape
    np.testing.assert_array_equal(found.outliers.sum(axis=1), found.n_outliers)


def test_a_spoilt_measurement_has_hardly_any_effect(data):
    """One in 20 voxels has lost half of a measurement: the mean error is a fifth or less."""
    model, X, _ = data
    plain = MLEEstimator(model, sigma=1 / 30).fit(X)
    clean, j = plain.predict(X), X.shape[1] // 2
    spoilt, hit = X.copy(), np.random.default_rng(1).random(len(X)) < 0.05
    spoilt[hit, j] *= 0.5
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the volume may be named or not: its share is at the limit
        found = reject(model, spoilt)
    assert found.outliers[hit, j].mean() > 0.7
    scale = np.abs(clean).mean(axis=0)
    kept, left = (
        np.abs((p - clean)[hit].mean(axis=0) / scale)
        for p in (plain.predict(spoilt), found.parameters)
    )
    worst = kept.argmax()
    assert left[worst] < 0.35 * kept[worst]


def test_a_whole_volume_is_named():
    model = MODELS["IVIM"]
    X, _ = make_signals(model, 500, snr=30, random_state=0)
    X[:200, 5] *= 0.4
    estimator = MLEEstimator(model, sigma=1 / 30, outliers="reject").fit(X)
    for call in (estimator.estimate, estimator.predict):
        with pytest.warns(UserWarning, match=r"outliers in more than 5% .* in X: 5 \(\d\d%\)"):
            call(X)


def test_rows_without_a_spare_measurement():
    """Two parameters and three measurements: rejecting one would leave none to judge the rest."""
    model = ADC([0, 500, 1000])
    X, _ = make_signals(model, 50, snr=30, random_state=0)
    X[:, 1] *= 0.5
    found = MLEEstimator(model, sigma=1 / 30, outliers="reject").fit(X).estimate(X)
    assert not found.outliers.any()


def test_rows_do_not_depend_on_others_and_missing_ones_are_not_outliers():
    model = MODELS["IVIM"]
    X, _ = make_signals(model, 60, snr=30, random_state=0)
    X[::3, 5] *= 0.4
    X[1, 3] = X[3, 2] = np.nan
    estimator = MLEEstimator(model, sigma=1 / 30, outliers="reject").fit(X)
    with pytest.warns(UserWarning, match="missing"):
        found = estimator.estimate(X, return_std=True)
    assert not found.outliers[[1, 3], [3, 2]].any()
    assert found.outliers[3, 5]
    for i in (0, 1, 3, 4):
        alone = estimator.estimate(X[i : i + 1], return_std=True)
        for key in found:
            np.testing.assert_array_equal(alone[key][0], found[key][i])


def test_bad_choice():
    with pytest.raises(ValueError, match="'outliers' parameter of MLEEstimator must be a str"):
        MLEEstimator(MODELS["ADC"], outliers="maybe").fit(np.ones((2, 8)))
