"""Training of networks: accuracy against the posterior mean, and speed.

The 10 b-value protocol of arXiv 2205.05587, Rician noise, paper's prior. CPU time of one process
on one thread; what is compared takes turns. The default recipe is HybridLabelNetRegressor as it
is, on 80,000 simulated tissues; at alpha = 0 with fresh noise every epoch. The reference recipe
is the published one, `published.epstein2022`, with one initialisation.

    python benchmarks/training.py            # about 30 minutes
    python benchmarks/training.py --quick    # without the posterior means of twice the atoms
"""

import argparse
import platform
import time

import numpy as np
import torch
from skorch import NeuralNetRegressor
from threadpoolctl import threadpool_limits
from torch import nn

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator, PosteriorMeanEstimator
from sklearn_qmri._network import MLP, LabelTask, NetworkInputs, ScaledSquaredError, Training, train
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.estimators._hybrid_training import train_on_labels
from sklearn_qmri.estimators._labels import LabelledRows
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.noise import Rician
from sklearn_qmri.published import epstein2022
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
BOUNDS = {"f": (0.01, 0.5), "D": (0.01, 4.0), "D_star": (2.0, 300.0)}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
REFERENCE, DEFAULT = (10, 10, 10), (64, 64, 64)
SEEDS = 3


def cpu(function, *args, **kwargs):
    start = time.process_time()
    result = function(*args, **kwargs)
    return result, time.process_time() - start


def spread(values):
    return f"{np.median(values):.3g} ({min(values):.3g}-{max(values):.3g})"


def squared(predicted, y):
    """Scaled squared error of each row."""
    return np.mean(((predicted - y) / SCALE) ** 2, axis=1)


def excess(snr, options):
    """Risk at alpha = 0 over that of the posterior mean, on the same rows."""
    X, y = make_signals(MODEL, 20_000, snr=snr, random_state=1)
    atoms = 2**16

    def posterior(n_atoms):
        mean = PosteriorMeanEstimator(MODEL, sigma=1 / snr, n_atoms=n_atoms, random_state=0)
        return squared(mean.fit(X).predict(X), y)

    least, seconds = cpu(posterior, atoms)
    line = f"SNR {snr}: posterior mean of {atoms:,} atoms {least.mean():.5f} ({seconds:.0f} s)"
    if not options.quick:
        line += f", twice as many {posterior(2 * atoms).mean() / least.mean() - 1:+.3%}"
    print(line)
    recipes = {
        "default recipe": lambda seed: HybridLabelNetRegressor(
            MODEL, alpha=0, sigma=1 / snr, random_state=seed
        ),
        "the same, fixed noise": lambda seed: HybridLabelNetRegressor(
            MODEL, alpha=0, sigma=1 / snr, resample_noise=False, random_state=seed
        ),
        "reference recipe": lambda seed: epstein2022(
            alpha=0, sigma=1 / snr, n_init=1, random_state=seed
        ),
    }
    for name, recipe in recipes.items():
        shares, errors, times = [], [], []
        for seed in range(SEEDS):
            X_train, y_train = make_signals(MODEL, 80_000, snr=snr, random_state=100 + seed)
            net, seconds = cpu(recipe(seed).fit, X_train, y_train)
            difference = squared(net.predict(X), y) - least
            shares.append(100 * difference.mean() / least.mean())
            errors.append(100 * difference.std() / np.sqrt(len(X)) / least.mean())
            times.append(seconds)
        print(
            f"  {name}: excess {spread(shares)} %, paired standard error {np.mean(errors):.2f} %, "
            f"{spread(times)} CPU-s"
        )


def maximum_likelihood_labels(snr=15):
    """At alpha = 1: error to the labels, and bias and noise beside those of the labels."""
    mle = MLEEstimator(MODEL, sigma=1 / snr, bounds=BOUNDS)
    X, y = make_signals(MODEL, 20_000, snr=snr, random_state=1)
    X_repeats, y_repeats = make_signals(MODEL, 400, snr=snr, n_repeats=50, random_state=2)
    labels, errors = mle.fit(X[:1]).predict(X), []
    print(f"alpha = 1, SNR {snr}")
    for seed in range(SEEDS):
        X_train, y_train = make_signals(MODEL, 80_000, snr=snr, random_state=100 + seed)
        net = HybridLabelNetRegressor(
            MODEL, alpha=1, sigma=1 / snr, label_estimator=mle, random_state=seed
        ).fit(X_train, y_train)
        errors.append(squared(net.predict(X), labels).mean())
    print(f"  scaled MSE to labels {spread(errors)}")
    for name, estimator in (("MLE", mle), ("network", net)):
        parts = bias_variance_decomposition(y_repeats, estimator.predict(X_repeats))
        bias, std = np.sqrt(parts.squared_bias.clip(0)), np.sqrt(parts.variance)
        print(f"  {name}: RMS bias {bias.round(4)}, std {std.round(4)} of S0 f D D_star")


def plain_network(hidden):
    sizes = (10, *hidden, 4)
    layers = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
    return nn.Sequential(*layers[:-1], nn.Sigmoid())


def plain_loop(x, target, hidden, epochs, batch):
    """What anyone would write: shuffle, forward, backward, step, validate."""
    x, target = torch.from_numpy(x), torch.from_numpy(target)
    train_rows, net = len(x) * 4 // 5, plain_network(hidden)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    for _ in range(epochs):
        order = torch.randperm(train_rows)
        for rows in order.split(batch):
            loss = (net(x[rows]) - target[rows]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            (net(x[train_rows:]) - target[train_rows:]).square().mean()


def skorch_default(x, target, hidden, epochs, batch):
    net = NeuralNetRegressor(
        plain_network(hidden), max_epochs=epochs, batch_size=batch, lr=1e-3,
        optimizer=torch.optim.Adam, verbose=0,
    )  # fmt: skip
    net.fit(x, target)


def ours(x, target, hidden, epochs, batch):
    targets = target if target.ndim == 3 else target[None]
    n_labels = len(targets)
    task = LabelTask(
        x, targets, np.arange(len(x)) >= len(x) * 4 // 5,
        [(("sigmoid",) * 4, np.zeros(4), np.ones(4))] * n_labels, np.ones((n_labels, 4)),
        ScaledSquaredError(np.ones(4)),
    )  # fmt: skip
    inputs = NetworkInputs(MODEL, None, False, False)
    training = Training(1e-3, batch_size=batch, schedule="constant")
    rng = np.random.RandomState(0)
    train(task, inputs, MLP(hidden), training, max_epochs=epochs, lr=1e-3, rng=rng)


def engine(repeats):
    """Cost of a step beside a plain loop and skorch's own; of a path beside trainings."""
    X, y = make_signals(MODEL, 20_000, snr=30, random_state=0)
    x, target = X.astype(np.float32), (y / [1.2, 0.5, 3, 150]).astype(np.float32)
    for name, hidden, batch, epochs in (
        ("reference", REFERENCE, 100, 3),
        ("default", DEFAULT, 1000, 8),
    ):
        loops = {"plain loop": plain_loop, "ours": ours, "skorch's own": skorch_default}
        times = {key: [] for key in loops}
        for _ in range(repeats):
            for key, loop in loops.items():
                times[key].append(cpu(loop, x, target, hidden, epochs, batch)[1])
        plain = np.median(times["plain loop"])
        print(f"{name} network, batch {batch}, {epochs * 16_000 // batch} steps")
        for key, values in times.items():
            print(f"  {key}: {spread(values)} s, {np.median(values) / plain:.2f} of the plain loop")
    both, path, single, skorch = np.stack([target, target]), [], [], []
    for _ in range(repeats):
        single.append(cpu(ours, x, target, REFERENCE, 3, 100)[1])
        path.append(cpu(ours, x, both, REFERENCE, 3, 100)[1])
        skorch.append(sum(cpu(skorch_default, x, target, REFERENCE, 3, 100)[1] for _ in range(11)))
    print(
        "11-alpha path of one fold, reference network: "
        f"{np.median(path) / np.median(single):.2f} of one training, "
        f"{np.median(skorch) / np.median(path):.1f} times faster than 11 by skorch"
    )
    labels = MLEEstimator(MODEL, sigma=1 / 30, bounds=BOUNDS).fit(X[:1]).predict(X)
    net = HybridLabelNetRegressor(MODEL, sigma=1 / 30, max_epochs=10, random_state=0)
    rows = LabelledRows(X, y, np.full(len(X), 1 / 30), labels)
    ends = np.stack([np.zeros(4), np.ones(4)])
    single, path = [], []
    for _ in range(repeats):
        for times, alphas in ((single, np.full((1, 4), 0.5)), (path, ends)):
            mix = np.ones_like(alphas)
            times.append(cpu(train_on_labels, net, MODEL, Rician(), rows, alphas, mix)[1])
    print(f"  default network: {np.median(path) / np.median(single):.2f} of one training")


def prediction(repeats, n=500_000):
    """Voxels a CPU-second of the networks alone, and of predict as called."""
    X, y = make_signals(MODEL, 5000, snr=30, random_state=0)
    rows = np.tile(X, (n // 5000, 1))
    for name, hidden in (("reference", REFERENCE), ("default", DEFAULT)):
        net = HybridLabelNetRegressor(
            MODEL, alpha=0, sigma=1 / 30, max_epochs=2, random_state=0,
            network=MLP(hidden, activation="elu" if hidden == REFERENCE else "silu"),
        ).fit(X, y)  # fmt: skip
        sigma = np.full(n, 1 / 30)
        alone = [n / cpu(net.network_.predict, rows, sigma)[1] / 1e6 for _ in range(repeats)]
        called = [n / cpu(net.predict, rows)[1] / 1e6 for _ in range(repeats)]
        print(f"predict, {name} network: {spread(alone)} M voxels/s, as called {spread(called)} M")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    threadpool_limits(1)
    torch.set_num_threads(1)
    print(platform.processor() or platform.machine(), time.strftime("%Y-%m-%d"))
    engine(options.repeats)
    prediction(options.repeats)
    maximum_likelihood_labels()
    for snr in (15, 30, 50):
        excess(snr, options)


if __name__ == "__main__":
    main()
