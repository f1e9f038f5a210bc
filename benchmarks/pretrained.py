"""Networks that come with the package, on protocols that their training never saw.

Random protocols from another seed than the training's, and clinical ones from the literature
(`clinical_protocols.py`). Tissues of the training's prior, Rician noise (Gaussian for signed
signals), sigma known. All methods are measured on the same rows. Standard errors are those of a
bootstrap over tissues.

    python benchmarks/pretrained.py IVIM-additive                  # 20 random protocols, 6 minutes
    python benchmarks/pretrained.py IVIM-additive --protocols 100
    python benchmarks/pretrained.py IVIM-additive --clinical       # 12 protocols, one by one
    python benchmarks/pretrained.py IVIM-additive --compare        # and networks for the protocol
    python benchmarks/pretrained.py IVIM-additive --record         # the result goes into the file
    python benchmarks/pretrained.py --speed                        # voxels a second, one thread
"""

import argparse
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from clinical_protocols import IVIM_PROTOCOLS
from pretrain import MODELS
from threadpoolctl import threadpool_limits

import sklearn_qmri
from sklearn_qmri import (
    BiasConstrainedNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    write_weights,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.dictionary import place
from sklearn_qmri.signal_models import IVIM

SNRS = (10, 15, 30, 60)
WEIGHTS = (4, 10, 30)
N_ATOMS = 2**16  # of the posterior mean that is the yardstick
N_TISSUES, N_REPEATS = 200, 30
AMPLITUDES = (0.8, 1.25)
MARGIN = 4.0  # of their range for the posterior mean, in noise levels: its ends must not tell it
N_ROWS = 600  # that the posterior mean is computed for, a tissue each
N_RESAMPLED = 200


def tissues_of(model, prior, margin=0.0):
    """Prior of the training, with a range of the amplitude that a margin makes wider."""
    low, high = AMPLITUDES
    known = {p.name: (low - margin, high + margin) for p in model.parameters if p.amplitude} | prior
    ranges = np.array([known.get(p.name, p.prior) for p in model.parameters], dtype=float).T
    log = np.array([p.log for p in model.parameters]) & (ranges[0] > 0)
    return lambda n, rng: place(rng.uniform(size=(n, len(log))), ranges, log)


def parts_of(predicted, y, scale):
    """Scaled squared bias and variance of each tissue, two arrays (n_tissues, n_parameters)."""
    error = ((predicted - y) / scale).reshape(-1, N_REPEATS, y.shape[1])
    variance = error.var(axis=1, ddof=1)
    return error.mean(axis=1) ** 2 - variance / N_REPEATS, variance


def ratio(above, below):
    """Ratio of the means over tissues for each parameter, and its standard error."""
    rng = np.random.RandomState(0)
    chosen = rng.randint(len(above), size=(N_RESAMPLED, len(above)))
    resampled = above[chosen].mean(axis=1) / below[chosen].mean(axis=1)
    return above.mean(axis=0) / below.mean(axis=0), resampled.std(axis=0, ddof=1)


def measure(model, prior, seed, snr, compare):
    """Ratios and their standard errors by label; each is a pair of arrays (n_parameters,)."""
    tissues = tissues_of(model, prior)
    settings = {"sigma": 1 / snr}
    net = PretrainedNetRegressor(model, **settings)
    X, y = make_signals(model, N_ROWS, snr=snr, prior=tissues, random_state=seed)
    wider = tissues_of(model, prior, MARGIN / snr)
    mean = PosteriorMeanEstimator(
        model, prior=wider, n_atoms=N_ATOMS, random_state=seed, **settings
    )
    predicted = net.fit(X).predict(X, bias_weight=1), mean.fit(X).predict(X)
    found = {"w = 1, error over the posterior mean's": ratio(*((p - y) ** 2 for p in predicted))}
    X, y = make_signals(
        model, N_TISSUES, snr=snr, prior=tissues, n_repeats=N_REPEATS, random_state=seed + 1
    )
    scale = np.array([p.loss_scale for p in model.parameters])
    likely = parts_of(MLEEstimator(model, **settings).fit(X[:1]).predict(X), y, scale)
    if compare:
        Z, t = make_signals(model, 50_000, snr=snr, prior=tissues, random_state=seed + 2)
        own = BiasConstrainedNetRegressor(model, random_state=0, **settings).fit(Z, t)
    for weight in WEIGHTS:
        bias, variance = parts_of(net.predict(X, bias_weight=weight), y, scale)
        found[f"w = {weight}, B over the MLE's"] = ratio(bias, likely[0])
        found[f"w = {weight}, V over the MLE's"] = ratio(variance, likely[1])
        if compare:
            alone = parts_of(own.predict(X, bias_weight=weight), y, scale)
            losses = variance + weight * bias, alone[1] + weight * alone[0]
            found[f"w = {weight}, V + wB over a network's for the protocol"] = ratio(*losses)
    return found


def numbers(values, digits=2):
    return " ".join(f"{v:6.{digits}f}" for v in values)


def random_table(name, n_protocols, compare):
    """Medians, 95th percentiles and standard errors over random protocols, by SNR and label."""
    draw, prior, *_ = MODELS[name]
    tables = {}
    for snr in SNRS:
        models = [draw(np.random.RandomState(10_000 + k)) for k in range(n_protocols)]
        found = [measure(model, prior, 3 * k, snr, compare) for k, model in enumerate(models)]
        names = models[0].parameter_names[1:]
        print(f"\n{name}, SNR {snr}, {n_protocols} random protocols, {', '.join(names)}:")
        print(f"  {'':52s} median | 95th percentile | standard error of one protocol")
        for label in found[0]:
            values, errors = np.array([each[label] for each in found])[..., 1:].swapaxes(0, 1)
            median, high = np.percentile(values, [50, 95], axis=0)
            tables[f"SNR {snr}, {label}"] = median.round(3).tolist()
            error = np.median(errors, axis=0)
            print(
                f"  {label:52s} {numbers(median)} | {numbers(high)} | {numbers(error)}", flush=True
            )
    return tables


def clinical_table(name, weight=10):
    """Each clinical protocol: whether B and V are both at most those of the MLE."""
    _, prior, *_ = MODELS[name]
    choices = {"convention": name.removeprefix("IVIM-")}
    for snr in SNRS:
        print(f"\n{name}, SNR {snr}, clinical protocols, f D D_star, (standard error):")
        good = []
        for k, (title, b_values) in enumerate(IVIM_PROTOCOLS.items()):
            found = measure(IVIM(b_values, **choices), prior, 5000 + 3 * k, snr, False)
            labels = [f"w = {weight}, {part} over the MLE's" for part in "BV"]
            cells = [f"{r:.3f} ({e:.3f})" for r, e in zip(*next(iter(found.values())), strict=True)]
            print(f"  {title:28s} error over the posterior mean's {' '.join(cells[1:])}")
            for label in labels:
                cells = [f"{r:.2f} ({e:.2f})" for r, e in zip(*found[label], strict=True)]
                print(f"  {'':28s} {label:30s} {' '.join(cells[1:])}", flush=True)
            good.append(np.max([found[label][0] for label in labels], axis=0)[1:] <= 1)
        print(f"  both at most the MLE's in {np.sum(good, axis=0)} of {len(good)} protocols")


def record(name, tables):
    """Write measured quality into the file of the weights."""
    model = MODELS[name][0](np.random.RandomState(0))
    network = (
        PretrainedNetRegressor(model, sigma=1).fit(np.ones((1, model.n_measurements))).network_
    )
    network.about["quality"] = {"script": f"benchmarks/pretrained.py {name} --record", **tables}
    folder = Path(sklearn_qmri.__file__).parent / "weights"
    write_weights(network, folder / f"{network.about['model']}.npz")


def speed():
    """Voxels per second of one thread, beside maximum likelihood."""
    model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    X, _ = make_signals(model, 100_000, snr=30, random_state=0)
    for estimator in (
        PretrainedNetRegressor(model, sigma=1 / 30),
        MLEEstimator(model, sigma=1 / 30),
    ):
        fitted, start = estimator.fit(X), time.process_time()
        fitted.predict(X)
        rate = len(X) / (time.process_time() - start)
        print(f"{type(estimator).__name__:24s} {rate:,.0f} voxels a second of CPU time")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", choices=MODELS, nargs="?")
    parser.add_argument("--protocols", type=int, default=20)
    for name in ("clinical", "compare", "record", "speed"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if options.model and options.clinical:
            clinical_table(options.model)
        elif options.model:
            tables = random_table(options.model, options.protocols, options.compare)
            if options.record:
                record(options.model, tables)
        if options.speed:
            speed()


if __name__ == "__main__":
    main()
