"""Priors learnt from scans: risk beside the wide prior, the true one, and a Gaussian one.

    python benchmarks/learnt_prior.py                     # about 10 minutes on one core
    python benchmarks/learnt_prior.py --scan DWI BVAL MASK   # held-out b-values, and two halves

Three simulated populations are measured that nothing was tuned on: four organs, tissues along a
curve, and two classes with 1 % of a lesion outside of both. A prior is learnt from 10,000 voxels.
On 5,000 other voxels, the table has the risk (mean squared error, scaled by the loss scale and
summed over parameters) of posterior means under each prior, and the share of the gap between the
wide and the true prior that is closed. The Gaussian prior is one of the logarithms of maximum
likelihood estimates (as in Orton et al., Magn Reson Med 2014;71:411), without its iterations. For
the lesion, the table has the bias under each prior.
"""

import argparse
import time

import numpy as np

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator
from sklearn_qmri.datasets import learn_prior, make_signals
from sklearn_qmri.noise import expected_measurement
from sklearn_qmri.signal_models import IVIM

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
WIDE = {"f": (0.0, 0.7), "D": (0.1, 3.5), "D_star": (3.0, 200.0)}
LESION = 0.45, 0.55, 15.0


def organs(n, rng):
    """Four organs of the OSIPI code collection, log-normal with a spread of 15 %."""
    centers = np.array([t[1:] for t in IVIM(B_VALUES).named_tissues().values()])
    return _within(centers[rng.randint(len(centers), size=n)], rng, 0.15)


def curve(n, rng):
    """Tissues along a curve: perfusion grows with diffusion, as a spiral in D_star."""
    t = rng.beta(1.5, 2.5, size=n)
    tissues = np.column_stack([0.05 + 0.4 * t**2, 0.5 + 2.2 * t, 60 + 40 * np.cos(6 * t)])
    return _within(tissues, rng, 0.05)


def lesion(n, rng):
    """Two classes, and 1 % of a third one outside of both."""
    centers = np.array([[0.12, 1.1, 25.0], [0.25, 1.8, 60.0], LESION])
    return _within(centers[rng.choice(3, size=n, p=[0.6, 0.39, 0.01])], rng, 0.08)


def _within(tissues, rng, spread):
    tissues = tissues * np.exp(spread * rng.standard_normal(tissues.shape))
    low, high = np.array(list(WIDE.values())).T
    return np.column_stack([rng.uniform(0.7, 1.3, size=len(tissues)), tissues.clip(low, high)])


def gaussian(model, X, sigma, rng):
    """Samples of a normal distribution of the logarithms of maximum-likelihood estimates."""
    bounds = {name: (max(low, 1e-3), high) for name, (low, high) in WIDE.items()}
    logs = np.log(MLEEstimator(model, sigma=sigma, bounds=bounds).fit(X).predict(X).clip(1e-3))
    drawn = np.exp(rng.multivariate_normal(logs.mean(axis=0), np.cov(logs.T), size=60_000))
    low, high = np.array([[0.3, 3.0], *WIDE.values()]).T
    return drawn.clip(low, high)


def simulated():
    """Print the tables of the three populations."""
    model = IVIM(B_VALUES)
    scale = np.array([p.loss_scale for p in model.parameters])
    wide = {"S0": (0.7, 1.3), **WIDE}
    for population in (organs, curve, lesion):
        for snr in (15, 30):
            X, _ = make_signals(model, 10_000, snr=snr, prior=population, random_state=1)
            test, y = make_signals(model, 5000, snr=snr, prior=population, random_state=2)
            start = time.perf_counter()
            learnt = learn_prior(model, X, sigma=1 / snr, prior=WIDE, random_state=0)
            spent = time.perf_counter() - start
            rng = np.random.RandomState(3)
            priors = {
                "wide": wide,
                "true": population(100_000, rng),
                "learnt": learnt,
                "Gaussian": gaussian(model, X, 1 / snr, rng),
            }
            risk, estimates = {}, {}
            for name, prior in priors.items():
                posterior = PosteriorMeanEstimator(
                    model, sigma=1 / snr, prior=prior, n_atoms=100_000, random_state=0
                )
                estimates[name] = posterior.fit(X[:100]).predict(test)
                risk[name] = np.mean(((estimates[name] - y) / scale) ** 2, axis=0)
            gap = risk["wide"] - risk["true"]
            print(f"{population.__name__}, SNR {snr}: learnt in {spent:.0f} s, {learnt.about}")
            for name, values in risk.items():
                closed = (risk["wide"] - values).sum() / gap.sum()
                print(
                    f"  {name:9s} {values.round(4)}  sum {values.sum():.4f}  closed {closed:6.1%}"
                )
            if population is lesion:
                X, y = make_signals(
                    model, 2000, snr=snr, prior=lambda n, rng: _lesions(n, rng), random_state=4
                )
                for name in ("wide", "true", "learnt"):
                    posterior = PosteriorMeanEstimator(
                        model, sigma=1 / snr, prior=priors[name], n_atoms=100_000, random_state=0
                    )
                    bias = np.mean(posterior.fit(X[:100]).predict(X) - y, axis=0)
                    print(f"  bias in the lesion, {name:7s} {bias.round(4)}", flush=True)


def _lesions(n, rng):
    return _within(np.tile(LESION, (n, 1)), rng, 0.08)


def measured(scan_path, bval, mask):
    """Print errors of held-out b-values, and how repeatable the prior of two halves is."""
    import nibabel

    b = np.loadtxt(bval).ravel()
    inside = np.asanyarray(nibabel.load(mask).dataobj) > 0
    X = np.asarray(nibabel.load(scan_path).dataobj, dtype=np.float64)[inside]
    X = X[(X > 0).all(axis=1)]
    rng = np.random.RandomState(0)
    X = X[rng.permutation(len(X))[:12_000]]
    halves = np.array_split(X, 2)
    model = IVIM(b)
    sigma = MLEEstimator(model).fit(X).sigma_
    ranges = {"S0": tuple(np.quantile(X.max(axis=1), [0.001, 0.999]) * [0.7, 1.2])}
    for j in range(1, len(b)):
        if b[j] == b.min():
            continue
        kept = np.arange(len(b)) != j
        short, level = IVIM(b[kept]), sigma
        prior = learn_prior(short, halves[0][:, kept], sigma=level, prior=WIDE, random_state=0)
        errors = []
        for estimator in (
            MLEEstimator(short, sigma=level),
            PosteriorMeanEstimator(short, sigma=level, prior=WIDE | ranges, random_state=0),
            PosteriorMeanEstimator(short, sigma=level, prior=prior, random_state=0),
        ):
            found = estimator.fit(halves[1][:, kept]).predict(halves[1][:, kept])
            told = expected_measurement(model, estimator.noise_, found, np.full(len(found), level))
            error = np.abs(told[:, j] - halves[1][:, j]) / level
            errors += [np.sqrt(np.nanmean(error**2)), np.nanmedian(error)]
        print(
            f"  b = {b[j]:5.0f}: root mean square and median error over sigma, MLE, wide, learnt",
            np.round(errors, 4),
            flush=True,
        )
    first, second = (
        learn_prior(model, half, sigma=sigma, prior=WIDE, random_state=0) for half in halves
    )
    means = [
        PosteriorMeanEstimator(model, sigma=sigma, prior=p, random_state=0).fit(X).estimate(X)
        for p in (first, second)
    ]
    shift = np.abs(means[0].parameters - means[1].parameters) / means[0].std
    print("  shift between priors of two halves over std, median and 95th percentile",
          np.nanquantile(shift, [0.5, 0.95], axis=0).round(3).tolist())  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scan", nargs=3, metavar=("DWI", "BVAL", "MASK"))
    arguments = parser.parse_args()
    measured(*arguments.scan) if arguments.scan else simulated()


if __name__ == "__main__":
    main()
