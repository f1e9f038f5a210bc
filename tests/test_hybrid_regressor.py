"""Blended labels for any regressor."""

import warnings

import numpy as np
import pytest
import sklearn
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.utils.estimator_checks import check_estimator

from sklearn_qmri import HybridLabelRegressor, MLEEstimator
from sklearn_qmri.datasets import make_signals


@pytest.mark.parametrize("alpha", [0, 0.5])
def test_check_estimator(alpha):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(HybridLabelRegressor(LinearRegression(), alpha=alpha))
    assert {r["status"] for r in results} <= {"passed", "skipped"}
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {
        "check_array_api_input"
    }


def test_blend(model, signals):
    X, y = signals
    alpha = np.array([0.0, 0.25, 1.0, 0.5])
    mle = MLEEstimator(model, sigma=0.025)
    labels = clone(mle).fit(X).predict(X)
    hybrid = HybridLabelRegressor(LinearRegression(), alpha=alpha, label_estimator=mle).fit(X, y)
    expected = LinearRegression().fit(X, alpha * labels + (1 - alpha) * y).predict(X)
    np.testing.assert_allclose(hybrid.predict(X), expected)
    given = HybridLabelRegressor(LinearRegression(), alpha=alpha).fit(X, y, mle_labels=labels)
    np.testing.assert_allclose(given.predict(X), expected)
    assert given.label_estimator_ is None


def test_label_axis_of_a_forest(model):
    """The label moves a forest along bias and variance as it moves a network."""
    X, y = make_signals(model, 4000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 100, snr=30, n_repeats=30, random_state=1)
    forest = RandomForestRegressor(20, min_samples_leaf=5, random_state=0, n_jobs=1)
    mle = MLEEstimator(model, sigma=1 / 30)
    std = [
        HybridLabelRegressor(forest, alpha=alpha, label_estimator=mle)
        .fit(X, y)
        .predict(X_test)
        .reshape(100, 30, 4)
        .std(axis=1)
        .mean(axis=0)
        for alpha in (0, 1)
    ]
    assert (std[1][1:] > 1.1 * std[0][1:]).all()


def test_grid_search_over_alpha(model, signals):
    X, y = signals
    mle = MLEEstimator(model, sigma=0.025)
    search = GridSearchCV(
        HybridLabelRegressor(LinearRegression(), label_estimator=mle), {"alpha": [0, 0.5, 1]}
    ).fit(X, y)
    # Errors to the truth are least for labels that are the truth; a search without a rule says so.
    assert search.best_params_["alpha"] == 0
    assert (np.diff(search.cv_results_["mean_test_score"]) < 0).all()
    expected = clone(search.estimator).set_params(alpha=0).fit(X, y).predict(X)
    np.testing.assert_array_equal(search.predict(X), expected)


def test_rows_without_a_label(model, signals):
    X, y = signals
    labels = y.copy()
    labels[:5, 1] = np.nan
    hybrid = HybridLabelRegressor(LinearRegression())
    with pytest.warns(UserWarning, match="5 of 180"):
        hybrid.fit(X, y, mle_labels=labels)
    with pytest.raises(ValueError, match="None of the 180 rows"):
        hybrid.fit(X, y, mle_labels=np.full_like(y, np.nan))
    with pytest.raises(ValueError, match=r"\(180, 2\), y \(180, 4\)"):
        hybrid.fit(X, y, mle_labels=y[:, :2])
    with pytest.raises(ValueError, match="got 2"):
        hybrid.set_params(alpha=2).fit(X, y)


class Records(RegressorMixin, BaseEstimator):
    """Remembers the metadata that it was given."""

    def fit(self, X, y, sigma=None, sample_weight=None):
        self.fit_, self.y_ = (sigma, sample_weight), np.asarray(y)
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X, sigma=None):
        self.predict_ = sigma
        return self.y_[: len(X)]


def test_metadata(signals):
    X, y = signals
    sigma, weight = np.linspace(1, 2, len(X)), np.ones(len(X))
    hybrid = HybridLabelRegressor(Records(), label_estimator=Records())
    hybrid.fit(X, y, sigma=sigma, sample_weight=weight).predict(X, sigma=sigma)
    for part in (hybrid.regressor_, hybrid.label_estimator_):
        assert part.fit_[0] is sigma
        assert part.fit_[1] is weight
        assert part.predict_ is sigma
    with sklearn.config_context(enable_metadata_routing=True):
        regressor = Records().set_fit_request(sample_weight=True, sigma=False)
        regressor.set_predict_request(sigma=False)
        labeller = Records().set_fit_request(sigma=True, sample_weight=False)
        labeller.set_predict_request(sigma=True)
        hybrid = HybridLabelRegressor(regressor, label_estimator=labeller)
        hybrid.fit(X, y, sigma=sigma, sample_weight=weight)
        assert hybrid.regressor_.fit_ == (None, weight)
        assert hybrid.label_estimator_.fit_ == (sigma, None)
        assert hybrid.label_estimator_.predict_ is sigma
        with pytest.raises(TypeError, match="nonsense"):
            hybrid.fit(X, y, nonsense=1)


def test_a_label_estimator_with_a_length(signals):
    X, y = signals
    forest = RandomForestRegressor(5, random_state=0)
    hybrid = HybridLabelRegressor(LinearRegression(), label_estimator=forest).fit(X, y)
    assert isinstance(hybrid.label_estimator_, RandomForestRegressor)


def test_metadata_of_rows_left_out(signals):
    X, y = signals
    labels = y.copy()
    labels[0] = np.nan
    hybrid = HybridLabelRegressor(LinearRegression())
    with pytest.warns(UserWarning, match="1 of 180"):
        hybrid.fit(X, y, mle_labels=labels, sample_weight=np.arange(180.0))
    expected = LinearRegression().fit(
        X[1:], (labels + y)[1:] / 2, sample_weight=np.arange(1.0, 180)
    )
    np.testing.assert_allclose(hybrid.predict(X), expected.predict(X))
    with pytest.raises(TypeError, match="foo"):
        hybrid.predict(X, foo=1)
    with pytest.raises(TypeError, match="sampel_weight"):
        hybrid.fit(X, y, sampel_weight=1)
