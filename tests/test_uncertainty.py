"""Standard deviations against Monte Carlo, closed forms and an independent integral."""

import numpy as np
import pytest
import torch
from scipy import integrate, special

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import cramer_rao_bound
from sklearn_qmri.noise import Gaussian, Rician
from sklearn_qmri.signal_models import ADC, IVIM, BiexponentialT2, Kurtosis, LinearGaussian


@pytest.mark.parametrize("a", [0.01, 0.3, 1.0, 2.7, 6.0, 20.0])
def test_rician_information_is_the_integral(a):
    def integrand(x):
        ratio = special.i1e(x * a) / special.i0e(x * a)
        density = x * np.exp(-((x - a) ** 2) / 2) * special.i0e(x * a)
        return density * (x * ratio - a) ** 2

    expected, _ = integrate.quad(integrand, max(a - 12, 0), a + 12, points=[a], epsabs=1e-13)
    assert Rician().information(np.array(a)) == pytest.approx(expected, rel=1e-5)


def test_rician_information_limits():
    assert Rician().information(np.array(0.0)) == pytest.approx(0, abs=1e-12)
    assert Rician().information(np.array(1e-3)) == pytest.approx(1e-6, rel=1e-3)
    assert Rician().information(np.array(1e3)) == pytest.approx(1 - 0.5e-6, abs=1e-8)
    assert Rician().information(np.array(-2.0)) == Rician().information(np.array(2.0))


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
def test_information_is_the_variance_of_the_score(noise, rng):
    a, n = 1.5, 400_000
    x = torch.as_tensor(noise.sample(np.full(n, a), rng))
    score = noise.derivatives(x, torch.tensor(a, dtype=torch.float64))[1].numpy()
    assert score.var() == pytest.approx(noise.information(np.array(a)), rel=0.02)


def test_bound_of_a_linear_model_is_that_of_least_squares(rng):
    coef = rng.normal(size=(2, 6))
    model = LinearGaussian(coef, np.zeros(6), np.zeros(2), np.ones(2))
    expected = 0.3 * np.sqrt(np.diag(np.linalg.inv(coef @ coef.T)))
    np.testing.assert_allclose(cramer_rao_bound(model, [[1.0, 2.0]], sigma=0.3)[0], expected)


def test_bound_scales_with_sigma_and_orders_noise_models(model):
    theta = [[1.0, 0.3, 1.0, 40.0]]
    one, two = (cramer_rao_bound(model, theta, noise="gaussian", sigma=s) for s in (0.01, 0.02))
    np.testing.assert_allclose(two, 2 * one)
    assert (cramer_rao_bound(model, theta, sigma=0.2) > 20 * one).all(), "magnitudes know less"


def test_what_is_not_identified_has_no_bound(model):
    no_perfusion = cramer_rao_bound(model, [[1.0, 0.0, 1.0, 40.0]], sigma=0.02)[0]
    assert np.isnan(no_perfusion).tolist() == [False, False, False, True]
    one_b_value = cramer_rao_bound(IVIM([50, 50, 50, 50, 50]), [[1.0, 0.3, 1.0, 40]], sigma=0.02)
    assert np.isnan(one_b_value).all()


@pytest.mark.parametrize(("snr", "columns"), [(50, [0, 1, 2]), (200, [0, 1, 2, 3])])
def test_reported_std_is_the_spread(model, snr, columns):
    """Away from bounds and at enough SNR: within 5 %."""
    prior = {"S0": (1, 1), "f": (0.3, 0.4), "D": (0.8, 1.2), "D_star": (30, 60)}
    X, y = make_signals(model, 40, snr=snr, n_repeats=400, prior=prior, random_state=0)
    found, std = MLEEstimator(model, sigma=1 / snr).fit(X).predict(X, return_std=True)
    spread = found.reshape(40, 400, 4).std(axis=1)
    reported = np.nanmedian(std.reshape(40, 400, 4), axis=1)
    ratio = np.median(reported / spread, axis=0)[columns]
    np.testing.assert_allclose(ratio, 1, atol=0.05)
    bound = cramer_rao_bound(model, y[::400], sigma=1 / snr)
    np.testing.assert_allclose(np.median(reported / bound, axis=0)[columns], 1, atol=0.05)


def test_std_is_nan_on_bounds_and_for_bad_rows(model):
    X, _ = make_signals(model, 500, snr=15, random_state=0)
    X[0] = np.nan
    with pytest.warns(UserWarning, match="1 of 500"):
        result = MLEEstimator(model, sigma=1 / 15).fit(X[1:]).estimate(X, return_std=True)
    assert np.isnan(result.std[0]).all()
    assert np.isnan(result.std[result.at_bound]).all()
    inside = result.status == Status.OK
    known = np.isfinite(result.std[inside])
    assert known[:, :2].all()
    assert (known.mean(axis=0) > 0.9).all(), "unknown where the estimate hardly excludes f = 0"
    assert (result.std[inside][known] > 0).all()


def test_std_of_one_output(rng):
    y = rng.normal(size=200)
    X = y[:, None] * [1.0, 2.0] + 0.1 * rng.normal(size=(200, 2))
    mean, std = MLEEstimator(sigma=0.1).fit(X, y).predict(X, return_std=True)
    assert mean.shape == std.shape == (200,)
    np.testing.assert_allclose(std, 0.1 / np.sqrt(5), rtol=0.05)


def coverage(model, snr, tissue=None, n=4000):
    """Share of 95 % intervals that hold the truth, by status and parameter; and their number."""
    if tissue is None:
        y = make_signals(model, n, sigma=1e-9, random_state=5)[1]
    else:
        y = np.repeat([tissue], n, axis=0)
    X = Rician().sample(model.simulate(y) * snr, np.random.RandomState(6)) / snr
    found = MLEEstimator(model, sigma=1 / snr).fit(X).estimate(X, return_std=True)
    covered = np.abs(found.parameters - y) <= 1.96 * found.std
    results = {}
    for status in (Status.OK, Status.AT_BOUND):
        given = (found.status == status)[:, None] & np.isfinite(found.std)
        n_given = given.sum(axis=0)
        results[status] = np.where(given, covered, 0).sum(axis=0) / np.maximum(n_given, 1), n_given
    return results


@pytest.mark.filterwarnings("ignore:.*did not converge")
@pytest.mark.parametrize(
    ("name", "snr", "tissue"),
    [
        ("IVIM", 15, None),
        ("IVIM", 30, None),
        ("IVIM", 15, [1.0, 0.1, 1.0, 20.0]),
        ("kurtosis", 15, None),
        ("biexponential T2", 100, None),
        ("ADC", 10, None),
    ],
)
def test_intervals_hold_the_truth_or_are_unknown(name, snr, tissue):
    """Nominal 95 %; wherever there are enough intervals to measure their coverage."""
    model = {
        "IVIM": IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800]),
        "kurtosis": Kurtosis([0, 500, 1000, 1500, 2000, 2500]),
        "biexponential T2": BiexponentialT2(np.arange(1, 33) * 10.0),
        "ADC": ADC([0, 200, 500, 1000]),
    }[name]
    found = coverage(model, snr, tissue)
    for status, least in ((Status.OK, 0.92), (Status.AT_BOUND, 0.85)):
        share, n = found[status]
        assert (share[n >= 100] > least).all(), (status, share, n)
    share, n = found[Status.OK]
    assert (n > 0.4 * n.max()).all(), "not by being silent"


def test_std_beside_a_bound_is_that_of_unknown_parameters_or_none(model):
    """f and D of voxels whose D_star is on its upper bound, where it is hardly of importance."""
    X, _ = make_signals(model, 3000, snr=15, random_state=0)
    result = MLEEstimator(model, sigma=1 / 15).fit(X).estimate(X, return_std=True)
    beside = (result.status == Status.AT_BOUND)[:, None] & np.isfinite(result.std)
    rows = beside.any(axis=1)
    bound = cramer_rao_bound(model, result.parameters[rows], sigma=1 / 15)
    ratio = (result.std[rows] / bound)[beside[rows]]
    assert beside[:, 0].sum() > 300
    assert 0.7 < ratio.min() <= ratio.max() < 1.5
    assert not beside[:, 3].any() or beside[:, 3].mean() < 0.01


def test_std_of_a_linear_model_is_the_bound(rng):
    """Constant information: averaging it over the estimate's uncertainty changes nothing."""
    coef = rng.normal(size=(2, 6))
    model = LinearGaussian(coef, np.zeros(6), np.zeros(2), np.ones(2))
    X = rng.normal(size=(5, 2)) @ coef
    std = MLEEstimator(model, sigma=0.3).fit(X).predict(X, return_std=True)[1]
    np.testing.assert_allclose(std, cramer_rao_bound(model, X[:, :2], sigma=0.3), rtol=1e-9)


def test_what_scan_noise_may_hide_has_no_std(model):
    """Where f may be 0 within its own error, D_star may be anything."""
    X = model.simulate([[1.0, 0.02, 1.0, 20.0], [1.0, 0.3, 1.0, 20.0]])
    std = MLEEstimator(model, sigma=1 / 30).fit(X).predict(X, return_std=True)[1]
    assert np.isnan(std[0, 3])
    assert np.isfinite(std[1]).all()
