"""Share of faulty voxels that networks flag as out of domain, by the fault.

10 b-values, the model's prior, SNR 30. Faults: one volume has lost 30 % of its signal; the noise is
1.5 times as large as told. The last row is a bound for any test of residuals: the squared residual
of the best of 40,000 training tissues, with a limit that 1 % of faultless voxels exceed.

    python benchmarks/domain.py    # 5 minutes
"""

import warnings

import numpy as np
import torch

from sklearn_qmri import (
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    PretrainedNetRegressor,
    SelfSupervisedNetRegressor,
    Status,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import IVIM

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
MODEL = IVIM(B_VALUES)
SNR = 30
N_TESTED = 3000
N_TISSUES = 40_000


def tested():
    """Faultless rows, rows with 1.5 times the noise, and rows with one volume lowered, by name."""
    clean, _ = make_signals(MODEL, N_TESTED, snr=SNR, random_state=9)
    noisy, _ = make_signals(MODEL, N_TESTED, snr=SNR / 1.5, random_state=9)
    rows = {"clean": clean, "noise": noisy}
    for k, b in enumerate(B_VALUES):
        rows[f"b={b}"] = clean * np.where(np.arange(len(B_VALUES)) == k, 0.7, 1.0)
    return rows


def networks():
    """Fitted networks, and the arguments of their `estimate`."""
    X, y = make_signals(MODEL, 50_000, snr=SNR, random_state=0)
    settings = {"sigma": 1 / SNR, "random_state": 0}
    for alpha in (0, 0.5, 1):
        yield (
            f"alpha {alpha}",
            HybridLabelNetRegressor(MODEL, alpha=alpha, **settings).fit(X, y),
            {},
        )
    net = BiasConstrainedNetRegressor(MODEL, **settings).fit(X, y)
    for weight in (1, 10, 30):
        yield f"bias weight {weight}", net, {"bias_weight": weight}
    yield "self-supervised", SelfSupervisedNetRegressor(MODEL, **settings).fit(X, y), {}
    yield "pretrained", PretrainedNetRegressor(MODEL, sigma=1 / SNR).fit(X), {}


def least_residual(X):
    """Least squared residual of each row, in units of sigma^2, over training tissues."""
    _, tissues = make_signals(MODEL, N_TISSUES, snr=SNR, random_state=1)
    signals = MODEL.simulate(tissues / np.where(np.arange(4) == 0, tissues, 1))
    # The amplitude A that minimises (x - A s)^2 leaves x^2 - (x s)^2 / s^2.
    squares = [(x @ signals.T) ** 2 / (signals**2).sum(axis=1) for x in np.array_split(X, 30)]
    explained = np.concatenate([part.max(axis=1) for part in squares])
    return ((X**2).sum(axis=1) - explained) * SNR**2


def main():
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    rows = tested()
    print(f"share of {N_TESTED} voxels that are flagged: {' '.join(rows)}")
    for name, net, options in networks():
        shares = [
            np.mean(net.estimate(X, **options).status == Status.OUT_OF_DOMAIN)
            for X in rows.values()
        ]
        print(f"{name:18s} {' '.join(f'{s:.3f}' for s in shares)}", flush=True)
    residuals = {name: least_residual(X) for name, X in rows.items()}
    limit = np.quantile(residuals["clean"], 0.99)
    print(f"{'bound':18s} {' '.join(f'{np.mean(r > limit):.3f}' for r in residuals.values())}")


if __name__ == "__main__":
    main()
