"""Maximum-likelihood fitting of IVIM: speed, quality and memory beside what people use.

The 10 b-value protocol and box of arXiv 2205.05587, Rician noise, known sigma, cold start. CPU time
of one process on one thread; methods take turns, so that all see the same machine. Quality is the
share of voxels within 1e-6 nats of the best likelihood known (64 starts, and every method here).

    python benchmarks/mle.py             # a few minutes; dipy and ivim-mri too where installed
    python benchmarks/mle.py --models    # all signal models: share at the optimum, misses by status
    python benchmarks/mle.py --memory    # growth of peak memory for 1 and 10 million voxels
"""

import argparse
import importlib.util
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from optima import compare_models
from scipy import optimize, special
from threadpoolctl import threadpool_limits

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.noise import Rician
from sklearn_qmri.signal_models import IVIM

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
B = np.array(B_VALUES) * 1e-3
MODEL = IVIM(B_VALUES)
BOUNDS = {"f": (0.01, 0.5), "D": (0.01, 4.0), "D_star": (2.0, 300.0)}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])
LOW = np.array([0.0, 0.01, 0.01, 2.0]) / SCALE
HIGH = np.array([10.0, 0.5, 4.0, 300.0]) / SCALE


def signal(scaled):
    """IVIM signal and its parts, for the reference methods alone."""
    S0, f, D, D_star = scaled * SCALE
    slow, fast = np.exp(-B * D), np.exp(-B * (D + D_star))
    return S0 * (f * fast + (1 - f) * slow), S0, f, slow, fast


def rician(scaled, x, snr):
    """Negative log-likelihood without constants, and its gradient."""
    a, S0, f, slow, fast = signal(scaled)
    z = a * x * snr**2
    i0e = special.i0e(z)
    loss = snr**2 * (x - a) ** 2 / 2 - np.log(i0e)
    weight = snr**2 * (a - x * special.i1e(z) / i0e)
    by_S0 = f * fast + (1 - f) * slow
    columns = (by_S0, S0 * (fast - slow), -B * a, -B * S0 * f * fast)
    return loss.sum(), np.array([weight @ c for c in columns]) * SCALE


def cold(x):
    """Start from the largest signal and the middle of the tissues."""
    return np.array([x.max(), 0.25, 1.2, 40.0]) / SCALE


def lbfgsb(X, snr, analytic=True):
    def fit(x):
        objective = rician if analytic else lambda *args: rician(*args)[0]
        box = list(zip(LOW, HIGH, strict=True))
        found = optimize.minimize(objective, cold(x), (x, snr), "L-BFGS-B", analytic, bounds=box)
        return found.x * SCALE

    return np.array([fit(x) for x in X])


def least_squares(X, snr):
    def fit(x):
        found = optimize.least_squares(
            lambda t: signal(t)[0] - x, cold(x), bounds=(LOW, HIGH), x_scale=1.0
        )
        return found.x * SCALE

    return np.array([fit(x) for x in X])


def dipy_trr(X, snr):
    """DIPY's own fit, in its own order and units (S0, f, D_star, D; mm^2/s), signals near 1000."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.ivim import IvimModel

    directions = np.tile([1.0, 0.0, 0.0], (len(B), 1)) * (B > 0)[:, None]
    table = gradient_table(np.array(B_VALUES, dtype=float), bvecs=directions, b0_threshold=0)
    # DIPY adds compartments as totals: its D_star is the sum of both diffusivities here.
    box = ([0, 0.01, 0.002, 1e-5], [np.inf, 0.5, 0.304, 4e-3])
    model = IvimModel(table, fit_method="trr", bounds=box)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = model.fit(X * 1000).model_params
    S0, f, D_star, D = found.T * np.array([[1e-3], [1], [1e3], [1e3]])
    return np.stack([S0, f, D, D_star - D], axis=1)


def ivim_mri(X, snr):
    """Non-linear least squares of ivim-mri, which reads and writes files."""
    import nibabel
    from ivim.fit import nlls

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        image = nibabel.Nifti1Image(X.reshape(-1, 1, 1, X.shape[1]), np.eye(4))
        nibabel.save(image, path / "dwi.nii.gz")
        np.savetxt(path / "dwi.bval", [B_VALUES], fmt="%g")
        nlls(str(path / "dwi.nii.gz"), str(path / "dwi.bval"), "diffusive", outbase=f"{path}/out")
        maps = [f"{path}/out_{name}.nii.gz" for name in ("S0", "f", "D", "Dstar")]
        S0, f, D, D_star = (nibabel.load(m).get_fdata().ravel() for m in maps)
    # Its fast compartment is exp(-b * (Dstar + 1.75e-3)), the diffusion coefficient of blood.
    return np.stack([S0, f, D * 1e3, (D_star + 1.75e-3 - D) * 1e3], axis=1)


def installed(package):
    return importlib.util.find_spec(package) is not None


def ours(X, snr):
    return MLEEstimator(MODEL, sigma=1 / snr, bounds=BOUNDS).fit(X[:1]).predict(X)


def nll(parameters, X, snr):
    theta = torch.as_tensor(np.ascontiguousarray(parameters.T))
    x, a = torch.as_tensor(X.T) * snr, MODEL.signal(theta) * snr
    inside = np.all(
        (parameters[:, 1:] >= LOW[1:] * SCALE[1:] - 1e-9)
        & (parameters[:, 1:] <= HIGH[1:] * SCALE[1:] + 1e-9), axis=1,
    )  # fmt: skip
    return np.where(inside, Rician().derivatives(x, a)[0].sum(0).numpy(), np.nan)


def floor(n=100_000):
    """Voxels a CPU-second of nothing but the exps and Bessel ratios of 4 likelihoods."""
    z = torch.rand(10, 4096) * 500
    start = time.process_time()
    for _ in range(n // 4096):
        for _ in range(4):
            torch.exp(-z), torch.exp(-z), torch.special.i1e(z) / torch.special.i0e(z)
    return n // 4096 * 4096 / (time.process_time() - start)


def compare(snr, counts, repeats, seed):
    methods = {
        "ours": ours,
        "scipy L-BFGS-B": lbfgsb,
        "scipy L-BFGS-B, numerical": lambda X, snr: lbfgsb(X, snr, analytic=False),
        "scipy least_squares": least_squares,
    }
    if installed("dipy"):
        methods["dipy trr"] = dipy_trr
    if installed("ivim"):
        methods["ivim-mri nlls"] = ivim_mri
    X, y = make_signals(MODEL, max(counts), snr=snr, random_state=seed)
    n_few = 500
    speed, found = {}, {}
    for _ in range(repeats):
        for name, method in methods.items():
            for n in counts if name == "ours" else [n_few]:
                start = time.process_time()
                found[name] = method(X[:n], snr)
                label = f"{name}, {n:,} voxels" if name == "ours" else name
                speed.setdefault(label, []).append(n / (time.process_time() - start))
    best = MLEEstimator(MODEL, sigma=1 / snr, bounds=BOUNDS, n_starts=64).fit(X[:1])
    reference = nll(best.predict(X[:10_000]), X[:10_000], snr)
    losses = {name: nll(p[:10_000], X[: min(len(p), 10_000)], snr) for name, p in found.items()}
    for loss in losses.values():
        reference[: len(loss)] = np.fmin(reference[: len(loss)], loss)
    unit = np.median(speed["scipy L-BFGS-B"])
    print(f"\nSNR {snr}: median of {repeats} runs (spread); bias | std | RMSE of S0 f D D_star")
    for label, values in speed.items():
        name = label.split(", ")[0] if label.startswith("ours") else label
        loss = losses[name]
        excess = loss - reference[: len(loss)]
        error = found[name] - y[: len(found[name])]
        error = error[np.isfinite(error).all(axis=1)]
        quality = f"{100 * np.mean(excess < 1e-6):6.2f} % {np.nanmean(excess):9.2e}"
        figures = " | ".join(
            " ".join(f"{v:.3g}" for v in part)
            for part in (error.mean(0), error.std(0), np.sqrt((error**2).mean(0)))
        )
        print(
            f"{label:28s} {np.median(values):9.0f}/s ({min(values):.0f}-{max(values):.0f}) "
            f"{np.median(values) / unit:7.1f} x  {quality}  {figures}"
        )


def memory(n):
    """Growth of peak memory beyond input and output, in MB."""
    rows = np.tile(make_signals(MODEL, 10_000, snr=30, random_state=0)[0], (n // 10_000, 1))
    mle = MLEEstimator(MODEL, sigma=1 / 30, bounds=BOUNDS).fit(rows[:1])
    mle.predict(rows[:10_000])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = mle.estimate(rows)
    output = sum(v.nbytes for v in found.values())
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{n:,} voxels: {(after - before) / 1024 - output / 2**20:.0f} MB")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--memory", nargs="?", type=int, const=0)
    parser.add_argument("--models", nargs="*", metavar="NAME", help="all, or those named")
    parser.add_argument("--voxels", type=int, default=200, help="of each setting of --models")
    options = parser.parse_args()
    if options.models is not None:
        threadpool_limits(1)
        torch.set_num_threads(1)
        compare_models(options.voxels, options.seed, options.models)
    elif options.memory:
        memory(options.memory)
    elif options.memory == 0:
        for n in (1_000_000, 10_000_000):
            subprocess.run([sys.executable, __file__, "--memory", str(n)], check=True)
    else:
        threadpool_limits(1)  # a second BLAS thread would only spin, and count as CPU time
        torch.set_num_threads(1)
        print(platform.processor() or platform.machine(), time.strftime("%Y-%m-%d"))
        print(f"arithmetic floor: {floor():.0f} voxels a CPU-second")
        for snr in (15, 30, 100):
            compare(snr, (10_000, 100_000), options.repeats, options.seed)


if __name__ == "__main__":
    main()
