"""Every alpha from one training: closed forms, grid search, invariance."""

import pickle

import numpy as np
import pandas as pd
import pytest
from conftest import hybrid_net
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from sklearn_qmri import HybridLabelNetRegressorCV, MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.estimators._hybrid_training import train_on_labels
from sklearn_qmri.estimators._labels import LabelledRows
from sklearn_qmri.metrics import (
    bias_variance_decomposition,
    bias_variance_scorer,
    least_variance,
    least_weighted,
    product_decomposition,
    quadratic,
)
from sklearn_qmri.noise import Rician

SMALL = {"max_epochs": 4, "hidden_layer_sizes": (16, 16), "random_state": 0}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])


@pytest.fixture(scope="module")
def two_estimators():
    """Errors of a biased and of a noisy estimator, on 400 tissues with 10 repeats."""
    rng = np.random.RandomState(0)
    y = np.repeat(rng.uniform(size=(400, 2)), 10, axis=0)
    noise = rng.normal(size=y.shape)
    biased = -0.25 * (y - 0.5) + 0.03 * noise
    noisy = 0.12 * (y - 0.5) + 0.12 * noise + 0.03 * rng.normal(size=y.shape)
    return y, np.stack([biased, noisy])


def measured(y, error):
    parts = bias_variance_decomposition(y, y + error, scale=[1, 1]).scaled
    return parts.squared_bias, parts.variance


def test_forms_are_the_decomposition_of_every_blend(two_estimators):
    y, errors = two_estimators
    bias, variance = (f.mean(axis=2) for f in product_decomposition(y, errors))
    for alpha in (0, 0.3, 0.7, 1):
        expected = measured(y, (1 - alpha) * errors[0] + alpha * errors[1])
        found = quadratic(bias, alpha), quadratic(variance, alpha)
        np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.parametrize(
    "rule", [least_weighted(3), least_weighted(1), least_variance(0.03), least_variance(0.01)]
)
def test_closed_form_against_a_fine_grid(two_estimators, rule):
    y, errors = two_estimators
    forms = [f.mean(axis=2) for f in product_decomposition(y, errors)]
    alpha = rule.best_alpha(*forms)
    grid = np.linspace(0, 1, 20001)
    loss = rule._loss(*(np.array([quadratic(f, a) for a in grid]) for f in forms), "alpha")
    assert alpha == pytest.approx(grid[np.argmin(loss)], abs=1e-4)
    assert 0.2 < alpha < 0.8


def test_rules_at_the_ends(two_estimators):
    y, errors = two_estimators
    bias, variance = (f.mean(axis=2) for f in product_decomposition(y, errors))
    assert least_weighted(1e9).best_alpha(bias, variance) == pytest.approx(0.25 / 0.37, abs=0.02)
    assert least_weighted(0).best_alpha(bias, variance) == 0
    assert least_variance(1.0).best_alpha(bias, variance) == 0
    swapped = [f[::-1, ::-1] for f in (bias, variance)]
    both = least_weighted(3)
    assert both.best_alpha(*swapped) == pytest.approx(1 - both.best_alpha(bias, variance))
    with pytest.raises(ValueError, match=r"No alpha .* at most 1e-06; the smallest is"):
        least_variance(1e-6).best_alpha(bias + 0.01, variance)
    same = np.ones((2, 2))
    assert 0 <= least_weighted(2).best_alpha(same, same) <= 1


def test_no_repeats(model):
    X, y = make_signals(model, 100, snr=30, random_state=0)
    with pytest.raises(ValueError, match="simulate noise repeats"):
        HybridLabelNetRegressorCV(hybrid_net(model, **SMALL)).fit(X, y)


def test_alpha_against_grid_search(model):
    """The closed form along one training finds what a grid search of many trainings finds."""
    X, y = make_signals(model, 1500, snr=30, n_repeats=8, random_state=0)
    labels = MLEEstimator(model, sigma=1 / 30).fit(X).predict(X)
    net = hybrid_net(model, sigma=1 / 30, max_epochs=20, random_state=0)
    rule = least_weighted(8, parameter="D")
    cv = HybridLabelNetRegressorCV(net, rule=rule).fit(X, y, mle_labels=labels)
    assert 0.2 < cv.alpha_ < 0.8
    groups = np.repeat(np.arange(1500), 8)
    grid = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    scorer = bias_variance_scorer.from_model(model)
    search = GridSearchCV(net, {"alpha": grid}, cv=GroupKFold(3), scoring=scorer, refit=rule)
    search.fit(X, y, groups=groups, mle_labels=labels)
    results = search.cv_results_
    loss = -results["mean_test_neg_variance_D"] - 8 * results["mean_test_neg_squared_bias_D"]
    nearest = np.argmin(np.abs(np.array(grid) - cv.alpha_))
    assert loss[nearest] < 1.03 * loss.min()
    assert abs(search.best_params_["alpha"] - cv.alpha_) <= 0.21


def test_interpolation_against_trainings(model):
    """Validation loss at each alpha within 2 % of a net trained there."""
    X, y = make_signals(model, 20_000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 10_000, snr=30, random_state=1)
    mle = MLEEstimator(model, sigma=1 / 30).fit(X[:1])
    labels, labels_test = mle.predict(X), mle.predict(X_test)
    net = hybrid_net(model, sigma=1 / 30, random_state=0)
    rows = LabelledRows(X, y, np.full(len(X), 1 / 30), labels)
    ends = np.stack([np.zeros(4), np.ones(4)])
    path = train_on_labels(net, model, Rician(), rows, ends, ends)
    true, own = path.per_label(X_test, np.full(len(X_test), 1 / 30)).mean(axis=1)
    for alpha in (0.25, 0.5, 0.75):
        target = alpha * labels_test + (1 - alpha) * y_test
        direct = clone(net).set_params(alpha=alpha).fit(X, y, mle_labels=labels).predict(X_test)
        blended = alpha * own + (1 - alpha) * true
        losses = [np.mean(((p - target) / SCALE) ** 2) for p in (blended, direct)]
        assert losses[0] < 1.02 * losses[1]


def test_path_and_prediction(model):
    X, y = make_signals(model, 200, snr=30, n_repeats=4, random_state=0)
    net = hybrid_net(model, sigma=1 / 30, **SMALL)
    alphas = [0, 0.5, 1]
    cv = HybridLabelNetRegressorCV(net, alphas=alphas, per_parameter=True, cv=4).fit(X, y)
    assert cv.alpha_.shape == (4,)
    assert cv.bias_path_.shape == cv.std_path_.shape == cv.rmse_path_.shape == (3, 4, 4)
    np.testing.assert_allclose(
        cv.rmse_path_**2, np.maximum(cv.bias_path_**2 + cv.std_path_**2, 0), rtol=0.2
    )
    true, own = cv.network_.per_label(X, np.full(len(X), 1 / 30)).mean(axis=1)
    np.testing.assert_allclose(cv.predict(X), (1 - cv.alpha_) * true + cv.alpha_ * own)
    again = clone(cv).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), cv.predict(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(cv)).predict(X), cv.predict(X))
    assert cv.estimate(X).status.shape == (800,)


def test_change_of_units(model):
    """Alpha does not depend on the units of the signal."""
    X, y, sigma = make_signals(model, 300, snr=30, n_repeats=4, random_state=0, return_sigma=True)
    net = hybrid_net(model, normalize="rms", random_state=0, max_epochs=8)
    one = HybridLabelNetRegressorCV(net).fit(X, y, sigma=sigma)
    unit = 512.0
    other = HybridLabelNetRegressorCV(net).fit(X * unit, y * [unit, 1, 1, 1], sigma=sigma * unit)
    assert other.alpha_ == pytest.approx(one.alpha_, abs=0.02)
    np.testing.assert_allclose(other.std_path_ / [unit, 1, 1, 1], one.std_path_, rtol=0.02)


def test_data_frames_bad_rows_and_states(model):
    X, y = make_signals(model, 100, snr=30, n_repeats=3, random_state=0)
    X[4] = np.nan
    frame = pd.DataFrame(X, columns=[f"b{i}" for i in range(10)])
    cv = HybridLabelNetRegressorCV(hybrid_net(model, sigma=1 / 30, **SMALL))
    with pytest.raises(NotFittedError):
        cv.predict(X)
    with pytest.warns(UserWarning, match="1 of 300 rows"):
        cv.fit(frame, y)
    assert list(cv.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        cv.predict(frame[frame.columns[::-1]])
    with pytest.warns(UserWarning, match="1 of 300"):
        assert np.isnan(cv.predict(frame)[4]).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alphas": [0, 2]}, r"values in \[0, 1\]"),
        ({"alphas": []}, r"values in \[0, 1\]"),
        ({"cv": KFold(3, shuffle=True, random_state=0)}, "noise repeats of a tissue on both sides"),
        ({"rule": "rmse"}, "rule"),
        ({"rule": least_weighted(2, "Dstar")}, "names no parameter of"),
        ({"rule": least_weighted(2, "D"), "per_parameter": True}, "without parameter"),
        ({"cv": None}, "cv"),
        ({"rule": least_variance(1e-9)}, "the smallest is"),
        ({"estimator": MLEEstimator()}, "estimator"),
    ],
)
def test_bad_parameters(model, params, message):
    X, y = make_signals(model, 60, snr=30, n_repeats=3, random_state=0)
    net = hybrid_net(model, sigma=1 / 30, **SMALL)
    with pytest.raises(ValueError, match=message):
        HybridLabelNetRegressorCV(**{"estimator": net, **params}).fit(X, y)


def test_noise_level_of_fit_is_that_of_predict(model):
    X, y = make_signals(model, 100, snr=30, n_repeats=3, random_state=0)
    learnt = HybridLabelNetRegressorCV(hybrid_net(model, **SMALL)).fit(X, y)
    assert learnt.sigma_ == pytest.approx(1 / 30, rel=0.1)
    assert isinstance(learnt.label_estimator_, MLEEstimator)
    assert np.isfinite(learnt.predict(X)).all()
    wrong = hybrid_net(model, sigma=1.0, sigma_input=True, **SMALL)
    given = HybridLabelNetRegressorCV(wrong).fit(X, y, sigma=1 / 30)
    assert given.sigma_ == 1 / 30
    np.testing.assert_array_equal(given.predict(X), given.predict(X, sigma=1 / 30))


def test_splits_mean_the_rows_that_were_given(model):
    X, y = make_signals(model, 60, snr=30, n_repeats=3, random_state=0)
    net = hybrid_net(model, sigma=1 / 30, **SMALL)
    folds = list(GroupKFold(3).split(X, groups=np.repeat(np.arange(60), 3)))
    X[:3] = np.nan
    kept = [tuple(np.setdiff1d(part, [0, 1, 2]) - 3 for part in fold) for fold in folds]
    with pytest.warns(UserWarning, match="3 of 180"):
        given = HybridLabelNetRegressorCV(net, cv=folds).fit(X, y)
    other = HybridLabelNetRegressorCV(net, cv=kept).fit(X[3:], y[3:])
    np.testing.assert_array_equal(given.rmse_path_, other.rmse_path_)


def test_rules_pass_over_failed_candidates():
    names = ["mean_test_neg_squared_bias", "mean_test_neg_variance"]
    results = dict(
        zip(names, [np.array([-1, np.nan, -0.1]), np.array([-1, np.nan, -2])], strict=True)
    )
    assert least_weighted(1)(results) == 0
    assert least_weighted(10)(results) == 2
    assert least_variance(0.5)(results) == 2
    with pytest.raises(ValueError, match="all candidates are NaN"):
        least_weighted(1)({name: np.full(2, np.nan) for name in names})
