"""Commands that make maps, on a piece of the real scan."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from test_acquisition import collection
from test_cli import run

from sklearn_qmri import MLEEstimator, SegmentedIVIMEstimator
from sklearn_qmri.cli import _console
from sklearn_qmri.cli._estimators import parse_bias_weight
from sklearn_qmri.cli._protocol import make_model, refuse_other_protocol
from sklearn_qmri.cli._summary import summarise
from sklearn_qmri.datasets import make_phantom
from sklearn_qmri.image import read_b_values, read_map, sample_voxels
from sklearn_qmri.persistence import load_estimator, save_estimator
from sklearn_qmri.signal_models import IVIM, SPGR, R2StarDecay, T2Decay

COMMAND = [sys.executable, "-c", "from sklearn_qmri.cli import main; main()"]


@pytest.fixture
def files(crop):
    return [
        str(crop / "dwi.nii.gz"), "--bval", str(crop / "dwi.bval"),
        "--mask", str(crop / "mask.nii.gz"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "method",
    [
        "mle",
        "segmented",
        "hybrid",
        "bias-constrained",
        "self-supervised",
        "pretrained",
        "posterior",
    ],
)
def test_fit_writes_maps_with_their_story(files, crop, tmp_path, monkeypatch, capsys, method):
    out = tmp_path / "maps"
    arguments = ["fit", *files, "--estimator", method, "--out", str(out), "--samples", "1000"]
    if method not in ("posterior", "bias-constrained", "pretrained"):
        arguments += ["--bounds", "f=0:0.5"]
    if method in ("hybrid", "bias-constrained", "posterior"):
        arguments += ["--prior", "D=0.05:3"]
    code, text, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    assert ("sigma = " in err) is (method != "segmented"), "which has no use for it"
    assert "D (um^2/ms)" in text
    weights = {
        "hybrid": (0.5, None), "bias-constrained": (None, 10.0), "pretrained": (None, 10.0),
    }.get(method, (None, None))  # fmt: skip
    name = method.replace("-", "")
    image = nibabel.load(out / f"dwi_model-IVIM_param-D_desc-{name}_dwimap.nii.gz")
    inside = nibabel.load(crop / "mask.nii.gz").get_fdata() != 0
    np.testing.assert_array_equal(np.isfinite(image.get_fdata()), inside)
    np.testing.assert_array_equal(image.affine, nibabel.load(files[0]).affine)
    story = json.loads((out / f"dwi_model-IVIM_param-D_desc-{name}_dwimap.json").read_text())
    assert story["Units"] == "mm^2/s"
    assert (story["Alpha"], story["BiasWeight"]) == weights
    status = out / f"dwi_model-IVIM_param-status_desc-{name}_dwimap"
    levels = json.loads(Path(f"{status}.json").read_text())["Levels"]
    assert levels["1"] == "AT_BOUND"
    assert story["SignalModel"]["Name"] == "IVIM"
    assert sum(story["Voxels"].values()) == inside.sum()
    assert Path(f"{status}.nii.gz").exists()
    before = {path: path.read_bytes() for path in out.iterdir()}
    if method == "mle":
        f = nibabel.load(out / "dwi_model-IVIM_param-f_desc-mle_dwimap.nii.gz").get_fdata()
        assert np.nanmax(f) == 0.5
        code, _, err = run(monkeypatch, capsys, *arguments)
        assert code == 1
        assert "exists already" in err
        code, *_ = run(monkeypatch, capsys, *arguments, "--overwrite")
        assert code == 0
        assert {path: path.read_bytes() for path in out.iterdir()} == before


def test_train_then_predict(files, crop, tmp_path, monkeypatch, capsys):
    model, out = tmp_path / "model.skops", tmp_path / "maps"
    training = ["train", "--b-values", str(crop / "dwi.bval"), "--samples", "1000", "--snr", "8:60"]
    training += ["--n-jobs", "2"]
    code, _, err = run(monkeypatch, capsys, *training, "--out", str(model), "--alpha", "0.25")
    assert code == 0, err
    assert load_estimator(model).alpha == 0.25
    code, *_ = run(monkeypatch, capsys, *training, "--out", str(model))
    assert code == 1, "an existing model file is kept"
    code, text, err = run(monkeypatch, capsys, "predict", str(model), *files, "--out", str(out))
    assert code == 0, err
    story = json.loads((out / "dwi_model-IVIM_param-f_desc-hybrid_dwimap.json").read_text())
    assert (story["Alpha"], story["Seed"]) == (0.25, 0)
    files[2] = "0 10 20 30 50 80 100 200 400 900"
    code, _, err = run(monkeypatch, capsys, "predict", str(model), *files, "--out", str(out))
    assert code == 1
    assert "was trained for b_values [0.0, 10.0" in err
    assert "900.0]: train a network for these" in err


def test_weights_of_parameters(files, crop, tmp_path, monkeypatch, capsys):
    """Lists of weights reach the networks, and that of a bias-constrained one can change later."""
    training = ["train", "--b-values", str(crop / "dwi.bval"), "--samples", "200", "--snr", "8:60"]
    for name, options in {
        "hybrid": ["--alpha", "f=0.2,D_star=1"],
        "bias": ["--estimator", "bias-constrained", "--bias-weight", "f=4,D_star=30"],
    }.items():
        out = str(tmp_path / f"{name}.skops")
        code, _, err = run(monkeypatch, capsys, *training, *options, "--out", out)
        assert code == 0, err
    hybrid, path = load_estimator(tmp_path / "hybrid.skops"), str(tmp_path / "bias.skops")
    assert hybrid.alpha == [0.5, 0.2, 0.5, 1.0]
    assert (load_estimator(path).bias_weight, hybrid.normalize) == ([10.0, 4.0, 10.0, 30.0], "rms")
    maps = {}
    for out, options in {"a": [], "b": ["--bias-weight", "f=1"]}.items():
        arguments = ["predict", path, *files, *options, "--out", str(tmp_path / out)]
        code, _, err = run(monkeypatch, capsys, *arguments)
        assert code == 0, err
        stem = tmp_path / out / "dwi_model-IVIM_param-f_desc-biasconstrained_dwimap"
        story = json.loads(Path(f"{stem}.json").read_text())
        assert story["BiasWeight"] == [10.0, 1.0 if options else 4.0, 10.0, 30.0]
        maps[out] = read_map(f"{stem}.nii.gz")
    assert not np.array_equal(maps["a"], maps["b"], equal_nan=True)
    arguments = ["predict", str(tmp_path / "hybrid.skops"), *files, "--bias-weight", "4"]
    assert "model file of a bias-constrained network" in run(monkeypatch, capsys, *arguments)[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.5", r"values in \[1, 30\], the range of the training"),
        ("f=4,D", "expects name=value, got 'D'"),
        ("f=4,T1=9", r"expects names among \['S0', 'f', 'D', 'D_star'\], got 'T1'"),
        ("f=much", "expects name=number,..., got 'much'"),
        ("4,5", "expects a number or name=number,..., got '4,5'"),
    ],
)
def test_weights_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_bias_weight(text, IVIM([0, 10]))


def test_models_are_listed(monkeypatch, capsys):
    code, text, _ = run(monkeypatch, capsys, "models", "--json")
    assert code == 0
    found = {row["model"]: row for row in json.loads(text)}
    assert found["T2Decay"]["arguments"] == ["echo_times", "offset"]
    assert [p["name"] for p in found["IVIM"]["parameters"]] == ["S0", "f", "D", "D_star"]
    assert "LinearGaussian" not in found
    code, text, _ = run(monkeypatch, capsys, "models")
    assert "SPGR" in text


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        (lambda f: ["fit", f[0], "--model", "T2Decay"], 1, "T2Decay needs echo_times"),
        (lambda f: ["fit", *f, "--estimator", "best"], 2, "Invalid value for '--estimator'"),
        (lambda f: ["fit", f[4], *f[1:3]], 1, "expects 4 dimensions"),
        (lambda f: ["fit", f[0], "--bval", "0 100"], 1, "has 10 volumes, but 2 measurements"),
        (lambda f: ["train", *f[1:3], "--snr", "high"], 1, "--snr expects a number or low:high"),
        (lambda f: ["predict", f[2], *f], 1, "not a model file, or is damaged"),
        (lambda f: ["fit", *f, "--alpha", "0"], 1, "--alpha is for --estimator hybrid"),
        (lambda f: ["fit", *f, "--prior", "f=0:1"], 1, "--prior is for --estimator hybrid or bias"),
        (lambda f: ["fit", *f, "--bias-weight", "9"], 1, "--bias-weight is for --estimator bias-c"),
        (lambda f: ["fit", *f, "--estimator", "hybrid", "--alpha", "f=2"], 1, "values in [0, 1]"),
        (
            lambda f: ["train", *f[1:3], "--bounds", "f=0:1", "--estimator", "bias-constrained"],
            1,
            "--bounds is for --estimator hybrid.",
        ),
        (lambda f: ["fit", *f, "--average"], 1, "no b-value occurs twice"),
        (lambda f: ["fit", *f, "--sigma", "0"], 1, "'sigma' parameter of MLEEstimator must be"),
        (lambda f: ["fit", *f, "--device", "moon"], 1, "device='moon' cannot be used"),
        (
            lambda f: ["fit", *f, "--error", "std", "--estimator", "segmented"],
            1,
            "--error std is for --estimator",
        ),
        (lambda f: ["fit", *f, "--sigma", "9", "--estimator", "segmented"], 1, "--sigma is for"),
        (lambda f: ["train", *f[1:3], "--snr", "9:3"], 1, "--snr expects low:high, got '9:3'"),
        (lambda f: ["train", *f[1:3], "--samples", "9"], 2, "Invalid value for '--samples'"),
        (lambda f: ["fit", *f, "--bounds", "f=1"], 1, "bounds['f'] expects two numbers"),
        (lambda f: ["fit", *f, "--bounds", "K=0:1"], 1, "bounds names ['K']"),
    ],
)
def test_errors_are_one_line(files, tmp_path, monkeypatch, capsys, change, code, message):
    monkeypatch.chdir(tmp_path)
    found, _, err = run(monkeypatch, capsys, *change(files))
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert not list(tmp_path.glob("maps/*.nii.gz"))


def blocks(out, command):
    """Finished parts of an unfinished command."""
    return sorted(out.glob(f".*_desc-{command}.unfinished/parts/estimate_rows-*.npz"))


def test_only_one_command_makes_the_same_maps(files, tmp_path, monkeypatch, capsys):
    folder = tmp_path / ".dwi_model-IVIM_desc-mle.unfinished"
    with _console.unfinished(folder, resume=False):
        (folder / "parts" / "done").touch()
        code, _, err = run(monkeypatch, capsys, "fit", *files, "--out", str(tmp_path))
        assert code == 1
        assert "Another command is making these maps" in err
        assert (folder / "parts" / "done").exists()
    assert list(tmp_path.glob("*map*")) == []


@pytest.mark.parametrize(
    ("model", "known", "message"),
    [
        (SPGR([2, 9], 15), {"flip_angles": [3, 10]}, "flip_angles"),
        (SPGR([2, 9], 15), {"flip_angles": [2, 9], "repetition_time": 4000}, "repetition_time"),
        (R2StarDecay([1.2, 2.4]), {"echo_times": [2.1, 3.3]}, "echo_times"),
        (IVIM([0, 10, 800]), {"b_values": [0, 10, 900]}, "b_values"),
        (IVIM([0, 10, 800]), {"b_values": [0, 10]}, "b_values"),
    ],
)
def test_other_protocols_are_refused(model, known, message):
    with pytest.raises(ValueError, match=f"was trained for {message} .*, the scan has"):
        refuse_other_protocol(model, known, "model.skops")
    refuse_other_protocol(model, model.get_params(), "model.skops")
    refuse_other_protocol(IVIM([0, 10, 800]), {"b_values": [0.5, 10, 802]}, "model.skops")


@pytest.mark.parametrize("kind", ["segmented", "pipeline"])
def test_any_model_file_predicts(files, crop, tmp_path, monkeypatch, capsys, kind):
    model = IVIM(read_b_values(crop / "dwi.bval"))
    X = sample_voxels(files[0], files[4], 100, random_state=0)
    made = SegmentedIVIMEstimator(model)
    if kind == "pipeline":
        made = make_pipeline(FunctionTransformer(), MLEEstimator(model, sigma=14.0))
    save_estimator(made.fit(X), tmp_path / "model.skops")
    arguments = ["predict", str(tmp_path / "model.skops"), *files, "--out", str(tmp_path / "maps")]
    code, text, err = run(monkeypatch, capsys, *arguments, "--json")
    assert code == 0, err
    assert 0.5 < json.loads(text)["parameters"][2]["median"] < 2


def test_summary_of_nothing_is_json():
    summary = summarise(IVIM([0, 10]), np.full((3, 4), np.nan), None)
    assert summary["parameters"][0]["median"] is None
    assert summary["voxels"]["BAD_INPUT"] == 3
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("command", ["fit", "predict"])
def test_killed_and_resumed_gives_the_same_bytes(real_data, tmp_path, command):
    """SIGKILL after the first slabs; what is done is not done again."""
    scan = real_data / "pelvis_ivim"
    files = [str(scan / "dwi.nii.gz"), "--mask", str(scan / "mask.nii.gz")]
    settings = ["--prior", "D=0.05:3", "--chunk-size", "20000", "--sigma", "14"]
    if command == "predict":
        model = tmp_path / "model.skops"
        train = ["train", "--bval", str(scan / "dwi.bval"), "--samples", "1000", "--snr", "5:60"]
        subprocess.run([*COMMAND, *train, "--out", str(model)], check=True, capture_output=True)
        files, settings = [str(model), *files], settings[2:]
    else:
        settings += ["--estimator", "hybrid", "--samples", "1000"]
    arguments = [*COMMAND, command, *files, *settings]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([*arguments, "--out", str(whole)], check=True, capture_output=True)
    assert list(whole.glob(".*")) == [], "nothing is left behind"

    process = subprocess.Popen(
        [*arguments, "--out", str(killed)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while not (done := blocks(killed, "hybrid")) and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    done = {path: path.stat().st_mtime_ns for path in blocks(killed, "hybrid")}
    assert 1 <= len(done) < 5, "killed in mid-run"
    # The model file of `fit` is an archive with the time of its making.
    maps = {path.name: path.read_bytes() for path in whole.glob("*map.*")}
    assert len(maps) == 12
    keep = tmp_path / "keep"
    shutil.copytree(killed, keep)
    subprocess.run([*arguments, "--out", str(killed), "--resume"], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in killed.glob("*map.*")} == maps
    assert {path.name for path in killed.iterdir()} == {path.name for path in whole.iterdir()}

    # What was finished is taken as it stands: spoilt, it shows in the maps.
    first = next(iter(blocks(keep, "hybrid")))
    with np.load(first, allow_pickle=False) as arrays:
        spoilt = {name: values * 0 for name, values in arrays.items()}
    np.savez(first, **spoilt)
    subprocess.run([*arguments, "--out", str(keep), "--resume"], check=True, capture_output=True)
    values = nibabel.load(keep / "dwi_model-IVIM_param-D_desc-hybrid_dwimap.nii.gz").get_fdata()
    assert np.count_nonzero(values == 0) == len(spoilt["D"])


def test_collection_of_images_needs_no_option(tmp_path, monkeypatch, capsys):
    """Echo times come from sidecars, the mask from the images, the table is JSON."""
    model = T2Decay([10, 40, 90])
    phantom = make_phantom(model, shape=(24, 24, 2), snr=50, random_state=0)
    fields = [{"EchoTime": time} for time in (0.01, 0.04, 0.09)]
    paths = collection(tmp_path, "MESE", "echo", fields, phantom.data)
    out = tmp_path / "maps"
    arguments = ["fit", *map(str, paths), "--model", "T2Decay", "--mask", "auto"]
    code, text, err = run(monkeypatch, capsys, *arguments, "--json", "--out", str(out))
    assert code == 0, err
    assert "From the files beside the scan: echo_times" in err
    assert "Mask by threshold: " in err
    found = json.loads(text)
    assert str(out / "sub-01_model-T2Decay_desc-mleMESE_T2map.nii.gz") in found["maps"]
    assert [p["name"] for p in found["parameters"]] == ["S0", "T2"]
    assert found["voxels"]["BAD_INPUT"] == 0
    T2 = read_map(out / "sub-01_model-T2Decay_desc-mleMESE_T2map.nii.gz")
    truth = phantom.truth[..., 1]
    inside = np.isfinite(T2) & np.isfinite(truth)
    assert np.median(np.abs(T2[inside] / truth[inside] - 1)) < 0.1


def test_averaging_is_asked_for_and_told(crop, tmp_path, monkeypatch, capsys):
    image = nibabel.load(crop / "dwi.nii.gz")
    twice = np.concatenate([np.asanyarray(image.dataobj)] * 2, axis=-1)
    nibabel.save(nibabel.Nifti1Image(twice, image.affine), tmp_path / "dwi.nii.gz")
    b = (crop / "dwi.bval").read_text()
    (tmp_path / "dwi.bval").write_text(f"{b.strip()} {b}")
    arguments = ["fit", str(tmp_path / "dwi.nii.gz"), "--mask", str(crop / "mask.nii.gz")]
    arguments += ["--error", "std"]
    code, _, err = run(monkeypatch, capsys, *arguments, "--average", "--out", str(tmp_path / "a"))
    assert code == 0, err
    assert "Averaged 20 volumes into 10, 2 to 2 in each: sigma is that of one of them" in err
    assert (tmp_path / "a" / "dwi_model-IVIM_param-Dstd_desc-mle_dwimap.nii.gz").exists()
    story = json.loads((tmp_path / "a" / "dwi_model-IVIM_param-D_desc-mle_dwimap.json").read_text())
    assert story["Noise"] == f"AveragedMagnitude(n_averages={[2] * 10})"
    code, _, err = run(monkeypatch, capsys, *arguments, "--out", str(tmp_path / "b"))
    story = json.loads((tmp_path / "b" / "dwi_model-IVIM_param-D_desc-mle_dwimap.json").read_text())
    assert story["Noise"] == "Rician()"
    assert story["SignalModel"]["b_values"].count(800.0) == 2, "repeats stay separate"


@pytest.mark.parametrize("kind", ["link", "open to others"])
def test_folder_that_others_may_have_made_is_left_alone(files, tmp_path, monkeypatch, capsys, kind):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "parts").mkdir(parents=True)
    (elsewhere / "parts" / "precious").touch()
    folder = tmp_path / "maps" / ".dwi_model-IVIM_desc-mle.unfinished"
    folder.parent.mkdir()
    if kind == "link":
        folder.symlink_to(elsewhere)
    else:
        elsewhere.rename(folder)
        folder.chmod(0o777)
    code, _, err = run(monkeypatch, capsys, "fit", *files, "--out", str(folder.parent))
    assert code == 1
    assert "only you can enter" in err
    assert (folder / "parts" / "precious").exists()


@pytest.mark.parametrize("text", ["no", "False", "off", "0"])
def test_settings_have_the_type_of_their_default(text):
    assert not make_model("T2Decay", None, ["echo_times=10,20", f"offset={text}"]).offset
    with pytest.raises(ValueError, match="offset expects yes or no"):
        make_model("T2Decay", None, ["echo_times=10,20", "offset=perhaps"])


def test_setting_that_contradicts_the_files_is_refused():
    with pytest.raises(ValueError, match=r"10\.0, 20\.0\] contradicts .* \[20\.0, 10\.0\]"):
        make_model("T2Decay", None, ["echo_times=10,20"], {"echo_times": [20, 10]})
