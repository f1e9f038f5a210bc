"""What `benchmarks/paper.py` measures, keeps in its folder, and reads back."""

import itertools
import os
from pathlib import Path

import numpy as np

from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
PARAMETERS = {"f": 1, "D": 2, "D_star": 3}
SNRS = (30, 15)
BLOCKS = ("published", "default")
CHUNK = 10_000  # labels of the published optimiser per task
HYBRIDS = {0.25: "hybrid_0.25", 0.5: "hybrid_0.5", 0.75: "hybrid_0.75"}


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

    def keep_ends(self, name, ends):
        """Covariance of two methods' predictions for each tissue: with `keep`, all blends of both.

        Parameters
        ----------
        ends : array of shape (2, n_rows, n_parameters)
        """
        start, end = np.asarray(ends, float).reshape(2, -1, self.n_repeats, ends[0].shape[1])
        rest = start - start.mean(axis=1, keepdims=True)
        self.save(self.path(*name), covariance=(rest * end).sum(axis=1) / (self.n_repeats - 1))

    def labels(self, snr):
        """All kinds of labels that have been computed."""
        found = dict(np.load(self.path("labels", snr)))
        chunks = [self.path("labels", snr, start) for start in range(0, self.n_tissues, CHUNK)]
        if all(path.exists() for path in chunks):
            found["published"] = np.concatenate([np.load(path)["labels"] for path in chunks])
        return found


class Cell:
    """What one method does to the tissues of the grid, for each seed.

    `bias` and `std` are (n_seeds, n_tissues, n_parameters).
    """

    def __init__(self, run, block, snr, method):
        reference = run.path("reference", snr, "cramer_rao", 0)
        self.tissues = np.load(reference)["mean"]
        seeds = range(run.n_seeds) if block != "reference" else [0]
        if method == "weighted":
            rows = [self._weighted(run, block, snr, seed) for seed in seeds]
        else:
            rows = [np.load(run.path(block, snr, method, seed)) for seed in seeds]
        self.n_repeats = run.n_repeats
        self.bias = np.stack([row["mean"] for row in rows]) - self.tissues
        self.std = np.stack([row["std"] for row in rows])

    @staticmethod
    def _weighted(run, block, snr, seed):
        """Each parameter by the network whose loss is weighted to it; S0 by that of f."""
        nets = [np.load(run.path(block, snr, f"weighted_{name}", seed)) for name in PARAMETERS]
        nets = [nets[0], *nets]
        return {
            key: np.stack([net[key][:, j] for j, net in enumerate(nets)], axis=1)
            for key in ("mean", "std")
        }

    def squares(self, name):
        """Squared bias, corrected for the repeats, and variance of one parameter: (n_seeds,)."""
        bias, std = (values[..., PARAMETERS[name]] for values in (self.bias, self.std))
        return np.mean(bias**2 - std**2 / self.n_repeats, axis=1), np.mean(std**2, axis=1)

    def measures(self, name):
        """Of one parameter, (n_seeds,) each; squared bias is corrected for the repeats."""
        j = PARAMETERS[name]
        bias, std, true = self.bias[..., j], self.std[..., j], self.tissues[:, j]
        squared, variance = self.squares(name)
        centered = true - true.mean()
        return {
            "mean_bias": bias.mean(axis=1),
            "mean_abs_bias": np.abs(bias).mean(axis=1),
            "rms_bias": np.sqrt(np.maximum(squared, 0)),
            "std": std.mean(axis=1),
            "rms_std": np.sqrt(variance),
            "rmse": np.sqrt(np.mean(bias**2 + std**2 * (1 - 1 / self.n_repeats), axis=1)),
            "slope": 1 + (centered * bias).mean(axis=1) / np.mean(centered**2),
        }

    def value(self, measure, name):
        return float(self.measures(name)[measure].mean())
