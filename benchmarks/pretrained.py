"""Networks that come with the package, on protocols that their training never saw.

Random protocols from another seed than the training's, tissues of the training's prior, Rician
noise, sigma known. All methods are measured on the same rows.

    python benchmarks/pretrained.py IVIM-additive                 # 10 protocols, 5 minutes
    python benchmarks/pretrained.py IVIM-additive --protocols 100
    python benchmarks/pretrained.py --speed                       # voxels per second, one thread
"""

import argparse
import time
import warnings

import numpy as np
import torch
from pretrain import MODELS
from threadpoolctl import threadpool_limits

from sklearn_qmri import (
    BiasConstrainedNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.dictionary import place
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.signal_models import IVIM

SNRS = (10, 15, 30, 60)
WEIGHTS = (4, 10, 30)
N_ATOMS = 2**15  # of the posterior mean that is the yardstick


def tissues_of(model, prior):
    """Prior of the training, and an amplitude from .8 to 1.2."""
    ranges = np.array([prior.get(p.name, p.prior) for p in model.parameters], dtype=float).T
    log = np.array([p.log for p in model.parameters]) & (ranges[0] > 0)
    return lambda n, rng: place(rng.uniform(size=(n, len(log))), ranges, log)


def numbers(values, digits=2):
    return " ".join(f"{v:7.{digits}f}" for v in values)


def measure(name, seed, snr, compare):
    """Excess at w = 1 in %, and for each weight B and V over those of maximum likelihood."""
    draw, prior, *_ = MODELS[name]
    model = draw(np.random.RandomState(seed))
    tissues = tissues_of(model, prior)
    settings = {"sigma": 1 / snr}
    X, y = make_signals(model, 200, snr=snr, prior=tissues, n_repeats=30, random_state=seed)
    net = PretrainedNetRegressor(model, **settings).fit(X)
    mean = PosteriorMeanEstimator(
        model, prior=tissues, n_atoms=N_ATOMS, random_state=seed, **settings
    )
    scale = np.array([p.loss_scale for p in model.parameters])
    error = [
        np.mean((p - y) ** 2, axis=0)
        for p in (net.predict(X, bias_weight=1), mean.fit(X).predict(X))
    ]

    def parts(predicted):
        found = bias_variance_decomposition(y, predicted, scale=scale)
        return found.squared_bias, found.variance

    likely = parts(MLEEstimator(model, **settings).fit(X[:1]).predict(X))
    rows = [100 * (error[0] / error[1] - 1)]
    own = None
    if compare:
        Z, t = make_signals(model, 50_000, snr=snr, prior=tissues, random_state=seed + 1)
        own = BiasConstrainedNetRegressor(model, random_state=0, **settings).fit(Z, t)
    for weight in WEIGHTS:
        bias, variance = parts(net.predict(X, bias_weight=weight))
        rows += [bias / likely[0], variance / likely[1]]
        if own is not None:
            alone = parts(own.predict(X, bias_weight=weight))
            rows.append(100 * ((variance + weight * bias) / (alone[1] + weight * alone[0]) - 1))
    return model, rows


def quality(name, n_protocols, compare):
    for snr in SNRS:
        found = [measure(name, 10_000 + k, snr, compare) for k in range(n_protocols)]
        names = found[0][0].parameter_names[1:]
        labels = ["excess over the posterior mean at w = 1, %"]
        for weight in WEIGHTS:
            labels += [f"w = {weight}: B over the MLE's", f"w = {weight}: V over the MLE's"]
            labels += [f"w = {weight}: V + wB over a network for the protocol, %"] * compare
        values = np.array([rows for _, rows in found])[:, :, 1:]
        print(f"\n{name}, SNR {snr}, {n_protocols} protocols: median | 95th percentile of {names}")
        for k, label in enumerate(labels):
            median, high = np.percentile(values[:, k], [50, 95], axis=0)
            print(f"  {label:48s} {numbers(median)} | {numbers(high)}", flush=True)


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
    parser.add_argument("--protocols", type=int, default=10)
    parser.add_argument("--compare", action="store_true", help="a network for each protocol too")
    parser.add_argument("--speed", action="store_true")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    with threadpool_limits(1):
        if options.model:
            quality(options.model, options.protocols, options.compare)
        if options.speed:
            speed()


if __name__ == "__main__":
    main()
