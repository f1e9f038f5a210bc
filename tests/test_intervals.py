"""Profile-likelihood intervals, metrics of calibration, and probabilities of signal models."""

import numpy as np
import pytest
from conftest import B_VALUES
from scipy import stats
from scipy.optimize import brentq, minimize_scalar

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator
from sklearn_qmri.datasets import make_phantom, make_signals
from sklearn_qmri.inspection import QuantileCalibrationDisplay, model_probabilities
from sklearn_qmri.metrics import (
    calibration_curve,
    continuous_ranked_probability_score,
    interval_coverage,
)
from sklearn_qmri.signal_models import ADC, IVIM, SPGR, Kurtosis

MODEL = IVIM(B_VALUES)


def test_ends_against_an_independent_search():
    """Profile likelihood by a scalar minimiser over S0, and its ends by bracketing."""
    b = np.array([0.0, 200, 500, 1000])
    model, sigma = ADC(b), 0.05
    X, _ = make_signals(
        model, 6, sigma=sigma, noise="gaussian", prior={"D": (0.8, 1.5)}, random_state=0
    )
    mle = MLEEstimator(model, noise="gaussian", sigma=sigma).fit(X)
    found = mle.predict_interval(X, 0.9)
    z2 = stats.chi2.ppf(0.9, 1)
    for x, ends, (_, D) in zip(X, found[:, 1], mle.predict(X), strict=True):

        def profile(value, x=x):
            def loss(S0):
                return np.sum((x - S0 * np.exp(-b * 1e-3 * value)) ** 2) / sigma**2

            return minimize_scalar(loss, bounds=(0, 3), method="bounded").fun

        least = profile(D)
        expected = [
            brentq(lambda v: profile(v) - least - z2, *ends)  # noqa: B023
            for ends in ((0.02, D), (D, 3.9))
        ]
        np.testing.assert_allclose(ends, expected, rtol=5e-3)


def test_coverage_beside_bounds():
    """At SNR 15 a fifth of the optima are on a bound; their intervals are finite and cover."""
    X, y = make_signals(MODEL, 1500, snr=15, random_state=0)
    mle = MLEEstimator(MODEL, sigma=1 / 15).fit(X)
    found = mle.predict_interval(X, 0.9)
    assert np.isfinite(found).all()
    estimates = mle.estimate(X)
    inside = (found[..., 0] <= estimates.parameters) & (estimates.parameters <= found[..., 1])
    assert inside.all()
    np.testing.assert_allclose(interval_coverage(y, found), 0.9, atol=0.035)
    bound = estimates.at_bound.any(axis=1)
    assert bound.mean() > 0.1
    assert (interval_coverage(y[bound], found[bound]) > 0.7).all()
    low, high = mle.bounds_
    assert (found[..., 0] >= low).all()
    assert (found[..., 1] <= high).all()


def test_known_parameters_missing_measurements_and_levels():
    X, _ = make_signals(MODEL, 20, snr=30, random_state=0)
    mle = MLEEstimator(MODEL, sigma=1 / 30).fit(X)
    known = mle.predict_interval(X, fixed={"D_star": 30.0})
    assert (known[:, 3] == 30).all()
    gaps = X.copy()
    gaps[:, 4] = np.nan
    with pytest.warns(UserWarning, match="Measurements are missing"):
        found = mle.predict_interval(gaps)
    kept = np.delete(np.arange(10), 4)
    short = MLEEstimator(IVIM(np.array(B_VALUES)[kept]), sigma=1 / 30).fit(X[:, kept])
    np.testing.assert_allclose(found, short.predict_interval(X[:, kept]), rtol=0.02, atol=1e-3)
    unknown = MLEEstimator(MODEL, noise="gaussian").fit(X)
    assert np.isfinite(unknown.predict_interval(X, sigma=1 / 30)).all()


def test_scores_in_closed_form():
    """CRPS of a normal forecast (Gneiting and Raftery 2007, equation 21 and example)."""
    rng = np.random.RandomState(0)
    y = rng.standard_normal((4000, 1))
    samples = rng.standard_normal((4000, 200, 1))
    expected = np.mean(y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / np.sqrt(np.pi))
    found = continuous_ranked_probability_score(y, samples)
    assert found[0] == pytest.approx(expected, abs=0.01)
    levels = np.array([0.1, 0.5, 0.9])
    quantiles = np.broadcast_to(stats.norm.ppf(levels), (4000, 1, 3))
    observed, _ = calibration_curve(y, quantiles, levels)
    np.testing.assert_allclose(observed[:, 0], levels, atol=0.03)
    assert interval_coverage(y, quantiles[..., [0, 2]])[0] == pytest.approx(0.8, abs=0.03)


def test_an_interval_is_not_refuted_on_another_branch():
    """Values of f beyond the end are worse by any start, with little perfusion too."""
    X, _ = make_signals(MODEL, 60, snr=30, prior={"f": (0, 0.1)}, random_state=0)
    mle = MLEEstimator(MODEL, sigma=1 / 30).fit(X)
    end = mle.predict_interval(X)[:, 1, 1]
    ratio = 2 * (mle.estimate(X, fixed={"f": end}).nll - mle.estimate(X).nll)
    inside = end < mle.bounds_[1, 1]
    assert (ratio[inside] > 0.95 * stats.chi2.ppf(0.9, 1)).all()


def test_infinite_ends_count():
    assert interval_coverage([[1.0], [9.0]], [[[0, np.inf]], [[0.0, 1.0]]]).tolist() == [0.5]


def test_rows_with_nan_are_excluded():
    y = [[1.0], [2.0]]
    assert interval_coverage(y, [[[0, 2]], [[np.nan, 1]]]).tolist() == [1.0]
    assert np.isnan(interval_coverage(y, np.full((2, 1, 2), np.nan))).all()
    assert continuous_ranked_probability_score(y, [[[1], [1]], [[np.nan], [1]]]).tolist() == [0]


@pytest.mark.parametrize(
    ("metric", "arguments", "message"),
    [
        (interval_coverage, [[[1.0]], [[1.0]]], "intervals expects shape"),
        (interval_coverage, [[[1.0]], [[[1.0, 2, 3]]]], "two ends"),
        (calibration_curve, [[[1.0]], [[[1.0]]], [0.1, 0.2]], "levels expects shape"),
        (continuous_ranked_probability_score, [[[1.0]], [[[1.0]]]], "at least two draws"),
    ],
)
def test_bad_shapes(metric, arguments, message):
    with pytest.raises(ValueError, match=message):
        metric(*arguments)


def test_display_of_calibration():
    pytest.importorskip("matplotlib")
    X, y = make_signals(MODEL, 500, snr=20, random_state=0)
    posterior = PosteriorMeanEstimator(MODEL, sigma=1 / 20, random_state=0).fit(X)
    display = QuantileCalibrationDisplay.from_estimator(posterior, X, y)
    np.testing.assert_allclose(display.observed, np.tile(display.levels[:, None], 4), atol=0.09)
    assert len(display.ax_.lines) == 5


def fitted(estimator, models, X, **options):
    return [estimator(model, sigma=1 / 30, **options).fit(X) for model in models]


def test_choice_is_as_good_as_the_bayes_rule():
    """Where two models are equally frequent, the evidence errs as often as it says, no more."""
    models = ADC(B_VALUES), MODEL
    parts = [make_signals(model, 1500, snr=30, random_state=i)[0] for i, model in enumerate(models)]
    X, truth = np.concatenate(parts), np.repeat([0, 1], 1500)
    posteriors = fitted(PosteriorMeanEstimator, models, X, random_state=0)
    found = model_probabilities(posteriors, X)
    np.testing.assert_allclose(found.sum(axis=1), 1)
    # The Bayes-optimal error is the mean probability of the less probable model.
    wrong = np.mean(found.argmax(axis=1) != truth)
    told = np.mean(1 - found.max(axis=1))
    assert abs(wrong - told) < 4 * np.sqrt(told / len(X)) + 1e-3
    fits = fitted(MLEEstimator, models, X)
    for criterion in ("aic", "bic"):
        weights = model_probabilities(dict(zip("ab", fits, strict=True)), X, criterion=criterion)
        assert np.mean(weights.argmax(axis=1) != truth) >= wrong - 0.01


def test_probabilities_are_finite_where_signals_are_zero():
    X, _ = make_signals(MODEL, 50, snr=30, random_state=0)
    X[:, -1] = 0
    found = model_probabilities(
        fitted(PosteriorMeanEstimator, (ADC(B_VALUES), MODEL), X, random_state=0), X
    )
    assert np.isfinite(found).all()


def test_prior_of_models():
    X, _ = make_signals(MODEL, 50, snr=30, random_state=0)
    fits = fitted(MLEEstimator, (ADC(B_VALUES), MODEL), X)
    found = model_probabilities(fits, X, criterion="aic", prior=[1, 0])
    np.testing.assert_array_equal(found, np.tile([1.0, 0.0], (50, 1)))
    with pytest.raises(ValueError, match="prior expects 2 probabilities"):
        model_probabilities(fits, X, criterion="aic", prior=[1, -1])


def test_models_that_cannot_be_compared():
    X, _ = make_signals(MODEL, 60, snr=30, random_state=0)
    mle = MLEEstimator(MODEL, sigma=1 / 30).fit(X)
    other = np.array(B_VALUES) + 1.0
    for others, message in [
        ([], "two or more"),
        ([MLEEstimator(ADC(other), sigma=1 / 30).fit(X)], "one acquisition"),
        ([MLEEstimator(ADC(B_VALUES[1:]), sigma=1 / 30).fit(X[:, 1:])], "one acquisition"),
        ([MLEEstimator(ADC(B_VALUES), sigma=1 / 20).fit(X)], "one noise level.*pass sigma"),
        ([MLEEstimator(MODEL).fit(X, sigma=np.full(60, 1 / 30))], "one noise level"),
        ([MLEEstimator(ADC(B_VALUES), sigma=1 / 30, noise="gaussian").fit(X)], "one noise model"),
    ]:
        with pytest.raises(ValueError, match=message):
            model_probabilities([mle, *others], X, criterion="aic")
    adc = MLEEstimator(ADC(B_VALUES), sigma=1 / 30).fit(X)
    with pytest.raises(ValueError, match="MLEEstimator has no log_evidence"):
        model_probabilities([mle, adc], X)
    rows = MLEEstimator(ADC(B_VALUES), sigma=np.full((1, 10), 1 / 30)).fit(X)
    assert model_probabilities([mle, rows], X, criterion="aic").shape == (60, 2)
    times = [MLEEstimator(SPGR([5, 10, 20], TR), sigma=0.01, fixed={"B1": 1}) for TR in (10, 20)]
    with pytest.raises(ValueError, match="one acquisition"):
        model_probabilities([t.fit(X[:, :3]) for t in times], X[:, :3], criterion="aic")
    with pytest.raises(ValueError, match="criterion expects one of"):
        model_probabilities([mle, adc], X, criterion="r2")


def test_maps_of_intervals_and_of_models():
    nibabel = pytest.importorskip("nibabel")
    from sklearn_qmri.image import predict_image, predict_model_probabilities

    b = [0, 50, 100, 400, 800, 1500]
    phantom = make_phantom(IVIM(b), shape=(16, 16, 2), snr=30, random_state=0)
    scan = nibabel.Nifti1Image(phantom.data, np.eye(4))
    X = phantom.data[phantom.mask]
    models = {"one": ADC(b), "two": IVIM(b), "three": Kurtosis(b)}
    posteriors = {
        name: PosteriorMeanEstimator(model, sigma=1 / 30, random_state=0).fit(X)
        for name, model in models.items()
    }
    level = np.full(phantom.mask.shape, 1 / 30)
    level[phantom.mask.nonzero()[0][0]] = 0  # no usable level in a slice of the map
    maps = predict_model_probabilities(posteriors, scan, phantom.mask, sigma=level)
    assert list(maps) == ["one", "two", "three", "best"]
    total = sum(maps[name].get_fdata() for name in models)
    known = phantom.mask & (level > 0)
    np.testing.assert_allclose(total[known], 1, atol=1e-5)
    assert np.isnan(total[~known]).all()
    best = np.asarray(maps["best"].dataobj)
    assert set(np.unique(best[known])) <= {1, 2, 3}
    assert (best[~known] == 0).all()
    found = predict_image(posteriors["two"], scan, phantom.mask, interval=0.9)
    inside = (found["f"].get_fdata() >= found["f_lower"].get_fdata()) & (
        found["f"].get_fdata() <= found["f_upper"].get_fdata()
    )
    assert inside[phantom.mask].mean() > 0.99
    assert np.isfinite(found["log_evidence"].get_fdata()[phantom.mask]).all()
    with pytest.raises(ValueError, match="interval expects a number between 0 and 1"):
        predict_image(posteriors["two"], scan, phantom.mask, interval=90)
    with pytest.raises(ValueError, match="names other than 'best'"):
        predict_model_probabilities({"best": posteriors["two"]}, scan)
    with pytest.raises(ValueError, match="of one signal model"):
        predict_model_probabilities([posteriors["two"]] * 2, scan)
