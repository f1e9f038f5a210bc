"""The prior that a scan implies."""

import numpy as np
import pytest
import torch
from conftest import B_VALUES
from sklearn.base import clone

from sklearn_qmri import PosteriorMeanEstimator
from sklearn_qmri.datasets import WeightedPrior, learn_prior, make_signals
from sklearn_qmri.dictionary import maximize_weights
from sklearn_qmri.inspection import PriorDisplay
from sklearn_qmri.persistence import load_estimator, save_estimator
from sklearn_qmri.signal_models import ADC, IVIM, InversionRecovery, T2Decay

MODEL = IVIM(B_VALUES)
CENTERS = np.array([[0.15, 0.9, 20], [0.25, 1.3, 60], [0.3, 2.0, 35], [0.42, 1.1, 100]])


def population(n, rng):
    tissues = CENTERS[rng.randint(4, size=n)] * np.exp(0.08 * rng.standard_normal((n, 3)))
    return np.column_stack([rng.uniform(0.8, 1.2, n), tissues])


@pytest.fixture(scope="module")
def learnt():
    X, _ = make_signals(MODEL, 4000, snr=20, prior=population, random_state=0)
    return X, learn_prior(MODEL, X, sigma=1 / 20, random_state=0)


def test_most_of_the_gap_is_closed(learnt):
    X, y = make_signals(MODEL, 1500, snr=20, prior=population, random_state=1)
    scale = [p.loss_scale for p in MODEL.parameters]
    priors = {"wide": None, "true": population(60_000, np.random.RandomState(2)), "own": learnt[1]}
    risk = {}
    for name, prior in priors.items():
        posterior = PosteriorMeanEstimator(
            MODEL, sigma=1 / 20, prior=prior, n_atoms=60_000, random_state=0
        )
        error = (posterior.fit(X).predict(X) - y) / scale
        risk[name] = np.mean(error**2)
    assert risk["wide"] - risk["own"] > 0.8 * (risk["wide"] - risk["true"])


def test_expectation_maximisation_increases_the_likelihood():
    """Of two atoms with known likelihoods, the weight solves the equation of the maximum."""
    likelihood = torch.tensor([[1.0, 0.2]] * 30 + [[0.1, 1.0]] * 70)
    weights, _ = maximize_weights(likelihood, likelihood, 10_000, 1e-12)
    w = weights[0].item()
    score = 30 * (1 - 0.2) / (0.2 + 0.8 * w) + 70 * (0.1 - 1) / (1 - 0.9 * w)
    assert abs(score) < 0.1
    assert weights.sum().item() == pytest.approx(1)


def test_accepted_wherever_a_prior_is(learnt, tmp_path):
    X, prior = learnt
    assert clone(prior) == prior
    _, y = make_signals(MODEL, 2000, snr=20, prior=prior, random_state=0)
    truth = population(2000, np.random.RandomState(0))
    # The range of the amplitude is wider than that of most voxels.
    np.testing.assert_allclose(y.mean(axis=0)[1:], truth.mean(axis=0)[1:], rtol=0.2)
    drawn = prior(500, np.random.RandomState(0))
    np.testing.assert_array_equal(drawn, prior(500, np.random.RandomState(0)))
    posterior = PosteriorMeanEstimator(MODEL, sigma=1 / 20, prior=prior, random_state=0).fit(X)
    path = tmp_path / "posterior.skops"
    save_estimator(posterior, path)
    again = load_estimator(path)
    assert again.prior == prior
    np.testing.assert_array_equal(again.predict(X[:50]), posterior.predict(X[:50]))


def test_the_floor_is_the_wide_prior(learnt):
    """With a floor of 1 the posterior is that of the wide prior, with 0 that of the atoms alone."""
    X, prior = learnt
    wide = clone(prior).set_params(floor=1)
    ranges = dict(zip(MODEL.parameter_names, map(tuple, prior.wide.T), strict=True))
    settings = {"sigma": 1 / 20, "random_state": 0}
    found = PosteriorMeanEstimator(MODEL, prior=wide, **settings).fit(X).estimate(X[:200])
    expected = PosteriorMeanEstimator(MODEL, prior=ranges, **settings).fit(X).estimate(X[:200])
    error = (found.parameters - expected.parameters) / expected.std
    assert np.sqrt(np.mean(error**2)) < 0.05
    np.testing.assert_allclose(found.log_evidence, expected.log_evidence, atol=0.05)
    atoms = clone(prior).set_params(floor=0)
    exact = (PosteriorMeanEstimator(MODEL, prior=atoms, **settings).fit(X)).estimate(X[:200])
    tissues = atoms(100_000, np.random.RandomState(0))
    other = PosteriorMeanEstimator(MODEL, prior=tissues, n_atoms=100_000, **settings).fit(X)
    error = (exact.parameters - other.estimate(X[:200]).parameters) / exact.std
    assert np.sqrt(np.mean(error**2)) < 0.15


def test_halves_of_a_scan_agree(learnt):
    X, _ = learnt
    means = [
        PosteriorMeanEstimator(
            MODEL, sigma=1 / 20, prior=learn_prior(MODEL, half, sigma=1 / 20, random_state=0),
            random_state=0,
        ).fit(X).estimate(X[:500])
        for half in (X[::2], X[1::2])
    ]  # fmt: skip
    shift = (means[0].parameters - means[1].parameters) / means[0].std
    assert np.sqrt(np.mean(shift**2)) < 0.3


def test_amplitudes_come_from_the_scan(learnt):
    X, prior = learnt
    counts = learn_prior(MODEL, 1000 * X, sigma=50, random_state=0)
    np.testing.assert_allclose(counts.wide[:, 0], 1000 * prior.wide[:, 0], rtol=1e-3)
    np.testing.assert_allclose(counts.weights, prior.weights, atol=1e-4)
    given = learn_prior(MODEL, X, sigma=1 / 20, prior={"S0": (0.5, 1.5)}, random_state=0)
    assert given.wide[:, 0].tolist() == [0.5, 1.5]


@pytest.mark.parametrize("floor", [-0.1, 1.5, "a", True])
def test_bad_floor(learnt, floor):
    with pytest.raises(ValueError, match="floor expects a number from 0 to 1"):
        learn_prior(MODEL, learnt[0], sigma=1 / 20, floor=floor)


def test_bad_data(learnt):
    X, prior = learnt
    with pytest.raises(ValueError, match="at least 50 voxels that are possible .* got 49"):
        learn_prior(MODEL, X[:49], sigma=1 / 20)
    with pytest.raises(ValueError, match=r"X expects shape \(n_voxels, 10\)"):
        learn_prior(MODEL, X[:, 1:], sigma=1 / 20)
    with pytest.raises(ValueError, match="n_atoms expects an integer of at least 2"):
        learn_prior(MODEL, X, sigma=1 / 20, n_atoms=1)
    with pytest.raises(ValueError, match="one amplitude, got T2Decay"):
        learn_prior(T2Decay([10, 20, 40, 80], offset=True), X[:, :4], sigma=1 / 20)
    with pytest.raises(ValueError, match=r"No tissue of the prior explains \d+ of 4000 voxels"):
        learn_prior(MODEL, X[:, ::-1], sigma=1 / 20)
    wrong = np.where(np.arange(4) % 2, 5.0, 1.0) * np.ones((300, 1))
    for level in ([[0.05] * 4], [[0.05, 0.05, 0.05, np.inf]]):
        with pytest.raises(ValueError, match="No tissue of the prior explains 300 of 300"):
            learn_prior(ADC([0, 200, 500, 1000]), wrong, sigma=level)
    beyond = [[1.0, 100.0]], [1.0], [[0.8, 0.3], [1.2, 3.0]]
    with pytest.raises(ValueError, match=r"tissues=...\) has D of 100, outside its bounds"):
        WeightedPrior(ADC([0, 500]), *beyond)(3, 0)
    reversed_range = [[1.0, 1.0]], [1.0], [[1.2, 0.3], [0.8, 3.0]]
    with pytest.raises(ValueError, match="wide expects low <= high"):
        WeightedPrior(ADC([0, 500]), *reversed_range)(3, 0)
    with pytest.raises(ValueError, match="The prior is one of"):
        prior.checked(ADC([0, 500]))
    with pytest.raises(ValueError, match="weights that add up to 1"):
        WeightedPrior(ADC([0, 500]), [[1.0, 1.0]], [0.5], [[0.8, 0.3], [1.2, 3.0]])(3, 0)


def test_air_of_signed_signals():
    """Amplitudes of air are on both sides of 0, those of the prior are not."""
    model, rng = InversionRecovery([50, 150, 400, 900, 1800, 3500]), np.random.RandomState(0)
    X, _ = make_signals(model, 300, snr=20, random_state=0)
    X = np.vstack([X, 0.05 * rng.standard_normal((30, 6))])
    prior = learn_prior(model, X, sigma=0.05, n_atoms=512, random_state=0)
    assert prior.wide[0, 0] >= 0
    make_signals(model, 1000, snr=20, prior=prior, random_state=0)


def test_display(learnt):
    pytest.importorskip("matplotlib")
    display = PriorDisplay.from_prior(learnt[1])
    assert display.axes_.shape == (3, 3)
    assert display.axes_[0, 0].get_xlim() == (0.1, 0.5)
