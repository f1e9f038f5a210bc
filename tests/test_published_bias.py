"""Published networks on bias, the Cramer-Rao bound and the Rician likelihood."""

import numpy as np
import pytest
import torch

from sklearn_qmri._network._losses import BiasConstrainedError
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.estimators._bias_constrained_training import error_deviation
from sklearn_qmri.information import cramer_rao_bound
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.noise import Gaussian
from sklearn_qmri.published import barbieri2019, diskin2023, mao2024, parker2025, zhang2022
from sklearn_qmri.signal_models import IVIM, InversionRecovery

B = [0, 10, 50, 100, 400, 800]
MODEL = InversionRecovery([100, 300, 600, 1000, 2000, 4000])
SMALL = {"network__hidden_layer_sizes": (32, 32), "max_epochs": 30}


def measured_loss(errors, weight, free_variance=0.0):
    """Loss of errors (n_tissues, n_repeats, n_parameters) at one weight."""
    n_tissues, n_repeats, n_parameters = errors.shape
    rows = torch.as_tensor(errors.reshape(1, -1, n_parameters))
    target = np.ones((n_tissues * n_repeats, 4 * n_parameters))
    # True parameters and control variates are 0, and factors of the errors 1.
    target[:, :n_parameters], target[:, 2 * n_parameters : 3 * n_parameters] = 0, 0
    target[:, 3 * n_parameters :] = weight
    loss = BiasConstrainedError(n_repeats, free_variance)(rows, torch.as_tensor(target))
    # The loss is divided by the square root of the weight.
    return loss.item() * np.sqrt(weight)


@pytest.mark.parametrize("lambda_", [0.0, 3.0, 1000.0])
def test_diskin_weight_makes_the_loss_squared_error_and_penalty(lambda_):
    errors = np.random.default_rng(0).normal(0.3, 1, (50, 7, 2))
    squared_error = np.mean(errors**2)
    squared_bias = np.mean(errors.mean(1) ** 2 - errors.var(1, ddof=1) / 7)
    weight = diskin2023(MODEL, lambda_=lambda_).bias_weight
    assert weight == 1 + lambda_
    expected = squared_error + lambda_ * squared_bias
    assert measured_loss(errors, weight) == pytest.approx(expected)


def test_diskin_note_on_the_published_estimate_of_the_bias():
    """Squared means of M errors, as published, are like a smaller weight."""
    lambda_, n_repeats = 1000, 100
    errors = np.random.default_rng(0).normal(0.2, 1, (20_000, n_repeats, 1))
    published = np.mean(errors**2) + lambda_ * np.mean(errors.mean(1) ** 2)
    weight = (1 + lambda_) / (1 + lambda_ / n_repeats)
    assert weight == 91
    ours = measured_loss(errors, weight) * (1 + lambda_ / n_repeats)
    assert published == pytest.approx(ours, rel=0.02)


def test_mao_loss_is_squared_bias_and_variance_beyond_the_bound():
    rng, n_repeats = np.random.default_rng(0), 2000
    # Errors in units of the bound: variances on both sides of it, and biases.
    deviation, bias = rng.uniform(0.5, 2, (40, 1, 3)), rng.normal(0, 1, (40, 1, 3))
    errors = bias + deviation * rng.normal(size=(40, n_repeats, 3))
    excess = np.maximum(errors.var(axis=1) - 1, 0).mean()
    expected = excess + np.mean(errors.mean(axis=1) ** 2)
    net = mao2024(MODEL)
    found = measured_loss(errors, net.bias_weight, net.free_variance)
    assert found == pytest.approx(expected, rel=5e-3)
    assert measured_loss(errors, 1) > found + 0.1


def test_zhang_loss_is_the_squared_error():
    errors = np.random.default_rng(0).normal(0.3, 1, (50, 2, 2))
    net = zhang2022(MODEL)
    assert net.n_repeats == 2
    assert net.free_variance == 0
    assert measured_loss(errors, net.bias_weight) == pytest.approx(np.mean(errors**2))


def test_errors_are_divided_by_the_bound():
    _, y = make_signals(MODEL, 20, snr=40, random_state=0)
    sigma = np.full(20, 1 / 40)
    found = error_deviation("cramer_rao", MODEL, Gaussian(), y, sigma)
    bound = cramer_rao_bound(MODEL, y, sigma=1 / 40, noise="gaussian")
    np.testing.assert_allclose(found, bound, rtol=1e-6)
    prior_too = error_deviation("information", MODEL, Gaussian(), y, sigma)
    assert (prior_too < found).all()


def test_tissues_without_a_bound_do_not_count():
    model = IVIM(B)
    y = np.array([[1.0, 0.2, 1.0, 50.0], [1.0, 0.0, 1.0, 50.0]])
    noise, sigma = Gaussian(), np.full(2, 0.02)
    found = error_deviation("cramer_rao", model, noise, y, sigma)
    assert np.isfinite(found[0]).all()
    assert np.isinf(found[1, 3])  # without perfusion, D_star is unknown
    with pytest.raises(ValueError, match="no training tissue has for .*D_star"):
        error_deviation("cramer_rao", model, noise, y[1:], sigma[1:])


@pytest.mark.parametrize(
    ("net", "expected"),
    [
        (diskin2023(MODEL), (1001, 100, None, 0, (50,), 30, 2e-5, 1000)),
        (
            mao2024(MODEL),
            (
                *(1, 200, "cramer_rao", 1),
                (256, 512, 1024, 768, 512, 384, 256, 128, 6, 32),
                *(500, 1e-3, 51_200),
            ),
        ),
        (
            zhang2022(MODEL),
            (
                *(1, 2, "cramer_rao", 0),
                (128, 256, 512, 1024, 768, 640, 512, 384, 256, 192, 128, 6, 10, 6),
                *(800, 1e-2, 1024),
            ),
        ),
    ],
)
def test_settings_of_networks_on_bias(net, expected):
    found = (
        *(net.bias_weight, net.n_repeats, net.loss_weight, net.free_variance),
        *(net.network.hidden_layer_sizes, net.max_epochs, net.training.lr, net.training.batch_size),
    )
    assert found == expected
    assert net.max_bias_weight is None
    assert net.network.activation == "relu"
    assert net.network.batch_norm == (net.bias_weight == 1)


@pytest.mark.parametrize("make", [diskin2023, mao2024, zhang2022])
def test_networks_on_bias_learn(make):
    net = make(MODEL, sigma=1 / 40, random_state=0).set_params(
        n_repeats=8, training__lr=3e-3, training__batch_size=400, **SMALL
    )
    X, y = make_signals(MODEL, 2000, snr=40, random_state=0)
    X_test, y_test = make_signals(MODEL, 500, snr=40, random_state=1)
    found = net.fit(X, y).predict(X_test)
    assert np.corrcoef(found[:, 1], y_test[:, 1])[0, 1] > 0.9


def test_more_penalty_less_bias():
    X, y = make_signals(IVIM(B), 3000, snr=20, random_state=0)
    X_test, y_test = make_signals(IVIM(B), 200, snr=20, n_repeats=30, random_state=1)
    parts = []
    for lambda_ in (0, 29):
        net = diskin2023(IVIM(B), lambda_=lambda_, n_repeats=8, sigma=1 / 20, random_state=0)
        net.set_params(training__lr=3e-3, training__batch_size=400, **SMALL).fit(X, y)
        parts.append(bias_variance_decomposition(y_test, net.predict(X_test)))
    biased, unbiased = parts
    assert (unbiased.squared_bias[1:] < 0.7 * biased.squared_bias[1:]).all()
    assert (unbiased.variance[1:] > biased.variance[1:]).all()


def test_parker_is_barbieri_with_the_rician_likelihood():
    net, other = parker2025(), barbieri2019()
    assert net.noise == "rician"
    assert net.signal_model.convention == "additive"
    assert net.network.hidden_layer_sizes == (10, 10, 10)
    assert net.network.set_params(hidden_layer_sizes=(7, 7, 7)) == other.network
    assert (net.training.batch_size, net.training.patience, net.max_epochs) == (256, 15, 200)


def test_parker_learns_from_signals_alone():
    net = parker2025(sigma=0.05, random_state=0).set_params(max_epochs=60, training__lr=5e-3)
    X, y = make_signals(net.signal_model, 6000, snr=20, random_state=0)
    found = net.fit(X).estimate(X)
    assert np.median(found.residual_rms) < 1.15 * 0.05
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.parameters.T, y.T, strict=True)]
    assert min(correlation[:3]) > 0.5
