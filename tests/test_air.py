"""Noise level of the air in a scan, and its comparison with a learnt one."""

import json
import warnings

import nibabel
import numpy as np
import pytest
from test_cli import run

from sklearn_qmri import MLEEstimator
from sklearn_qmri.datasets import make_phantom
from sklearn_qmri.image import open_scan, predict_cohort, write_nifti
from sklearn_qmri.image._air import compare_with_air, sigma_of_air
from sklearn_qmri.signal_models import ADC, IVIM, InversionRecovery, T2Decay

B = [0, 10, 20, 50, 100, 200, 400, 800]


def scan_with_air(model, snr, n_coils=1, scale=1000.0):
    """Phantom in the middle of noise."""
    phantom = make_phantom(model, shape=(64, 64, 4), snr=snr, random_state=0)
    rng = np.random.RandomState(1)
    parts = rng.standard_normal((2 * n_coils, *phantom.data.shape)) / snr
    air = np.sqrt(np.sum(parts**2, axis=0))
    data = np.where(phantom.mask[..., None], phantom.data, air)
    return nibabel.Nifti1Image((scale * data).astype(np.float32), np.eye(4)), phantom.mask


@pytest.mark.parametrize("snr", [20, 100])
@pytest.mark.parametrize("model", [IVIM(B), ADC([0, 500, 1000]), T2Decay([10, 40, 90, 200])])
def test_air_is_found(model, snr):
    image, mask = scan_with_air(model, snr)
    for scan in (open_scan(image), open_scan(image, mask)):
        level = sigma_of_air(scan, np.random.RandomState(0))
        assert level == pytest.approx(1000 / snr, rel=0.02)


def test_what_is_no_air():
    """Air set to 0, no air at all, and that of several coils."""
    rng = np.random.RandomState(0)
    image, mask = scan_with_air(IVIM(B), 30)
    data = image.get_fdata()
    hidden = nibabel.Nifti1Image(data * mask[..., None], np.eye(4))
    tissue = nibabel.Nifti1Image(np.tile(data[28:36, 28:36], (4, 4, 1, 1)), np.eye(4))
    coils, _ = scan_with_air(IVIM(B), 30, n_coils=4)
    for image in (hidden, tissue, coils):
        assert sigma_of_air(open_scan(image), rng) is None


def test_misfit_is_told_beside_the_air():
    image, _ = scan_with_air(ADC([0, 500, 1000]), 50)
    scan, model = open_scan(image), ADC([0, 500, 1000])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        about = compare_with_air(scan, model, 21.0)
        assert compare_with_air(scan, InversionRecovery([50, 500, 900]), 90.0) == {}
    assert about["SigmaOfAir"] == pytest.approx(20, rel=0.02)
    with pytest.warns(UserWarning, match=r"residuals, 50, is 2.5 times that of the air in the"):
        compare_with_air(scan, model, 50.0)


def test_a_real_scan_that_one_t2_does_not_explain(real_data, tmp_path, monkeypatch, capsys):
    """Its residuals are many times its noise, which the command says."""
    path = real_data / "relaxometry" / "t2dataset.npy"
    if not path.is_file():
        pytest.skip(f"needs the real relaxometry scans, which are not in {real_data}")
    scan = tmp_path / "scan.nii.gz"
    write_nifti(scan, np.load(path)[:, :, None], np.eye(4))
    code, _, err = run(
        monkeypatch, capsys, "fit", str(scan), "--model", "T2Decay", "--mask", "auto",
        "--with", "echo_times=10,25,50,90,150,250", "--out", str(tmp_path / "maps"),
    )  # fmt: skip
    assert code == 0, err
    assert "times that of the air in the scan, 6.1" in err
    story = json.loads((tmp_path / "maps" / "scan_model-T2Decay_desc-mle_T2map.json").read_text())
    assert story["Sigma"] > 5 * story["SigmaOfAir"]
    assert story["SigmaLearnt"]


def test_cohorts_write_the_noise_level_of_the_air(tmp_path):
    model = ADC([0, 500, 1000])
    image, _ = scan_with_air(model, 50)
    nibabel.save(image, tmp_path / "sub-01_dwi.nii.gz")
    mle = MLEEstimator(model, sigma=1.0).fit([[3.0, 2.0, 1.0]])
    (row,) = predict_cohort(mle, [tmp_path / "sub-01_dwi.nii.gz"], None, tmp_path, sigma="learn")
    story = json.loads(next(tmp_path.glob("*_param-D_*.json")).read_text())
    assert row.sigma == pytest.approx(20, rel=0.1)
    assert story["SigmaOfAir"] == pytest.approx(20, rel=0.02)
