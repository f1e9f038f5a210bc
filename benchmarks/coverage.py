"""Coverage of nominal 95 % intervals (estimate +- 1.96 std) of maximum likelihood, by status.

    python benchmarks/coverage.py [--voxels 8000]

Prints a row for each model, noise level, tissues and status: the share of voxels of that status
and, for each parameter, the coverage and in brackets the share that has a standard deviation of
those not on a bound (all in percent).
"""

import argparse
import warnings

import numpy as np

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import Rician
from sklearn_qmri.signal_models import ADC, IVIM, BiexponentialT2, Kurtosis

ivim = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
kurtosis = Kurtosis([0, 500, 1000, 1500, 2000, 2500])
biexponential = BiexponentialT2(np.arange(1, 33) * 10.0)
CASES = [
    (ivim, 15, None),
    (ivim, 30, None),
    (ivim, 15, [1.0, 0.1, 1.0, 20.0]),
    (ivim, 30, [1.0, 0.1, 1.0, 20.0]),
    (ivim, 15, [1.0, 0.3, 1.0, 40.0]),
    (kurtosis, 15, None),
    (kurtosis, 30, None),
    (biexponential, 30, None),
    (biexponential, 100, None),
    (ADC([0, 200, 500, 1000]), 10, None),
]


def simulate(model, snr, tissue, n_voxels):
    """Rician signals, and the tissues that they are of."""
    if tissue is None:
        y = make_signals(model, n_voxels, sigma=1e-9, random_state=0)[1]
    else:
        y = np.repeat([tissue], n_voxels, axis=0)
    return Rician().sample(model.simulate(y) * snr, np.random.RandomState(1)) / snr, y


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--voxels", type=int, default=8000)
    n_voxels = parser.parse_args().voxels
    warnings.simplefilter("ignore")
    for model, snr, tissue in CASES:
        X, y = simulate(model, snr, tissue, n_voxels)
        found = MLEEstimator(model, sigma=1 / snr).fit(X).estimate(X, return_std=True)
        covered = np.abs(found.parameters - y) <= 1.96 * found.std
        for status in (Status.OK, Status.AT_BOUND):
            rows = found.status == status
            columns = []
            for j, name in enumerate(model.parameter_names):
                given = rows & np.isfinite(found.std[:, j])
                share = given.sum() / max(np.count_nonzero(rows & ~found.at_bound[:, j]), 1)
                coverage = f"{covered[given, j].mean():.0%}" if given.sum() >= 50 else "-"
                columns.append(f"{name} {coverage} ({share:.0%})")
            of = "prior" if tissue is None else tissue
            print(f"{type(model).__name__} {snr} {of} {status.name} {rows.mean():.0%}:", *columns)


if __name__ == "__main__":
    main()
