"""T1 and T2 maps of a real brain, beside SciPy's fits of the same voxels."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri.signal_models import InversionRecovery, T2Decay

INVERSION_TIMES = [50, 100, 200, 500, 2000, 4000]
ECHO_TIMES = [10, 25, 50, 90, 150, 250]


def brain(folder, name):
    """Signals of voxels that are no air, and their mask."""
    path = folder / "relaxometry" / f"{name}.npy"
    if not path.is_file():
        pytest.skip(f"needs the real relaxometry scans, which are not in {folder}")
    image = np.load(path).astype(np.float64)
    largest = np.abs(image).max(axis=-1)
    mask = largest > 0.2 * np.percentile(largest, 99)
    return image[mask], mask


def scipy_fit(model, X, starts, bounds):
    """Least squares from several starts, one voxel at a time."""

    def fit(x):
        scale = np.abs(x).max()
        runs = [
            least_squares(
                lambda theta: model.simulate([theta])[0] - x / scale, start, bounds=bounds,
                x_scale=np.maximum(np.abs(start), 0.1),
            )
            for start in starts
        ]  # fmt: skip
        return min(runs, key=lambda run: run.cost).x

    return np.array([fit(x) for x in X])


def both(model, X, starts, bounds):
    """Our estimates of the second parameter, and of some voxels ours and SciPy's."""
    found = MLEEstimator(model).fit(X).estimate(X)
    assert np.mean(found.status == Status.NOT_CONVERGED) < 0.01
    some = np.random.RandomState(0).choice(len(X), 250, replace=False)
    times = found.parameters[:, 1]
    return times, times[some], scipy_fit(model, X[some], starts, bounds)[:, 1]


def test_t1_of_the_brain(real_data):
    X, _ = brain(real_data, "t1dataset")
    model = InversionRecovery(INVERSION_TIMES, repetition_time=15000)
    starts = [(1.0, T1, 0.9) for T1 in (300.0, 1000.0, 3000.0)]
    T1, ours, theirs = both(model, X, starts, ([0, 10, 0.5], [np.inf, 6000, 1]))
    assert np.median(T1) == pytest.approx(1190, rel=0.15)
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.05)
    assert np.mean(np.abs(ours / theirs - 1) < 0.05) > 0.9


def test_t2_of_the_brain(real_data):
    X, _ = brain(real_data, "t2dataset")
    starts = [(1.0, T2) for T2 in (30.0, 80.0, 300.0)]
    T2, ours, theirs = both(T2Decay(ECHO_TIMES), X, starts, ([0, 1], [np.inf, 3000]))
    assert np.median(T2) == pytest.approx(62, rel=0.15)
    assert np.median(ours) == pytest.approx(np.median(theirs), rel=0.05)
    assert np.mean(np.abs(ours / theirs - 1) < 0.05) > 0.9
