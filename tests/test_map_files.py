"""Names, headers and sidecars of maps."""

import json

import nibabel
import numpy as np
import pytest
import torch
from test_cli import run

from sklearn_qmri import BiasConstrainedNetRegressor, HybridLabelNetRegressor, MLEEstimator
from sklearn_qmri.datasets import make_phantom, make_signals
from sklearn_qmri.estimators import PosteriorMeanEstimator, PretrainedNetRegressor
from sklearn_qmri.image import derivative_prefix, predict_image, read_map, write_maps
from sklearn_qmri.image._estimators import describe
from sklearn_qmri.image._names import MapFiles, derivative_description
from sklearn_qmri.image._units import unit_in_files
from sklearn_qmri.persistence import load_estimator
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    SPGR,
    BiexponentialT2,
    InversionRecovery,
    Parameter,
    R2StarDecay,
    SignalModel,
    T2Decay,
    amplitude,
)

B = [0, 20, 60, 150, 300, 500, 800]


@pytest.mark.parametrize(
    ("model", "name", "expected"),
    [
        (IVIM(B), "D_star", "model-IVIM_param-Dstar_desc-mle_dwimap"),
        (IVIM(B, convention="total"), "f", "model-IVIMTotal_param-f_desc-mle_dwimap"),
        (ADC(B), "S0", "model-ADC_param-S0_desc-mle_dwimap"),
        (T2Decay([10, 40, 90]), "T2", "model-T2Decay_desc-mle_T2map"),
        (T2Decay([10, 40, 90], offset=True), "T2", "model-T2DecayOffset_desc-mle_T2map"),
        (T2Decay([10, 40, 90]), "S0", "model-T2Decay_desc-mle_S0map"),
        (T2Decay([10, 40, 90]), "status", "model-T2Decay_param-status_desc-mle_map"),
        (T2Decay([10, 40, 90]), "T2_std", "model-T2Decay_param-T2std_desc-mle_map"),
        (R2StarDecay([2, 5, 9]), "R2_star", "model-R2StarDecay_desc-mle_R2starmap"),
        (BiexponentialT2([10, 20, 30, 90]), "MWF", "model-BiexponentialT2_desc-mle_MWFmap"),
        (SPGR([5, 20], 15), "T1", "model-SPGR_desc-mle_T1map"),
        (
            InversionRecovery([50, 400, 1500], magnitude=True),
            "eta",
            "model-InversionRecoveryMagnitude_param-eta_desc-mle_map",
        ),
    ],
    ids=str,
)
def test_names_follow_bids(tmp_path, model, name, expected):
    assert MapFiles(tmp_path, "sub-01", model, "mle").stem(name).name == f"sub-01_{expected}"


def test_models_methods_and_suffixes_do_not_replace_each_other(tmp_path, monkeypatch, capsys):
    """Five runs on one subject keep five sets of maps, also with permission to overwrite."""
    phantom = make_phantom(IVIM(B), shape=(12, 12, 2), snr=50, random_state=0)
    image = nibabel.Nifti1Image((1000 * phantom.data).astype(np.float32), np.eye(4))
    for suffix in ("dwi", "trace"):
        nibabel.save(image, tmp_path / f"sub-01_{suffix}.nii.gz")
    b = ["--bval", ",".join(map(str, B)), "--overwrite", "--out", str(tmp_path / "maps")]
    n_maps = []
    for suffix, *options in (
        ("dwi", "--model", "ADC"),
        ("trace", "--model", "ADC"),
        ("dwi", "--model", "IVIM"),
        ("dwi", "--model", "IVIM", "--with", "convention=total"),
        ("dwi", "--model", "IVIM", "--estimator", "segmented"),
        ("dwi", "--model", "ADC"),
    ):
        scan = str(tmp_path / f"sub-01_{suffix}.nii.gz")
        code, _, err = run(monkeypatch, capsys, "fit", scan, *b, *options)
        assert code == 0, err
        n_maps.append(len(list((tmp_path / "maps").glob("*.nii.gz"))))
    assert np.diff(n_maps).tolist() == [7, 9, 9, 7, 0]
    names = {path.name for path in (tmp_path / "maps").iterdir()}
    assert "sub-01_model-ADC_param-D_desc-mletrace_dwimap.nii.gz" in names
    assert not any("fmap" in name for name in names)


def test_myelin_water_is_in_per_cent_and_read_back(tmp_path):
    model = BiexponentialT2(np.arange(10.0, 330.0, 10.0))
    signals = model.simulate([[1000.0, 0.15, 20.0, 80.0]]).reshape(1, 1, 1, -1)
    mle = MLEEstimator(model, sigma=1.0).fit(signals.reshape(1, -1))
    maps = predict_image(mle, nibabel.Nifti1Image(signals, np.eye(4)), return_std=True)
    paths = write_maps(maps, tmp_path, mle, prefix="sub-01", description="mle")
    files = dict(zip(maps, paths, strict=True))
    for name in ("MWF", "MWF_std"):
        value = maps[name].get_fdata().item()
        assert nibabel.load(files[name]).get_fdata().item() == pytest.approx(100 * value)
        assert read_map(files[name]).item() == pytest.approx(value)
    sidecar = tmp_path / "sub-01_model-BiexponentialT2_desc-mle_MWFmap.json"
    assert json.loads(sidecar.read_text())["Units"] == "%"


def test_a_rate_is_in_units_of_bids():
    assert unit_in_files(R2StarDecay([2, 5, 9]).parameters[1]) == ("1/s", 1.0)


def test_headers_have_a_window_a_description_and_an_intent(tmp_path):
    model = ADC(B)
    phantom = make_phantom(model, shape=(16, 16, 2), snr=50, random_state=0)
    scan = nibabel.Nifti1Image(phantom.data, np.eye(4))
    mle = MLEEstimator(model, sigma=1 / 50).fit(phantom.data[phantom.mask])
    maps = predict_image(mle, scan, phantom.mask)
    paths = dict(
        zip(maps, write_maps(maps, tmp_path, mle, prefix="s", description="mle"), strict=True)
    )
    header = nibabel.load(paths["D"]).header
    values = maps["D"].get_fdata()[phantom.mask] / 1000
    window = np.percentile(values, [1, 99])
    np.testing.assert_allclose([header["cal_min"], header["cal_max"]], window, rtol=1e-5)
    assert header["descrip"].item() == b"D (mm^2/s), ADC, MLEEstimator"
    assert header.get_intent()[0::2] == ("estimate", "D")
    header = nibabel.load(paths["status"]).header
    assert header.get_intent()[0] == "label"
    assert header["cal_min"] == -1
    story = json.loads((tmp_path / "s_model-ADC_param-D_desc-mle_dwimap.json").read_text())
    bits = maps["at_bound"].get_fdata()
    assert story["AtBound"] == {"S0": 0, "D": np.count_nonzero(bits)}


@pytest.mark.parametrize(
    "make",
    [
        lambda m: HybridLabelNetRegressor(m, alpha=0, max_epochs=1, random_state=0),
        lambda m: BiasConstrainedNetRegressor(m, max_epochs=1, random_state=0),
        lambda m: PosteriorMeanEstimator(m, prior={"D": (0.5, 2.0)}, n_atoms=256, random_state=0),
    ],
    ids=["hybrid", "bias-constrained", "posterior"],
)
def test_sidecars_tell_the_tissues_of_the_training(make):
    model = ADC(B)
    X, y = make_signals(model, 500, prior={"D": (0.5, 2.0)}, snr=(20, 60), random_state=0)
    sigma = y[:, 0] / np.linspace(20, 60, len(y))
    told = describe(make(model).fit(X, y, sigma=sigma))["Training"]
    low, high = told["Prior"]["D"]
    assert 0.5 <= low < 0.55
    assert 1.95 < high <= 2.0
    if "SNR" in told:
        assert told["SNR"] == pytest.approx([20, 60])
        assert told["Rows"] == 500


def test_sidecars_tell_what_came_trained():
    model = ADC(B)
    net = PretrainedNetRegressor(model, sigma=1.0).fit(np.ones((1, len(B))))
    told = describe(net)["Training"]
    assert told["Prior"] == net.network_.about["prior"]
    assert told["SNR"] == [3.0, 200.0]
    assert describe(MLEEstimator(model, sigma=1.0).fit(np.ones((1, len(B)))))["Training"] is None


def test_sigma_that_was_learnt_is_told_with_its_error():
    model = ADC(B)
    X, _ = make_signals(model, 500, snr=30, random_state=0)
    told = describe(MLEEstimator(model).fit(X))
    assert told["SigmaLearnt"]
    assert 0 < told["SigmaStandardError"] < 0.05 * told["Sigma"]
    told = describe(MLEEstimator(model, sigma=0.1).fit(X))
    assert (told["SigmaLearnt"], told["SigmaStandardError"]) == (False, None)


def test_a_network_of_a_fit_is_kept_beside_its_maps(crop, tmp_path, monkeypatch, capsys):
    out = tmp_path / "maps"
    code, _, err = run(
        monkeypatch, capsys, "fit", str(crop / "dwi.nii.gz"), "--mask", str(crop / "mask.nii.gz"),
        "--estimator", "hybrid", "--alpha", "0", "--samples", "300", "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    story = json.loads((out / "dwi_model-IVIM_param-D_desc-hybrid_dwimap.json").read_text())
    assert story["Network"] == "dwi_model-IVIM_desc-hybrid_network.skops"
    assert story["SigmaLearnt"]
    assert story["Mask"] == str(crop / "mask.nii.gz")
    assert story["Training"]["Rows"] == 300
    net = load_estimator(out / story["Network"])
    maps = predict_image(net, crop / "dwi.nii.gz", crop / "mask.nii.gz", sigma=story["Sigma"])
    written = read_map(out / "dwi_model-IVIM_param-D_desc-hybrid_dwimap.nii.gz")
    np.testing.assert_allclose(maps["D"].get_fdata(), written, rtol=1e-6)
    # The network of another command stays where it is, and is named.
    model = next(out.glob("*.skops"))
    code, _, err = run(
        monkeypatch, capsys, "predict", str(model), str(crop / "dwi.nii.gz"), "--sigma",
        str(story["Sigma"]), "--mask", str(crop / "mask.nii.gz"), "--out", str(tmp_path / "again"),
    )  # fmt: skip
    assert code == 0, err
    name = "dwi_model-IVIM_param-D_desc-hybrid_dwimap"
    again = json.loads((tmp_path / "again" / f"{name}.json").read_text())
    assert again["Network"] == str(model)
    np.testing.assert_allclose(read_map(tmp_path / "again" / f"{name}.nii.gz"), written, rtol=1e-6)


@pytest.mark.parametrize(
    ("scan", "prefix", "description"),
    [
        ("sub-01_dwi.nii.gz", "sub-01", "mle"),
        ("sub-01_ses-2_run-1_MESE.nii.gz", "sub-01_ses-2_run-1", "mleMESE"),
        ("sub-01_pre_dwi.nii.gz", "sub-01_pre_dwi", "mle"),
        ("sub-01_dwi_corrected.nii.gz", "sub-01_dwi_corrected", "mle"),
        ("sub-01_space-T1w_desc-preproc_dwi.nii.gz", "sub-01_space-T1w", "mlepreproc"),
        ("my scan.v1.nii.gz", "my scan.v1", "mle"),
    ],
)
def test_prefixes_keep_scans_apart(scan, prefix, description):
    assert derivative_prefix(scan) == prefix
    assert derivative_description("mle", scan) == description


def test_units_of_parameters_of_ones_own_are_read_back(tmp_path):
    """A unit that the files share is not converted twice."""

    class Fat(SignalModel):
        parameters = amplitude("S0"), Parameter("FF", "%", (0, 100), (5, 60))

        def __init__(self, echo_times):
            self.echo_times = echo_times

        def signal(self, theta):
            S0, FF = theta
            return S0 * torch.exp(-self.acquisition("echo_times", theta) * FF / 1000)

    model = Fat([1, 10, 20, 40])
    signals = model.simulate([[1000.0, 30.0]]).reshape(1, 1, 1, -1)
    mle = MLEEstimator(model, sigma=1.0).fit(signals.reshape(1, -1))
    maps = predict_image(mle, nibabel.Nifti1Image(signals, np.eye(4)))
    paths = write_maps(maps, tmp_path, mle, prefix="s", description="mle")
    path = dict(zip(maps, paths, strict=True))["FF"]
    assert nibabel.load(path).get_fdata().item() == pytest.approx(30, rel=1e-3)
    assert read_map(path).item() == pytest.approx(30, rel=1e-3)
