"""Self-supervised networks: ours as it is by default, and the narrow one of Parker et al.

The 10 b-value protocol of arXiv 2205.05587, Rician noise, sigma known. The grid is that of the
simulations in the package RicianLoss 0.0.1, drawn again: 10 x 10 x 10 x 10 tissues x 20 repeats,
sigma = 0.1. Networks are trained and measured on the same rows. At SNR 15 and 30 the tissues are
those of our own prior, and the rows that are measured are new. The likelihood is that of the
measured rows; less is better. CPU time of one process on one thread.

    python benchmarks/rician.py                # about 9 minutes, nearly all for the narrow network
    python benchmarks/rician.py --undecayed    # also no weight decay, half the learning rate
"""

import argparse
import platform
import time
import warnings
from functools import partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sklearn_qmri import MLEEstimator, SelfSupervisedNetRegressor, Training
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.noise import Rician
from sklearn_qmri.published import parker2025
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
GRID = {"S0": (0.8, 1.2), "f": (0.1, 0.5), "D": (0.5, 2.0), "D_star": (10.0, 150.0)}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
N_TRAINED = 30_000


def grid_rows(seed):
    """Rows to train on, rows to measure on (the same) and their tissues; sigma."""
    axes = [np.linspace(*GRID[name], 10) for name in MODEL.parameter_names]
    tissues = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 4)
    X, y = make_signals(
        MODEL, len(tissues), sigma=0.1, noise="rician", prior=lambda n, rng: tissues,
        n_repeats=20, random_state=seed,
    )  # fmt: skip
    return X, X, y, 0.1


def prior_rows(snr, seed):
    """Same as `grid_rows`, for tissues of our own prior."""
    X = make_signals(MODEL, N_TRAINED, snr=snr, random_state=seed)[0]
    X_test, y_test = make_signals(MODEL, 1000, snr=snr, n_repeats=50, random_state=7000 + seed)
    return X, X_test, y_test, 1 / snr


def mean_loss(X, predicted, sigma):
    """Mean negative log-likelihood per measurement, without constants."""
    x, signal = (torch.tensor(a.T / sigma) for a in (X, MODEL.simulate(predicted)))
    return float(Rician().derivatives(x, signal)[0].mean())


def measured(net, X, X_test, y_test, sigma):
    """RMSE, scaled squared bias and variance of f, D and D_star; likelihood, loss and time."""
    start = time.process_time()
    net.fit(X)
    seconds = time.process_time() - start
    predicted = net.predict(X_test)
    parts = bias_variance_decomposition(y_test, predicted, scale=SCALE)
    rmse = np.sqrt(np.mean((predicted - y_test) ** 2, axis=0))
    trained = getattr(net, "network_", None)
    loss = np.nan if trained is None else np.ravel(trained.history["train_loss"])[-1]
    rows = [rmse[1:], parts.squared_bias[1:], parts.variance[1:]]
    return np.array([*np.ravel(rows), mean_loss(X_test, predicted, sigma), loss, seconds])


def methods(sigma, seed, undecayed):
    shared = {"sigma": sigma, "noise": "rician", "random_state": seed}
    nets = {
        "MLE": MLEEstimator(MODEL, noise="rician", sigma=sigma),
        "default": SelfSupervisedNetRegressor(MODEL, **shared),
        "parker2025": parker2025(sigma=sigma, random_state=seed),
    }
    if undecayed:
        without = Training(0.01, weight_decay=0.0)
        nets["no decay"] = SelfSupervisedNetRegressor(MODEL, **shared, training=without)
    return nets


def table(name, draw, seeds, undecayed):
    print(f"\n{name}: f, D, D_star; mean of {len(seeds)} seeds")
    figures = {}
    for seed in seeds:
        *rows, sigma = draw(seed)
        for method, net in methods(sigma, seed, undecayed).items():
            figures.setdefault(method, []).append(measured(net, *rows, sigma))
    for method, values in figures.items():
        rmse, bias, variance, (likelihood, loss, seconds) = np.split(np.mean(values, 0), [3, 6, 9])
        f, D, D_star = rmse
        spread = np.std(values, axis=0)[:3]
        print(
            f"  {method:10s} RMSE {f:.4f} {D:.4f} {D_star:.1f}"
            f" (spread {spread[0]:.4f} {spread[1]:.4f} {spread[2]:.1f})"
            f"  bias^2 {' '.join(f'{v:.4f}' for v in bias)}"
            f"  variance {' '.join(f'{v:.4f}' for v in variance)}"
            f"  -log L {likelihood:.4f}  training loss {loss:.5f}  {seconds:.0f} CPU-s",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--undecayed", action="store_true")
    parser.add_argument("--data", nargs="+", default=["15", "30", "grid"], help="SNR, or grid")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11, 12, 13])
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")
    with threadpool_limits(1):
        for name in options.data:
            draw = grid_rows if name == "grid" else partial(prior_rows, float(name))
            title = "grid, sigma 0.1" if name == "grid" else f"SNR {name}"
            table(title, draw, options.seeds, options.undecayed)


if __name__ == "__main__":
    main()
