"""Networks trained on variance + w * squared bias, against closed forms."""

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_qmri import (
    MLP,
    BiasConstrainedNetRegressor,
    BiasConstrainedNetRegressorCV,
    MLEEstimator,
    Training,
)
from sklearn_qmri._network._losses import BiasConstrainedError
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.estimators._repeats import FreshRepeats
from sklearn_qmri.estimators._rows import Rows
from sklearn_qmri.information import bayesian_deviations, fisher_information
from sklearn_qmri.metrics import (
    bias_variance_decomposition,
    bias_variance_scorer,
    least_variance,
    least_weighted,
    noise_correlation,
    roi_error,
    roi_mean_squared_error,
)
from sklearn_qmri.noise import Gaussian, Rician
from sklearn_qmri.signal_models import ADC

SCALE = np.array([1.0, 0.3, 1.7, 80.0])


def small_net(model=None, **params):
    settings = {"network": MLP((16, 16)), "max_epochs": 8, "random_state": 0} | params
    return BiasConstrainedNetRegressor(model, **settings)


def line(n_tissues, n_repeats, seed, spread=1.0, sigma=0.8):
    """Gaussian tissues of one parameter, measured directly with Gaussian noise."""
    rng = np.random.RandomState(seed)
    y = np.repeat(spread * rng.standard_normal(n_tissues), n_repeats)[:, None]
    return y + sigma * rng.standard_normal(y.shape), y


def test_loss_is_unbiased():
    """Its mean over noise is v + w b^2 for any number of repeats, here 3 of them."""
    rng = np.random.RandomState(0)
    bias, std, weight = 0.3, 0.5, 7.0
    n_tissues, n_repeats = 200_000, 3
    prediction = 1 + bias + std * rng.standard_normal((1, n_tissues * n_repeats, 1))
    target = np.tile([1.0, 1.0, 0.0, weight], (n_tissues * n_repeats, 1))
    loss = BiasConstrainedError(n_repeats)(torch.tensor(prediction), torch.tensor(target))
    expected = (std**2 + weight * bias**2) / weight**0.5
    np.testing.assert_allclose(loss.numpy(), [expected], rtol=0.01)


def test_control_variate_leaves_the_loss_unbiased():
    """It resembles most of the error, so that the loss has the same mean but varies much less."""
    rng = np.random.RandomState(0)
    bias, std, weight = 0.3, 0.5, 30.0
    n_tissues, n_repeats = 100_000, 2
    noise = std * rng.standard_normal((n_tissues * n_repeats, 1))
    prediction = torch.tensor(1 + bias + noise)[None]
    losses = []
    for control in (np.zeros_like(noise), 0.9 * noise):
        constant = np.ones_like(noise)
        target = torch.tensor(np.hstack([constant, constant, control, weight * constant]))
        # A tissue at a time, to see how much the loss varies.
        each = [
            BiasConstrainedError(n_repeats)(prediction[:, i : i + 1000], target[i : i + 1000])
            for i in range(0, len(noise), 1000)
        ]
        losses.append(torch.cat(each).numpy())
    expected = (std**2 + weight * bias**2) / weight**0.5
    for loss in losses:
        assert loss.mean() == pytest.approx(expected, abs=4 * loss.std() / len(loss) ** 0.5)
    assert losses[1].std() < 0.3 * losses[0].std()


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
def test_control_variate_averages_out(model, noise):
    """Its mean over the noise is 0, whatever the tissue, and it explains errors of estimates."""
    X, y = make_signals(model, 8, snr=30, random_state=0)
    rows = Rows(X, y, np.full(8, 1 / 30), None, None, np.ones(8, dtype=bool))
    n_repeats = 40_000
    repeats = FreshRepeats(model, noise, rows, n_repeats, y.std(axis=0), np.random.RandomState(1))
    X, control = repeats.draw(np.arange(8))
    control = control.reshape(8, n_repeats, -1)
    error = control.std(axis=1) / n_repeats**0.5
    assert (np.abs(control.mean(axis=1)) < 4.5 * error).all()
    mle = MLEEstimator(model, noise=noise, sigma=1 / 30).fit(X[:1])
    tissue = slice(3 * n_repeats, 3 * n_repeats + 2000)
    errors = mle.predict(X[tissue])[:, 0] - repeats.y[3, 0]
    assert np.corrcoef(errors, control[3, :2000, 0])[0, 1] > 0.9


@pytest.mark.parametrize("stored", [True, False])
def test_gaussian_line_has_a_closed_form(stored):
    """Of x = theta + noise, the best prediction is x * t^2 / (t^2 + s^2 / w).

    A prediction c x has the variance c^2 s^2 and the squared bias (1 - c)^2 t^2 on average. Their
    weighted sum is least at this c.
    """
    spread, sigma = 1.0, 0.8
    X, y = line(4000, 4, 0, spread, sigma)
    model = None if stored else Identity()
    settings = {"network": MLP((32, 32, 32)), "max_epochs": 100, "loss_weight": None}
    net = small_net(model, sigma=sigma, **settings).fit(X, y)
    grid = np.linspace(-1.5, 1.5, 31)[:, None]
    for weight in (1, 5, 30):
        slope = np.polyfit(grid[:, 0], net.predict(grid, bias_weight=weight).ravel(), 1)[0]
        assert slope == pytest.approx(spread**2 / (spread**2 + sigma**2 / weight), abs=0.05)


class Identity(ADC):
    """Signal that is its parameter."""

    parameters = (ADC.parameters[0].__class__("theta", "", (-9.0, 9.0), (-3.0, 3.0)),)
    magnitude = False

    def __init__(self):
        super().__init__([0.0])

    def signal(self, theta):
        return theta.clone()

    def jacobian(self, theta):
        return theta.clone(), torch.ones(1, 1, theta.shape[1], dtype=theta.dtype)


def test_weight_is_chosen_after_the_training(model):
    X, y = make_signals(model, 5000, snr=20, random_state=0)
    X_test, y_test = make_signals(model, 200, snr=20, n_repeats=40, random_state=1)
    net = BiasConstrainedNetRegressor(model, sigma=0.05, max_epochs=30, random_state=0).fit(X, y)
    parts = [
        bias_variance_decomposition(y_test, net.predict(X_test, bias_weight=w), scale=SCALE)
        for w in (1, 5, 30)
    ]
    bias, variance = (np.array([part[n] for part in parts]) for n in ("squared_bias", "variance"))
    assert (np.diff(bias, axis=0)[:, 1:] < 0).all()
    assert (np.diff(variance, axis=0)[:, 1:] > 0).all()
    before = net.predict(X_test)
    np.testing.assert_array_equal(before, net.predict(X_test, bias_weight=10.0))
    net.set_params(bias_weight=[1, 5, 30, 5])
    np.testing.assert_array_equal(
        net.predict(X_test), net.estimate(X_test, bias_weight=[1, 5, 30, 5]).parameters
    )
    assert not np.array_equal(net.predict(X_test), before)


def test_one_weight_alone(model, signals):
    weight = [1.0, 4.0, 4.0, 30.0]
    net = small_net(model, sigma=0.025, bias_weight=weight, max_bias_weight=None).fit(*signals)
    assert net.predict(signals[0]).shape == signals[1].shape
    with pytest.raises(ValueError, match="for which alone the network was trained"):
        net.predict(signals[0], bias_weight=4)
    with pytest.raises(ValueError, match="max_bias_weight"):
        BiasConstrainedNetRegressorCV(net).fit(*signals)


def test_units_do_not_matter(model, signals):
    X, y = signals
    predicted = small_net(model, sigma=0.025).fit(X, y).predict(X)
    factor = np.array([500.0, 1, 1, 1])
    scaled = small_net(model, sigma=0.025 * 500).fit(X * 500, y * factor).predict(X * 500)
    np.testing.assert_allclose(scaled / factor / SCALE, predicted / SCALE, atol=0.02)


def test_search_and_routing(model):
    X, y = make_signals(model, 200, snr=30, n_repeats=3, random_state=0)
    net = small_net(model, sigma=1 / 30, max_epochs=2)
    search = GridSearchCV(
        net, {"bias_weight": [1.0, 30.0]}, scoring=bias_variance_scorer(scale=SCALE),
        refit=roi_error(5), cv=GroupKFold(2),
    )  # fmt: skip
    groups = np.repeat(np.arange(200), 3)
    assert search.fit(X, y, groups=groups).best_params_["bias_weight"] in (1.0, 30.0)
    with sklearn.config_context(enable_metadata_routing=True):
        pipeline = make_pipeline(FunctionTransformer(), net.set_predict_request(bias_weight=True))
        pipeline.fit(X, y)
        high = pipeline.predict(X, bias_weight=30.0)
    np.testing.assert_array_equal(high, pipeline[-1].predict(X, bias_weight=30.0))


def test_cv_chooses_by_the_rule(model):
    X, y = make_signals(model, 600, snr=20, n_repeats=4, random_state=0)
    net = small_net(model, sigma=0.05, max_epochs=20)
    few, many = (
        BiasConstrainedNetRegressorCV(net, rule=roi_error(n), cv=2).fit(X, y) for n in (1, 1000)
    )
    assert (few.bias_weight_ < many.bias_weight_)[1:].all()
    assert few.bias_path_.shape == few.std_path_.shape == few.rmse_path_.shape == (25, 2, 4)
    np.testing.assert_allclose(few.bias_weights_[[0, -1]], [1, 30])
    np.testing.assert_array_equal(few.predict(X), few.predict(X, bias_weight=few.bias_weight_))
    # The network of a search is that of the estimator, trained on all rows.
    np.testing.assert_array_equal(
        few.predict(X), clone(net).fit(X, y).predict(X, bias_weight=few.bias_weight_)
    )
    one = BiasConstrainedNetRegressorCV(net, rule=least_weighted(3, "D"), cv=2).fit(X, y)
    assert len(np.unique(one.bias_weight_)) == 1
    with pytest.raises(ValueError, match="No bias_weight has an RMS bias"):
        BiasConstrainedNetRegressorCV(net, rule=least_variance(1e-9), cv=2).fit(X, y)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"bias_weight": 0.5}, r"bias_weight expects values in \[1, 30\]"),
        ({"bias_weight": 31}, r"bias_weight expects values in \[1, 30\]"),
        ({"bias_weight": np.nan}, r"bias_weight expects values in \[1, 30\]"),
        ({"bias_weight": [1, 2]}, "a number or one per parameter"),
        ({"bias_weight": "large"}, "a number or one per parameter"),
        ({"max_bias_weight": 1}, "max_bias_weight"),
        ({"n_repeats": 1}, "n_repeats"),
        ({"loss_weight": "crlb"}, "loss_weight"),
    ],
)
def test_bad_parameters(model, signals, params, message):
    net = small_net(model, sigma=0.025, **params)
    with pytest.raises(ValueError, match=message):
        net.fit(*signals)
    with pytest.raises(NotFittedError):
        net.predict(signals[0])


def test_bad_input(model, signals):
    X, y = signals
    single = np.unique(y, axis=0, return_index=True)[1]
    with pytest.raises(ValueError, match=r"make_signals\(..., n_repeats=4\)"):
        small_net().fit(X[single], y[single])
    fitted = small_net(model, sigma=0.025).fit(X, y)
    with pytest.raises(ValueError, match=r"in \[1, 30\]"):
        fitted.predict(X, bias_weight=100)
    with pytest.raises(RuntimeError, match="diverged"):
        fitted.set_params(training=Training(lr=1e12)).fit(X, y)
    with pytest.raises(NotFittedError):
        fitted.predict(X)


def test_unusable_repeats_are_dropped():
    X, y = line(100, 2, 0)
    X[0] = np.nan  # leaves a tissue with one row, which has no variance
    with pytest.warns(UserWarning, match="1 of 200 rows"):
        net = small_net(sigma=0.8, max_epochs=2).fit(X, y)
    assert np.isnan(net.predict(X)[0]).all()
    assert np.isfinite(net.predict(X)[1:]).all()


def test_tissue_without_information(model):
    """D_star is unknown where f = 0: the information is singular there."""
    X, y = make_signals(model, 300, snr=30, prior={"f": (0, 0)}, random_state=0)
    net = small_net(model, sigma=1 / 30, max_epochs=2).fit(X, y)
    assert np.isfinite(net.predict(X)).all()


def test_deviations_add_the_information_of_the_prior(model, signals):
    _, y = signals
    sigma = np.full(len(y), 0.05)
    information = fisher_information(model, Gaussian(), y, sigma)
    prior = y.var(axis=0)
    expected = [np.sqrt(np.diag(np.linalg.inv(f + np.diag(1 / prior)))) for f in information]
    np.testing.assert_allclose(bayesian_deviations(information, prior), expected, rtol=1e-6)
    unknown = np.full_like(information[:1], np.nan)
    np.testing.assert_allclose(bayesian_deviations(unknown, prior)[0], np.sqrt(prior))


def test_region_metrics():
    rng = np.random.RandomState(0)
    covariance = np.array([[1.0, -0.6], [-0.6, 4.0]])
    n_tissues, n_repeats, n_voxels = 20_000, 20, 5
    y = np.repeat(rng.uniform(size=(n_tissues, 2)), n_repeats, axis=0)
    noise = rng.multivariate_normal([0, 0], covariance, len(y))
    predicted = y + 0.4 + noise
    error = roi_mean_squared_error(y, predicted, n_voxels=n_voxels)
    np.testing.assert_allclose(error, 0.16 + np.diag(covariance) / n_voxels, rtol=0.01)
    # The same from means over regions of so many repeats.
    means = (predicted - y).reshape(-1, n_voxels, 2).mean(axis=1)
    np.testing.assert_allclose(error, np.mean(means**2, axis=0), rtol=0.01)
    expected = [[1, -0.3], [-0.3, 1]]
    np.testing.assert_allclose(noise_correlation(y, predicted), expected, atol=0.01)
    with pytest.raises(ValueError, match="simulate noise repeats"):
        noise_correlation(y[::20], predicted[::20])
    for bad in (0, 1.5, True):
        with pytest.raises(ValueError, match="n_voxels expects"):
            roi_mean_squared_error(y, predicted, n_voxels=bad)
        with pytest.raises(ValueError, match="n_voxels expects"):
            roi_error(bad).best(np.ones(2), np.ones(2))


def test_roi_error_weighs_as_many_voxels():
    rng = np.random.RandomState(0)
    squared_bias, variance = rng.uniform(size=(2, 50))
    for n in (1, 10, 100):
        assert roi_error(n).best(squared_bias, variance) == least_weighted(n).best(
            squared_bias, variance
        )
    bias, noise = np.array([[4.0, 0.5], [0.5, 0.1]]), np.array([[1.0, 1.0], [1.0, 4.0]])
    assert roi_error(6).best_alpha(bias, noise) == pytest.approx(
        least_weighted(6).best_alpha(bias, noise)
    )


@pytest.mark.parametrize("normalize", [None, "rms"])
@pytest.mark.parametrize("constant", ["S0", "D"])
def test_constant_parameter_does_not_rule_the_loss(model, normalize, constant):
    """Errors of a parameter that all tissues share must not drown those of the others."""
    names = list(model.parameter_names)
    errors = []
    for prior in ({constant: (1, 1)}, None):
        X, y = make_signals(model, 3000, snr=20, prior=prior, random_state=0)
        settings = {"normalize": normalize, "network": MLP((32, 32)), "max_epochs": 20}
        net = small_net(model, sigma=0.05, **settings).fit(X, y)
        X_test, y_test = make_signals(model, 1000, snr=20, prior=prior, random_state=1)
        errors.append(
            np.mean((net.predict(X_test, bias_weight=3) - y_test) ** 2, axis=0) / SCALE**2
        )
    others = [j for j, name in enumerate(names) if name not in (constant, "S0")]
    assert (errors[0][others] < 1.3 * errors[1][others]).all()


def test_absolute_output_has_a_scale():
    model = ADC([0, 200, 500, 1000])
    X, y = make_signals(model, 2000, snr=30, prior={"S0": (1, 1)}, random_state=0)
    net = small_net(model, sigma=1 / 30, network=MLP((16,), output="abs"), max_epochs=20).fit(X, y)
    np.testing.assert_allclose(net.predict(X).mean(axis=0)[0], 1, atol=0.1)


def test_single_rows_without_a_model_are_reported():
    X, y = line(100, 2, 0)
    X, y = np.vstack([X, X[:3]]), np.vstack([y, [[5.0], [6.0], [7.0]]])
    with pytest.warns(UserWarning, match="3 of 103 tissues have a single row"):
        small_net(sigma=0.8, max_epochs=2).fit(X, y)


def test_search_ignores_the_weight_of_its_estimator(model, signals):
    net = small_net(model, sigma=0.025, max_bias_weight=5.0)  # below the default weight of 10
    search = BiasConstrainedNetRegressorCV(net, cv=2).fit(*signals)
    assert search.bias_weight_.max() <= 5


def test_estimates_that_do_not_vary_do_not_correlate():
    y = np.repeat(np.random.RandomState(0).uniform(size=(3, 3)), 50, axis=0)
    predicted = np.random.RandomState(1).normal(size=y.shape)
    predicted[:, :2] = 0.1, 0.7
    found = noise_correlation(y, predicted)
    assert np.isnan(found[:2]).all()
    assert found[2, 2] == pytest.approx(1)
