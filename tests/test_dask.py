"""Dask workers, one of them killed."""

import os
import signal
import threading
import time

import nibabel
import numpy as np
import pytest
from distributed import Client, LocalCluster

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import predict_image
from sklearn_qmri.signal_models import IVIM


@pytest.fixture
def client(tmp_path):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=tmp_path
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_killed_worker_loses_nothing(client, tmp_path):
    model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    X, _ = make_signals(model, 24 * 24 * 60, snr=20, random_state=0)
    scan = nibabel.Nifti1Image(X.reshape(24, 24, 60, 10), np.eye(4))
    mle = MLEEstimator(model, sigma=1 / 20, n_starts=64).fit(X[:1])
    pids = client.run(os.getpid)
    done, killed_in_time = threading.Event(), []

    def kill():
        time.sleep(0.5)
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        killed_in_time.append(not done.is_set())

    thread = threading.Thread(target=kill)
    thread.start()
    spread = predict_image(mle, scan, chunk_size=576, client=client)
    done.set()
    thread.join()
    assert killed_in_time == [True]
    assert set(client.run(os.getpid).values()) != set(pids.values()), "a worker is new"
    serial = predict_image(mle, scan, chunk_size=576)
    for name, values in serial.items():
        assert values.get_fdata().tobytes() == spread[name].get_fdata().tobytes()
