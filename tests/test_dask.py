"""Dask workers, one of them killed."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import joblib
import nibabel
import numpy as np
import pytest
from conftest import hybrid_net
from distributed import Client, LocalCluster
from sklearn.model_selection import GridSearchCV, GroupKFold
from test_cohort import files

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import predict_cohort, predict_image, write_nifti
from sklearn_qmri.metrics import bias_variance_scorer, least_variance
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
SHAPE = (24, 24, 60)


@pytest.fixture
def client(tmp_path):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def mle():
    """One that takes its time, so that there is a middle of a run."""
    X, _ = make_signals(MODEL, 10, snr=20, random_state=0)
    return MLEEstimator(MODEL, sigma=1 / 20, n_starts=64).fit(X)


def signals(seed):
    X, _ = make_signals(MODEL, np.prod(SHAPE), snr=20, random_state=seed)
    return X.reshape(*SHAPE, -1).astype(np.float32)


@contextmanager
def one_worker_killed(client):
    """Kill a worker shortly after the start, and see that this was in mid-run."""
    pids = client.run(os.getpid)
    done, killed_in_time = threading.Event(), []

    def kill():
        time.sleep(0.5)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        killed_in_time.append(not done.is_set())

    thread = threading.Thread(target=kill)
    thread.start()
    yield
    done.set()
    thread.join()
    assert killed_in_time == [True]
    client.wait_for_workers(2)
    assert set(client.run(os.getpid).values()) != set(pids.values()), "a worker is new"


def test_killed_worker_loses_nothing_of_an_image(client, mle):
    scan = nibabel.Nifti1Image(signals(0), np.eye(4))
    with one_worker_killed(client):
        spread = predict_image(mle, scan, chunk_size=576, client=client)
    serial = predict_image(mle, scan, chunk_size=576)
    for name, values in serial.items():
        assert values.get_fdata().tobytes() == spread[name].get_fdata().tobytes()


def test_killed_worker_loses_nothing_of_a_cohort(client, mle, tmp_path):
    scans = [tmp_path / f"sub-0{n}_dwi.nii.gz" for n in range(3)]
    for n, scan in enumerate(scans):
        write_nifti(scan, signals(n), np.eye(4))
    missing = tmp_path / "sub-09_dwi.nii.gz"
    given = {"chunk_size": 2304, "description": "mle"}
    with one_worker_killed(client), pytest.warns(UserWarning, match="1 of 4 scans failed"):
        report = predict_cohort(
            mle, [*scans, missing], None, tmp_path / "spread", client=client, **given
        )
    assert [row.outcome for row in report] == ["done"] * 3 + ["failed"]
    assert "FileNotFoundError" in report[3].reason
    with pytest.warns(UserWarning, match="1 of 4 scans failed"):
        predict_cohort(mle, [*scans, missing], None, tmp_path / "serial", **given)
    assert files(tmp_path / "spread") == files(tmp_path / "serial")


def test_grid_search_over_alpha(client):
    """joblib's "dask" backend: the same search, the folds and alphas on the workers."""
    X, y = make_signals(MODEL, 60, snr=30, n_repeats=4, random_state=0)
    net = hybrid_net(MODEL, sigma=1 / 30, max_epochs=3, random_state=0)
    search = GridSearchCV(
        net,
        {"alpha": [0.0, 0.5, 1.0]},
        cv=GroupKFold(2),
        scoring=bias_variance_scorer.from_model(MODEL),
        refit=least_variance(max_bias=0.5),
    )
    groups = np.repeat(np.arange(60), 4)
    expected = search.fit(X, y, groups=groups).cv_results_
    with joblib.parallel_config(backend="dask"):
        found = search.fit(X, y, groups=groups).cv_results_
    for key in ("mean_test_neg_squared_bias", "mean_test_neg_variance"):
        np.testing.assert_array_equal(found[key], expected[key])
