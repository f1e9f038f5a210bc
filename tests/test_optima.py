"""Landscapes with several optima, plateaus and ridges, against solvers that share nothing."""

import itertools

import numpy as np
import pytest
import torch
from conftest import B_VALUES
from scipy import optimize, special

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri._solver import _newton, solve
from sklearn_qmri._solver._objective import Expansion, Problem
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import Gaussian
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    SPGR,
    BiexponentialT2,
    InversionRecovery,
    Kurtosis,
    R2StarDecay,
)

TI = np.array([50.0, 400.0, 1100.0, 2500.0])


def rician_loss(signal, x, sigma):
    """Negative log-likelihood without constants, from scipy's Bessel function."""
    a, x = np.abs(signal) / sigma, x / sigma
    return (0.5 * (x - a) ** 2 - np.log(special.i0e(x * a))).sum(-1)


def best_of(loss, bounds, starts):
    """Least loss that L-BFGS-B reaches from any of the starts."""
    found = (optimize.minimize(loss, start, method="L-BFGS-B", bounds=bounds) for start in starts)
    return min(result.fun for result in found)


def recovered(parameters):
    S0, T1, eta = np.moveaxis(np.asarray(parameters), -1, 0)[..., None]
    return S0 * (1 - (1 + eta) * np.exp(-TI / T1))


def least_over_sign_patterns(x, sigma):
    """Least squares of signed data, for each place at which the sign may change."""
    best = np.inf
    for n_negative in range(len(TI) + 1):
        signed = np.where(np.arange(len(TI)) < n_negative, -x, x)
        for T1 in (60.0, 300.0, 1000.0, 3000.0):
            found = optimize.least_squares(
                lambda p, signed=signed: (recovered(p) - signed) / sigma,
                (max(x), T1, 0.8),
                bounds=([0, 10, 0.5], [np.inf, 6000, 1.0]),
                x_scale=(1.0, 1000.0, 1.0),
            )
            best = min(best, 0.5 * ((np.abs(recovered(found.x)) - x) ** 2).sum() / sigma**2)
    return best


@pytest.mark.parametrize("T1", [120.0, 650.0, 1400.0])
def test_magnitude_inversion_recovery_is_on_the_right_side_of_the_null(T1, rng):
    sigma = 1 / 300
    y = np.tile([1.0, T1, 0.8], (300, 1))
    noise = sigma * rng.standard_normal((2, len(y), len(TI)))
    X = np.hypot(recovered(y) + noise[0], noise[1])
    model = InversionRecovery(TI, magnitude=True)
    found = MLEEstimator(model, sigma=sigma).fit(X).estimate(X)
    ours = rician_loss(recovered(found.parameters), X, sigma)
    assert (ours <= rician_loss(recovered(y), X, sigma) + 1e-6).all()


def test_averaged_magnitudes_of_an_inversion(rng):
    """Gaussian noise, but no sign: the best of all sign patterns."""
    sigma = 0.01
    y = np.stack([np.ones(30), np.geomspace(200, 3000, 30), np.full(30, 0.9)], axis=1)
    X = np.abs(recovered(y)) + sigma * rng.standard_normal((30, len(TI)))
    mle = MLEEstimator(InversionRecovery(TI, magnitude=True), noise="gaussian", sigma=sigma)
    found = mle.fit(X).predict(X)
    ours = 0.5 * ((np.abs(recovered(found)) - X) ** 2).sum(1) / sigma**2
    assert (ours <= [least_over_sign_patterns(x, sigma) + 1e-5 for x in X]).all()


def test_fast_decay_into_the_noise_floor(rng):
    times, sigma = np.linspace(1, 20, 12), 0.1

    def signal(p):
        return p[..., :1] * np.exp(-times * 1e-3 * p[..., 1:])

    y = np.stack([rng.uniform(0.8, 1.2, 600), rng.uniform(300, 900, 600)], axis=1)
    noise = sigma * rng.standard_normal((2, 600, 12))
    X = np.hypot(signal(y) + noise[0], noise[1])
    found = MLEEstimator(R2StarDecay(times), sigma=sigma).fit(X).estimate(X)
    rates, sizes = np.geomspace(0.5, 1000, 60), np.linspace(0.02, 2, 50)
    atoms = np.array(list(itertools.product(sizes, rates)))
    grid = np.min([rician_loss(signal(a), X, sigma) for a in atoms], axis=0)
    ours = rician_loss(signal(found.parameters), X, sigma)
    assert np.mean((ours > grid + 0.01) & (found.status != Status.NOT_CONVERGED)) <= 0.002


@pytest.mark.parametrize("top", [5.0, 100.0, 1000.0])
def test_wide_boxes_hide_no_exact_solution(top):
    model = IVIM([*B_VALUES, 150, 300, 500, 600, 1000], convention="total")
    truth = [1000.0, 0.132, 0.921, 8.85]
    bounds = {"f": (0, 0.3), "D": (0, top), "D_star": (1e-3, 10 * top)}
    X = model.simulate([truth])
    found = MLEEstimator(model, noise="gaussian", sigma=1.0, bounds=bounds).fit(X).predict(X)
    np.testing.assert_allclose(found[0], truth, rtol=1e-4)


def test_kurtosis_against_many_starts(rng):
    """Beyond b = 3 / (D K) the signal is constant: a plateau in both parameters."""
    b = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    model = Kurtosis(b * 1e3)
    X, y = make_signals(model, 40, sigma=0.1, random_state=3)

    def signal(p):
        return model.simulate(np.atleast_2d(p))[0]

    mle = MLEEstimator(model, sigma=0.1).fit(X)
    found = mle.estimate(X)
    ours = rician_loss(model.simulate(found.parameters), X, 0.1)
    bounds = [(0, None), (0.1, 4), (0, 3)]
    starts = list(itertools.product([1.0], [0.4, 1.2, 2.5, 3.8], [0.2, 1.5, 2.8]))
    for x, loss, truth in zip(X, ours, y, strict=True):
        best = best_of(lambda p, x=x: rician_loss(signal(p), x, 0.1), bounds, [*starts, truth])
        assert loss <= best + 1e-5


def test_two_decays_that_look_like_one(rng):
    """An estimate without the short component must not hide one that has it."""
    times = np.linspace(10, 320, 16)
    model = BiexponentialT2(times)
    X, y = make_signals(model, 30, sigma=1 / 30, random_state=0)
    found = MLEEstimator(model, sigma=1 / 30).fit(X).estimate(X)
    ours = rician_loss(model.simulate(found.parameters), X, 1 / 30)
    bounds = [(0, None), (0, 1), (5, 40), (40, 200)]
    starts = list(itertools.product([1.0], [0.1, 0.5], [8, 30], [60, 130]))
    for x, loss, truth in zip(X, ours, y, strict=True):

        def own(p, x=x):
            return rician_loss(model.simulate([p])[0], x, 1 / 30)

        assert loss <= best_of(own, bounds, [*starts, truth]) + 1e-5


def test_ridges_without_a_measured_amplitude_are_followed_to_their_end():
    model = IVIM(B_VALUES[1:])
    X, y = make_signals(model, 300, snr=30, random_state=0)
    found = MLEEstimator(model, sigma=1 / 30).fit(X).estimate(X)
    assert (found.status != Status.NOT_CONVERGED).mean() > 0.99
    ours = rician_loss(model.simulate(found.parameters), X, 1 / 30)
    assert (ours <= rician_loss(model.simulate(y), X, 1 / 30)).all()


class Plateau:
    """1e-9 * (u^2 / 20 - u) up to u = 2, where a wall begins: nearly flat, with a far optimum."""

    def expand(self, u, problem):
        beyond = (u - 2).clamp(min=0)
        loss = 1e-9 * (0.05 * u**2 - u) + beyond**2
        gradient = 1e-9 * (0.1 * u - 1) + 2 * beyond
        bend = 1e-10 + 2 * (beyond > 0).to(u.dtype)
        return Expansion(u, loss[0], gradient, bend, bend, torch.full_like(loss[0], 1e-3))


def test_a_last_step_that_goes_far_is_checked():
    """From u = 0 a gain of 5e-9 is predicted at u = 10, where the loss is 64."""
    one = torch.ones(64, dtype=torch.float64)
    problem = Problem(one[None], one, -20 * one[None, :1], 20 * one[None, :1])
    start = Plateau().expand(0 * one[None], problem)
    best, _, _ = _newton.minimize(Plateau(), start, problem, max_iter=50, tol=1e-8)
    assert (Plateau().expand(best.u, problem).loss <= 0).all()
    torch.testing.assert_close(best.loss, Plateau().expand(best.u, problem).loss)


@pytest.mark.parametrize(
    ("model", "fixed"),
    [
        (ADC([0, 200, 500, 1000]), None),
        (IVIM(B_VALUES, convention="total"), None),
        (SPGR([2, 5, 10, 15, 20], 15), {"B1": np.linspace(0.8, 1.2, 40)}),
        (InversionRecovery(TI, magnitude=True), None),
        (Kurtosis([0, 500, 1000, 2000, 3000]), None),
    ],
)
def test_rows_do_not_depend_on_their_company(model, fixed):
    X, y = make_signals(model, 40, snr=12, random_state=0)
    mle = MLEEstimator(model, sigma=1 / 12, fixed=fixed and dict.fromkeys(fixed, 1.0)).fit(X)
    whole = mle.estimate(X, fixed=fixed)
    for rows in (slice(0, 1), slice(7, 12), slice(39, 40)):
        own = fixed and {name: values[rows] for name, values in fixed.items()}
        part = mle.estimate(X[rows], fixed=own)
        for name in ("parameters", "nll", "status", "n_iter"):
            np.testing.assert_array_equal(part[name], whole[name][rows])


@pytest.mark.parametrize("sigma", [1e-300, 1e300])
def test_values_far_apart_are_refused_by_name(sigma):
    model = ADC([0, 200, 500, 1000])
    X = model.simulate([[1.0, 1.0]])
    with pytest.raises(ValueError, match="sigma"):
        MLEEstimator(model, sigma=sigma).fit(X).estimate(X)


def test_one_voxel_out_of_range_stops_no_others():
    model = ADC([0, 200, 500, 1000])
    X = model.simulate([[1.0, 1.0], [1e30, 1.0], [1.0, 2.0]])
    bounds = np.array([p.bounds for p in model.parameters]).T
    found = solve(model, Gaussian(), X, np.full(3, 0.01), bounds)
    np.testing.assert_array_equal(found.converged, [True, False, True])
    assert np.isnan(found.parameters[1]).all()
    np.testing.assert_allclose(found.parameters[[0, 2], 1], [1.0, 2.0])
