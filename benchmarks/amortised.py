"""Posteriors beside an amortised neural posterior of the package sbi, on the same voxels.

    pip install sbi
    python benchmarks/amortised.py              # about 20 minutes on one core

sbi trains a normalising flow on simulated tissues (neural posterior estimation, its defaults:
masked autoregressive flow, training stopped by held-out loss), for one protocol and noise level.
`PosteriorMeanEstimator` needs no training. Both get the prior of the signal model, 500 voxels and
1,000 samples of each voxel. Printed: mean squared error over that of the posterior mean here,
coverage of 50 and 90 % intervals, continuous ranked probability score, and seconds.
"""

import argparse
import time

import numpy as np
import torch
from sbi.inference import NPE
from sbi.utils import BoxUniform

from sklearn_qmri import PosteriorMeanEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import continuous_ranked_probability_score
from sklearn_qmri.signal_models import IVIM
from sklearn_qmri.tissues import prior_ranges

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
N_SAMPLES = 1000


def by_sampling(X, sigma):
    """Samples of each voxel's posterior by this package, and the seconds that they take."""
    estimator = PosteriorMeanEstimator(MODEL, sigma=sigma, random_state=0).fit(X)
    start = time.perf_counter()
    samples = estimator.sample(X, N_SAMPLES, random_state=0)
    return samples, 0.0, time.perf_counter() - start


def by_flow(X, snr, n_tissues):
    """The same by a normalising flow, and the seconds of training and of sampling."""
    low, high = (torch.as_tensor(end, dtype=torch.float32) for end in prior_ranges(MODEL, None))
    signals, tissues = make_signals(MODEL, n_tissues, snr=snr, random_state=1)
    start = time.perf_counter()
    inference = NPE(prior=BoxUniform(low, high), show_progress_bars=False)
    inference.append_simulations(
        torch.as_tensor(tissues, dtype=torch.float32), torch.as_tensor(signals, dtype=torch.float32)
    )
    inference.train()
    trained = time.perf_counter() - start
    posterior = inference.build_posterior()
    start = time.perf_counter()
    samples = posterior.sample_batched(
        (N_SAMPLES,), x=torch.as_tensor(X, dtype=torch.float32), show_progress_bars=False
    )
    return samples.numpy().transpose(1, 0, 2), trained, time.perf_counter() - start


def report(name, samples, trained, spent, y, reference):
    error = np.mean((samples.mean(axis=1) - y) ** 2, axis=0)
    cells = [f"error {np.round(error / reference, 3)}"]
    for coverage in (0.5, 0.9):
        ends = np.quantile(samples, [0.5 - coverage / 2, 0.5 + coverage / 2], axis=1)
        cells.append(f"{coverage:.0%} {np.mean((y >= ends[0]) & (y <= ends[1]), axis=0).round(3)}")
    score = continuous_ranked_probability_score(y, samples[:, :100])
    cells.append(f"CRPS {score.round(4)}")
    print(
        f"  {name}: {'; '.join(cells)}; training {trained:.0f} s, "
        f"{spent / len(y) * 1e3:.2f} ms/voxel",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tissues", type=int, default=20_000, help="tissues to train on")
    parser.add_argument("--voxels", type=int, default=500)
    parser.add_argument("--snr", type=float, nargs="+", default=(15, 30))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for snr in arguments.snr:
        X, y = make_signals(MODEL, arguments.voxels, snr=snr, random_state=2)
        print(f"SNR {snr:g}: S0, f, D, D_star")
        own = by_sampling(X, 1 / snr)
        reference = np.mean((own[0].mean(axis=1) - y) ** 2, axis=0)
        report("here", *own, y, reference)
        report("sbi", *by_flow(X, snr, arguments.tissues), y, reference)


if __name__ == "__main__":
    main()
