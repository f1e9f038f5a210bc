"""Networks that must explain their signals."""

import numpy as np
import pytest
import torch
from conftest import hybrid_net, self_supervised_net
from sklearn.exceptions import NotFittedError

from sklearn_qmri import (
    HybridLabelNetRegressorCV,
    MLEEstimator,
    SelfSupervisedNetRegressor,
)
from sklearn_qmri._network import SignalLikelihood
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.noise import Gaussian, Rician
from sklearn_qmri.signal_models import ADC, LinearGaussian

SCALE = np.array([1.0, 0.3, 1.7, 80.0])
SMALL = {"max_epochs": 4, "hidden_layer_sizes": (16, 16), "random_state": 0}


@pytest.mark.parametrize("noise", [Rician(), Gaussian()])
def test_loss_is_the_likelihood(model, noise):
    X, y = make_signals(model, 50, noise=noise, snr=20, random_state=0)
    target = torch.tensor(np.hstack([X * 20, np.full(X.shape, 20.0)]))
    theta = torch.tensor(np.stack([y, y * 1.1]))
    loss = SignalLikelihood(model, noise)(theta, target)
    for member, parameters in zip(loss, theta, strict=True):
        signal = torch.tensor(model.simulate(parameters.numpy()) * 20)
        expected = noise.derivatives(target[:, : X.shape[1]], signal)[0].mean()
        assert float(member) == pytest.approx(float(expected))


def test_y_is_not_learnt_from(model, signals):
    X, y = signals
    net = self_supervised_net(model, sigma=0.025, **SMALL)
    expected = net.fit(X, y).predict(X)
    shuffled = np.repeat(np.random.RandomState(0).permutation(y[::3]), 3, axis=0)
    tissues = {tuple(row) for row in shuffled}
    assert len(tissues) == 60
    np.testing.assert_array_equal(net.fit(X, y + 0.0).predict(X), expected)
    assert net.fit(X).predict(X).shape == y.shape


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_explains_the_signal_about_as_well_as_maximum_likelihood(model, noise):
    X, _ = make_signals(model, 20_000, noise=noise, snr=20, random_state=0)
    net = self_supervised_net(model, noise=noise, sigma=1 / 20, random_state=0).fit(X)
    mle = MLEEstimator(model, noise=noise, sigma=1 / 20).fit(X[:1])
    ours, least = (e.estimate(X[:4000]).residual_rms for e in (net, mle))
    assert np.mean(ours**2) < 1.15 * np.mean(least**2)
    valid = net.network_.history["valid_loss"]
    assert valid[-1] < 0.8 * valid[0]


def test_less_bias_than_true_labels(model):
    X, y = make_signals(model, 20_000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 200, snr=30, n_repeats=30, random_state=1)
    nets = (
        hybrid_net(model, alpha=0, sigma=1 / 30, random_state=0),
        self_supervised_net(model, sigma=1 / 30, random_state=0),
    )
    true, own = (
        bias_variance_decomposition(y_test, net.fit(X, y).predict(X_test), scale=SCALE)
        for net in nets
    )
    assert own.squared_bias[2:].sum() < 0.7 * true.squared_bias[2:].sum()
    assert (own.variance[2:] > true.variance[2:]).all()


def test_scan_of_any_scale(model):
    """Trains on the voxels themselves, on a scanner's scale, with a learnt noise level."""
    X, y = make_signals(model, 4000, snr=25, random_state=0)
    X_big = X * 800
    net = self_supervised_net(model, normalize="rms", max_epochs=20, random_state=0)
    found = net.fit(X_big)
    assert found.sigma_ == pytest.approx(32, rel=0.05)
    assert np.median(net.predict(X_big)[:, 0] / y[:, 0]) == pytest.approx(800, rel=0.05)


@pytest.mark.parametrize("output", ["auto", "softplus", "abs", "identity"])
def test_outputs(model, signals, output):
    net = self_supervised_net(model, sigma=0.025, output=output, **SMALL).fit(signals[0])
    assert np.isfinite(net.predict(signals[0])).all()


def test_normalized_signals_of_a_model_without_amplitude():
    coef = np.random.RandomState(0).normal(size=(2, 6))
    line = LinearGaussian(coef, np.full(6, 3.0), center=[0.5, 0.5], half_range=[0.5, 0.5])
    X, _ = make_signals(line, 1000, sigma=0.05, random_state=0)
    net = self_supervised_net(line, sigma=0.05, normalize="rms", random_state=0)
    assert np.median(net.fit(X).estimate(X).residual_rms) < 0.1


def test_bad_parameters(model, signals):
    with pytest.raises(ValueError, match=r"finite bounds, S0 has \(0, inf\)"):
        self_supervised_net(model, output="sigmoid", sigma=0.025).fit(signals[0])
    with pytest.raises(ValueError, match="bounds names"):
        self_supervised_net(model, bounds={"g": (0, 1)}, sigma=0.025).fit(signals[0])
    with pytest.raises(ValueError, match="signal_model"):
        self_supervised_net(None).fit(signals[0])
    bounded = self_supervised_net(model, bounds={"f": (0.1, 0.2)}, sigma=0.025, **SMALL)
    f = bounded.fit(signals[0]).predict(signals[0])[:, 1]
    assert 0.1 <= f.min() <= f.max() <= 0.2


def test_noise_level_weighs_nothing_under_gaussian_noise(model):
    X, _ = make_signals(model, 2000, snr=30, random_state=0)
    options = {"noise": "gaussian", "weight_decay": 1e-3, **SMALL}
    one, other = (
        self_supervised_net(model, sigma=sigma, **options).fit(X).predict(X)
        for sigma in (1 / 30, 1.0)
    )
    np.testing.assert_allclose(one / SCALE, other / SCALE, atol=1e-3)


def test_interrupt_leaves_nothing_fitted(model, signals, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    net = self_supervised_net(model, sigma=0.025, **SMALL).fit(signals[0])
    hybrid = hybrid_net(model, sigma=0.025, **SMALL)
    path = HybridLabelNetRegressorCV(hybrid).fit(*signals)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", interrupt)
        for estimator in (net, path):
            with pytest.raises(KeyboardInterrupt):
                estimator.fit(*signals)
    for estimator in (net, path):
        with pytest.raises(NotFittedError):
            estimator.predict(signals[0])


def test_weight_decay_of_its_own_lessens_variance(model):
    X, y = make_signals(model, 1000, snr=10, n_repeats=20, random_state=0)
    own, none = (
        self_supervised_net(model, sigma=0.1, weight_decay=decay, random_state=0).fit(X).predict(X)
        for decay in (None, 0.0)
    )
    ours, plain = (bias_variance_decomposition(y, p, scale=SCALE) for p in (own, none))
    assert (ours.variance[1:] < 0.95 * plain.variance[1:]).all()
    error, plain_error = (np.sqrt(np.mean((p - y) ** 2, axis=0)) for p in (own, none))
    assert (error[1:] < plain_error[1:]).all()


def test_levels_per_measurement_weigh_the_likelihood():
    """Averages of 1, 1, 1, 4 and 16: with the level of each, estimates are better."""
    model = ADC([0, 200, 400, 800, 1500])
    level = np.array([[0.1, 0.1, 0.1, 0.05, 0.025]])
    rng = np.random.RandomState(0)
    y = np.column_stack([rng.uniform(0.8, 1.2, 4000), rng.uniform(0.5, 1.5, 4000)])
    X = model.simulate(y) + level * rng.standard_normal((4000, 5))
    settings = {"noise": "gaussian", "max_epochs": 15, "random_state": 0}
    error = []
    for sigma in (level, float(np.sqrt(np.mean(level**2)))):
        net = SelfSupervisedNetRegressor(model, sigma=sigma, **settings).fit(X[:3000])
        error.append(np.sqrt(np.mean((net.predict(X[3000:])[:, 1] - y[3000:, 1]) ** 2)))
    mle = MLEEstimator(model, noise="gaussian", sigma=level).fit(X)
    best = np.sqrt(np.mean((mle.predict(X[3000:])[:, 1] - y[3000:, 1]) ** 2))
    assert error[0] < 1.1 * best
    assert error[0] < 0.8 * error[1]
