"""The noise level that is learnt, against the one that was simulated."""

import warnings

import numpy as np
import pytest
import torch
from conftest import hybrid_net
from scipy.stats import chi2

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator, SelfSupervisedNetRegressor
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import (
    AveragedMagnitude,
    Gaussian,
    Rician,
    sigma_from_pairs,
    sigma_of_repeats,
)
from sklearn_qmri.signal_models import ADC, IVIM, InversionRecovery, R2StarDecay, T2Decay


@pytest.mark.parametrize("snr", [10, 15, 20, 30, 50])
@pytest.mark.parametrize("background", [0.0, 0.2])
def test_learnt_sigma_is_the_true_one(model, snr, background):
    n_background = int(5000 * background)
    tissue, _ = make_signals(model, 5000 - n_background, snr=snr, random_state=snr)
    air = Rician().sample(np.zeros((n_background, 10)), np.random.RandomState(0)) / snr
    mle = MLEEstimator(model).fit(np.vstack([tissue, air]))
    assert mle.sigma_ * snr == pytest.approx(1, abs=0.03)


def test_learnt_sigma_of_gaussian_noise(model):
    X, _ = make_signals(model, 3000, noise="gaussian", snr=30, random_state=0)
    assert MLEEstimator(model, noise="gaussian").fit(X).sigma_ * 30 == pytest.approx(1, abs=0.03)


def test_voxels_that_the_model_does_not_explain_move_sigma_little(model):
    X, _ = make_signals(model, 4000, snr=30, random_state=0)
    X[:200] *= np.random.RandomState(0).uniform(0.3, 3, (200, 10))  # 5 %, by 50 sigma
    assert MLEEstimator(model).fit(X).sigma_ * 30 == pytest.approx(1, abs=0.08)


def test_sigma_of_perfect_data_is_floored(model):
    X, _ = make_signals(model, 50, noise="gaussian", sigma=1e-300, random_state=0)
    assert 0 < MLEEstimator(model).fit(X).sigma_ < 1e-4


@pytest.mark.parametrize("snr", [3, 30])
def test_sigma_from_known_tissues(model, snr):
    X, y = make_signals(model, 2000, snr=snr, random_state=0)
    net = hybrid_net(model, alpha=0, max_epochs=1).fit(X, y)
    assert net.sigma_ * snr == pytest.approx(1, abs=0.02)


def test_too_few_measurements_to_learn_from():
    model = IVIM([0, 50, 200, 800])
    X, _ = make_signals(model, 100, snr=30, random_state=0)
    with pytest.raises(ValueError, match="4 measurements leave no degrees of freedom beyond 4 fr"):
        MLEEstimator(model).fit(X)
    assert MLEEstimator(model, fixed={"D_star": 50.0}).fit(X).sigma_ > 0


def test_background_alone_teaches_nothing(model):
    air = Rician().sample(np.zeros((500, 10)), np.random.RandomState(0))
    with pytest.raises(ValueError, match="no voxel has a signal well above that"):
        MLEEstimator(model).fit(air)


def test_rounds_that_run_out_are_reported(model):
    X, _ = make_signals(model, 300, snr=5, random_state=0)
    with pytest.warns(UserWarning, match="still changing by .* after 1 rounds"):
        MLEEstimator(model, max_iter=1).fit(X)


MODELS = {
    "IVIM": (IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800]), None),
    "ADC of water": (ADC([0, 500, 1000, 2000]), [1.0, 2.0]),
    "T2 of 60 ms": (T2Decay(np.arange(1, 9) * 10.0), [1.0, 60.0]),
    "T2 of 10 ms": (T2Decay(np.arange(1, 9) * 10.0), [1.0, 10.0]),
    "R2star": (R2StarDecay([2, 6, 10, 15, 20, 30]), [1.0, 60.0]),
    "magnitude inversion recovery": (
        InversionRecovery([50, 150, 400, 800, 1500, 3000], magnitude=True),
        None,
    ),
}


def magnitudes(model, tissue, snr, n_air, n_tissue=1500):
    """Magnitudes of tissue, and of air beside it."""
    if tissue is None:
        tissue = make_signals(model, n_tissue, sigma=1e-9, random_state=1)[1]
    else:
        tissue = np.repeat([tissue], n_tissue, axis=0)
    signal = np.vstack([model.simulate(tissue), np.zeros((n_air, model.n_measurements))])
    return Rician().sample(signal * snr, np.random.RandomState(snr)) / snr


@pytest.mark.parametrize("n_air", [0, 1000])
@pytest.mark.parametrize(("snr", "tolerance"), [(3, 0.15), (10, 0.07), (100, 0.06), (1000, 0.06)])
@pytest.mark.parametrize("name", MODELS)
def test_learnt_sigma_over_models_and_noise_levels(name, snr, tolerance, n_air):
    """With most signals below the noise floor, and with a lot of air."""
    model, tissue = MODELS[name]
    if name == "T2 of 10 ms":  # its first echo has e^-1 of the signal
        snr *= 3
    X = magnitudes(model, tissue, snr, n_air)
    assert MLEEstimator(model).fit(X).sigma_ * snr == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("n_air", [0, 1000])
def test_signals_lost_in_noise_are_refused(n_air):
    """A first echo of 1.8 sigma, the others less."""
    X = magnitudes(T2Decay([10, 20, 40, 80]), [1.0, 10.0], 5, n_air)
    with pytest.raises(ValueError, match="Cannot learn sigma: residuals are those of noise"):
        MLEEstimator(T2Decay([10, 20, 40, 80])).fit(X)


def test_learning_sigma_takes_few_rounds(model):
    for snr in (15, 30, 100, 1000):
        X, _ = make_signals(model, 1000, snr=snr, random_state=0)
        assert MLEEstimator(model).fit(X).n_iter_ <= 8
    X, _ = make_signals(model, 1000, noise="gaussian", snr=30, random_state=0)
    assert MLEEstimator(model, noise="gaussian").fit(X).n_iter_ == 1


def test_residuals_as_large_as_the_signals_are_no_noise():
    """Magnitudes whose echo times are in reverse order: the message is about the protocol."""
    decay = T2Decay(np.arange(1, 11) * 10.0)
    X = magnitudes(decay, [1.0, 20.0], 100, 0)[:, ::-1]
    with pytest.raises(ValueError, match="Check that the signal model, the order of its measur"):
        MLEEstimator(decay).fit(X)


def test_sigma_of_known_tissues_below_the_noise_floor():
    """Signals that have decayed: a sigma that starts too large must not run away."""
    decay = T2Decay([10, 20, 40, 80])
    y = np.repeat([[1.0, 10.0]], 3000, axis=0)
    X = Rician().sample(decay.simulate(y) * 100, np.random.RandomState(0)) / 100
    assert sigma_from_pairs(decay, Rician(), X, y) * 100 == pytest.approx(1, abs=0.02)


def test_gaussian_estimates_do_without_sigma():
    """As many measurements as parameters: least squares passes through them."""
    model = ADC([0, 1000])
    X, _ = make_signals(model, 50, snr=50, noise="gaussian", random_state=0)
    with pytest.warns(UserWarning, match="Cannot learn sigma: 2 measurements leave no degrees"):
        mle = MLEEstimator(model, noise="gaussian").fit(X)
    assert np.isnan(mle.sigma_)
    found = mle.estimate(X, return_std=True)
    exact = np.column_stack([X[:, 0], np.log(X[:, 0] / X[:, 1])])
    np.testing.assert_allclose(found.parameters, exact, rtol=1e-6)
    for unknown in ("nll", "aic", "bic", "std"):
        assert np.isnan(found[unknown]).all()
    assert np.isfinite(mle.predict(X, sigma=0.02, return_std=True)[1]).all()
    with pytest.raises(ValueError, match="positive finite"):
        mle.predict(X, sigma=np.nan)
    units = MLEEstimator(model, noise="gaussian", sigma=1.0).fit(X).predict(X)
    np.testing.assert_allclose(units, found.parameters, rtol=1e-6)


@pytest.mark.parametrize("estimator", [PosteriorMeanEstimator, SelfSupervisedNetRegressor])
def test_estimators_that_need_sigma_say_so(estimator):
    model = ADC([0, 1000])
    X, _ = make_signals(model, 20, snr=50, noise="gaussian", random_state=0)
    with (
        pytest.warns(UserWarning, match="no degrees of freedom"),
        pytest.raises(ValueError, match=r"needs\. Pass sigma"),
    ):
        estimator(model, noise="gaussian").fit(X)


def test_learning_follows_the_definition(model):
    """At the sigma found, the median of the scaled squared residuals is that of chi-squared."""
    X, _ = make_signals(model, 1500, snr=20, random_state=3)
    mle = MLEEstimator(model).fit(X)
    found = mle.estimate(X)
    a = model.simulate(found.parameters) / mle.sigma_
    mean, variance = (f(torch.as_tensor(a)).numpy() for f in (Rician().mean, Rician().variance))
    squared = ((X / mle.sigma_ - mean) ** 2 / variance).sum(axis=1)
    freedom = 10 - 4 + found.at_bound.sum(axis=1)
    assert np.median(squared / chi2.median(freedom)) == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    ("model", "noise", "snr"),
    [
        (ADC([0, 200, 400, 800, 1500]), "rician", 10),
        (IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800]), "rician", 30),
        (T2Decay([10, 20, 40, 80, 120]), "gaussian", 30),
    ],
)
def test_standard_error_of_a_learnt_level(model, noise, snr):
    """It is the standard deviation over scans, within the 20 % that 50 scans can tell."""
    levels, errors = [], []
    for seed in range(50):
        X, _ = make_signals(model, 300, snr=snr, noise=noise, random_state=seed)
        mle = MLEEstimator(model, noise=noise).fit(X)
        levels.append(mle.sigma_)
        errors.append(mle.sigma_error_)
    assert np.mean(errors) == pytest.approx(np.std(levels), rel=0.3)
    assert np.isnan(MLEEstimator(model, noise=noise, sigma=1 / snr).fit(X).sigma_error_)


def _repeated(snr, misfit, n=800):
    """Signals of two T2 components in equal parts where the model has one, at repeated times."""
    model = T2Decay([10, 10, 40, 40, 90, 90, 200, 200])
    rng = np.random.RandomState(0)
    T2 = rng.uniform(60, 100, size=(n, 1))
    times = np.array(model.echo_times)
    share = 0.5 * misfit
    signal = (1 - share) * np.exp(-times / T2) + share * np.exp(-times / (8 * T2))
    noise = rng.standard_normal((2, *signal.shape)) / snr
    return model, np.hypot(signal + noise[0], noise[1])


@pytest.mark.parametrize("snr", [30, 100])
def test_repeats_show_that_misfit_is_no_noise(snr):
    model, X = _repeated(snr, misfit=1)
    with pytest.warns(UserWarning, match="times that of repeated measurements") as caught:
        mle = MLEEstimator(model).fit(X)
    assert mle.sigma_ > 1.3 / snr
    told = float(str(caught[0].message).split("sigma=")[1].rstrip("."))
    assert told == pytest.approx(1 / snr, rel=0.05)


@pytest.mark.parametrize("snr", [5, 30, 100])
def test_repeats_agree_with_a_model_that_fits(snr):
    model, X = _repeated(snr, misfit=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learnt = [MLEEstimator(model, noise=n).fit(X).sigma_ for n in ("rician", "gaussian")]
    np.testing.assert_allclose(learnt, 1 / snr, rtol=0.2)


@pytest.mark.parametrize("n_averages", [1, 4])
def test_noise_level_of_repeats(n_averages):
    """Each repeat is an average of its own; numbers of averages differ between the groups."""
    model = ADC([0, 0, 0, 500, 500, 1000])
    noise = AveragedMagnitude([1, 1, 1, n_averages, n_averages, 1])
    X, _ = make_signals(model, 2000, snr=40, noise=noise, random_state=0)
    assert sigma_of_repeats(model, noise, X) == pytest.approx(1 / 40, rel=0.03)
    odd = AveragedMagnitude([4, 5, 4, 5, 4, 5])
    Z, _ = make_signals(ADC([0, 0, 0, 0, 800, 800]), 2000, snr=40, noise=odd, random_state=0)
    found = sigma_of_repeats(ADC([0, 0, 0, 0, 800, 800]), odd, Z)
    assert found == pytest.approx(1 / 40, rel=0.03), "repeats have the same number of averages"
    X[::2, 4] = np.nan
    assert sigma_of_repeats(model, noise, X) == pytest.approx(1 / 40, rel=0.03)
    assert sigma_of_repeats(ADC([0, 200, 500, 600, 800, 1000]), noise, X) is None
    assert sigma_of_repeats(model, noise, X[:50]) is None, "too few"
    copies = np.tile(X[:, :1], (1, 6))
    assert sigma_of_repeats(model, Rician(), copies) is None


def test_noise_that_grows_has_no_level_of_repeats():
    class Growing(Gaussian):
        def variance(self, a):
            return 1 + (a / 50) ** 2

    model = ADC([0, 0, 0, 500, 500, 1000])
    X, _ = make_signals(model, 500, snr=40, random_state=0)
    assert sigma_of_repeats(model, Growing(), X) is None
    assert sigma_of_repeats(model, Gaussian(), X) == pytest.approx(1 / 40, rel=0.05)
