"""The frontier of bias and variance, beside the label axis, maximum likelihood and rivals.

The 10 b-value protocol of arXiv 2205.05587 and its prior, Rician noise, sigma known. CPU time of
one process on one thread. Squared bias B and variance V are scaled by 1, .3, 1.7, 80 for S0, f, D,
D_star; all methods are measured on the same rows, which no training has seen.

    python benchmarks/frontier.py            # about 15 minutes: 3 seeds, SNR 15 and 30
    python benchmarks/frontier.py --alone    # beside networks for one weight with 4 times the steps
    python benchmarks/frontier.py --rivals   # published losses, on our network and budget
    python benchmarks/frontier.py --weights  # the weights of the loss, on a narrow and a wide prior
    python benchmarks/frontier.py --map      # where a network on a wide prior stops dominating
"""

import argparse
import platform
import time
import warnings

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from sklearn_qmri import (
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SelfSupervisedNetRegressor,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import (
    bias_variance_decomposition,
    least_weighted,
    product_decomposition,
    quadratic,
    roi_mean_squared_error,
)
from sklearn_qmri.published import parker2025
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
BOUNDS = {"f": (0.01, 0.5), "D": (0.01, 4.0), "D_star": (2.0, 300.0)}
WIDE = {"S0": (0.6, 1.4), "f": (0.0, 0.7), "D": (0.1, 4.0), "D_star": (3.0, 220.0)}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
NAMES = MODEL.parameter_names
WEIGHTS = (4, 10, 30)
SIZES = (1, 10, 30)
N_TRAINED = 50_000


def cpu(function, *args, **kwargs):
    start = time.process_time()
    result = function(*args, **kwargs)
    return result, time.process_time() - start


def training_rows(snr, seed, prior=None):
    return make_signals(MODEL, N_TRAINED, snr=snr, prior=prior, random_state=100 + seed)


def rows_to_test(snr, n_tissues=1000, n_repeats=100, prior=None):
    return make_signals(
        MODEL, n_tissues, snr=snr, prior=prior, n_repeats=n_repeats, random_state=7000 + snr
    )


def parts_of(predicted, y):
    """Scaled squared bias and variance of each parameter."""
    parts = bias_variance_decomposition(y, predicted, scale=SCALE)
    return parts.squared_bias, parts.variance


def numbers(values, digits=4):
    return " ".join(f"{v:.{digits}f}" for v in values)


def frontier_net(snr, seed, **params):
    return BiasConstrainedNetRegressor(MODEL, sigma=1 / snr, random_state=seed, **params)


def label_ends(snr, seed, mle, X, y, X_test):
    """Predictions on true and on maximum-likelihood labels; a blend is linear in alpha."""
    net = HybridLabelNetRegressor(
        MODEL, sigma=1 / snr, label_estimator=mle, random_state=seed, alpha=0
    )
    return [net.set_params(alpha=alpha).fit(X, y).predict(X_test) for alpha in (0, 1)]


def best_blends(ends, y_test, weight):
    """Least V + weight * B along the label axis for each parameter, and its alpha."""
    bias, variance = product_decomposition(y_test, np.stack(ends) / SCALE - y_test / SCALE)
    rule = least_weighted(weight)
    alphas = np.array([rule.best_alpha(bias[..., j], variance[..., j]) for j in range(len(NAMES))])
    loss = [
        quadratic(variance[..., j], a) + weight * quadratic(bias[..., j], a)
        for j, a in enumerate(alphas)
    ]
    return np.array(loss), alphas


def main_table(snr, seeds):
    """One training for all weights, beside the best alpha and maximum likelihood."""
    X_test, y_test = rows_to_test(snr)
    mle = MLEEstimator(MODEL, sigma=1 / snr, bounds=BOUNDS)
    likely = parts_of(mle.fit(X_test[:1]).predict(X_test), y_test)
    print(f"\nSNR {snr}: {' '.join(NAMES)}")
    print(f"  MLE           B {numbers(likely[0])}   V {numbers(likely[1])}")
    losses, blends, times, parts = [], [], [], []
    for seed in range(seeds):
        X, y = training_rows(snr, seed)
        net, seconds = cpu(frontier_net(snr, seed).fit, X, y)
        times.append(seconds)
        parts.append([parts_of(net.predict(X_test, bias_weight=w), y_test) for w in WEIGHTS])
        ends = label_ends(snr, seed, mle, X, y, X_test)
        blends.append([best_blends(ends, y_test, w)[0] for w in WEIGHTS])
        losses.append([v + w * b for w, (b, v) in zip(WEIGHTS, parts[-1], strict=True)])
    print(f"  one training: {numbers(times, 1)} CPU-s")
    parts, losses, blends = np.array(parts), np.array(losses), np.array(blends)
    for k, weight in enumerate(WEIGHTS):
        bias, variance = parts[:, k].mean(axis=0)
        gain = 100 * (1 - losses[:, k] / blends[:, k])
        versus = losses[:, k].mean(axis=0) / (likely[1] + weight * likely[0])
        print(f"  w = {weight:2d}        B {numbers(bias)}   V {numbers(variance)}")
        print(f"    below the best alpha, %: mean {numbers(gain.mean(axis=0), 1)}")
        print(f"                   least seed {numbers(gain.min(axis=0), 1)}")
        print(f"    V + wB over that of the MLE: {numbers(versus, 3)}")
    print(f"  B / MLE's at w = 30: {numbers(parts[:, -1, 0].mean(axis=0) / likely[0], 3)}")
    print(f"  V / MLE's at w = 30: {numbers(parts[:, -1, 1].mean(axis=0) / likely[1], 3)}")


def region_table(snr):
    """Error of the mean over regions of one tissue, for every method, on the same rows."""
    X_test, y_test = rows_to_test(snr, 300, 30)
    X, y = training_rows(snr, 0)
    mle = MLEEstimator(MODEL, sigma=1 / snr, bounds=BOUNDS).fit(X_test[:1])
    net = frontier_net(snr, 0).fit(X, y)
    own = SelfSupervisedNetRegressor(MODEL, sigma=1 / snr, random_state=0).fit(X, y)
    mean = PosteriorMeanEstimator(MODEL, sigma=1 / snr, random_state=0).fit(X)
    ends = label_ends(snr, 0, mle, X, y, X_test)
    alphas = np.linspace(0, 1, 41)
    rows = {f"w = {w:g}": net.predict(X_test, bias_weight=w) for w in (1, 3, 5, 10, 15, 20, 30)}
    rows |= {
        "MLE": mle.predict(X_test),
        "posterior mean": mean.predict(X_test),
        "self-supervised": own.predict(X_test),
    }
    print(f"\nSNR {snr}: root of bias^2 + variance / n of {' '.join(NAMES)}, scaled")
    for size in SIZES:
        print(f"  n = {size}")
        for name, predicted in rows.items():
            error = roi_mean_squared_error(y_test / SCALE, predicted / SCALE, n_voxels=size)
            print(f"    {name:22s} {numbers(np.sqrt(error.clip(0)))}")
        blends = [
            roi_mean_squared_error(
                y_test / SCALE, ((1 - a) * ends[0] + a * ends[1]) / SCALE, n_voxels=size
            )
            for a in alphas
        ]
        best = np.min(blends, axis=0)
        print(f"    {'best alpha of each':22s} {numbers(np.sqrt(best.clip(0)))}")


def beside_alone(snr, weights=WEIGHTS):
    """Networks trained for one weight alone, with four times the steps."""
    X_test, y_test = rows_to_test(snr)
    X, y = training_rows(snr, 0)
    net = frontier_net(snr, 0).fit(X, y)
    print(f"\nSNR {snr}: V + wB over that of a network for this weight alone, 4 times the steps")
    for weight in weights:
        alone, seconds = cpu(
            frontier_net(
                snr, 0, max_bias_weight=None, bias_weight=weight, max_epochs=4 * net.max_epochs
            ).fit,
            X,
            y,
        )
        losses = []
        for predicted in (net.predict(X_test, bias_weight=weight), alone.predict(X_test)):
            bias, variance = parts_of(predicted, y_test)
            losses.append(variance + weight * bias)
        ratio = losses[0] / losses[1]
        print(f"  w = {weight:2d}: {numbers(ratio, 3)} ({seconds:.0f} CPU-s alone)", flush=True)


def rivals(snr):
    """Published losses on our network, tissues and budget, beside the frontier.

    Networks of many repeats have as many fewer epochs. The last rival has its own settings too.
    """
    X_test, y_test = rows_to_test(snr)
    X, y = training_rows(snr, 0)
    many = {"n_repeats": 20, "max_epochs": 16}
    # The published weight of diskin2023 counts the mean of M errors, whose variance is V / M: for
    # M = 100 and lambda = 1000 its loss is 11 V + 1001 B, that is w = 91.
    losses = {
        "diskin2023 (w = 91)": {"bias_weight": 91.0, "loss_weight": None, **many},
        "mao2024 (B + max(V - 1, 0), CRB)": {
            "bias_weight": 1.0, "loss_weight": "cramer_rao", "free_variance": 1.0, **many,
        },
        "zhang2022 (MSE / CRB)": {"bias_weight": 1.0, "loss_weight": "cramer_rao"},
    }  # fmt: skip
    nets = {
        name: frontier_net(snr, 0, max_bias_weight=None, **params)
        for name, params in losses.items()
    }
    nets["parker2025"] = parker2025(sigma=1 / snr, random_state=0)
    print(f"\nSNR {snr}: {' '.join(NAMES)}")
    for name, rival in nets.items():
        rival, seconds = cpu(rival.fit, X, y)
        bias, variance = parts_of(rival.predict(X_test), y_test)
        print(f"  {name:34s} B {numbers(bias)}   V {numbers(variance)}  {seconds:.0f} CPU-s")
    net, seconds = cpu(frontier_net(snr, 0, max_bias_weight=100).fit, X, y)
    for weight in (1, *WEIGHTS, 91):
        bias, variance = parts_of(net.predict(X_test, bias_weight=weight), y_test)
        name = f"frontier to 100, w = {weight}"
        print(f"  {name:34s} B {numbers(bias)}   V {numbers(variance)}  {seconds:.0f} CPU-s")


def loss_weights(snr):
    """V + wB with each weight of the loss, trained on a narrow and on a wide prior."""
    for name, prior in (("paper's", None), ("wide", WIDE)):
        X, y = training_rows(snr, 0, prior)
        for loss_weight in (None, 0.25, 0.5, "information"):
            net = frontier_net(snr, 0, loss_weight=loss_weight).fit(X, y)
            print(f"\nSNR {snr}, trained on the {name} prior, loss_weight={loss_weight!r}")
            for where, tested in (("paper's", None), ("wide", WIDE))[: 1 + (prior is WIDE)]:
                X_test, y_test = rows_to_test(snr, prior=tested)
                for weight in WEIGHTS:
                    bias, variance = parts_of(net.predict(X_test, bias_weight=weight), y_test)
                    loss = variance + weight * bias
                    print(f"  on the {where} prior, w = {weight:2d}: V + wB {numbers(loss)}")


def domination_map(snr, path="frontier_map.png"):
    """Tissues at which a network on a wide prior has less bias and variance than the MLE."""
    import matplotlib.pyplot as plt

    X, y = training_rows(snr, 0, WIDE)
    net = frontier_net(snr, 0).fit(X, y)
    f, star = np.linspace(0.02, 0.68, 23), np.geomspace(4, 210, 23)
    tissues = np.array([[1.0, a, 1.2, b] for a in f for b in star])
    repeats = 400
    X_test, y_test = make_signals(
        MODEL, len(tissues), snr=snr, prior=lambda n, rng: tissues, n_repeats=repeats,
        random_state=7001,
    )  # fmt: skip
    mle = MLEEstimator(MODEL, sigma=1 / snr).fit(X_test[:1])
    maps = []
    for weight in (4, 30):
        moments = []
        for predicted in (net.predict(X_test, bias_weight=weight), mle.predict(X_test)):
            error = ((predicted - y_test) / SCALE).reshape(len(tissues), repeats, -1)
            variance = error.var(axis=1, ddof=1)
            moments.append((error.mean(axis=1) ** 2 - variance / repeats, variance))
        (bias, variance), (likely_bias, likely_variance) = moments
        # 0: neither, 1: less variance, 2: less bias, 3: both
        maps.append((variance < likely_variance) + 2 * (bias < likely_bias))
        for j, name in enumerate(NAMES[1:], start=1):
            shares = [np.mean(maps[-1][:, j] == k) for k in (3, 2, 1, 0)]
            print(f"  w = {weight:2d}, {name}: both, bias, variance, neither: {numbers(shares, 2)}")
    fig, axes = plt.subplots(2, 3, figsize=(10, 6), layout="constrained", sharex=True, sharey=True)
    for row, weight, best in zip(axes, (4, 30), maps, strict=True):
        for ax, j in zip(row, (1, 2, 3), strict=True):
            image = best[:, j].reshape(len(f), len(star))
            mesh = ax.pcolormesh(star, f, image, cmap=plt.get_cmap("viridis", 4), vmin=0, vmax=3)
            ax.set(xscale="log", title=f"{NAMES[j]}, w = {weight}")
    axes[1, 1].set_xlabel("D_star (um^2/ms)")
    axes[0, 0].set_ylabel("f")
    bar = fig.colorbar(mesh, ax=axes, ticks=0.375 + 0.75 * np.arange(4))
    bar.set_ticklabels(["neither", "less variance", "less bias", "both"])
    fig.savefig(path, dpi=120)
    print(f"  map of tissues: {path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("alone", "rivals", "weights", "map"):
        parser.add_argument(f"--{name}", action="store_true")
    parser.add_argument("--snr", type=int, nargs="+", default=[15, 30])
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    print(f"{platform.processor() or platform.machine()}, torch {torch.__version__}, 1 thread")
    chosen = {
        "alone": beside_alone, "rivals": rivals, "weights": loss_weights, "map": domination_map,
    }  # fmt: skip
    run = [function for name, function in chosen.items() if getattr(options, name)]
    with threadpool_limits(1):
        for snr in options.snr:
            for function in run:
                function(snr)
            if not run:
                main_table(snr, options.seeds)
                region_table(snr)


if __name__ == "__main__":
    main()
