import pickle

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_squared_error

from sklearn_qmri import MLEEstimator
from sklearn_qmri._arrays import columns_by_name
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import (
    bias_variance_decomposition,
    bias_variance_scorer,
    least_variance,
    least_weighted,
    parameter_scorer,
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
    with pytest.raises(ValueError, match="Pass sigma"):
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
    X, y = make_signals(model, 20, snr=40, n_repeats=4, random_state=0)
    frame = pd.DataFrame(y, columns=model.parameter_names)
    mle = MLEEstimator(model, sigma=1 / 40).fit(X)
    scorer = bias_variance_scorer.from_model(model)
    assert scorer(mle, X, frame[frame.columns[::-1]]) == scorer(mle, X, y)
    with pytest.raises(ValueError, match="y has columns"):
        scorer(mle, X, frame.rename(columns={"D": "d"}))


def test_tissues_are_numbered_as_by_numpy():
    from sklearn_qmri.tissues import number_tissues

    y = np.random.RandomState(0).randint(3, size=(500, 3)).astype(float)
    expected = np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
    np.testing.assert_array_equal(number_tissues(y), expected)
    assert number_tissues(y[:0]).shape == (0,)
    assert number_tissues(y[:1]).tolist() == [0]


VALUES = [
    (least_variance(0.1), "max_bias", 0.2),
    (least_weighted(2, parameter="D"), "weight", 3),
    (bias_variance_scorer([1.0, 2.0], ["a", "b"]), "scale", [1.0, 3.0]),
    (parameter_scorer("mean_bias", "D"), "parameter", 1),
]


@pytest.mark.parametrize(("value", "name", "other"), VALUES)
def test_rules_and_scorers_are_values(value, name, other):
    copy = clone(value)
    assert copy is not value
    assert copy == value == pickle.loads(pickle.dumps(value))
    assert hash(copy) == hash(value)
    assert repr(value).startswith(type(value).__name__ + "(")
    assert value.get_params()[name] != other
    assert copy.set_params(**{name: other}) != value
    assert copy.get_params()[name] == other


@pytest.mark.parametrize("rule", [least_variance, least_weighted])
@pytest.mark.parametrize("wrong", [-1.0, np.inf, np.nan, None, "2"])
def test_rules_check_their_arguments_when_used(rule, wrong):
    form = np.eye(2)
    name = {least_variance: "max_bias", least_weighted: "weight"}[rule]
    for use in (lambda: rule(wrong).best_alpha(form, form), lambda: rule(wrong)({})):
        with pytest.raises(ValueError, match=f"{name} of {rule.__name__} expects a finite number"):
            use()


def test_no_bias_is_found_where_signed_biases_cancel(rng):
    """Biases b0 > 0 and b1 < 0 cancel at b0 / (b0 - b1), where their form only touches 0."""
    for _ in range(300):
        bias, factor = np.abs(rng.normal(size=2)) * [1, -1], rng.normal(size=(2, 3))
        found = least_variance(0).best_alpha(np.outer(bias, bias), factor @ factor.T)
        assert found == pytest.approx(bias[0] / (bias[0] - bias[1]), abs=1e-7)


def test_limits_of_bias_are_met_exactly(rng):
    """Where the least variance is beyond the limit, the optimum is on it."""
    for _ in range(300):
        bias = np.abs(rng.normal(size=2)) * [1, -1]
        limit = rng.uniform(0, 1) * min(np.abs(bias))
        low, high = (bias[0] - limit) / np.ptp(bias), (bias[0] + limit) / np.ptp(bias)
        falling = np.array([[2.0, 0.0], [0.0, 0.0]])  # variance of estimator 0 alone: 2 (1 - a)^2
        found = least_variance(limit).best_alpha(np.outer(bias, bias), falling)
        assert found == pytest.approx(high, abs=1e-7)
        found = least_variance(limit).best_alpha(np.outer(bias, bias), falling[::-1, ::-1])
        assert found == pytest.approx(low, abs=1e-7)


def test_a_form_without_curvature():
    """The bias of both estimators is the same: it is met nowhere, or everywhere."""
    same, variance = np.full((2, 2), 0.25), np.diag([1.0, 3.0])
    assert least_variance(0.5).best_alpha(same, variance) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="at most 0.4; the smallest is 0.5"):
        least_variance(0.4).best_alpha(same, variance)
    linear = np.array([[1.0, 0.5], [0.5, 0.0]])  # squared bias 1 - alpha: an estimate, may be
    assert least_variance(0.5).best_alpha(linear, np.diag([0.0, 1.0])) == pytest.approx(0.75)


def test_masked_values_are_missing(rng):
    y, y_pred = repeats(50)
    hidden = np.ma.masked_array(y_pred.copy(), mask=np.zeros_like(y_pred, dtype=bool))
    hidden[3, 1] = 1e6
    hidden.mask[3, 1] = True
    parts = bias_variance_decomposition(y, hidden)
    assert parts.n_failed == 1
    assert parts.mse[1] < 5
    with pytest.raises(ValueError, match="y_true contains NaN"):
        bias_variance_decomposition(hidden, y_pred)


def test_parameters_by_name(model):
    """Of the signal model, through a pipeline and a search, whatever the order of y's columns."""
    X, y = make_signals(model, 20, snr=40, n_repeats=4, random_state=0)
    frame = pd.DataFrame(y, columns=model.parameter_names)[["D_star", "D", "f", "S0"]]
    mle = MLEEstimator(model, sigma=1 / 40)
    pipeline = sklearn.pipeline.make_pipeline(mle).fit(X)
    search = sklearn.model_selection.GridSearchCV(pipeline, {}, cv=2, scoring=lambda *_: 0.0)
    mle.fit(X)
    by_column = parameter_scorer("noise_std", 2)(mle, X, y)
    for estimator in (mle, pipeline, search.fit(X, y)):
        for parameter, truth in ((2, frame), ("D", frame), ("D", y)):
            assert parameter_scorer("noise_std", parameter)(estimator, X, truth) == by_column
    with pytest.raises(ValueError, match=r"parameter expects one of \['S0', 'f', 'D', 'D_star'\]"):
        parameter_scorer("noise_std", "Dstar")(mle, X, y)
    with pytest.raises(ValueError, match="or a column of 4, got 4"):
        parameter_scorer("noise_std", 4)(mle, X, y)
    with pytest.raises(ValueError, match="y has columns"):
        parameter_scorer("noise_std", "D")(mle, X, frame.rename(columns={"D": "d"}))
    without_names = bias_variance_scorer([p.loss_scale for p in model.parameters])
    scores = without_names(mle, X, frame)
    assert scores == bias_variance_scorer.from_model(model)(mle, X, y)


def test_parameters_by_name_without_a_signal_model(rng):
    y = np.repeat(rng.normal(size=(30, 2)), 2, axis=0)
    line = LinearRegression().fit(y, y)
    frame = pd.DataFrame(y, columns=["a", "b"])
    assert parameter_scorer("mean_bias", "b")(line, y, frame) == pytest.approx(0)
    with pytest.raises(ValueError, match="parameter expects a column of 2, got 'b'"):
        parameter_scorer("mean_bias", "b")(line, y, y)


def test_columns_with_labels_of_other_types():
    frame = pd.DataFrame(np.ones((3, 2)), columns=["D", 1])
    with pytest.raises(ValueError, match=r"y has columns \['D', 1\]"):
        columns_by_name(frame, ["1", "D"], "y")
