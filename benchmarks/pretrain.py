"""Train the networks that come with the package, one signal model at a time.

    python benchmarks/pretrain.py                       # lists the models
    python benchmarks/pretrain.py IVIM-additive         # 20 to 50 minutes on one core
    python benchmarks/pretrain.py ADC --epochs 1 --out /tmp   # a look at it

The state of the training is kept after every epoch: the same command takes it up after a break.
The file is written when the training ends. Its text holds everything that the training drew from,
the seed, the commit and the versions.
"""

import argparse
import subprocess
import time
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_limits

import sklearn_qmri
from sklearn_qmri import MLP, pretrain, write_weights
from sklearn_qmri._version import library_versions
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    InversionRecovery,
    Kurtosis,
    R2StarDecay,
    StretchedExponential,
    T2Decay,
)

MAGNITUDES = ("rician", "gaussian")


def values(rng, number, smallest, largest, n_zeros=(0, 0)):
    """Random acquisition: some zeros, then values up to the largest in one of several spacings.

    Each argument is a range. Spacings are equal, growing by a factor, or random with more of the
    small values; in some acquisitions values come again, as averages that are kept apart.
    """
    n, low, high = (
        rng.randint(number[0], number[1] + 1),
        rng.uniform(*smallest),
        rng.uniform(*largest),
    )
    zeros = min(rng.randint(n_zeros[0], n_zeros[1] + 1), n - 1)
    n -= zeros
    kind = rng.randint(4)
    if kind == 0:
        chosen = np.linspace(low, high, n)
    elif kind == 1:
        chosen = np.geomspace(low, high, n)
    else:
        chosen = low + (high - low) * rng.uniform(size=n) ** rng.uniform(1, 3)
    if kind == 3:  # a few values, each several times
        chosen = rng.choice(chosen[: max(2, n // 2)], size=n)
    chosen[-1] = high
    return np.concatenate([np.zeros(zeros), np.sort(chosen)])


def b_values(number, largest, n_zeros):
    return lambda rng: values(rng, number, (1.0, 60.0), largest, n_zeros)


def inversion(magnitude):
    """Inversion recoveries, half of them with a repetition time that is not infinite."""

    def draw(rng):
        times = values(rng, (4, 12), (20.0, 150.0), (1500.0, 6000.0))
        repetition = times[-1] * rng.uniform(1.1, 3.0) if rng.uniform() < 0.5 else None
        return InversionRecovery(times, repetition, magnitude)

    return draw


def model_of(cls, draw, **choices):
    return lambda rng: cls(draw(rng), **choices)


IVIM_B = b_values((6, 32), (400.0, 1500.0), (1, 6))
WIDE_IVIM = {"f": (0.0, 0.7), "D": (0.1, 3.5), "D_star": (3.0, 300.0)}
WIDE_T1 = {"T1": (50.0, 5000.0), "eta": (0.5, 1.0)}
# Protocols, prior and noise models, and the number of epochs of 200 steps.
MODELS = {
    "IVIM-additive": (
        model_of(IVIM, IVIM_B, convention="additive"), WIDE_IVIM, MAGNITUDES, 150,
    ),
    "IVIM-total": (
        model_of(IVIM, IVIM_B, convention="total"),
        WIDE_IVIM | {"D_star": (5.0, 200.0)}, MAGNITUDES, 150,
    ),
    "ADC": (
        model_of(ADC, b_values((2, 24), (300.0, 2000.0), (1, 4))), {"D": (0.05, 4.0)},
        MAGNITUDES, 20,
    ),
    "Kurtosis": (
        model_of(Kurtosis, b_values((4, 24), (1500.0, 3000.0), (1, 4))),
        {"D": (0.1, 3.5), "K": (0.0, 3.0)}, MAGNITUDES, 30,
    ),
    "StretchedExponential": (
        model_of(StretchedExponential, b_values((4, 24), (800.0, 4000.0), (1, 4))),
        {"DDC": (0.05, 5.0), "alpha": (0.2, 1.0)}, MAGNITUDES, 30,
    ),
    "T2Decay": (
        model_of(T2Decay, lambda rng: values(rng, (3, 32), (2.0, 30.0), (40.0, 400.0))),
        {"T2": (5.0, 2000.0)}, MAGNITUDES, 20,
    ),
    "R2StarDecay": (
        model_of(R2StarDecay, lambda rng: values(rng, (3, 16), (0.6, 6.0), (8.0, 80.0))),
        {"R2_star": (1.0, 500.0)}, MAGNITUDES, 20,
    ),
    "InversionRecovery-magnitude": (inversion(True), WIDE_T1, MAGNITUDES, 30),
    "InversionRecovery-signed": (inversion(False), WIDE_T1, ("gaussian",), 50),
}  # fmt: skip


def commit():
    """The commit of the checkout; "unknown" without git."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", choices=MODELS, nargs="?")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path(sklearn_qmri.__file__).parent / "weights")
    options = parser.parse_args()
    if options.model is None:
        print("\n".join(MODELS))
        return
    draw, prior, noises, n_epochs = MODELS[options.model]
    torch.set_num_threads(1)
    unfinished = options.out / f"{options.model}.unfinished"
    start = time.process_time()
    with threadpool_limits(1):
        network = pretrain(
            draw, prior=prior, noises=noises, network=MLP((160, 160, 160)),
            n_epochs=options.epochs or n_epochs, random_state=options.seed, verbose=1,
            checkpoint=unfinished,
        )  # fmt: skip
    network.about |= {
        "script": f"benchmarks/pretrain.py {options.model}",
        "commit": commit(),
        "seed": options.seed,
        "libraries": library_versions(),
        "cpu_seconds": round(time.process_time() - start),
    }
    path = options.out / f"{network.about['model']}.npz"
    write_weights(network, path)
    unfinished.unlink()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB, {network.about}")


if __name__ == "__main__":
    main()
