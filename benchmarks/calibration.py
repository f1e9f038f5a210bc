"""Calibration of posteriors and of profile-likelihood intervals, and choice of signal models.

    python benchmarks/calibration.py            # about 12 minutes on one core

20,000 voxels of the prior for each signal-to-noise ratio. For posteriors: coverage of 50, 90 and
95 % intervals by parameter, its largest deviation in tenths of each parameter's range (200,000
voxels), and the
continuous ranked probability score over that of the prior itself. For maximum likelihood: coverage
of 95 % intervals from the profile likelihood beside those from the Fisher information, overall and
in voxels with an optimum on a bound. For the choice between three signal models: the error rate by
evidence, AIC and BIC, beside the rate that the evidence itself tells (Bayes-optimal).
"""

import time

import numpy as np
import torch

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.inspection import model_probabilities
from sklearn_qmri.metrics import continuous_ranked_probability_score, interval_coverage
from sklearn_qmri.signal_models import ADC, IVIM, StretchedExponential
from sklearn_qmri.tissues import prior_ranges

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
MODEL = IVIM(B_VALUES)
COVERAGES = (0.5, 0.9, 0.95)
N, N_TENTHS = 20_000, 200_000  # voxels; coverage in tenths needs more to be known
FEWEST = 3_000  # voxels of a tenth: the standard error of a coverage of 50 % is .9 points


def posterior(snr):
    X, y = make_signals(MODEL, N_TENTHS, snr=snr, random_state=snr)
    estimator = PosteriorMeanEstimator(MODEL, sigma=1 / snr, random_state=0).fit(X[:100])
    low, high = prior_ranges(MODEL, None)
    levels = [(0.5 * (1 - coverage), 0.5 * (1 + coverage)) for coverage in COVERAGES]
    ends = estimator.predict_quantiles(X, [0.5, *np.ravel(levels)])
    # By tenths of the estimate, the posterior median, as coverage holds on average over the prior:
    # in a given tenth of the truth, intervals that shrink towards the prior need not cover.
    values = {"estimate": ends[..., 0], "truth": y}
    for i, coverage in enumerate(COVERAGES):
        lower, upper = ends[..., 1 + 2 * i], ends[..., 2 + 2 * i]
        inside = (y >= lower) & (y <= upper)
        worst = {
            name: _largest_deviation(inside, ((v - low) / (high - low) * 10).astype(int), coverage)
            for name, v in values.items()
        }
        print(
            f"  {coverage:.0%}: covered {inside.mean(axis=0).round(4)}; largest deviation in "
            f"tenths of the estimate {worst['estimate']}, of the truth {worst['truth']}",
            flush=True,
        )
    X, y = X[:N], y[:N]
    score = continuous_ranked_probability_score(y, estimator.sample(X, 100, random_state=0))
    rng = np.random.RandomState(1)
    alone = continuous_ranked_probability_score(y, rng.uniform(low, high, size=(N, 100, 4)))
    print(f"  CRPS {score.round(4)}, over that of the prior {(score / alone).round(3)}", flush=True)


def _largest_deviation(inside, tenth, coverage):
    """Of the coverage in a tenth of each parameter's range, for tenths with enough voxels."""
    tenth, found = np.clip(tenth, 0, 9), []
    for own, groups in zip(inside.T, tenth.T, strict=True):
        shares = [own[groups == k].mean() for k in range(10) if np.sum(groups == k) >= FEWEST]
        found.append(max(abs(share - coverage) for share in shares))
    return np.round(found, 3)


def likelihood(snr):
    X, y = make_signals(MODEL, N // 4, snr=snr, random_state=snr)
    mle = MLEEstimator(MODEL, sigma=1 / snr).fit(X)
    start = time.perf_counter()
    ends = mle.predict_interval(X, 0.95)
    spent = time.perf_counter() - start
    found = mle.estimate(X, return_std=True)
    known = np.isfinite(found.std)
    fisher = known & (np.abs(found.parameters - y) <= 1.96 * found.std)
    bound = found.at_bound.any(axis=1)
    print(
        f"  profile likelihood {interval_coverage(y, ends).round(3)} "
        f"({spent / len(X) * 1e3:.1f} ms/voxel), on bounds ({bound.mean():.0%} of the voxels) "
        f"{interval_coverage(y[bound], ends[bound]).round(3)}; Fisher "
        f"{(fisher.sum(axis=0) / known.sum(axis=0)).round(3)}, known in "
        f"{known.mean(axis=0).round(2)}, on bounds "
        f"{(fisher[bound].sum(axis=0) / known[bound].sum(axis=0)).round(3)}",
        flush=True,
    )


def choice(snr):
    models = ADC(B_VALUES), MODEL, StretchedExponential(B_VALUES)
    parts = [make_signals(m, 4000, snr=snr, random_state=i)[0] for i, m in enumerate(models)]
    X, truth = np.concatenate(parts), np.repeat(np.arange(3), 4000)
    posteriors = [
        PosteriorMeanEstimator(m, sigma=1 / snr, random_state=0).fit(X[:100]) for m in models
    ]
    fits = [MLEEstimator(m, sigma=1 / snr).fit(X[:100]) for m in models]
    found = model_probabilities(posteriors, X)
    cells = [f"evidence {np.mean(found.argmax(axis=1) != truth):.3f}"]
    for criterion in ("aic", "bic"):
        weights = model_probabilities(fits, X, criterion=criterion)
        cells.append(f"{criterion} {np.mean(weights.argmax(axis=1) != truth):.3f}")
    optimal = np.mean(1 - found.max(axis=1))
    print(f"  choice among 3 models, error {', '.join(cells)}; told {optimal:.3f}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for snr in (10, 15, 30, 60):
        print(f"SNR {snr}: S0, f, D, D_star")
        posterior(snr)
        likelihood(snr)
        choice(snr)
