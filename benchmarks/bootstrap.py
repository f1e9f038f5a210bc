"""Parametric bootstrap: errors told at the estimate beside those at the true tissue, and speed.

Tissues of the prior, one noisy measurement each. The standard deviation and the bias that repeats
at the estimate tell are compared with those at the truth, tissue by tissue.

    python benchmarks/bootstrap.py            # 3 minutes
    python benchmarks/bootstrap.py --speed    # 120,000 voxels, 30 repeats
"""

import argparse
import time
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator, PretrainedNetRegressor
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.inspection import parametric_bootstrap
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
N_TISSUES, N_TOLD, N_TRUE = 2000, 100, 400


def methods(snr):
    """Estimators by name, fitted for a noise level."""
    X, y = make_signals(MODEL, 20_000, snr=snr, random_state=10)
    for name, estimator in {
        "maximum likelihood": MLEEstimator(MODEL, sigma=1 / snr),
        "hybrid, alpha = 0": HybridLabelNetRegressor(MODEL, alpha=0, sigma=1 / snr, random_state=0),
        "pretrained, w = 10": PretrainedNetRegressor(MODEL, sigma=1 / snr),
    }.items():
        yield name, estimator.fit(X, y)


def told_and_true(estimator, X, y):
    """Results of repeats at the estimates and at the truth."""
    told = parametric_bootstrap(estimator, estimator.predict(X), n_repeats=N_TOLD, random_state=1)
    return told, parametric_bootstrap(estimator, y, n_repeats=N_TRUE, random_state=2)


def quality():
    for snr in (30, 15):
        X, y = make_signals(MODEL, N_TISSUES, snr=snr, random_state=0)
        print(f"\nSNR {snr}, {N_TISSUES} tissues: f, D, D_star")
        for name, estimator in methods(snr):
            told, true = told_and_true(estimator, X, y)
            ratio = np.quantile(told.std / true.std, [0.25, 0.5, 0.75], axis=0)[:, 1:]
            cells = [f"{m:.2f} ({a:.2f}-{b:.2f})" for a, m, b in ratio.T]
            print(f"  {name:20s} std, told over true, median (quartiles): {', '.join(cells)}")
            # In units of the true standard deviation, where a bias matters.
            unit = true.std[:, 1:]
            off = np.median(np.abs(told.bias - true.bias)[:, 1:] / unit, axis=0)
            size = np.median(np.abs(true.bias)[:, 1:] / unit, axis=0)
            slope = [
                np.corrcoef(told.bias[:, j] / true.std[:, j], true.bias[:, j] / true.std[:, j])[
                    0, 1
                ]
                for j in (1, 2, 3)
            ]
            print(
                f"  {'':20s} |true bias| / std {size.round(2)}, |told - true| / std "
                f"{off.round(2)}, correlation {np.round(slope, 2)}"
            )


def speed():
    snr, n = 30, 120_000
    X, _ = make_signals(MODEL, n, snr=snr, random_state=0)
    for name, estimator in methods(snr):
        parameters, start = estimator.predict(X), time.perf_counter()
        parametric_bootstrap(estimator, parameters, random_state=0)
        print(f"{name:20s} {n:,} voxels x 30 repeats: {time.perf_counter() - start:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        speed() if options.speed else quality()


if __name__ == "__main__":
    main()
