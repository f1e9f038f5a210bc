"""Posteriors drawn for each voxel: accuracy, certificates, quantiles, intervals and samples."""

import numpy as np
import pytest
import torch
from conftest import B_VALUES
from scipy import stats
from scipy.stats import qmc
from sklearn.base import clone

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.dictionary import WeightedTissues, can_draw
from sklearn_qmri.dictionary._along import LossAlong
from sklearn_qmri.dictionary._cells import systematic
from sklearn_qmri.dictionary._linear import Tail, draw_truncated
from sklearn_qmri.metrics import continuous_ranked_probability_score, interval_coverage
from sklearn_qmri.noise import AveragedMagnitude, Gaussian, NonCentralChi, Rician, resolve_noise
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    SPGR,
    BiexponentialT2,
    InversionRecovery,
    Kurtosis,
    StretchedExponential,
    T2Decay,
    TriExponential,
)
from sklearn_qmri.tissues import prior_ranges

MODELS = {
    "IVIM": IVIM(B_VALUES),
    "total": IVIM(B_VALUES, convention="total"),
    "ADC": ADC([0, 200, 500, 1000]),
    "Kurtosis": Kurtosis([0, 500, 1000, 1500, 2000, 2500]),
    "stretched": StretchedExponential([0, 200, 500, 1000, 2000, 3000]),
    "T2": T2Decay(np.arange(10, 170, 10)),
    "myelin": BiexponentialT2(np.arange(10, 330, 10)),
    "magnitude": InversionRecovery([50, 200, 500, 1000, 2500, 5000], magnitude=True),
    "signed": InversionRecovery([50, 200, 500, 1000, 2500, 5000]),
}


def integrate(model, noise, X, sigma, around, n_points=2**16):
    """Means, standard deviations and log-evidence by a rule over a box around each posterior."""
    low, high = prior_ranges(model, None)
    unit = qmc.Sobol(len(low), rng=0).random(n_points)
    found = []
    for x, center, std in zip(X / sigma, around.parameters, around.std, strict=True):
        ends = np.clip([center - 9 * std, center + 9 * std], low, high)
        tissues = ends[0] + (ends[1] - ends[0]) * unit
        signal = torch.as_tensor(model.simulate(tissues) / sigma)
        log = -noise.derivatives(torch.as_tensor(x), signal)[0].sum(1).numpy()
        weights = np.exp(log - log.max())
        mean = weights @ tissues / weights.sum()
        spread = np.sqrt(weights @ (tissues - mean) ** 2 / weights.sum())
        constant = noise.normalizer(torch.as_tensor(x)).sum().item() + len(x) * np.log(sigma)
        evidence = log.max() + np.log(weights.mean()) - constant
        evidence += np.log((ends[1] - ends[0]) / (high - low)).sum()
        found.append((mean, spread, evidence))
    return (np.array(part) for part in zip(*found, strict=True))


@pytest.mark.parametrize("snr", [10, 40])
@pytest.mark.parametrize("name", MODELS)
def test_moments_and_evidence_against_integration(name, snr):
    model = MODELS[name]
    # In its narrow ridges, the myelin model leaves few points of the rule with any weight.
    is_narrow = name == "myelin"
    snr = 4 * snr if is_narrow else snr
    assert can_draw(model, resolve_noise("auto", model))
    X, _ = make_signals(model, 10 if is_narrow else 25, snr=snr, random_state=1)
    posterior = PosteriorMeanEstimator(model, sigma=1 / snr, random_state=0).fit(X)
    found = posterior.estimate(X)
    mean, std, evidence = integrate(
        model, posterior.noise_, X, 1 / snr, found, n_points=2**18 if is_narrow else 2**16
    )
    # Independent draws would have an error of 7 % of a standard deviation at an effective size of
    # 200; the rule over the box adds its own.
    rule = 3 if is_narrow else 1
    error = (found.parameters - mean) / std
    assert np.sqrt(np.mean(error**2)) < 0.05 * rule
    np.testing.assert_allclose(found.std / std, 1, atol=0.15 * rule)
    np.testing.assert_allclose(found.log_evidence, evidence, atol=0.2)
    assert found.effective_sample_size.min() > 200


@pytest.mark.parametrize(
    "noise", [Gaussian(), NonCentralChi(4), AveragedMagnitude(4)], ids=lambda n: type(n).__name__
)
def test_other_noise_models(noise):
    model, snr = MODELS["ADC"], 12
    X, _ = make_signals(model, 25, snr=snr, noise=noise, random_state=1)
    posterior = PosteriorMeanEstimator(model, noise=noise, sigma=1 / snr, random_state=0).fit(X)
    found = posterior.estimate(X)
    mean, std, evidence = integrate(model, noise, X, 1 / snr, found)
    assert np.sqrt(np.mean(((found.parameters - mean) / std) ** 2)) < 0.03
    np.testing.assert_allclose(found.log_evidence, evidence, atol=0.03)


def test_models_without_local_draws_have_the_same_evidence():
    """Atoms, and tissues around them, for a model with three axes; IVIM by both ways."""
    assert not can_draw(TriExponential(B_VALUES), Rician())
    from sklearn_qmri.estimators._refine import Refinement
    from sklearn_qmri.estimators._sampling import AtomSampler, RefinedSampler
    from sklearn_qmri.tissues import draw_tissues

    model, snr, rng = MODELS["ADC"], 60, np.random.RandomState(0)
    X, _ = make_signals(model, 30, snr=snr, random_state=1)
    level = np.full(len(X), 1 / snr)
    atoms = draw_tissues(model, 4096, None, rng, quasi=True)
    shared = AtomSampler(model, Rician(), atoms, np.full(4096, 1 / 4096), 1 / snr)
    refinement = Refinement(model, Rician(), prior_ranges(model, None), 2048, rng)
    local = PosteriorMeanEstimator(model, sigma=1 / snr, random_state=0).fit(X).estimate(X)
    x = torch.as_tensor(X * snr)
    constant = Rician().normalizer(x).sum(1).numpy() - X.shape[1] * np.log(snr)
    seen = np.zeros(len(X), dtype=int)
    for index, tissues in RefinedSampler(shared, refinement)(X, level):
        seen[index] += 1
        evidence = tissues.log_evidence() - constant[index]
        np.testing.assert_allclose(evidence, local.log_evidence[index], atol=0.15)
        mean = tissues.moments()[0]
        error = (mean - local.parameters[index]) / local.std[index]
        assert np.sqrt(np.mean(error**2)) < 0.1
    assert (seen == 1).all()


def test_effective_sizes_are_large_enough():
    for snr in (10, 30, 100):
        X, _ = make_signals(MODELS["IVIM"], 2000, snr=snr, random_state=3)
        posterior = PosteriorMeanEstimator(MODELS["IVIM"], sigma=1 / snr, random_state=0).fit(X)
        assert np.mean(posterior.estimate(X).effective_sample_size >= 200) > 0.995


def test_rows_do_not_depend_on_their_company():
    X, _ = make_signals(MODELS["IVIM"], 700, snr=60, random_state=3)
    posterior = PosteriorMeanEstimator(MODELS["IVIM"], sigma=1 / 60, random_state=0).fit(X)
    whole, some = posterior.predict(X), posterior.predict(X[100:117])
    np.testing.assert_allclose(some, whole[100:117], rtol=1e-6)


@pytest.mark.parametrize("snr", [10, 30])
def test_intervals_cover(snr):
    """Tissues of the prior: each central interval has its nominal coverage, also in tenths."""
    model, n = MODELS["IVIM"], 6000
    X, y = make_signals(model, n, snr=snr, random_state=5)
    posterior = PosteriorMeanEstimator(model, sigma=1 / snr, random_state=0).fit(X)
    for coverage in (0.5, 0.9, 0.95):
        found = posterior.predict_interval(X, coverage)
        error = 4 * np.sqrt(coverage * (1 - coverage) / n)
        np.testing.assert_allclose(interval_coverage(y, found), coverage, atol=error)


def test_quantiles_are_those_of_the_samples():
    model = MODELS["IVIM"]
    X, _ = make_signals(model, 20, snr=20, random_state=5)
    posterior = PosteriorMeanEstimator(model, sigma=1 / 20, random_state=0).fit(X)
    levels = [0.9, 0.1, 0.5]  # in the order given
    found = posterior.predict_quantiles(X, levels)
    samples = posterior.sample(X, 20_000, random_state=1)
    assert samples.shape == (20, 20_000, 4)
    std = samples.std(axis=1)[..., None]
    expected = np.moveaxis(np.quantile(samples, levels, axis=1), 0, -1)
    # The median of a flat posterior is the least certain of all.
    assert np.abs((found - expected) / std).max() < 0.1
    np.testing.assert_array_equal(posterior.sample(X, 5, random_state=2),
                                  posterior.sample(X, 5, random_state=2))  # fmt: skip
    interval = posterior.predict_interval(X, 0.8)
    np.testing.assert_allclose(interval, found[..., [1, 0]])


def test_no_distribution_scores_better():
    """Of continuous ranked probability scores, the posterior's is least on its own prior."""
    model = MODELS["ADC"]
    X, y = make_signals(model, 3000, snr=10, random_state=5)
    samples = [
        PosteriorMeanEstimator(model, sigma=level, random_state=0)
        .fit(X)
        .sample(X, 100, random_state=0)
        for level in (0.1, 0.05, 0.2)
    ]
    right, narrow, wide = (continuous_ranked_probability_score(y, part) for part in samples)
    assert (right < narrow).all()
    assert (right < wide).all()


def test_rows_without_an_estimate():
    X, _ = make_signals(MODELS["ADC"], 20, snr=20, random_state=5)
    X[3] = np.inf
    posterior = PosteriorMeanEstimator(MODELS["ADC"], sigma=1 / 20, random_state=0).fit(X[5:])
    with pytest.warns(UserWarning, match="1 of 20 rows"):
        found = posterior.predict_interval(X)
    with pytest.warns(UserWarning, match="1 of 20 rows"):
        samples = posterior.sample(X, 2)
    for values in (found, samples):
        assert np.isnan(values[3]).all()
        assert np.isfinite(np.delete(values, 3, axis=0)).all()


@pytest.mark.parametrize("coverage", [0, 1, -0.1, 95, True, None, "90"])
def test_bad_coverage(coverage):
    X, _ = make_signals(MODELS["ADC"], 60, snr=20, random_state=5)
    for estimator in (PosteriorMeanEstimator, MLEEstimator):
        fitted = estimator(MODELS["ADC"], sigma=1 / 20).fit(X)
        with pytest.raises(ValueError, match=r"coverage expects a number between 0 and 1, got"):
            fitted.predict_interval(X, coverage)


@pytest.mark.parametrize("levels", [[], [0.5, 1.0], [[0.1]], [np.nan], 2])
def test_bad_quantiles(levels):
    X, _ = make_signals(MODELS["ADC"], 20, snr=20, random_state=5)
    posterior = PosteriorMeanEstimator(MODELS["ADC"], sigma=1 / 20).fit(X)
    with pytest.raises(ValueError, match="quantiles expects numbers between 0 and 1"):
        posterior.predict_quantiles(X, levels)


def test_bad_number_of_samples():
    X, _ = make_signals(MODELS["ADC"], 20, snr=20, random_state=5)
    posterior = PosteriorMeanEstimator(MODELS["ADC"], sigma=1 / 20).fit(X)
    for n in (0, 1.5, True):
        with pytest.raises(ValueError, match="n_samples expects a positive integer"):
            posterior.sample(X, n)


@pytest.mark.parametrize(
    ("low", "high"), [(-1, 2), (0.5, 0.6), (3, 9), (-7, -4), (-40, 40), (9, 12), (0, 0.1)]
)
def test_truncated_normal(low, high):
    tail = Tail.of(torch.tensor([float(low)]), torch.tensor([float(high)]))
    exact = stats.truncnorm(low, high)
    mean, variance = tail.moments()
    width = min(exact.std(), 1)
    # Ranges beyond 8 standard deviations have the shape of one that begins there.
    share = 0.05 if low < 8 else 0.2
    np.testing.assert_allclose(mean, exact.mean(), atol=share * width + 1e-6)
    if low < 8:
        np.testing.assert_allclose(variance, exact.var(), rtol=0.1)
        mass = np.log(np.exp(stats.norm.logcdf([-low, -high])) @ [1, -1]) if low > 0 else np.log(
            stats.norm.cdf(high) - stats.norm.cdf(low)
        )  # fmt: skip
        np.testing.assert_allclose(tail.log_mass(), mass, atol=2e-3)


def test_truncated_draws_have_their_density():
    unit = (torch.arange(4096) + 0.5)[None] / 4096
    for mean, deviation in ((0.3, 0.2), (1.4, 0.1), (-0.2, 3.0)):
        part = torch.full((1, 4096), mean), torch.full((1, 4096), deviation)
        values, volume = draw_truncated(unit, *part, 0.0, 1.0)
        assert values.min() >= 0
        assert values.max() <= 1
        # At even steps of cumulative probability, draws are a step over the density apart.
        step = np.diff(values[0].double().numpy()) * 4096
        between = 0.5 * (volume[0, 1:] + volume[0, :-1]).double().numpy()
        np.testing.assert_allclose(step[100:-100], between[100:-100], rtol=0.02, atol=1e-3)


def test_systematic_cells():
    mass = torch.tensor([[0.5, 0.25, 0.0, 0.25], [0.0, 0.0, 0.0, 1.0]])
    cells = systematic(mass, 64)
    counts = [torch.bincount(row, minlength=4).tolist() for row in cells]
    assert counts == [[32, 16, 0, 16], [0, 0, 0, 64]]


@pytest.mark.parametrize("noise", [Rician(), Gaussian(), NonCentralChi(8)])
@pytest.mark.parametrize("x", [0.0, 1.0, 5.0, 60.0])
def test_losses_by_polynomials(noise, x):
    signal = torch.linspace(max(0.0, x - 6), x + 6, 256)[None, None].repeat(1, 1, 1)
    exact = noise.derivatives(torch.tensor(x, dtype=torch.float64), signal.double())[0][0]
    loss, middle = LossAlong(noise)(torch.full((1, 1, 1), x), signal.clone())
    error = loss.double() + middle - exact
    near = exact < exact.min() + 12
    assert error[near].abs().max() < 0.05


def test_weights_of_nothing():
    tissues = WeightedTissues(torch.rand(2, 1, 8), torch.full((1, 8), -torch.inf), torch.zeros(1))
    assert tissues.effective_size() == 0
    assert tissues.log_evidence() == -np.inf


def test_known_b1_has_a_tiny_range():
    model = SPGR([5, 10, 20, 30], repetition_time=15)
    X, y = make_signals(model, 20, snr=100, prior={"B1": (1, 1)}, random_state=0)
    posterior = PosteriorMeanEstimator(model, sigma=0.01, prior={"B1": (1, 1)}, random_state=0)
    found = posterior.fit(X).estimate(X)
    assert (found.parameters[:, list(model.parameter_names).index("B1")] == 1).all()
    # A tiny range has the evidence of a small one.
    small = clone(posterior).set_params(prior={"B1": (0.9995, 1.0005)}).fit(X).estimate(X)
    np.testing.assert_allclose(found.log_evidence, small.log_evidence, atol=0.1)
    assert resolve_noise("auto", model) == posterior.noise_


def test_a_prior_that_contradicts_all_voxels():
    """Signals in the units of the scanner, under the prior of S0 near 1."""
    X, _ = make_signals(MODELS["ADC"], 50, snr=20, random_state=5)
    posterior = PosteriorMeanEstimator(MODELS["ADC"], sigma=1 / 20, random_state=0).fit(X)
    with pytest.warns(UserWarning, match=r"50 of 50 rows are far from every tissue of the prior"):
        posterior.estimate(30 * X)


@pytest.mark.parametrize("name", ["signed", "magnitude", "Kurtosis", "IVIM"])
def test_narrow_ridges_are_not_lost(name):
    """At an SNR of 300, a diagonal ridge is narrower than the cells of the first grid."""
    model = MODELS[name]
    X, y = make_signals(model, 400, snr=300, random_state=1)
    posterior = PosteriorMeanEstimator(model, sigma=1 / 300, random_state=0).fit(X)
    found = posterior.estimate(X)
    assert (np.abs(found.parameters - y) > 5 * found.std).any(axis=1).mean() < 0.01
    np.testing.assert_allclose(interval_coverage(y, posterior.predict_interval(X)), 0.9, atol=0.06)


def test_a_prior_of_one_tissue():
    X, _ = make_signals(MODELS["ADC"], 20, snr=20, random_state=5)
    posterior = PosteriorMeanEstimator(MODELS["ADC"], sigma=0.05, prior=[[1.0, 1.0]]).fit(X)
    assert (posterior.predict_interval(X) == 1).all()
