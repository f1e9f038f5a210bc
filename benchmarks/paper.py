"""The experiment of arXiv 2205.05587, measured again: what each kind of label does to a network.

Its 10 b-value IVIM protocol at SNR 30 and 15 under Rician noise, 80,000 tissues to train on and
20,000 to validate, tested on a grid of 10 x 10 x 10 tissues over f, D and D_star (S0 = 1). Two
blocks: the published training recipe (`published.epstein2022`, the best of 4 initial weights in
place of 16) and the package's own. In both, all networks of a seed start from the same weights
and see the same tissues in the same order: only labels and losses differ. Training signals are
one draw per SNR, so that the labels of the published optimiser serve all seeds; the spread over
seeds is that of training. The network on bias and variance, a row for each weight of its squared
bias, is beside the package's own recipe.

Finished parts are kept in the output folder, and a run that was stopped goes on from there.

    python benchmarks/paper.py             # over an hour on 2 cores
    python benchmarks/paper.py --quick     # under 5: a tenth of the tissues, one seed
    python benchmarks/paper.py --frontier  # only what claim (h) needs
"""

import argparse
import itertools
import json
import time

import numpy as np
import paper_frontier
import paper_report
from joblib import Parallel, delayed
from paper_data import BLOCKS, CHUNK, HYBRIDS, MODEL, SNRS, Experiment
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
from sklearn_qmri.estimators._net import hold_out_tissues, make_inputs, network_settings
from sklearn_qmri.estimators._outputs import shape_output
from sklearn_qmri.metrics import cramer_rao_bound
from sklearn_qmri.published import epstein2022

BOUNDS = {"f": (0.01, 0.5), "D": (0.01, 4.0), "D_star": (2.0, 300.0)}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
LR = 0.02  # where a recipe has none
OTHERS = 1e6  # what the errors of all other parameters are divided by (published)


def alpha_path(y, labels):
    """Targets along the label axis; no loss is weighted to a parameter."""
    mle = labels["mle"]
    targets = {"groundtruth": (y, None), "mle": (mle, None)}
    for alpha, name in HYBRIDS.items():
        targets[name] = (alpha * mle + (1 - alpha) * y, None)
    return targets


def all_targets(y, labels):
    """Targets of each supervised network, and the parameter that its loss is weighted to."""
    mle = labels["mle"]
    targets = alpha_path(y, labels)
    targets["mle_published"] = (labels["published"], None)
    targets["mle_gaussian"] = (labels["gaussian"], None)
    for j in (1, 2, 3):
        targets[f"weighted_{MODEL.parameter_names[j]}"] = (mle, j)
    return targets


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
    ends = {
        name: estimator.fit(X[:1]).predict(X)
        for name, estimator in (("posterior_mean", posterior), ("mle_fit", mle))
    }
    for name, predicted in ends.items():
        run.keep(("reference", snr, name, 0), predicted)
    bound = cramer_rao_bound(MODEL, tissues, sigma=1 / snr)
    run.save(run.path("reference", snr, "cramer_rao", 0), mean=tissues, std=bound)
    run.keep_ends(("reference", snr, "ends", 0), list(ends.values()))


def recipe(block, run, snr, seed):
    if block == "published":
        return epstein2022(sigma=1 / snr, n_init=run.n_init, random_state=seed)
    return HybridLabelNetRegressor(MODEL, sigma=1 / snr, random_state=seed)


def supervised(run, block, snr, seed, targets_of=all_targets):
    """Train on several kinds of labels side by side, from the same weights."""
    X, y = run.training(snr)
    net = recipe(block, run, snr, seed)
    named = targets_of(y, run.labels(snr))
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
    predicted = dict(zip(named, outputs[:, 0], strict=True))
    for name, rows in predicted.items():
        run.keep((block, snr, name, seed), rows)
    run.keep_ends((block, snr, "ends", seed), [predicted["groundtruth"], predicted["mle"]])


def self_supervised(run, block, snr, seed, noise):
    X, y = run.training(snr)
    net = SelfSupervisedNetRegressor(MODEL, random_state=seed)
    if block == "published":
        like = recipe(block, run, snr, seed).get_params(deep=False)
        own = set(net.get_params(deep=False)) - {"signal_model"}
        net.set_params(**{name: value for name, value in like.items() if name in own})
    net.set_params(noise=noise, sigma=1 / snr)
    run.keep((block, snr, f"self_{noise}", seed), net.fit(X, y).predict(run.test(snr)[0]))


def converged_tasks(run):
    for snr in SNRS:
        yield run.path("labels", snr), label_converged, (run, snr)


def label_tasks(run):
    yield from converged_tasks(run)
    for snr in SNRS:
        for start in range(0, run.n_tissues, CHUNK):
            yield run.path("labels", snr, start), label_published, (run, snr, start)


def reference_tasks(run):
    for snr in SNRS:
        yield run.path("reference", snr, "ends", 0), references, (run, snr)


def training_tasks(run):
    """Longest first, so that the cores finish together."""
    yield from reference_tasks(run)
    for block in BLOCKS:
        for noise, snr, seed in itertools.product(("rician", "gaussian"), SNRS, range(run.n_seeds)):
            path = run.path(block, snr, f"self_{noise}", seed)
            yield path, self_supervised, (run, block, snr, seed, noise)
        for snr, seed in itertools.product(SNRS, range(run.n_seeds)):
            # The last row that the task writes.
            yield run.path(block, snr, "weighted_D_star", seed), supervised, (run, block, snr, seed)


def frontier_tasks(run):
    """The frontier, and the label axis where a whole run has not trained on it already."""
    for seed, snr in itertools.product(range(run.n_seeds), SNRS):
        last = run.path("default", snr, paper_frontier.ROWS[-1], seed)
        yield last, paper_frontier.train, (run, snr, seed)
        ends = run.path("default", snr, "ends", seed)
        yield ends, supervised, (run, "default", snr, seed, alpha_path)


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
    parser.add_argument("--frontier", action="store_true", help="only what claim (h) needs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--n-jobs", type=int, default=2)
    parser.add_argument("--out", default="benchmarks/paper")
    options = parser.parse_args()
    size = (10_000, 20, 1, 2) if options.quick else (100_000, 200, options.seeds, 4)
    run = Experiment(options.out, *size)
    parts = {"labels": label_tasks, "training": training_tasks, "frontier": frontier_tasks}
    if options.frontier:
        parts |= {"labels": converged_tasks, "training": reference_tasks}
    seconds = {name: work(tasks(run), options.n_jobs, name) for name, tasks in parts.items()}
    with (run.folder / "seconds.jsonl").open("a") as file:
        file.write(json.dumps(seconds) + "\n")
    if options.frontier:
        paper_report.write_frontier(run, SNRS)
    else:
        paper_report.write(run, MODEL, SNRS, BLOCKS)
    print(", ".join(f"{value:.0f} s {name}" for name, value in seconds.items()), f"{run.folder}/")


if __name__ == "__main__":
    main()
