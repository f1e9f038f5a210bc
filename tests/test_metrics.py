import pickle

import numpy as np
import pytest
import sklearn
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import (
    bias_variance_decomposition,
    bias_variance_scorer,
    least_variance,
)


def repeats(n_tissues=2000, n=8, bias=0.3, std=0.5):
    rng = np.random.RandomState(0)
    y = np.repeat(rng.uniform(1, 2, (n_tissues, 2)), n, axis=0)
    return y, y + [bias, 0.0] + rng.normal(size=y.shape) * [std, 2 * std]


def test_parts_are_unbiased_and_add_up():
    y, y_pred = repeats()
    parts = bias_variance_decomposition(y, y_pred)
    np.testing.assert_allclose(parts.variance, [0.25, 1.0], rtol=0.03)
    np.testing.assert_allclose(parts.squared_bias, [0.09, 0.0], atol=0.02)
    np.testing.assert_allclose(parts.squared_bias + parts.variance, parts.mse, rtol=1e-12)
    mse = mean_squared_error(y, y_pred, multioutput="raw_values")
    np.testing.assert_allclose(parts.mse, mse, rtol=1e-12)
    assert (parts.n_groups, parts.n_failed) == (2000, 0)


def test_squared_bias_has_no_noise_floor():
    """The naive estimate would be variance / n = 0.125."""
    y, y_pred = repeats(n=2, bias=0.0)
    parts = bias_variance_decomposition(y, y_pred)
    assert parts.squared_bias[0] == pytest.approx(0, abs=0.02)


def test_worked_example():
    parts = bias_variance_decomposition([1, 1, 5, 5, 5], [2, 4, 5, 6, 7])
    # Groups: mean error 2, variance 2, n 2; mean error 1, variance 1, n 3.
    assert parts.variance[0] == pytest.approx((2 + 1) / 2)
    assert parts.squared_bias[0] == pytest.approx((4 - 2 / 2 + 1 - 1 / 3) / 2)


def test_scale_and_groups():
    y, y_pred = repeats()
    plain = bias_variance_decomposition(y, y_pred)
    scaled = bias_variance_decomposition(y, y_pred, scale=[2.0, 4.0])
    np.testing.assert_allclose(scaled.variance, plain.variance / [4, 16])
    assert scaled.scaled.variance == pytest.approx(scaled.variance.mean())
    assert "scaled" not in plain
    groups = np.repeat(np.arange(2000), 8)
    order = np.random.RandomState(0).permutation(len(y))
    given = bias_variance_decomposition(y[order], y_pred[order], groups=groups[order])
    np.testing.assert_allclose(given.variance, plain.variance)


def test_failures_are_counted_not_hidden():
    y, y_pred = repeats(n_tissues=10, n=4)
    y_pred[3, 1] = np.nan
    parts = bias_variance_decomposition(y, y_pred)
    assert parts.n_failed == 1
    assert np.isfinite(parts.mse).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_true": [1.0, 2.0], "y_pred": [1.0, 2.0]}, "simulate noise repeats"),
        ({"y_true": [1.0, 1.0], "y_pred": [[1.0, 2.0], [1.0, 2.0]]}, r"shape \(2, 1\), but"),
        ({"y_true": [1.0, 1.0], "y_pred": [1.0, 2.0], "scale": [1.0, 2.0]}, "1 positive"),
        ({"y_true": [1.0, 1.0], "y_pred": [1.0]}, "inconsistent"),
        ({"y_true": [1.0, np.nan], "y_pred": [1.0, 1.0]}, "y_true contains NaN"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        bias_variance_decomposition(**arguments)


def test_scorer(model):
    X, y = make_signals(model, 50, snr=50, n_repeats=10, random_state=0)
    mle = MLEEstimator(model, sigma=0.02).fit(X)
    scorer = pickle.loads(pickle.dumps(bias_variance_scorer.from_model(model)))
    scores = scorer(mle, X, y)
    scale = [p.loss_scale for p in model.parameters]
    parts = bias_variance_decomposition(y, mle.predict(X), scale=scale)
    assert scores["neg_variance"] == -parts.scaled.variance
    assert scores["neg_squared_bias_D"] == -parts.squared_bias[2]
    assert scores["neg_failure_rate"] == 0
    assert len(scores) == 1 + 3 * 5
    assert all(isinstance(value, float) for value in scores.values())
    X[0] = np.nan
    with pytest.warns(UserWarning, match="1 of 500"):
        assert scorer(mle, X, y)["neg_failure_rate"] == -1 / 500


def test_scorer_without_names():
    y, _ = repeats(50)
    scores = bias_variance_scorer([1.0, 2.0])(LinearRegression().fit(y, y), y, y)
    assert {"neg_mse_y0", "neg_variance_y1"} < set(scores)


def test_scorer_forwards_sigma(model):
    X, y, sigma = make_signals(
        model, 30, snr=(20, 60), n_repeats=5, random_state=0, return_sigma=True
    )
    scorer = bias_variance_scorer.from_model(model)
    mle = MLEEstimator(model).fit(X, sigma=sigma)
    with pytest.raises(ValueError, match="pass sigma"):
        scorer(mle, X, y)
    expected = scorer(mle, X, y, sigma=sigma)["neg_mse"]
    with sklearn.config_context(enable_metadata_routing=True):
        mle = MLEEstimator(model).set_fit_request(sigma=True).set_predict_request(sigma=True)
        found = sklearn.model_selection.cross_validate(
            mle, np.vstack([X, X]), np.vstack([y, y]),
            cv=sklearn.model_selection.PredefinedSplit(np.repeat([0, -1], len(X))),
            scoring=scorer,
            params={"sigma": np.tile(sigma, 2), "groups": np.tile(np.repeat(np.arange(30), 5), 2)},
            error_score="raise",
        )  # fmt: skip
    assert found["test_neg_mse"][0] == pytest.approx(expected, rel=1e-12)


def test_least_variance_rule():
    results = {
        "mean_test_neg_squared_bias": -np.array([0.04, 0.01, -0.001, 0.0]),
        "mean_test_neg_variance": -np.array([0.1, 0.2, 0.3, 0.4]),
        "mean_test_neg_squared_bias_D": -np.array([0.0, 1.0, 1.0, 1.0]),
        "mean_test_neg_variance_D": -np.array([0.4, 0.1, 0.1, 0.1]),
    }
    assert least_variance(max_bias=0.3)(results) == 0
    assert least_variance(max_bias=0.15)(results) == 1
    assert least_variance(max_bias=0.05)(results) == 2
    assert least_variance(max_bias=0.05, parameter="D")(results) == 0
    results["mean_test_neg_squared_bias"] = -np.array([0.04, 0.01, 0.09, 0.09])
    with pytest.raises(ValueError, match="at most 0.05; the smallest is 0.1"):
        pickle.loads(pickle.dumps(least_variance(max_bias=0.05)))(results)


def test_groups_of_several_tissues_are_not_taken_for_repeats():
    y, y_pred = repeats(200)
    expected = bias_variance_decomposition(y, y_pred)
    subjects = np.repeat(np.arange(20), len(y) // 20)
    found = bias_variance_decomposition(y, y_pred, groups=subjects)
    np.testing.assert_allclose(found.variance, expected.variance)


def test_single_rows_are_counted():
    parts = bias_variance_decomposition([1, 1, 2], [1, 1, 5])
    assert (parts.n_groups, parts.n_single) == (1, 1)


def test_nothing_to_measure():
    with pytest.raises(ValueError, match="All 2 predictions are NaN"):
        bias_variance_decomposition([1.0, 1.0], [np.nan, np.nan])
    with pytest.raises(ValueError, match=r"no scores of bias and variance\. They come from"):
        least_variance(max_bias=0.15)({"mean_test_score": np.zeros(3)})
    with pytest.raises(ValueError, match="no scores of bias and variance of a parameter 'T1'"):
        least_variance(0.1, parameter="T1")({"mean_test_neg_variance": [0]})


def test_scorer_takes_columns_by_name(model):
    import pandas as pd

    X, y = make_signals(model, 20, snr=40, n_repeats=4, random_state=0)
    frame = pd.DataFrame(y, columns=model.parameter_names)
    mle = MLEEstimator(model, sigma=1 / 40).fit(X)
    scorer = bias_variance_scorer.from_model(model)
    assert scorer(mle, X, frame[frame.columns[::-1]]) == scorer(mle, X, y)
    with pytest.raises(ValueError, match="y has columns"):
        scorer(mle, X, frame.rename(columns={"D": "d"}))


def test_tissues_are_numbered_as_by_numpy():
    from sklearn_qmri._validation import number_tissues

    y = np.random.RandomState(0).randint(3, size=(500, 3)).astype(float)
    expected = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
    np.testing.assert_array_equal(number_tissues(y), expected)
    assert number_tissues(y[:0]).shape == (0,)
    assert number_tissues(y[:1]).tolist() == [0]
