"""Posterior means against closed forms and numerical integration."""

import numpy as np
import pytest
import torch
from conftest import B_VALUES

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import Gaussian, Rician
from sklearn_qmri.signal_models import ADC, IVIM, Parameter, SignalModel


class Line(SignalModel):
    magnitude = False
    parameters = (
        Parameter("a", "", (-np.inf, np.inf), (-1.0, 1.0)),
        Parameter("b", "", (-np.inf, np.inf), (-1.0, 1.0)),
    )

    def __init__(self, times):
        self.times = times

    def signal(self, theta):
        return theta[0] + theta[1] * self.acquisition("times", theta)


class Decay(SignalModel):
    parameters = (
        Parameter("S0", "", (0.0, np.inf), (0.8, 1.2), amplitude=True),
        Parameter("D", "um^2/ms", (0.01, 4.0), (0.3, 3.0)),
    )

    def __init__(self, b_values):
        self.b_values = b_values

    def signal(self, theta):
        return theta[0] * torch.exp(-self.acquisition("b_values", theta) * 1e-3 * theta[1])


def test_linear_gaussian_has_a_closed_form():
    times, sigma = np.array([0.0, 1.0, 2.0, 3.0]), 0.4
    mean, covariance = np.array([0.5, -0.2]), np.array([[1.0, 0.3], [0.3, 0.5]])

    def prior(n, rng):
        return rng.multivariate_normal(mean, covariance, size=n)

    X, _ = make_signals(Line(times), 300, sigma=sigma, prior=prior, random_state=0)
    model = PosteriorMeanEstimator(
        Line(times), sigma=sigma, prior=prior, n_atoms=200_000, random_state=1
    )
    found, std = model.fit(X).predict(X, return_std=True)
    design = np.stack([np.ones(4), times], axis=1)
    posterior = np.linalg.inv(np.linalg.inv(covariance) + design.T @ design / sigma**2)
    expected = mean + (X - design @ mean) @ design @ posterior / sigma**2
    exact = np.sqrt(np.diag(posterior))
    # Monte Carlo: errors of the order of std / sqrt(effective sample size).
    size = model.estimate(X).effective_sample_size
    error = np.abs(found - expected) / exact * np.sqrt(size)[:, None]
    assert np.mean(error) < 1.0
    assert error.max() < 6
    np.testing.assert_allclose(np.median(std, axis=0), exact, rtol=0.02)


@pytest.mark.parametrize("noise", [Rician(), Gaussian()])
@pytest.mark.parametrize("snr", [3, 20, 100])
def test_numerical_integration(noise, snr):
    model = Decay([0, 200, 500, 1000, 2000])
    X, _ = make_signals(model, 40, noise=noise, snr=snr, random_state=0)
    axes = [
        low + (high - low) * (np.arange(600) + 0.5) / 600 for low, high in [(0.8, 1.2), (0.3, 3)]
    ]
    grid = np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1)
    signals = torch.as_tensor(model.simulate(grid) * snr)
    expected, exact = np.empty((2, len(X), 2))
    for i, x in enumerate(X):
        log = -noise.derivatives(torch.as_tensor(x * snr), signals)[0].sum(1).numpy()
        weights = np.exp(log - log.max())
        weights /= weights.sum()
        expected[i] = weights @ grid
        exact[i] = np.sqrt(weights @ (grid - expected[i]) ** 2)
    estimator = PosteriorMeanEstimator(model, noise=noise, sigma=1 / snr, random_state=0).fit(X)
    found, std = estimator.predict(X, return_std=True)
    assert np.abs(found - expected).max() < 0.05 * exact.max()
    assert np.sqrt(np.mean(((found - expected) / exact) ** 2)) < 0.02
    np.testing.assert_allclose(std / exact, 1, atol=0.1)


def test_interpolated_likelihoods(model):
    from sklearn_qmri.dictionary import Interpolation

    X, y = make_signals(model, 200, snr=30, random_state=0)
    signals, level = model.simulate(y), np.linspace(1 / 40, 1 / 10, 20)
    found = Interpolation(Rician(), signals, 1 / 40)
    product = found.of_data(X[:20], level) @ found.of_atoms(signals)
    x, a = (torch.as_tensor(t) for t in (X[:20, None] / level[:, None, None], signals))
    exact = -Rician().derivatives(x, a / torch.as_tensor(level)[:, None, None])[0].sum(2).numpy()
    near = exact > exact.max(axis=1, keepdims=True) - 30
    difference = product - exact
    difference -= np.median(difference, axis=1, keepdims=True)
    assert np.abs(difference[near]).max() < 5e-3


def test_no_estimator_has_less_risk(model):
    scale = [p.loss_scale for p in model.parameters]
    X, y = make_signals(model, 2000, snr=20, random_state=0)
    posterior = PosteriorMeanEstimator(model, sigma=1 / 20, random_state=0).fit(X)
    found, std = posterior.predict(X, return_std=True)
    risk = np.mean(((found - y) / scale) ** 2, axis=0)
    other = np.mean(
        ((MLEEstimator(model, sigma=1 / 20).fit(X).predict(X) - y) / scale) ** 2, axis=0
    )
    assert (risk < other).all()
    np.testing.assert_allclose(np.mean((std / scale) ** 2, axis=0), risk, rtol=0.15)


def test_more_atoms_change_little(model):
    X, _ = make_signals(model, 300, snr=100, random_state=0)
    few, many = (
        PosteriorMeanEstimator(model, sigma=0.01, n_atoms=n, random_state=n).fit(X).estimate(X)
        for n in (2**13, 2**15)
    )
    good = (few.status == Status.OK) & (many.status == Status.OK)
    assert good.mean() > 0.9
    error = (few.parameters - many.parameters)[good] / many.std[good]
    assert np.sqrt(np.mean(error**2)) < 0.2


def test_too_few_atoms(model):
    X, y = make_signals(model, 50, snr=100, random_state=0)
    posterior = PosteriorMeanEstimator(model, sigma=0.01, prior=y[:20], n_atoms=100, random_state=0)
    with pytest.warns(UserWarning, match=r"50 of 50 rows have an effective .* more n_atoms"):
        found = posterior.fit(X).estimate(X)
    assert (found.status == Status.TOO_FEW_ATOMS).all()


def test_noise_level_per_voxel_and_units(model):
    X, _ = make_signals(model, 60, snr=20, random_state=0)
    options = {"n_atoms": 4096, "random_state": 0}
    one = PosteriorMeanEstimator(model, sigma=0.05, **options).fit(X)
    per_voxel = PosteriorMeanEstimator(model, **options).fit(X, sigma=np.full(60, 0.05))
    expected, std = one.predict(X, return_std=True)
    np.testing.assert_allclose(per_voxel.predict(X, sigma=np.full(60, 0.05)), expected, rtol=1e-4)
    counts = PosteriorMeanEstimator(model, sigma=50, prior={"S0": (800, 1200)}, **options)
    found = counts.fit(X * 1000).predict(X * 1000) / [1000, 1, 1, 1]
    assert (np.abs(found - expected) / std).max() < 0.1


def test_noise_level_is_learnt(model):
    X, y = make_signals(model, 2000, snr=20, random_state=0)
    options = {"n_atoms": 64, "random_state": 0}
    assert PosteriorMeanEstimator(model, **options).fit(X).sigma_ == pytest.approx(0.05, rel=0.05)
    assert PosteriorMeanEstimator(model, **options).fit(X, y).sigma_ == pytest.approx(
        0.05, rel=0.02
    )


def test_a_parameter_that_is_known():
    model = IVIM(B_VALUES)
    X, _ = make_signals(model, 30, snr=60, prior={"D_star": (20, 20)}, random_state=0)
    prior = {"D_star": (20, 20)}
    found, std = (
        PosteriorMeanEstimator(model, sigma=1 / 60, prior=prior, random_state=0)
        .fit(X)
        .predict(X, return_std=True)
    )
    np.testing.assert_allclose(found[:, 3], 20)
    assert (std[:, 3] < 1e-3).all()
    assert (std[:, :3] > 0).all()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"n_atoms": 0}, "Got 0"),
        ({"prior": {"d": (0, 1)}}, r"prior names \['d'\]"),
        ({"prior": np.ones((3, 2))}, "got shape"),
        ({"signal_model": None}, "signal_model"),
    ],
)
def test_bad_parameters(model, signals, params, message):
    with pytest.raises(ValueError, match=message):
        PosteriorMeanEstimator(**{"signal_model": model, **params}).fit(signals[0])


@pytest.mark.parametrize("size", [1e20, 1e36])
def test_measurements_beyond_all_digits_are_flagged(model, size):
    X, y = make_signals(model, 50, snr=30, random_state=0)
    posterior = PosteriorMeanEstimator(model, sigma=1 / 30, n_atoms=2048, random_state=0).fit(X, y)
    with pytest.warns(UserWarning, match="1 of 50 rows"):
        result = posterior.estimate(np.vstack([X[1:], X[:1] * size]))
    assert result.status[-1] == Status.TOO_FEW_ATOMS
    assert np.isnan(result.parameters[-1]).all()
    assert (result.status[:-1] == Status.OK).all()


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_levels_per_measurement_and_missing_ones(noise):
    """A measurement that does not exist gives the posterior of a protocol without it."""
    b, level = [0.0, 50, 200, 400, 800, 1000], np.array([1, 1, 2, 1, 0.5, 3]) / 40
    model, kept = ADC(b), [0, 1, 2, 4, 5]
    X, _ = make_signals(model, 40, sigma=1 / 40, noise=noise, random_state=0)
    settings = {"noise": noise, "random_state": 0, "n_atoms": 4096}
    short = PosteriorMeanEstimator(ADC(np.array(b)[kept]), **settings)
    expected = short.fit(X[:, kept], sigma=level[None, kept]).estimate(X[:, kept])
    without = level.copy()
    without[3] = np.inf
    posterior = PosteriorMeanEstimator(model, **settings)
    found = posterior.fit(X, sigma=without[None]).estimate(X)
    gaps = np.where(np.arange(6) == 3, np.nan, X)
    with pytest.warns(UserWarning, match="Measurements are missing"):
        same = posterior.fit(X, sigma=level[None]).estimate(gaps)
    for key in ("parameters", "std", "residual_rms"):
        np.testing.assert_allclose(found[key], expected[key], rtol=0.01, atol=1e-4)
        np.testing.assert_allclose(same[key], found[key], rtol=0.01, atol=1e-4)


def test_posterior_with_levels_beside_quadrature():
    """Normalised likelihood on a grid, with the level of each measurement."""
    model, level = ADC([0, 200, 500, 1000]), np.array([[0.05, 0.05, 0.02, 0.01]])
    prior = {"S0": (0.8, 1.2), "D": (0.3, 3.0)}
    rng = np.random.RandomState(0)
    y = np.column_stack([rng.uniform(0.8, 1.2, 50), rng.uniform(0.3, 3.0, 50)])
    X = Rician().sample(model.simulate(y) / level, rng) * level
    S0, D = np.meshgrid(np.linspace(0.8, 1.2, 201), np.linspace(0.3, 3.0, 801), indexing="ij")
    grid = np.column_stack([S0.ravel(), D.ravel()])
    x, a = torch.as_tensor(X[:, None] / level), torch.as_tensor(model.simulate(grid)[None] / level)
    weights = torch.softmax(-Rician().derivatives(x, a)[0].sum(-1), 1).numpy()
    posterior = PosteriorMeanEstimator(model, sigma=level, prior=prior, random_state=0).fit(X)
    np.testing.assert_allclose(posterior.predict(X), weights @ grid, rtol=0.01)
