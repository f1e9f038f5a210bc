"""Images end to end: seconds per million voxels, and memory beside the size of the scan.

A simulated IVIM scan with 10 b-values, float32, uncompressed; every voxel in the mask. Times are
wall-clock, reading and building maps included, training and the start of workers not; the median
of three.

    python benchmarks/images.py
    python benchmarks/images.py --memory    # a scan of 256 x 256 x 100 x 30, 786 MB
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import nibabel
import numpy as np
from distributed import Client, LocalCluster

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import predict_image
from sklearn_qmri.persistence import load_estimator, save_estimator
from sklearn_qmri.signal_models import IVIM

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
SNR = 30
WORKERS = {"MALLOC_MMAP_THRESHOLD_": 2**30}  # see docs/scaling.md


def write_scan(path, shape, model):
    """Slices of tissue, one like the other, written without holding all of them."""
    X, _ = make_signals(model, shape[0] * shape[1], snr=SNR, random_state=0)
    header = nibabel.Nifti1Header()
    header.set_data_shape((*shape, X.shape[1]))
    header.set_data_dtype(np.float32)
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    header.set_sform(np.eye(4), code=1)
    with path.open("wb") as file:
        header.write_to(file)
        file.write(bytes(int(header["vox_offset"]) - file.tell()))
        for volume in X.T.astype(np.float32):
            for _ in range(shape[2]):
                file.write(volume.reshape(shape[:2]).tobytes(order="F"))


def speed(folder):
    model = IVIM(B_VALUES)
    path = Path(folder) / "scan.nii"
    shape = (128, 128, 61)
    write_scan(path, shape, model)
    X, y = make_signals(model, 20_000, snr=SNR, random_state=1)
    net = HybridLabelNetRegressor(model, sigma=1 / SNR, max_epochs=5, random_state=0)
    methods = {"mle": MLEEstimator(model, sigma=1 / SNR), "hybrid": net}
    for name, estimator in methods.items():
        estimator.fit(X, y)
        for n_jobs in (1, 2):
            report(f"{name}, n_jobs={n_jobs}", shape, estimator, path, n_jobs=n_jobs)
        for setting, environment in (("", WORKERS), (", memory as Dask sets it", {})):
            with cluster(folder, environment) as client:
                row = f"{name}, LocalCluster of 2{setting}"
                report(row, shape, estimator, path, client=client)


@contextmanager
def cluster(folder, environment):
    """Client of two worker processes."""
    settings = {
        f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in environment.items()
    }
    with (
        dask.config.set(settings),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=folder
        ) as made,
        Client(made) as client,
    ):
        yield client
    for name in environment:  # Dask sets it here too, for the processes that it starts
        os.environ.pop(name, None)


def report(name, shape, estimator, path, **settings):
    predict_image(estimator, path, **settings)  # processes start, libraries are imported
    times = []
    for _ in range(3):
        start = time.perf_counter()
        predict_image(estimator, path, **settings)
        times.append((time.perf_counter() - start) / np.prod(shape) * 1e6)
    print(
        f"{name}: {np.median(times):.1f} s per million voxels ({min(times):.1f}-{max(times):.1f})"
    )


def memory(folder):
    """Growth in a process of its own, which has neither written the scan nor trained."""
    model, folder = IVIM(B_VALUES * 3), Path(folder)
    write_scan(folder / "scan.nii", (256, 256, 100), model)
    X, y = make_signals(model, 5000, snr=SNR, random_state=1)
    net = HybridLabelNetRegressor(model, sigma=1 / SNR, max_epochs=2, random_state=0).fit(X, y)
    save_estimator(net, folder / "net.skops")
    np.save(folder / "X.npy", X)
    size = (folder / "scan.nii").stat().st_size / 1e6
    code = f"import images; images.grow({str(folder)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    print(f"scan of {size:.0f} MB: {done.stdout.strip()}")


def grow(folder):
    net = load_estimator(Path(folder) / "net.skops")
    net.estimate(np.load(Path(folder) / "X.npy"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    maps = predict_image(net, Path(folder) / "scan.nii")
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"peak memory grew by {grown:.0f} MB with {len(maps)} maps")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure = memory if options.memory else speed
        measure(folder)


if __name__ == "__main__":
    main()
