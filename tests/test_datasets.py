import hashlib
import pickle
import subprocess
import zipfile
from collections import OrderedDict

import numpy as np
import pandas as pd
import pytest
import torch

from sklearn_qmri import PosteriorMeanEstimator
from sklearn_qmri.datasets import (
    _pelvis,
    fetch_pelvis_ivim,
    make_phantom,
    make_signals,
    tissue_prior,
)
from sklearn_qmri.derived import total_of_additive
from sklearn_qmri.signal_models import IVIM

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]


def test_repeats_are_consecutive_with_identical_y(model):
    X, y, sigma = make_signals(
        model, 7, snr=(10, 40), n_repeats=5, random_state=0, return_sigma=True
    )
    assert X.shape == (35, 10)
    assert sigma.shape == (35,)
    blocks = y.reshape(7, 5, 4)
    assert (blocks == blocks[:, :1]).all()
    assert len(np.unique(y, axis=0)) == 7
    assert len(np.unique(X[:, 0])) == 35
    assert ((1 / sigma >= 10) & (1 / sigma <= 40)).all()
    assert len(np.unique(sigma)) == 7


@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_noise_is_of_the_stated_level(model, noise):
    X, y = make_signals(model, 20000, noise=noise, snr=50, random_state=0)
    signal = model.signal(torch.tensor(y.T)).numpy().T
    assert np.std((X - signal)[:, 0]) * 50 == pytest.approx(1, abs=0.03)
    assert noise == "gaussian" or (X >= 0).all()


def test_priors(model):
    _, y = make_signals(model, 1000, snr=10, random_state=0)
    for column, parameter in zip(y.T, model.parameters, strict=True):
        low, high = parameter.prior
        assert low <= column.min() < low + 0.05 * (high - low)
        assert high >= column.max() > high - 0.05 * (high - low)
    _, y = make_signals(model, 100, snr=10, prior={"f": (0.2, 0.3)}, random_state=0)
    assert ((y[:, 1] >= 0.2) & (y[:, 1] <= 0.3)).all()
    tissues = np.array([[1, 0.1, 1, 20], [1, 0.3, 2, 50.0]])
    _, y = make_signals(model, 100, snr=10, prior=tissues, random_state=0)
    assert {tuple(row) for row in y} == {tuple(row) for row in tissues}
    frame = pd.DataFrame(tissues, columns=model.parameter_names)[["D_star", "D", "f", "S0"]]
    _, y = make_signals(model, 100, snr=10, prior=frame, random_state=0)
    assert {tuple(row) for row in y} == {tuple(row) for row in tissues}
    _, y = make_signals(model, 2, snr=10, prior=lambda n, rng: tissues, random_state=0)
    np.testing.assert_array_equal(y, tissues)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "exactly one of snr and sigma"),
        ({"snr": 10, "sigma": 1}, "exactly one of snr and sigma"),
        ({"snr": 0}, "positive number or"),
        ({"snr": (30, 10)}, r"got \(30, 10\)"),
        ({"sigma": -1}, "positive finite"),
        ({"snr": 10, "n_repeats": 0}, "expect 1 or more"),
        ({"snr": 10, "prior": {"g": (0, 1)}}, r"names \['g'\]"),
        ({"snr": 10, "prior": {"f": (0.5, 0.1)}}, r"prior\['f'\] expects"),
        ({"snr": 10, "prior": np.zeros((3, 2))}, r"got shape \(3, 2\)"),
        ({"snr": 10, "noise": "poisson"}, "got 'poisson'"),
    ],
)
def test_bad_arguments(model, options, message):
    with pytest.raises(ValueError, match=message):
        make_signals(model, 5, **options)


def test_phantom(model):
    phantom = make_phantom(model, shape=(40, 32, 2), n_inserts=4, snr=25, random_state=0)
    assert phantom.data.shape == (40, 32, 2, 10)
    np.testing.assert_array_equal(np.isnan(phantom.truth[..., 0]), ~phantom.mask)
    assert len(np.unique(phantom.truth[phantom.mask], axis=0)) == 5
    assert phantom.sigma == pytest.approx(1 / 25)
    assert (phantom.data[~phantom.mask] == 0).all()


def test_real_scan(real_data, monkeypatch):
    monkeypatch.setenv("SKLEARN_QMRI_DATA", str(real_data))
    pelvis = fetch_pelvis_ivim()
    assert pelvis.dwi.shape == (224, 224, 5, 10)
    assert np.count_nonzero(np.asanyarray(pelvis.mask.dataobj)) == 121_909
    assert pelvis.b_values.tolist() == [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]


# The download, with pip replaced: what it brings is made here.


@pytest.fixture
def no_scan(monkeypatch, tmp_path):
    monkeypatch.delenv("SKLEARN_QMRI_DATA", raising=False)
    return tmp_path / "home"


def serve(monkeypatch, content):
    """Let pip download a wheel with `content` pickled in it; returns its SHA-256."""

    def run(command, **kwargs):
        folder = _pelvis.Path(command[command.index("--dest") + 1])
        assert "--require-hashes" in command, "nothing that comes with the download may run first"
        assert "--only-binary=:all:" in command
        with zipfile.ZipFile(folder / "ricianloss-0.0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(_pelvis._MEMBER, pickle.dumps(content, protocol=4))
        return subprocess.CompletedProcess(command, 0, "", "")

    def accept_any(path):
        digests.append(hashlib.sha256(path.read_bytes()).hexdigest())

    digests = []
    monkeypatch.setattr(_pelvis.subprocess, "run", run)
    return accept_any


def test_download_is_converted_and_cached(no_scan, monkeypatch):
    dwi = np.array([[[[10, 7.0], [0, 3]]]], dtype=np.float32) / _pelvis._COUNTS
    content = [dwi, np.array([[[1, 0]]]), np.array([0, 0.8])]
    monkeypatch.setattr(_pelvis, "_check_sha256", serve(monkeypatch, content))
    with pytest.raises(OSError, match="not to be downloaded"):
        fetch_pelvis_ivim(data_home=no_scan, download_if_missing=False)
    pelvis = fetch_pelvis_ivim(data_home=no_scan)
    np.testing.assert_array_equal(np.asanyarray(pelvis.dwi.dataobj), [[[[10, 7], [0, 3]]]])
    assert pelvis.dwi.get_data_dtype() == np.int16
    assert pelvis.b_values.tolist() == [0, 800]
    again = fetch_pelvis_ivim(data_home=no_scan, download_if_missing=False)
    assert again.source == pelvis.source == str(no_scan / "pelvis_ivim")
    assert [p.name for p in no_scan.iterdir()] == ["pelvis_ivim"]


def test_wrong_download_is_refused_with_both_checksums(no_scan, monkeypatch):
    serve(monkeypatch, [1, 2, 3])
    with pytest.raises(ValueError, match=rf"SHA-256 [0-9a-f]{{64}}, expected {_pelvis._SHA256}"):
        fetch_pelvis_ivim(data_home=no_scan)
    assert list(no_scan.iterdir()) == []


def test_pickles_run_no_code(no_scan, monkeypatch):
    monkeypatch.setattr(_pelvis, "_check_sha256", serve(monkeypatch, OrderedDict(a=1)))
    with pytest.raises(pickle.UnpicklingError, match="OrderedDict is not a NumPy array"):
        fetch_pelvis_ivim(data_home=no_scan)
    assert list(no_scan.iterdir()) == []


def test_failed_download_names_the_manual_step(no_scan, monkeypatch):
    def run(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: No module named pip")

    monkeypatch.setattr(_pelvis.subprocess, "run", run)
    with pytest.raises(OSError, match=r"No module named pip.*pip download --no-deps"):
        fetch_pelvis_ivim(data_home=no_scan)
    assert list(no_scan.iterdir()) == []


def test_tissue_prior_is_around_its_tissues():
    model = IVIM(B_VALUES, convention="total")
    prior = tissue_prior(model, ["liver", "brain"], spread=0.1, random_state=0)
    assert prior.shape == (10_000, 4)
    liver = prior[:, 3] > 30
    np.testing.assert_allclose(np.median(prior[liver, 1:], axis=0), [0.23, 1.09, 70.0], rtol=0.02)
    np.testing.assert_allclose(np.std(np.log(prior[liver, 2])), 0.1, rtol=0.05)
    np.testing.assert_allclose(np.mean(liver), 0.5, atol=0.02)
    X, y = make_signals(model, 500, snr=30, prior=prior, random_state=0)
    assert set(map(tuple, y)) <= set(map(tuple, prior)), "a joint distribution, as it is"
    posterior = PosteriorMeanEstimator(model, sigma=1 / 30, prior=prior, random_state=0)
    error = posterior.fit(X).predict(X) - y
    assert np.sqrt(np.mean(error[:, 2] ** 2)) < 0.12


def test_tissue_prior_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match=r"some of \['brain'.*got \['spleen'\]"):
        tissue_prior(IVIM(B_VALUES), ["spleen", "liver"])
    with pytest.raises(ValueError, match="tissues expects some of"):
        tissue_prior(IVIM(B_VALUES), [])
    with pytest.raises(ValueError, match="D of 0.0009, outside its bounds of 0.01 to 4 um"):
        tissue_prior(IVIM(B_VALUES), {"in mm^2/s": (1.0, 0.1, 0.0009, 0.02)})
    with pytest.raises(ValueError, match="spread expects a positive number"):
        tissue_prior(IVIM(B_VALUES), "liver", spread=np.nan)
    near = tissue_prior(IVIM(B_VALUES), {"f near 1": (1.0, 0.95, 1.0, 50.0)}, random_state=0)
    assert len(np.unique(near[:, 1])) == len(near), "no heap of samples on the bound"
    assert near[:, 1].max() <= 1
    own = tissue_prior(IVIM(B_VALUES), {"lesion": (1.0, 0.1, 0.8, 20.0)}, n_samples=5)
    assert own.shape == (5, 4)


def test_named_tissues_are_one_in_both_conventions():
    additive, total = IVIM(B_VALUES), IVIM(B_VALUES, convention="total")
    for a, t in zip(additive.named_tissues().values(), total.named_tissues().values(), strict=True):
        np.testing.assert_allclose(additive.simulate([a]), total.simulate([t]))
        np.testing.assert_allclose(total_of_additive(a[2], a[3]), t[3])
