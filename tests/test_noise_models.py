"""What holds for every noise model, and noise levels per measurement."""

import mpmath
import numpy as np
import pytest
import torch
from scipy import integrate
from sklearn.linear_model import LinearRegression

from sklearn_qmri import (
    HybridLabelRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
    Status,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import (
    AveragedMagnitude,
    DenoisedMagnitude,
    Gaussian,
    MagnitudeGaussian,
    NoiseModel,
    NonCentralChi,
    Rician,
    log_bessel,
)
from sklearn_qmri.persistence import load_estimator, save_estimator
from sklearn_qmri.signal_models import ADC, IVIM, BiexponentialT2, InversionRecovery, T2Decay

B = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
MODELS = [
    Gaussian(), MagnitudeGaussian(), Rician(), NonCentralChi(1), NonCentralChi(4),
    NonCentralChi(32), NonCentralChi(128), AveragedMagnitude(1), AveragedMagnitude(6.5),
    DenoisedMagnitude(3.0), DenoisedMagnitude(0),
]  # fmt: skip
SIGNALS = [0.5, 1.3, 3.0, 7.0, 11.9, 12.1, 100.0, 1e4]
ids = {"ids": repr}


def around(noise, a):
    """Measurements up to two standard deviations to each side of the mean, possible ones."""
    a = torch.tensor(a, dtype=torch.float64)
    x = noise.mean(a) + noise.variance(a).sqrt() * torch.linspace(-2, 2, 5, dtype=torch.float64)
    return x.clamp(min=0.05), a


@pytest.mark.parametrize("noise", MODELS, **ids)
@pytest.mark.parametrize("a", SIGNALS)
def test_derivatives_are_those_of_the_loss(noise, a):
    x, a = around(noise, a)
    h = 1e-5 * (1 + a)
    _, first, second = noise.derivatives(x, a)
    up, down = noise.derivatives(x, a + h), noise.derivatives(x, a - h)
    torch.testing.assert_close(first, (up[0] - down[0]) / (2 * h), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(second, (up[1] - down[1]) / (2 * h), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("noise", MODELS, **ids)
@pytest.mark.parametrize("a", [0.0, *SIGNALS])
def test_density_has_the_moments_and_the_information(noise, a):
    """By quadrature of the density over all of its mass."""
    signal = torch.tensor(a, dtype=torch.float64)
    mean, std = noise.mean(signal).item(), noise.variance(signal).sqrt().item()

    def over_density(function):
        def integrand(x):
            x = torch.tensor(x, dtype=torch.float64)
            loss, first, _ = noise.derivatives(x, signal)
            density = torch.exp(-loss - noise.normalizer(x))
            return (density * function(x, first)).item()

        # The density of averages is that of a normal variable, which is negative too.
        positive = isinstance(noise, NonCentralChi)
        low = max(mean - 12 * std, 0) if positive else mean - 12 * std
        return integrate.quad(integrand, low, mean + 12 * std, points=[mean], epsabs=1e-12)[0]

    assert over_density(lambda x, first: 1.0) == pytest.approx(1, abs=1e-7)
    assert over_density(lambda x, first: x - mean) == pytest.approx(0, abs=1e-7 * (1 + a))
    assert over_density(lambda x, first: (x - mean) ** 2) == pytest.approx(std**2, rel=1e-6)
    information = noise.information(np.array(a))
    assert over_density(lambda x, first: first**2) == pytest.approx(information, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("noise", MODELS, **ids)
@pytest.mark.parametrize("a", [0.5, 2.0, 30.0])
def test_samples_have_the_moments(noise, a):
    n, signal = 200_000, torch.tensor(a, dtype=torch.float64)
    x = noise.sample(np.full(n, a), np.random.RandomState(0))
    variance = noise.variance(signal).item()
    assert x.mean() == pytest.approx(noise.mean(signal).item(), abs=4 * np.sqrt(variance / n))
    assert x.var() == pytest.approx(variance, rel=0.015)


@pytest.mark.parametrize("noise", MODELS, **ids)
def test_bias_is_mostly_removed(noise):
    a = torch.tensor([10.0, 30.0, 100.0], dtype=torch.float64)
    before, after = (noise.mean(a) - a).abs(), (noise.without_bias(noise.mean(a)) - a).abs()
    assert (after <= 0.2 * before).all()


@pytest.mark.parametrize("noise", [n for n in MODELS if n.even], **ids)
def test_even_models_do_not_see_the_sign(noise):
    x, a = around(noise, 2.0)
    plus, minus = noise.derivatives(x, a), noise.derivatives(x, -a)
    for ours, theirs, sign in zip(plus, minus, (1, -1, 1), strict=True):
        torch.testing.assert_close(ours, sign * theirs)


@pytest.mark.parametrize("order", [1, 7, 31, 127])
def test_bessel_functions_of_higher_order(order):
    z = np.concatenate([[1e-6, 1e-2], np.geomspace(0.1, 1e7, 40)])
    found = np.array([part.numpy() for part in log_bessel(torch.tensor(z), order)])
    for value, (log, slope, bend) in zip(z, found.T, strict=True):
        with mpmath.workdps(40):
            own = mpmath.besseli(order, value)
            ratio = mpmath.besseli(order + 1, value) / own
            exact = mpmath.log(own) - value - order * mpmath.log(mpmath.mpf(value) / 2)
            exact += mpmath.loggamma(order + 1)
            curve = 1 - ratio**2 - (2 * order + 1) / mpmath.mpf(value) * ratio
        assert log == pytest.approx(float(exact), abs=1e-10 if order < 64 else 1e-7)
        assert slope == pytest.approx(float(ratio - 1), rel=1e-8 if order < 64 else 1e-6)
        assert bend == pytest.approx(float(curve), rel=1e-5 if order < 64 else 1e-4)


def test_one_coil_is_rician():
    x, a = around(Rician(), 1.7)
    for ours, theirs in zip(
        NonCentralChi(1).derivatives(x, a), Rician().derivatives(x, a), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    assert NonCentralChi(1).variance(a).item() == pytest.approx(Rician().variance(a).item(), 1e-8)


@pytest.mark.parametrize("n_coils", [0, -1, 2.0, True, "8", 129])
def test_bad_numbers_of_coils(n_coils):
    with pytest.raises(ValueError, match="n_coils expects a positive integer"):
        NonCentralChi(n_coils)


@pytest.mark.parametrize(
    "n_averages", [0, -1, [1, 0], [1, np.nan], np.inf, [[1, 2]], "4", ["1", "4"], True, []]
)
def test_bad_numbers_of_averages(n_averages):
    with pytest.raises(ValueError, match="n_averages expects a positive number"):
        AveragedMagnitude(n_averages)


@pytest.mark.parametrize("floor", [-1, np.inf, np.nan, "3"])
def test_bad_floors(floor):
    with pytest.raises(ValueError, match="floor expects a finite number"):
        DenoisedMagnitude(floor)


def test_averages_of_another_protocol(rng):
    noise = AveragedMagnitude([1, 4, 8])
    X, _ = make_signals(ADC([0, 500]), 10, snr=30, random_state=0)
    with pytest.raises(ValueError, match="noise expects 2 values, one per measurement"):
        MLEEstimator(ADC([0, 500]), noise=noise, sigma=0.1).fit(X)


def test_unequal_averages():
    """The right noise model has less than a tenth of the bias of Rician noise, and learns sigma."""
    model, snr, n = ADC([0, 200, 400, 800, 1500]), 15, np.array([1, 1, 1, 4, 8])
    signal = np.broadcast_to(model.simulate([[1.0, 1.5]])[0] * snr, (20_000, n.max(), len(n)))
    x = Rician().sample(signal, np.random.RandomState(0))
    X = np.stack([x[:, :k, j].mean(axis=1) for j, k in enumerate(n)], axis=1) / snr
    right = MLEEstimator(model, noise=AveragedMagnitude(n)).fit(X)
    plain = MLEEstimator(model).fit(X)
    # The median, as the mean of any unbiased likelihood's estimates has a bias of its own.
    bias = [abs(np.median(fit.predict(X)[:, 1]) - 1.5) for fit in (right, plain)]
    assert bias[0] < 0.1 * bias[1]
    assert right.sigma_ * snr == pytest.approx(1, rel=0.02)


def test_sum_of_squares_of_eight_coils():
    model, snr, coils = ADC([0, 0, 300, 600, 1000, 1500]), 5, NonCentralChi(8)
    signal = np.repeat(model.simulate([[1.0, 1.5]]) * snr, 4000, axis=0)
    # Not from the noise model: eight complex coils that share the signal evenly.
    rng = np.random.RandomState(0)
    parts = rng.standard_normal((2, 8, *signal.shape))
    parts[0] += signal / np.sqrt(8)
    X = np.sqrt((parts**2).sum(axis=(0, 1))) / snr
    fits = [MLEEstimator(model, noise=n, sigma=1 / snr).fit(X) for n in (coils, "rician")]
    bias = [abs(np.median(fit.predict(X)[:, 1]) - 1.5) for fit in fits]
    assert bias[0] < 0.1 * bias[1]


@pytest.mark.parametrize("snr", [8, 20])
def test_denoising_by_principal_components(snr):
    """Patches keep three components, as in MP-PCA: less noise, but the floor of all of it."""
    model = ADC(np.repeat([0.0, 200, 400, 800, 1200, 1600, 2000], 4))
    rng, n_patches, n_voxels = np.random.RandomState(0), 60, 125
    D = rng.uniform(1, 2, (n_patches, 1)) + rng.uniform(-0.2, 0.2, (n_patches, n_voxels))
    signal = model.simulate(np.stack([np.ones(D.size), D.ravel()], axis=1)) * snr
    noisy = Rician().sample(signal, rng).reshape(n_patches, n_voxels, -1) / snr
    u, s, v = np.linalg.svd(noisy, full_matrices=False)
    X = ((u * s[:, None] * (np.arange(28) < 3)) @ v).reshape(len(signal), -1)
    # What a denoiser tells: the noise before, 1 / snr, and the noise that is left.
    left = np.std(X - Rician().mean(torch.as_tensor(signal)).numpy() / snr)
    assert left < 0.45 / snr
    right = MLEEstimator(model, noise=DenoisedMagnitude(1 / snr / left), sigma=left).fit(X)
    with pytest.warns(UserWarning, match="times that of repeated measurements"):
        plain = MLEEstimator(model).fit(X)
    bias = [abs(np.median(fit.predict(X)[:, 1] - D.ravel())) for fit in (right, plain)]
    assert bias[0] < 0.1 * bias[1]
    assert bias[0] < 0.002


@pytest.mark.parametrize(
    "noise",
    [NonCentralChi(4), AveragedMagnitude([1] * 7 + [2, 4, 8]), DenoisedMagnitude(2.0)],
    **ids,
)
def test_every_estimator_takes_them(noise):
    """With the right noise, errors of maximum likelihood are the bound, and posteriors agree."""
    model = IVIM(B)
    X, y = make_signals(model, 1500, snr=30, noise=noise, random_state=0)
    given = {"sigma": 1 / 30, "noise": noise}
    prior = {"S0": (0.5, 1.6), "f": (0.0, 0.7), "D": (0.1, 3.5), "D_star": (3.0, 300.0)}
    posterior = PosteriorMeanEstimator(model, prior=prior, random_state=0, **given)
    net = PretrainedNetRegressor(model, bias_weight=1, **given)
    errors = [np.mean((e.fit(X).predict(X) - y) ** 2, axis=0)[1:3] for e in (posterior, net)]
    assert (errors[1] < 1.3 * errors[0]).all()
    results = MLEEstimator(model, **given).fit(X).estimate(X, return_std=True)
    ok = (results.status == Status.OK) & np.isfinite(results.std).all(axis=1)
    scaled = ((results.parameters - y) / results.std)[ok]
    # Errors of D_star are not normal, and those rows whose std is known are a choice.
    assert np.all(np.abs(np.median(np.abs(scaled), axis=0)[:3] / 0.6745 - 1) < 0.12)


class Halved(NoiseModel):
    """Gaussian noise whose standard deviation is half of sigma, to test models of users."""

    def derivatives(self, x, a):
        return 2 * (x - a) ** 2, 4 * (a - x), torch.full_like(a - x, 4.0)

    def normalizer(self, x):
        return torch.full_like(x, 0.5 * np.log(2 * np.pi) - np.log(2))

    def without_bias(self, x):
        return x

    def mean(self, a):
        return a

    def variance(self, a):
        return torch.full_like(a, 0.25)

    def information(self, a):
        return np.full_like(a, 4.0)

    def sample(self, a, rng):
        return a + rng.standard_normal(a.shape) / 2

    def _is_valid(self, X):
        return np.isfinite(X).all(axis=1)


def test_noise_model_of_a_user():
    model = T2Decay([10, 30, 60, 100, 150])
    X, _ = make_signals(model, 500, snr=50, noise=Halved(), random_state=0)
    own, gaussian = (
        MLEEstimator(model, noise=n, sigma=s).fit(X).estimate(X, return_std=True)
        for n, s in ((Halved(), 1 / 50), (Gaussian(), 1 / 100))
    )
    np.testing.assert_allclose(own.parameters, gaussian.parameters, rtol=1e-4)
    np.testing.assert_allclose(own.std, gaussian.std, rtol=1e-3)
    np.testing.assert_allclose(own.nll, gaussian.nll, rtol=1e-6, atol=1e-6)
    assert MLEEstimator(model, noise=Halved()).fit(X).sigma_ * 50 == pytest.approx(1, rel=0.05)


# Noise levels per measurement and missing measurements.

PROTOCOLS = {
    "IVIM": IVIM(B),
    "ADC": ADC([0, 200, 500, 800, 1000]),
    "T2": T2Decay([10, 30, 50, 80, 120, 200]),
    "two-T2": BiexponentialT2([8, 16, 24, 40, 60, 80, 120, 160]),
    "IR": InversionRecovery([50, 200, 500, 1000, 2000, 4000], magnitude=True),
}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_equal_levels_are_one_level(name):
    model = PROTOCOLS[name]
    X, _ = make_signals(model, 300, snr=60, random_state=0)
    one = MLEEstimator(model, sigma=1 / 60).fit(X).estimate(X, return_std=True)
    each = np.full((1, model.n_measurements), 1 / 60)
    many = MLEEstimator(model, sigma=each).fit(X).estimate(X, return_std=True)
    agree = np.isclose(one.nll, many.nll, rtol=1e-6, atol=1e-6)
    assert agree.mean() > 0.99
    assert (many.nll <= one.nll + 1e-6).mean() > 0.99
    np.testing.assert_allclose(one.std[agree], many.std[agree], rtol=0.02)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_missing_measurement_is_a_protocol_without_it(name):
    model = PROTOCOLS[name]
    X, _ = make_signals(model, 200, snr=60, random_state=0)
    j = 2
    values = {k: np.delete(v, j) if np.ndim(v) else v for k, v in model.get_params().items()}
    shorter = type(model)(**values)
    fewer = np.delete(X, j, axis=1)
    expected = MLEEstimator(shorter, sigma=1 / 60).fit(fewer).estimate(fewer, return_std=True)
    X[:, j] = np.nan
    with pytest.warns(UserWarning, match="Measurements are missing"):
        found = MLEEstimator(model, sigma=1 / 60).fit(X).estimate(X, return_std=True)
    agree = np.isclose(found.nll, expected.nll, rtol=1e-6, atol=1e-6)
    assert agree.mean() > 0.98
    for key in ("bic", "aic", "residual_rms"):
        np.testing.assert_allclose(found[key][agree], expected[key][agree], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("estimator", [MLEEstimator, PretrainedNetRegressor])
def test_repeats_are_an_average_of_less_noise(estimator):
    """Two Gaussian repeats of a measurement are one of their mean with sigma / sqrt(2)."""
    model = IVIM([*B, 800])
    X, _ = make_signals(model, 300, snr=40, noise="gaussian", random_state=0)
    mean = np.column_stack([X[:, :-2], X[:, -2:].mean(axis=1)])
    levels = np.full((1, len(B)), 1 / 40)
    levels[0, -1] /= np.sqrt(2)
    both = estimator(model, noise="gaussian", sigma=1 / 40).fit(X).predict(X)
    one = estimator(IVIM(B), noise="gaussian", sigma=levels).fit(mean).predict(mean)
    change = np.abs(both - one) / [1.0, 0.3, 1.7, 80.0]
    assert np.quantile(change, 0.98) < 0.01


@pytest.mark.parametrize("estimator", [MLEEstimator, PretrainedNetRegressor])
def test_rows_with_missing_measurements(estimator):
    """Other rows do not change, infinity in sigma is the same as NaN, too few leave no estimate."""
    model = IVIM(B)
    X, _ = make_signals(model, 60, snr=40, random_state=0)
    fitted = estimator(model, sigma=1 / 40).fit(X)
    whole = fitted.predict(X)
    spoilt = X.copy()
    spoilt[5, 3] = spoilt[7, :7] = spoilt[9] = np.nan
    with pytest.warns(UserWarning, match="rows") as caught:
        found = fitted.estimate(spoilt)
    messages = " ".join(str(w.message) for w in caught)
    assert "missing (NaN) in 1 of 58 rows" in messages
    assert "2 of 60 rows hold" in messages
    rest = np.setdiff1d(np.arange(60), [5, 7, 9])
    np.testing.assert_array_equal(found.parameters[rest], whole[rest])
    assert np.isfinite(found.parameters[5]).all()
    assert np.isnan(found.parameters[[7, 9]]).all()
    assert (found.status[[7, 9]] == Status.BAD_INPUT).all()
    sigma = np.where(np.isnan(spoilt), np.inf, 1 / 40)
    given = fitted.predict(np.nan_to_num(spoilt, nan=1e9), sigma=sigma)
    np.testing.assert_allclose(given[5], found.parameters[5], rtol=1e-5)
    with pytest.warns(UserWarning, match="missing"):
        np.testing.assert_array_equal(fitted.predict(spoilt[5:6])[0], found.parameters[5])


@pytest.mark.parametrize("estimator", [MLEEstimator, PretrainedNetRegressor])
def test_sigma_is_learnt_from_what_is_there(estimator, rng):
    X, _ = make_signals(IVIM(B), 1500, snr=30, random_state=0)
    X[rng.random(X.shape) < 0.1] = np.nan
    assert estimator(IVIM(B)).fit(X).sigma_ * 30 == pytest.approx(1, rel=0.05)
    X[:, :6] = np.nan
    with pytest.raises(ValueError, match="4 measurements leave no degrees"):
        MLEEstimator(IVIM(B)).fit(X)


@pytest.mark.parametrize(
    ("sigma", "message"),
    [
        (np.full((1, 9), 0.1), r"or one per measurement \(shape \(30, 10\) or \(1, 10\)\)"),
        (np.zeros((1, 10)), "sigma expects positive finite numbers"),
        (np.full((30, 10), np.nan), "in 30 of 30 voxels"),
    ],
)
def test_bad_levels(sigma, message):
    X, _ = make_signals(IVIM(B), 30, snr=30, random_state=0)
    with pytest.raises(ValueError, match=message):
        MLEEstimator(IVIM(B)).fit(X, sigma=sigma)


def test_others_refuse_levels_per_measurement():
    X, _ = make_signals(IVIM(B), 30, snr=30, random_state=0)
    with pytest.raises(ValueError, match=r"a number or one per voxel \(30\), got shape \(1, 10\)"):
        SegmentedIVIMEstimator(IVIM(B)).fit(X).predict(X, sigma=np.full((1, 10), 0.1))


def test_levels_of_simulated_signals():
    model, sigma = IVIM(B), np.linspace(0.01, 0.1, 10)[None]
    X, y = make_signals(model, 4, sigma=sigma, n_repeats=5000, noise="gaussian", random_state=0)
    residual = X - model.simulate(y)
    np.testing.assert_allclose(residual.std(axis=0), sigma[0], rtol=0.03)
    X, _ = make_signals(model, 3, sigma=np.append(sigma[:, 1:], np.inf)[None], random_state=0)
    assert np.isnan(X[:, -1]).all()
    assert np.isfinite(X[:, :-1]).all()


@pytest.mark.parametrize(
    "noise",
    [
        NonCentralChi(8), NonCentralChi(32), AveragedMagnitude(16), DenoisedMagnitude(5.0),
        AveragedMagnitude([1, 1, 1, 4, 8, 16, 32]), DenoisedMagnitude(8.0),
    ],
    **ids,
)  # fmt: skip
@pytest.mark.parametrize("snr", [15, 50])
def test_level_is_learnt_beside_a_high_floor(noise, snr):
    model = ADC([0, 200, 400, 800, 1500, 2500, 3500])
    X, y = make_signals(model, 600, snr=snr, noise=noise, random_state=0)
    posterior = PosteriorMeanEstimator(model, noise=noise, n_atoms=256, random_state=0)
    assert posterior.fit(X, y).sigma_ * snr == pytest.approx(1, rel=0.03)
    mle = MLEEstimator(model, noise=noise).fit(X)
    assert abs(mle.sigma_ * snr - 1) < max(0.05, 3 * mle.sigma_error_ * snr)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_levels_in_any_unit(name, scale):
    """Weighted sums of squares stay within the range of single precision."""
    model = PROTOCOLS[name]
    X, _ = make_signals(model, 100, snr=60, random_state=0)
    levels = np.full((1, model.n_measurements), 1 / 60)
    one = MLEEstimator(model, sigma=levels).fit(X).estimate(X)
    other = MLEEstimator(model, sigma=scale * levels).fit(scale * X).estimate(scale * X)
    shift = model.n_measurements * np.log(scale)
    assert np.isclose(other.nll - shift, one.nll, atol=1e-5).mean() > 0.98


def test_hybrid_of_a_label_estimator_with_levels():
    X, y = make_signals(IVIM(B), 40, snr=30, random_state=0)
    labels = MLEEstimator(IVIM(B), sigma=np.full((1, len(B)), 1 / 30))
    found = HybridLabelRegressor(LinearRegression(), label_estimator=labels).fit(X, y).estimate(X)
    single = MLEEstimator(IVIM(B), sigma=1 / 30)
    expected = (
        HybridLabelRegressor(LinearRegression(), label_estimator=single).fit(X, y).estimate(X)
    )
    np.testing.assert_allclose(found.residual_rms, expected.residual_rms, rtol=1e-3)


@pytest.mark.parametrize("sigma", [np.full(30, 0.1), [["0.1"] * 10], np.full((2, 10), 0.1)])
def test_bad_levels_as_a_parameter(sigma):
    X, _ = make_signals(IVIM(B), 30, snr=30, random_state=0)
    with pytest.raises(
        ValueError, match="The parameter sigma of MLEEstimator expects a number, or"
    ):
        MLEEstimator(IVIM(B), sigma=sigma).fit(X)


def test_model_files_with_noise_per_measurement(tmp_path):
    X, _ = make_signals(ADC([0, 500, 1000]), 50, snr=30, random_state=0)
    noise = AveragedMagnitude([1, 2, 4])
    for estimator in (MLEEstimator, PosteriorMeanEstimator):
        fitted = estimator(ADC([0, 500, 1000]), noise=noise, sigma=1 / 30).fit(X)
        save_estimator(fitted, tmp_path / f"{estimator.__name__}.skops")
        loaded = load_estimator(tmp_path / f"{estimator.__name__}.skops")
        np.testing.assert_array_equal(loaded.predict(X), fitted.predict(X))


def test_nan_in_sigma_of_a_missing_measurement():
    X, _ = make_signals(IVIM(B), 30, snr=30, random_state=0)
    X[0, 2] = np.nan
    sigma = np.full(X.shape, 1 / 30)
    sigma[0, 2] = np.nan
    fitted = MLEEstimator(IVIM(B)).fit(X, sigma=sigma)
    with pytest.warns(UserWarning, match="missing"):
        assert np.isfinite(fitted.predict(X, sigma=sigma)[0]).all()


def test_the_bound_of_levels_per_measurement():
    """Errors of maximum likelihood are those that the Fisher information tells."""
    model, sigma = ADC([0, 200, 500, 1000]), np.array([[0.01, 0.04, 0.01, 0.002]])
    X, y = make_signals(
        model, 1, sigma=sigma, n_repeats=4000, random_state=0, prior={"S0": (1, 1), "D": (1.5, 1.5)}
    )
    found = MLEEstimator(model, sigma=sigma).fit(X).estimate(X, return_std=True)
    np.testing.assert_allclose(found.parameters.std(axis=0), found.std.mean(axis=0), rtol=0.05)
    assert np.abs((found.parameters - y).mean(axis=0) / found.std.mean(axis=0)).max() < 0.1
