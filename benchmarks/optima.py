"""Share of voxels at the best optimum known, over all signal models: ``mle.py --models``.

The best optimum known of a voxel is the best of 50 random starting points in the box and the
prior, each followed to its own optimum, of the truth as one more starting point, and of the
estimate itself. A voxel within 1e-5 nats of it counts; the status of the others is listed.
"""

import time
import warnings
from collections import Counter

import numpy as np
import torch

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    SPGR,
    BiexponentialT2,
    InversionRecovery,
    IVIMKurtosis,
    Kurtosis,
    ProstateHybrid,
    R2StarDecay,
    SaturationRecovery,
    SIRSphericalMean,
    SphericalMeanThreeCompartment,
    SphericalMeanTwoCompartment,
    StretchedExponential,
    T2Decay,
    TriExponential,
    TwoCompartmentDiffusionT2,
)
from sklearn_qmri.tissues import measure

TOLERANCE = 1e-5  # nats
N_REFERENCE = 50
SNRS = 10, 30, 100, 300
B10 = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
B18 = [0, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 600, 800]
SHELLS = [0, 500, 1000, 2000, 3000, 5000, 8000]


def grid(*axes):
    """All combinations of acquisition settings, as one list per setting."""
    return [axis.ravel().tolist() for axis in np.meshgrid(*axes)]


def echoes(first, last, n):
    return np.linspace(first, last, n).tolist()


def signal_models():
    """Every signal model with a protocol or several, and what is known beforehand."""
    b_inverted, inversion = grid([0, 1000, 3000], [50, 200, 600, 1200])
    return [
        ADC([0, 200, 500, 1000]),
        ADC([0, 50, 100, 400, 800]),
        T2Decay(echoes(10, 200, 12)),
        T2Decay(echoes(10, 320, 32)),
        R2StarDecay(echoes(1, 20, 12)),
        R2StarDecay(echoes(2, 40, 6)),
        SPGR([2, 5, 10, 15, 20], 15),
        IVIM(B10),
        IVIM(B18),
        IVIM(B10[1:]),
        IVIM(B18[1:]),
        IVIM(B10, convention="total"),
        Kurtosis([0, 500, 1000, 2000, 3000]),
        Kurtosis([0, 200, 500, 1000, 1500, 2000, 2500, 3000]),
        StretchedExponential([0, 200, 500, 1000, 2000]),
        BiexponentialT2(echoes(10, 320, 32)),
        BiexponentialT2(echoes(10, 200, 12)),
        InversionRecovery([50, 400, 1100, 2500], magnitude=True),
        InversionRecovery([50, 400, 1100, 2500, 3500, 5000], magnitude=True),
        InversionRecovery([50, 400, 1100, 2500, 3500, 5000]),
        SaturationRecovery([100, 300, 700, 1500, 3000, 6000]),
        SphericalMeanTwoCompartment(SHELLS),
        SphericalMeanThreeCompartment(SHELLS),
        SIRSphericalMean(b_inverted, inversion, [3000] * len(inversion)),
        IVIMKurtosis([*B10, 1200, 2000]),
        TriExponential(B18),
        TriExponential([*B18, 1000, 1500]),
        ProstateHybrid(*grid([0, 150, 1000, 1500], [57, 70, 150, 200])),
        TwoCompartmentDiffusionT2(*grid([0, 150, 1000, 1500], [50, 100, 150, 200])),
    ]


def random_tissues(model, n, rng):
    """Tissues from all over the box or, half of them, the prior; half on logarithmic axes."""
    bounds, prior = (
        np.array([getattr(p, name) for p in model.parameters]) for name in ("bounds", "prior")
    )
    box = np.where(np.isfinite(bounds), bounds, prior)
    low, high = np.where(rng.rand(n, 1, 1) < 0.5, box, prior).transpose(2, 0, 1)
    log = (low > 0) & (rng.rand(n, 1) < 0.5)
    unit = rng.rand(*low.shape)
    ratio = np.where(log, high / np.where(log, low, 1.0), 1.0)
    return np.where(log, low * ratio**unit, low + (high - low) * unit)


def loss(model, noise, parameters, X, sigma):
    """Negative log-likelihood of each row, without constants."""
    signal = torch.as_tensor(model.simulate(parameters) / sigma)
    return noise.derivatives(torch.as_tensor(X / sigma), signal)[0].sum(1).numpy()


def measured(model, snr, n_voxels, seed):
    """Estimates, their excess over the best optimum known (nats), and CPU microseconds a voxel."""
    rng, sigma = np.random.RandomState(seed), 1 / snr
    prior = np.array([p.prior for p in model.parameters]).T
    fixed = {"B1": 1.0} if "B1" in model.parameter_names else {}
    known = [model.parameter_names.index(name) for name in fixed]
    y = rng.uniform(*prior, size=(n_voxels, prior.shape[1]))
    y[:, known] = list(fixed.values())
    mle = MLEEstimator(model, sigma=sigma, fixed=fixed or None)
    mle.fit(np.abs(model.simulate(y)))
    X = measure(model, mle.noise_, y, np.full(n_voxels, sigma), rng)
    mle.predict(X[:1])
    start = time.process_time()
    found = mle.estimate(X)
    cost = (time.process_time() - start) / n_voxels * 1e6
    ours = loss(model, mle.noise_, found.parameters, X, sigma)
    best = np.minimum(ours, loss(model, mle.noise_, y, X, sigma))
    starts = [random_tissues(model, n_voxels, rng) for _ in range(N_REFERENCE)]
    seeds = np.concatenate([*starts, y, found.parameters])
    seeds[:, known] = list(fixed.values())
    rows = np.tile(X, (N_REFERENCE + 2, 1))
    others = MLEEstimator(
        model, sigma=sigma, fixed=fixed or None, init=np.clip(seeds, *mle.bounds_)
    )
    parameters = others.fit(X[:1]).predict(rows)
    reached = loss(model, mle.noise_, parameters, rows, sigma).reshape(-1, n_voxels)
    return found, ours - np.fmin(best, np.nanmin(reached, axis=0)), cost


def tell(shares, target):
    if shares:
        worst = min(shares, key=shares.get)
        print(f"{target}: {np.mean(list(shares.values())):.2%}; least {shares[worst]:.1%}, {worst}")


def compare_models(n_voxels, seed, names=None):
    """Print the table; `names` of classes restrict it."""
    warnings.simplefilter("ignore")
    few, many, hardest = {}, {}, {}
    print(f"{'model':32s} meas.  SNR  at optimum  furthest  us/voxel  misses by status")
    for model in signal_models():
        name = type(model).__name__
        if names and name not in names:
            continue
        n_free = len(model.parameters) - ("B1" in model.parameter_names)
        group = hardest if name == "TwoCompartmentDiffusionT2" else few if n_free <= 4 else many
        for snr in SNRS:
            found, excess, cost = measured(model, snr, n_voxels, seed)
            miss = ~(excess <= TOLERANCE)
            label = f"{name}, {model.n_measurements} measurements, SNR {snr}"
            while label in group:
                label += "'"
            group[label] = 1 - miss.mean()
            status = Counter(Status(s).name for s in found.status[miss])
            told = ", ".join(f"{count} {text}" for text, count in sorted(status.items()))
            print(
                f"{name:32s} {model.n_measurements:5d} {snr:4d} {group[label]:11.2%} "
                f"{excess.max():9.2g} {cost:9.0f}  {told}",
                flush=True,
            )
    tell(few, "up to 4 free parameters, to reach 99.9 %")
    tell(many, "beyond, to reach 99 %")
    tell(hardest, "two-compartment diffusion-T2, to reach 97 %")
