"""The optimum itself: against the truth where there is no noise, against scipy where there is."""

import numpy as np
import pytest
import torch
from conftest import B_VALUES, PAPER_BOUNDS
from scipy import optimize, special

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import IVIM, Parameter, SignalModel

B = np.array(B_VALUES) * 1e-3
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
LOW = np.array([0.0, 0.01, 0.01, 2.0])
HIGH = np.array([5.0, 0.5, 4.0, 300.0])


def rician_nll(scaled, x, snr):
    """Negative log-likelihood and gradient, written for scipy alone."""
    S0, f, D, D_star = scaled * SCALE
    slow, fast = np.exp(-B * D), np.exp(-B * (D + D_star))
    signal = S0 * (f * fast + (1 - f) * slow)
    a, m = signal * snr, x * snr
    z = a * m
    loss = (m - a) ** 2 / 2 - np.log(special.i0e(z)) - np.log(m) - np.log(snr)
    by_a = a - m * special.i1e(z) / special.i0e(z)
    by_theta = [signal / S0 if S0 else slow, S0 * (fast - slow), -B * signal, -B * S0 * f * fast]
    return loss.sum(), np.array([np.sum(by_a * snr * d) for d in by_theta]) * SCALE


def multistart(x, snr, rng, n_starts=8):
    best = np.inf
    for _ in range(n_starts):
        start = np.array([x.max() * rng.uniform(0.8, 1.1), *rng.uniform(LOW[1:], HIGH[1:])])
        found = optimize.minimize(
            rician_nll, start / SCALE, (x, snr), jac=True, method="L-BFGS-B",
            bounds=list(zip(LOW / SCALE, HIGH / SCALE, strict=True)),
            options={"ftol": 1e-15, "gtol": 1e-9, "maxiter": 1000},
        )  # fmt: skip
        best = min(best, found.fun)
    return best


@pytest.mark.parametrize("snr", [15, 30])
def test_likelihood_reaches_that_of_scipy_from_many_starts(model, snr, rng):
    X, _ = make_signals(model, 500, snr=snr, random_state=100 + snr)
    result = MLEEstimator(model, sigma=1 / snr, bounds=PAPER_BOUNDS).fit(X).estimate(X)
    reference = np.array([multistart(x, snr, rng) for x in X])
    assert np.mean(result.nll <= reference + 1e-6) >= 0.99
    own = [rician_nll(p / SCALE, x, snr)[0] for p, x in zip(result.parameters, X, strict=True)]
    np.testing.assert_allclose(result.nll, own, rtol=0, atol=1e-8)


@pytest.mark.parametrize("convention", ["additive", "total"])
def test_noise_free_recovery(convention):
    model = IVIM(B_VALUES, convention=convention)
    X, y = make_signals(model, 2000, noise="gaussian", sigma=1e-12, random_state=0)
    mle = MLEEstimator(model, noise="gaussian", sigma=1e-3).fit(X)
    result = mle.estimate(X)
    scale = [p.loss_scale for p in model.parameters]
    assert np.abs((result.parameters - y) / scale).max() < 1e-5
    assert (result.status == Status.OK).all()


def test_more_starts_never_lose(model):
    X, _ = make_signals(model, 300, snr=15, random_state=3)
    few, many = (
        MLEEstimator(model, sigma=1 / 15, n_starts=n).fit(X).estimate(X).nll for n in (2, 32)
    )
    assert np.mean(many <= few + 1e-6) > 0.99
    assert many.mean() <= few.mean()


def test_estimates_respect_bounds_and_say_so(model):
    X, _ = make_signals(model, 500, snr=15, random_state=1)
    result = MLEEstimator(model, sigma=1 / 15, bounds=PAPER_BOUNDS).fit(X).estimate(X)
    low, high = (np.array([PAPER_BOUNDS[n][i] for n in model.parameter_names[1:]]) for i in (0, 1))
    estimates = result.parameters[:, 1:]
    assert ((estimates >= low) & (estimates <= high)).all()
    np.testing.assert_array_equal(result.at_bound[:, 1:], (estimates == low) | (estimates == high))
    np.testing.assert_array_equal(result.status == Status.AT_BOUND, result.at_bound.any(axis=1))
    assert 0.1 < result.at_bound.any(axis=1).mean() < 0.5


def test_optimum_is_stationary(model):
    """The gradient vanishes, or points out of the box."""
    X, _ = make_signals(model, 200, snr=30, random_state=2)
    result = MLEEstimator(model, sigma=1 / 30, bounds=PAPER_BOUNDS).fit(X).estimate(X)
    for x, p, bound in zip(X, result.parameters, result.at_bound, strict=True):
        gradient = rician_nll(p / SCALE, x, 30)[1]
        np.testing.assert_allclose(gradient[~bound], 0, atol=0.02)
        assert (gradient * np.where(p == HIGH, -1, 1))[bound].min(initial=0) >= 0


def test_iteration_limit_is_reported(model):
    X, _ = make_signals(model, 100, snr=15, random_state=2)
    mle = MLEEstimator(model, sigma=1 / 15, max_iter=1).fit(X)
    with pytest.warns(UserWarning, match="did not converge in 1 iterations"):
        result = mle.estimate(X)
    assert (result.status == Status.NOT_CONVERGED).any()


@pytest.mark.parametrize("n_starts", [0, 3, 1024, 2.0])
def test_bad_number_of_starts(model, n_starts):
    X, _ = make_signals(model, 10, snr=15, random_state=2)
    with pytest.raises(ValueError, match="'n_starts' parameter of MLEEstimator"):
        MLEEstimator(model, n_starts=n_starts).fit(X)


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ({"f": (0.5, 0.1)}, r"bounds\['f'\] expects"),
        ({"f": (0, None)}, "expects two numbers"),
        ({"g": (0, 1)}, r"bounds names \['g'\]"),
        ({"D_star": (0, 100)}, "expects low > 0"),
    ],
)
def test_bad_bounds(model, bounds, message):
    X, _ = make_signals(model, 10, snr=15, random_state=2)
    with pytest.raises(ValueError, match=message):
        MLEEstimator(model, sigma=0.1, bounds=bounds).fit(X)


class Recovery(SignalModel):
    """Signed inversion recovery with an offset: two amplitudes, Gaussian, autodiff only."""

    magnitude = False
    parameters = (
        Parameter("S0", "signal", (0.0, np.inf), (0.8, 1.2), amplitude=True),
        Parameter("offset", "signal", (-np.inf, np.inf), (-0.2, 0.2), amplitude=True),
        Parameter("T1", "ms", (10.0, 6000.0), (300.0, 3000.0), log=True),
    )

    def __init__(self, inversion_times):
        self.inversion_times = inversion_times

    def signal(self, theta):
        S0, offset, T1 = theta
        return S0 * (1 - 2 * torch.exp(-self.acquisition("inversion_times", theta) / T1)) + offset


def test_users_model_with_signal_only():
    model = Recovery([50, 100, 200, 500, 1000, 2000, 4000])
    X, y = make_signals(model, 500, sigma=1e-12, random_state=0)
    result = MLEEstimator(model, sigma=1e-3).fit(X).estimate(X)
    scale = [p.loss_scale for p in model.parameters]
    assert np.abs((result.parameters - y) / scale).max() < 1e-5


class Shifted(SignalModel):
    """No amplitude at all: the scale of the signal is known."""

    magnitude = False
    parameters = (Parameter("D", "um^2/ms", (0.01, 4.0), (0.3, 3.0)),)

    def __init__(self, b_values):
        self.b_values = b_values

    def signal(self, theta):
        return torch.exp(-self.acquisition("b_values", theta) * 1e-3 * theta[0])


def test_model_without_amplitude():
    model = Shifted([0, 500, 1000])
    X, y = make_signals(model, 200, sigma=1e-12, random_state=0)
    estimates = MLEEstimator(model, sigma=1e-3).fit(X).predict(X)
    np.testing.assert_allclose(estimates, y, atol=1e-6)


class FirstDerivatives(IVIM):
    """A user's model that stops at the jacobian ..."""

    curvature = SignalModel.curvature


class SignalAlone(FirstDerivatives):
    """... or at the signal."""

    jacobian = SignalModel.jacobian


@pytest.mark.parametrize("kind", [FirstDerivatives, SignalAlone])
@pytest.mark.parametrize("snr", [15, 30])
def test_a_model_needs_no_derivatives(kind, snr):
    X, _ = make_signals(IVIM(B_VALUES), 2000, snr=snr, random_state=4)
    known, found = (
        MLEEstimator(model(B_VALUES), sigma=1 / snr, bounds=PAPER_BOUNDS).fit(X).estimate(X)
        for model in (IVIM, kind)
    )
    assert np.mean(found.nll <= known.nll + 1e-6) >= 0.999
    assert np.mean(found.status == Status.NOT_CONVERGED) <= 0.001


def test_b_values_need_no_order_and_no_zero(model):
    order = np.random.RandomState(0).permutation(10)[:9]  # leaves b = 0 out or not, shuffled
    shuffled = IVIM(np.array(B_VALUES)[order])
    X, _ = make_signals(shuffled, 200, snr=50, random_state=0)
    ordered = IVIM(np.sort(shuffled.b_values))
    one = MLEEstimator(shuffled, sigma=0.02).fit(X).estimate(X).nll
    other_X = X[:, np.argsort(shuffled.b_values)]
    two = MLEEstimator(ordered, sigma=0.02).fit(other_X).estimate(other_X).nll
    assert np.mean(np.abs(one - two) < 1e-6) > 0.98


@pytest.mark.parametrize("snr", [1, 2])
def test_no_signal_is_left_where_there_is_some(model, snr):
    """A Rician likelihood has no slope at S0 = 0, which must not pass for an optimum."""
    X, _ = make_signals(model, 1000, snr=snr, random_state=3)
    few, many = (MLEEstimator(model, sigma=1 / snr, n_starts=n).fit(X).estimate(X) for n in (8, 64))
    at_zero = few.parameters[:, 0] == 0
    assert np.mean(at_zero & (few.nll > many.nll + 0.01)) < 0.01


def test_iterations_of_a_row_are_its_own(model):
    X, _ = make_signals(model, 400, snr=15, random_state=0)
    mle = MLEEstimator(model, sigma=1 / 15).fit(X)
    whole = mle.estimate(X).n_iter
    part = mle.estimate(X[:37]).n_iter
    assert np.mean(whole[:37] == part) > 0.85  # the rest are at the tolerance


class Misleading(Shifted):
    """Its derivative has the wrong sign, so that every step leads uphill."""

    def jacobian(self, theta):
        signal, jacobian = super().jacobian(theta)
        return signal, -jacobian


def test_stalling_is_not_converging():
    model = Misleading([0, 500, 1000])
    X, _ = make_signals(model, 100, sigma=0.01, random_state=0)
    mle = MLEEstimator(model, sigma=0.01).fit(X)
    with pytest.warns(UserWarning, match="did not converge"):
        result = mle.estimate(X)
    assert (result.status == Status.NOT_CONVERGED).mean() > 0.9
