"""Measures of one parameter against their definitions and against theory."""

import pickle

import numpy as np
import pytest
import sklearn
from sklearn.model_selection import cross_val_score

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import (
    bias_curve,
    failure_rate,
    mean_bias,
    noise_std,
    parameter_scorer,
    repeatability,
    rms_bias,
    roi_statistics,
    root_mean_squared_error,
    shrinkage_slope,
)


@pytest.fixture
def shrunk(rng):
    """Predictions of known bias -0.4 * (y - 0.5), noise 0.1 and 0.2, slope 0.6."""
    y = np.repeat(rng.uniform(size=(2000, 2)), 8, axis=0)
    return y, y - 0.4 * (y - 0.5) + rng.normal(size=y.shape) * [0.1, 0.2]


def test_known_values(shrunk):
    y, predicted = shrunk
    np.testing.assert_allclose(mean_bias(y, predicted), 0, atol=0.01)
    np.testing.assert_allclose(rms_bias(y, predicted), 0.4 / np.sqrt(12), rtol=0.05)
    np.testing.assert_allclose(noise_std(y, predicted), [0.1, 0.2], rtol=0.02)
    np.testing.assert_allclose(shrinkage_slope(y, predicted), 0.6, atol=0.02)
    rmse = np.sqrt(0.16 / 12 + np.array([0.01, 0.04]))
    np.testing.assert_allclose(root_mean_squared_error(y, predicted), rmse, rtol=0.02)


def test_no_bias_has_no_floor(rng):
    """Two repeats suffice for an unbiased estimator to show none."""
    y = np.repeat(rng.uniform(size=(20_000, 1)), 2, axis=0)
    predicted = y + rng.normal(size=y.shape)
    assert np.mean(np.abs((predicted - y).reshape(-1, 2).mean(axis=1))) > 0.5
    assert rms_bias(y, predicted)[0] < 0.2


def test_bias_curve(shrunk):
    y, predicted = shrunk
    curve = bias_curve(y, predicted, 1, n_bins=8)
    np.testing.assert_allclose(curve.bias, -0.4 * (curve.center - 0.5), atol=0.02)
    np.testing.assert_allclose(curve.std, 0.2, rtol=0.05)
    assert curve.n_tissues.tolist() == [250] * 8
    total = np.sqrt(np.mean(curve.rmse**2))
    assert total == pytest.approx(root_mean_squared_error(y, predicted)[1])
    assert len(bias_curve([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0], 0).center) == 2
    single = bias_curve([1.0, 2.0, 3.0], [1.5, 2.5, 3.5], 0, n_bins=3)
    assert np.isnan(single.std).all()
    np.testing.assert_allclose(single.rmse, 0.5)
    with pytest.raises(ValueError, match="parameter expects a column of 2, got 2"):
        bias_curve(y, predicted, 2)
    with pytest.raises(ValueError, match="All predictions are NaN"):
        bias_curve(y, np.full_like(y, np.nan), 0)


def test_failures_are_counted_not_hidden(shrunk):
    y, predicted = shrunk
    failed = predicted.copy()
    failed[::4, 0] = np.nan
    assert failure_rate(y, failed) == 0.25
    for measure in (mean_bias, rms_bias, noise_std, root_mean_squared_error, shrinkage_slope):
        assert np.isfinite(measure(y, failed)).all()
    assert np.isnan(mean_bias(y, np.full_like(y, np.nan))).all()
    with pytest.raises(ValueError, match="simulate noise repeats"):
        rms_bias(y[::8], predicted[::8])


@pytest.mark.parametrize(
    "measure",
    ["mean_bias", "rms_bias", "noise_std", "root_mean_squared_error", "shrinkage_slope",
     "failure_rate"],
)  # fmt: skip
def test_scorers(model, measure):
    X, y = make_signals(model, 30, snr=40, n_repeats=4, random_state=0)
    mle = MLEEstimator(model, sigma=1 / 40).fit(X)
    scorer = pickle.loads(pickle.dumps(parameter_scorer(measure, 2)))
    score = scorer(mle, X, y)
    assert score <= 0
    if measure == "shrinkage_slope":
        assert score == -abs(1 - shrinkage_slope(y, mle.predict(X))[2])
    assert np.isfinite(cross_val_score(mle, X, y, scoring=scorer, cv=3)).all()
    with pytest.raises(ValueError, match="measure expects one of"):
        parameter_scorer("bias")(mle, X, y)


def test_scorer_forwards_sigma(model):
    X, y, sigma = make_signals(model, 40, snr=(20, 40), random_state=0, return_sigma=True)
    with sklearn.config_context(enable_metadata_routing=True):
        mle = MLEEstimator(model).set_fit_request(sigma=True).set_predict_request(sigma=True)
        scores = cross_val_score(
            mle, X, y, scoring=parameter_scorer("mean_bias", 2), params={"sigma": sigma}
        )
    assert np.isfinite(scores).all()


def test_repeatability_of_normal_noise(rng):
    truth = rng.uniform(1, 2, size=(4000, 2))
    found = repeatability(truth + rng.normal(size=(3, 4000, 2)) * [0.1, 0.3])
    np.testing.assert_allclose(found.within_subject_std, [0.1, 0.3], rtol=0.03)
    np.testing.assert_allclose(
        found.repeatability_coefficient, 2.77 * found.within_subject_std, rtol=1e-3
    )
    np.testing.assert_allclose(
        found.limits_of_agreement[1], 1.96 * np.sqrt(2) * np.array([0.1, 0.3]), rtol=0.05
    )
    np.testing.assert_allclose(found.mean_difference, 0, atol=0.03)
    assert found.n_subjects.tolist() == [4000, 4000]
    shifted = repeatability(np.stack([truth, truth + 0.5]))
    np.testing.assert_allclose(shifted.mean_difference, 0.5)
    np.testing.assert_allclose(shifted.limits_of_agreement, 0.5)


def test_repeatability_of_incomplete_data(rng):
    estimates = rng.normal(size=(2, 10))
    estimates[1, 3] = np.nan
    assert repeatability(estimates).n_subjects.tolist() == [9]
    with pytest.raises(ValueError, match="at least 2 repeats"):
        repeatability(estimates[:1])
    with pytest.raises(ValueError, match="No subject"):
        repeatability(np.full((2, 3), np.nan))


def test_roi_statistics():
    D = np.array([[1.0, 2.0, 3.0], [np.nan, 5.0, np.nan]])
    rows = roi_statistics({"D": D, "f": D / 10}, [[1, 1, 1], [2, 2, 3]])
    assert [(r["label"], r["parameter"]) for r in rows[:3]] == [(1, "D"), (2, "D"), (3, "D")]
    assert (rows[0]["mean"], rows[0]["median"], rows[0]["std"]) == (2, 2, 1)
    assert (rows[1]["n_voxels"], rows[1]["n_failed"], rows[1]["mean"]) == (2, 1, 5)
    assert np.isnan(rows[2]["median"])
    with pytest.raises(ValueError, match="no region"):
        roi_statistics({"D": D}, np.zeros_like(D))
    with pytest.raises(ValueError, match="has shape"):
        roi_statistics({"D": D[0]}, np.ones((2, 3)))


def test_masked_values_are_missing():
    """Of estimates and maps; of labels they are outside every region."""
    estimates = np.ma.masked_greater(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 1e6]]), 1e3)
    assert repeatability(estimates).n_subjects.tolist() == [2]
    D = np.ma.masked_greater([1.0, 2.0, 1e6, 5.0], 1e3)
    labels = np.ma.masked_array([1, 1, 1, 2], mask=[0, 0, 0, 1])
    (row,) = roi_statistics({"D": D}, labels)
    assert (row["n_voxels"], row["n_failed"], row["mean"]) == (3, 1, 1.5)
