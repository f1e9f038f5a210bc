import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate, special, stats

from sklearn_qmri.noise import Gaussian, Rician, log_bessel


def reference_bessel(z):
    """log(exp(-z) I0(z)) and its derivatives, to 30 digits."""
    with mpmath.workdps(30):
        z = mpmath.mpf(z)
        ratio = mpmath.besseli(1, z) / mpmath.besseli(0, z)
        bend = mpmath.mpf("0.5") if z == 0 else 1 - ratio / z - ratio**2
        return [mpmath.log(mpmath.besseli(0, z)) - z, ratio - 1, bend]


Z = np.concatenate([[0, 1e-8, 1e-3], np.linspace(0.01, 60, 200), np.logspace(2, 8, 30)])


def test_bessel_functions_against_high_precision():
    value, slope, bend = log_bessel(torch.tensor(Z))
    exact = np.array([[float(v) for v in reference_bessel(z)] for z in Z]).T
    np.testing.assert_allclose(value, exact[0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(slope, exact[1], rtol=1e-8)
    np.testing.assert_allclose(bend, exact[2], rtol=1e-5)


def test_bessel_functions_in_single_precision():
    z = torch.tensor(Z)
    for single, double in zip(log_bessel(z.float()), log_bessel(z), strict=True):
        assert single.dtype == torch.float32
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-6)


def test_bessel_functions_can_be_differentiated():
    z = torch.tensor([0.5, 3.0, 70.0], dtype=torch.float64, requires_grad=True)
    value, slope, _ = log_bessel(z)
    (gradient,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(gradient, slope.detach(), rtol=1e-8, atol=0)


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
@pytest.mark.parametrize("a", [0.0, 0.5, 3.0, 100.0, 1e4])
def test_likelihood_has_all_constants(noise, a):
    def density(x):
        x = torch.tensor(x, dtype=torch.float64)
        loss = noise.derivatives(x, torch.tensor(a, dtype=torch.float64))[0]
        return torch.exp(-loss - noise.normalizer(x)).item()

    low = a - 12 if isinstance(noise, Gaussian) else max(a - 12, 0)
    total, _ = integrate.quad(density, low, a + 12, points=[a], epsabs=1e-11)
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("snr", [1, 30, 1e4])
def test_rician_likelihood_is_scipys(snr, rng):
    a = snr * rng.uniform(0.2, 1, 50)
    x = Rician().sample(a, rng)
    tensors = torch.tensor(x), torch.tensor(a)
    nll = Rician().derivatives(*tensors)[0] + Rician().normalizer(tensors[0])
    expected = -np.log(x) + (x - a) ** 2 / 2 - np.log(special.i0e(x * a))
    np.testing.assert_allclose(nll, expected, rtol=1e-10, atol=1e-10)
    if snr < 100:  # beyond, scipy's own density overflows
        np.testing.assert_allclose(nll, -stats.rice.logpdf(x, a), rtol=1e-9)


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
def test_derivatives(noise):
    x = torch.tensor([0.0, 0.3, 1.0, 5.0, 200.0], dtype=torch.float64)[:, None]
    a = torch.tensor([0.0, 0.2, 2.0, 6.0, 199.0], dtype=torch.float64)
    a = a.expand(5, 5).clone().requires_grad_()
    loss, first, second = noise.derivatives(x, a)
    (by_autodiff,) = torch.autograd.grad(loss.sum(), a)
    torch.testing.assert_close(first.detach(), by_autodiff, rtol=1e-8, atol=1e-9)
    h = 1e-5
    up, down = (noise.derivatives(x, a.detach() + d)[1] for d in (h, -h))
    interior = a.detach() > h
    difference = ((up - down) / (2 * h))[interior]
    torch.testing.assert_close(second.detach()[interior], difference, rtol=1e-4, atol=1e-5)


def test_rician_likelihood_is_even_in_the_signal():
    x, a = torch.tensor([1.0, 2.0]), torch.tensor([0.7, 1.5])
    plus, minus = Rician().derivatives(x, a), Rician().derivatives(x, -a)
    torch.testing.assert_close(plus[0], minus[0])
    torch.testing.assert_close(plus[1], -minus[1])
    torch.testing.assert_close(plus[2], minus[2])


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
@pytest.mark.parametrize("a", [0.0, 1.0, 4.0])
def test_moments_agree_with_samples(noise, a, rng):
    n = 400_000
    sample = noise.sample(np.full(n, a), rng)
    mean, variance = (
        f(torch.tensor(a, dtype=torch.float64)).item() for f in (noise.mean, noise.variance)
    )
    assert sample.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
    assert sample.var() == pytest.approx(variance, rel=0.02)


def test_valid_rows():
    X = np.array([[1.0, 2.0], [-1.0, 2.0], [0.0, 0.0], [0.0, 1.0], [np.nan, 1.0], [np.inf, 1.0]])
    assert Rician().is_valid(X).tolist() == [True, False, False, True, False, False]
    assert Gaussian().is_valid(X).tolist() == [True, True, True, True, False, False]


def test_noise_models_are_values():
    assert Rician() == Rician() != Gaussian()
    assert hash(Rician()) == hash(Rician())
    assert repr(Rician()) == "Rician()"
