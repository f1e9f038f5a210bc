"""Posteriors: speed, effective sample sizes, and accuracy beside an independent integration.

    python benchmarks/posterior.py            # about 5 minutes on one core
    python benchmarks/posterior.py --rows 500

For each signal model and signal-to-noise ratio it prints the time per voxel on one thread, the
share of voxels with an effective sample size of at least 200, its half per cent quantile and its
median, and the increase of the mean squared error over exact posterior means, by parameter. As
errors of exact means are uncorrelated with everything else, that increase is the mean squared
difference to them. Exact means come from a quasi-random rule of 262,144 points over a box of eight
standard deviations around each voxel's posterior.
"""

import argparse
import time

import numpy as np
import torch
from scipy.stats import qmc

from sklearn_qmri import PosteriorMeanEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import resolve_noise
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    BiexponentialT2,
    InversionRecovery,
    Kurtosis,
    StretchedExponential,
    T2Decay,
)
from sklearn_qmri.tissues import prior_ranges

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
MODELS = {
    "IVIM, 10 b-values": (IVIM(B_VALUES), (10, 15, 30, 60, 100)),
    "ADC": (ADC([0, 200, 500, 1000]), (10, 30, 100)),
    "Kurtosis": (Kurtosis([0, 500, 1000, 1500, 2000, 2500]), (10, 30, 100)),
    "StretchedExponential": (StretchedExponential([0, 200, 500, 1000, 2000, 3000]), (10, 30, 100)),
    "T2Decay": (T2Decay(np.arange(10, 170, 10)), (10, 30, 100)),
    "BiexponentialT2": (BiexponentialT2(np.arange(10, 330, 10)), (100, 200)),
    "InversionRecovery": (InversionRecovery([50, 200, 500, 1000, 2500, 5000]), (10, 30, 100)),
}
POINTS = 2**18


def exact_means(model, X, sigma, around, rng):
    """Posterior means by a quasi-random rule over a box of eight standard deviations per side."""
    noise, low_high = resolve_noise("auto", model, X.shape[1]), prior_ranges(model, None)
    unit = qmc.Sobol(len(model.parameters), rng=rng).random(POINTS)
    means = []
    for x, center, std in zip(X / sigma, around.parameters, around.std, strict=True):
        low, high = np.clip([center - 8 * std, center + 8 * std], *low_high)
        tissues = low + (high - low) * unit
        signals = torch.as_tensor(model.simulate(tissues) / sigma)
        loss = noise.derivatives(torch.as_tensor(x), signals)[0].sum(1).numpy()
        weights = np.exp(loss.min() - loss)
        means.append(weights @ tissues / weights.sum())
    return np.array(means)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200, help="voxels with exact means")
    parser.add_argument("--timed", type=int, default=20_000, help="voxels that are timed")
    parser.add_argument("--model", default=None, help="only models whose name contains this")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, (model, ratios) in MODELS.items():
        if arguments.model and arguments.model not in name:
            continue
        print(f"{name}: SNR, us/voxel, size >= 200, quantile .005, median; excess by parameter")
        for snr in ratios:
            X, y = make_signals(model, arguments.timed, snr=snr, random_state=snr)
            posterior = PosteriorMeanEstimator(model, sigma=1 / snr, random_state=0).fit(X)
            posterior.estimate(X[:2000])
            start = time.perf_counter()
            size = posterior.estimate(X).effective_sample_size
            spent = (time.perf_counter() - start) / len(X) * 1e6
            X, y = X[: arguments.rows], y[: arguments.rows]
            around = posterior.estimate(X)
            exact, found = exact_means(model, X, 1 / snr, around, 1), around.parameters
            excess = np.mean((found - exact) ** 2, axis=0) / np.mean((exact - y) ** 2, axis=0)
            cells = " ".join(
                f"{p} {e:.3%}" for p, e in zip(model.parameter_names, excess, strict=True)
            )
            low, middle = np.quantile(size, [0.005, 0.5])
            print(
                f"  {snr:4d} {spent:6.0f} {np.mean(size >= 200):8.2%} {low:5.0f} {middle:5.0f}"
                f"   {cells}",
                flush=True,
            )


if __name__ == "__main__":
    main()
