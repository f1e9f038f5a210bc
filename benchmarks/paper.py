"""The experiment of arXiv 2205.05587, measured again: what each kind of label does to a network.

Its 10 b-value IVIM protocol at SNR 30 and 15 under Rician noise, 80,000 tissues to train on and
20,000 to validate, tested on a grid of 10 x 10 x 10 tissues over f, D and D_star (S0 = 1). Two
blocks: the published training recipe (`published.epstein2022`, the best of 4 initial weights in
place of 16) and the package's own. In both, all networks of a seed start from the same weights
and see the same tissues in the same order: only labels and losses differ. Training signals are
one draw per SNR, so that the labels of the published optimiser serve all seeds; the spread over
seeds is that of training.

Finished parts are kept in the output folder, and a run that was stopped goes on from there.

    python benchmarks/paper.py            # under 60 minutes on 2 cores
    python benchmarks/paper.py --quick    # under 5: a tenth of the tissues, one seed
"""

import argparse
import itertools
import json
import os
import time
from pathlib import Path

import numpy as np
import paper_report
from joblib import Parallel, delayed
from scipy import optimize, special
from sklearn.utils import check_random_state
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SelfSupervisedNetRegressor,
)
from sklearn_qmri._network import LabelTask, ScaledSquaredError, train
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.estimators._net import hold_out_tissues, make_inputs, network_settings
from sklearn_qmri.estimators._outputs import shape_output
from sklearn_qmri.metrics import cramer_rao_bound
from sklearn_qmri.published import epstein2022
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
BOUNDS = {"f": (0.01, 0.5), "D": (0.01, 4.0), "D_star": (2.0, 300.0)}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
SNRS = (30, 15)
BLOCKS = ("published", "default")
CHUNK = 10_000  # labels of the published optimiser per task
LR = 0.02  # where a recipe has none
OTHERS = 1e6  # what the errors of all other parameters are divided by (published)


def blends(y, labels):
    """Targets of each supervised network, and the parameter that its loss is weighted to."""
    mle = labels["mle"]
    targets = {
        "groundtruth": (y, None),
        "mle": (mle, None),
        "mle_published": (labels["published"], None),
        "mle_gaussian": (labels["gaussian"], None),
    }
    for alpha in (0.25, 0.5, 0.75):
        targets[f"hybrid_{alpha:g}"] = (alpha * mle + (1 - alpha) * y, None)
    for j in (1, 2, 3):
        targets[f"weighted_{MODEL.parameter_names[j]}"] = (mle, j)
    return targets


class Experiment:
    """Data, labels and results of one size of the experiment, in a folder."""

    def __init__(self, out, n_tissues, n_repeats, n_seeds, n_init):
        self.folder = Path(out) / f"{n_tissues}x{n_repeats}x{n_init}"
        self.n_tissues = n_tissues
        self.n_repeats = n_repeats
        self.n_seeds = n_seeds
        self.n_init = n_init

    def path(self, *parts):
        return self.folder / ("-".join(str(part) for part in parts) + ".npz")

    def save(self, path, **arrays):
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        partial.replace(path)

    def training(self, snr):
        return make_signals(MODEL, self.n_tissues, snr=snr, random_state=snr)

    def test(self, snr):
        """Grid of tissues, repeated, and their signals."""
        axes = (np.linspace(*MODEL.parameters[j].prior, 10) for j in (1, 2, 3))
        tissues = np.array([(1.0, *rest) for rest in itertools.product(*axes)])
        X, _ = make_signals(
            MODEL,
            len(tissues),
            snr=snr,
            prior=lambda n, rng: tissues,
            n_repeats=self.n_repeats,
            random_state=1000 + snr,
        )
        return X, tissues

    def keep(self, name, predicted):
        """Mean and standard deviation of each tissue's predictions."""
        repeats = predicted.reshape(-1, self.n_repeats, predicted.shape[1])
        self.save(self.path(*name), mean=repeats.mean(axis=1), std=repeats.std(axis=1, ddof=1))

    def labels(self, snr):
        chunks = [
            np.load(self.path("labels", snr, start))["labels"]
            for start in range(0, self.n_tissues, CHUNK)
        ]
        return {"published": np.concatenate(chunks), **np.load(self.path("labels", snr))}


def label_published(run, snr, start):
    """Labels as published: L-BFGS-B with SciPy's defaults from the true parameters.

    Where it stops depends on constants, as its tolerance is relative to the loss: this is the
    negative logarithm of the Rician density in units of the signal.
    """
    X, y = run.training(snr)
    b = np.asarray(MODEL.b_values) * 1e-3
    box = [(0, None), *BOUNDS.values()]

    def loss(theta, x, constant):
        S0, f, D, D_star = theta
        a = S0 * (f * np.exp(-b * (D + D_star)) + (1 - f) * np.exp(-b * D)) * snr
        return np.sum((x - a) ** 2 / 2 - np.log(special.i0e(x * a))) - constant

    def label(x, truth):
        constant = np.sum(np.log(x * snr))
        return optimize.minimize(loss, truth, (x, constant), "L-BFGS-B", bounds=box).x

    rows = slice(start, start + CHUNK)
    found = [label(x * snr, truth) for x, truth in zip(X[rows], y[rows], strict=True)]
    run.save(run.path("labels", snr, start), labels=np.array(found))


def label_converged(run, snr):
    X, _ = run.training(snr)
    found = {
        name: MLEEstimator(MODEL, noise=noise, sigma=1 / snr, bounds=BOUNDS).fit(X[:1]).predict(X)
        for name, noise in (("mle", "rician"), ("gaussian", "gaussian"))
    }
    run.save(run.path("labels", snr), **found)


def references(run, snr):
    """What needs no training, and the bound of unbiased estimators."""
    X, tissues = run.test(snr)
    posterior = PosteriorMeanEstimator(MODEL, sigma=1 / snr, random_state=0)
    mle = MLEEstimator(MODEL, sigma=1 / snr, bounds=BOUNDS)
    for name, estimator in (("mle_fit", mle), ("posterior_mean", posterior)):
        run.keep(("reference", snr, name, 0), estimator.fit(X[:1]).predict(X))
    bound = cramer_rao_bound(MODEL, tissues, sigma=1 / snr)
    run.save(run.path("reference", snr, "cramer_rao", 0), mean=tissues, std=bound)


def recipe(block, run, snr, seed):
    if block == "published":
        return epstein2022(sigma=1 / snr, n_init=run.n_init, random_state=seed)
    return HybridLabelNetRegressor(MODEL, sigma=1 / snr, random_state=seed)


def supervised(run, block, snr, seed):
    """Train on all kinds of labels side by side, from the same weights."""
    X, y = run.training(snr)
    net = recipe(block, run, snr, seed)
    named = blends(y, run.labels(snr))
    targets = np.stack([target for target, _ in named.values()])
    weighted = np.tile(SCALE, (len(named), 1))
    for row, (_, parameter) in zip(weighted, named.values(), strict=True):
        if parameter is not None:
            row[np.arange(4) != parameter] *= OTHERS
    network, training = network_settings(net)
    sigma = np.full(len(X), 1 / snr)
    inputs = make_inputs(net, network, MODEL, X, sigma)
    heads = [
        shape_output(network.output, MODEL, np.full(4, name != "groundtruth"), target, SCALE)
        for name, target in zip(named, targets, strict=True)
    ]
    rng = check_random_state(seed)
    task = LabelTask(
        inputs.transform(X, sigma),
        targets,
        hold_out_tissues(y, training.validation_fraction, rng),
        heads,
        np.ones((len(named), 4)),
        ScaledSquaredError(np.repeat(weighted, training.n_init, axis=0)[:, None]),
        apart=True,
    )
    fitted = train(task, inputs, network, training, max_epochs=net.max_epochs, lr=LR, rng=rng)
    x_test = run.test(snr)[0]
    outputs = fitted.per_label(x_test, np.full(len(x_test), 1 / snr))
    for predicted, name in zip(outputs[:, 0], named, strict=True):
        run.keep((block, snr, name, seed), predicted)


def self_supervised(run, block, snr, seed, noise):
    X, y = run.training(snr)
    net = SelfSupervisedNetRegressor(MODEL, random_state=seed)
    if block == "published":
        like = recipe(block, run, snr, seed).get_params(deep=False)
        own = set(net.get_params(deep=False)) - {"signal_model"}
        net.set_params(**{name: value for name, value in like.items() if name in own})
    net.set_params(noise=noise, sigma=1 / snr)
    run.keep((block, snr, f"self_{noise}", seed), net.fit(X, y).predict(run.test(snr)[0]))


def label_tasks(run):
    for snr in SNRS:
        yield run.path("labels", snr), label_converged, (run, snr)
        for start in range(0, run.n_tissues, CHUNK):
            yield run.path("labels", snr, start), label_published, (run, snr, start)


def training_tasks(run):
    """Longest first, so that the cores finish together."""
    for snr in SNRS:
        yield run.path("reference", snr, "cramer_rao", 0), references, (run, snr)
    for block in BLOCKS:
        for noise, snr, seed in itertools.product(("rician", "gaussian"), SNRS, range(run.n_seeds)):
            path = run.path(block, snr, f"self_{noise}", seed)
            yield path, self_supervised, (run, block, snr, seed, noise)
        for snr, seed in itertools.product(SNRS, range(run.n_seeds)):
            # The last row that the task writes.
            yield run.path(block, snr, "weighted_D_star", seed), supervised, (run, block, snr, seed)


def limited(function, *arguments):
    with threadpool_limits(1):
        function(*arguments)


def work(tasks, n_jobs, what):
    """Do what is not done yet; seconds of it."""
    start = time.perf_counter()
    tasks = [(function, arguments) for path, function, arguments in tasks if not path.exists()]
    jobs = (delayed(limited)(function, *arguments) for function, arguments in tasks)
    done = Parallel(n_jobs, return_as="generator_unordered")(jobs)
    for _ in tqdm(done, what, len(tasks), unit=" tasks", disable=not tasks):
        pass
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--out", default="benchmarks/paper")
    options = parser.parse_args()
    size = (10_000, 20, 1, 2) if options.quick else (100_000, 200, options.seeds, 4)
    run = Experiment(options.out, *size)
    seconds = {
        "labels": work(label_tasks(run), options.n_jobs, "labels"),
        "training": work(training_tasks(run), options.n_jobs, "training"),
    }
    with (run.folder / "seconds.jsonl").open("a") as file:
        file.write(json.dumps(seconds) + "\n")
    paper_report.write(run, MODEL, SNRS, BLOCKS)
    print(f"{seconds['labels']:.0f} s labels, {seconds['training']:.0f} s training; {run.folder}/")


if __name__ == "__main__":
    main()
