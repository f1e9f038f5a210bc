import csv
import json
import os
import shlex
import subprocess
import sys
import warnings

import matplotlib
import nibabel
import numpy as np
import pytest

from sklearn_qmri import cli
from sklearn_qmri.cli import _console, _protocol
from sklearn_qmri.datasets import _pelvis

PARAMETERS = ("S0", "f", "D", "D_star")


def run(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["sklearn-qmri", *arguments])
    monkeypatch.setattr(_console.console, "width", 240)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # main() replaces it
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    out, err = capsys.readouterr()
    return code, out, err


def test_demo_on_a_piece_of_the_real_scan(crop, tmp_path, monkeypatch, capsys):
    out = tmp_path / "maps"
    code, text, err = run(monkeypatch, capsys, "demo", "--out", str(out), "--bias-weight", "20")
    assert code == 0, err
    scan, mask = nibabel.load(crop / "dwi.nii.gz"), nibabel.load(crop / "mask.nii.gz")
    inside = np.asanyarray(mask.dataobj) != 0
    for method in ("mle", "pretrained"):
        for name in PARAMETERS:
            image = nibabel.load(out / f"{name}_{method}.nii.gz")
            values = np.asanyarray(image.dataobj)
            assert values.shape == scan.shape[:3]
            np.testing.assert_array_equal(image.affine, scan.affine)
            np.testing.assert_array_equal(np.isfinite(values), inside)
            if name == "S0":  # on the scanner's scale
                measured = np.median(np.asanyarray(scan.dataobj)[inside][:, 0])
                assert np.median(values[inside]) == pytest.approx(measured, rel=0.1)
            if name == "D":
                assert 0.7 < np.median(values[inside]) < 1.6
    assert matplotlib.image.imread(out / "maps.png").std() > 0.1
    assert "sigma = " in err
    assert "pretrained, w = 20" in text
    assert "out of domain" in text
    assert all(word in err for word in ("noise level", "likelihood")), "progress"

    code, _, err = run(monkeypatch, capsys, "demo", "--out", str(out))
    assert code == 1
    assert "exists already; give --overwrite" in err
    assert "Traceback" not in err


def test_demo_and_fit_print_the_same_figures(crop, tmp_path, monkeypatch, capsys):
    """The figures of the README are those that `fit` gives for the same scan and mask."""
    code, text, err = run(monkeypatch, capsys, "demo", "--out", str(tmp_path / "demo"), "--json")
    assert code == 0, err
    shown = json.loads(text)
    for name, estimator in (("maximum likelihood", "mle"), ("pretrained, w = 10", "pretrained")):
        code, text, err = run(
            monkeypatch, capsys, "fit", str(crop / "dwi.nii.gz"), "--json", "--estimator",
            estimator, "--mask", str(crop / "mask.nii.gz"), "--out", str(tmp_path / estimator),
        )  # fmt: skip
        assert code == 0, err
        found = json.loads(text)
        assert found["voxels"] == shown[name]["voxels"]
        for one, other in zip(found["parameters"], shown[name]["parameters"], strict=True):
            assert one["median"] == pytest.approx(other["median"], rel=1e-5)
            np.testing.assert_allclose(one["quartiles"], other["quartiles"], rtol=1e-5, atol=1e-7)


def test_demo_without_network_uses_a_phantom(tmp_path, monkeypatch, capsys):
    def no_network(command, **kwargs):
        return subprocess.CompletedProcess(command, 1, "", "ERROR: no route to host")

    monkeypatch.delenv("SKLEARN_QMRI_DATA", raising=False)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path / "cache"))
    monkeypatch.setattr(_pelvis.subprocess, "run", no_network)
    code, text, err = run(monkeypatch, capsys, "demo", "--out", str(tmp_path / "maps"), "--json")
    assert code == 0
    assert "simulated phantom" in err
    assert json.loads(text)["maximum likelihood"]["parameters"][2]["name"] == "D"
    assert nibabel.load(tmp_path / "maps" / "D_mle.nii.gz").shape == (128, 128, 3)


def test_damaged_scan_is_one_line(crop, tmp_path, monkeypatch, capsys):
    scan = crop / "dwi.nii.gz"
    content = bytearray(scan.read_bytes())
    for damage in (content[: len(content) // 2], content[:2000] + b"x" * 500 + content[2500:]):
        scan.write_bytes(damage)
        code, _, err = run(monkeypatch, capsys, "demo", "--out", str(tmp_path / "maps"))
        assert code == 1
        assert "dwi.nii.gz" in err
        assert "damaged" in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["demo", "--bias-weight", "31"], 1, "values in [1, 30]"),
        (["demo", "--bias-weight", "much"], 1, "--bias-weight expects a number"),
        (["compare", "--snr", "20"], 1, "IVIM needs b_values"),
        (
            ["compare", "--b-values", "0 x", "--snr", "20"],
            1,
            "--b-values expects numbers",
        ),
        (["compare", "--b-values", "0 1"], 1, "either --snr or --scan"),
        (["compare", "--b-values", "0 1", "--snr", "9", "--model", "I"], 1, "one of ['ADC'"),
        (["compare", "--b-values", "0 1", "--snr", "9", "--prior", "f"], 1, "name=value, got 'f'"),
        (
            ["compare", "--b-values", "0 1", "--snr", "9", "--prior", "f=1"],
            1,
            "expects two numbers",
        ),
        (["compare", "--b-values", "0 1", "--snr", "9", "--tissue", "a:f=1"], 1, "gives ['f']"),
        (["compare", "--b-values", "0 1", "--weight", "1", "--max-bias", "1"], 1, "give one of"),
        (["compare", "--b-values", "0 1", "--roi-voxels", "9", "--weight", "1"], 1, "give one of"),
        (["compare", "--b-values", "0 1", "--roi-voxels", "0"], 1, "n_voxels expects an integer"),
        (["demo", "--bogus"], 2, "No such option"),
        (["bogus"], 2, "No such command"),
    ],
)
def test_user_errors_are_one_line(monkeypatch, capsys, tmp_path, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    found, _, err = run(monkeypatch, capsys, *arguments)
    assert found == code
    assert message in err
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        ("SPGR", ["flip_angles=2,5,10", "repetition_time=15"], "SPGR(flip_angles=[2.0, 5.0, 10.0]"),
        ("T2Decay", ["echo_times=10 30", "offset=false"], "offset=False"),
        ("InversionRecovery", ["inversion_times=50,900", "magnitude=true"], "magnitude=True"),
        ("IVIM", [f"b_values={','.join(map(str, range(400)))}", "convention=total"], "'total'"),
    ],
)
def test_settings_of_a_model(model, settings, expected):
    made = _protocol.make_model(model, None, settings)
    assert expected in repr(made)
    assert made.n_measurements > 1


@pytest.mark.parametrize("command", ["demo", "compare", "fit", "train", "predict", "models"])
def test_help_shows_an_example(monkeypatch, capsys, command):
    code, text, _ = run(monkeypatch, capsys, command, "--help")
    assert code == 0
    assert f"Example: sklearn-qmri {command} " in text


def test_compare_with_the_snr_of_a_scan(crop, tmp_path, monkeypatch, capsys):
    out = tmp_path / "comparison"
    arguments = [
        "compare", "--b-values", str(crop / "dwi.bval"), "--scan", str(crop / "dwi.nii.gz"),
        "--mask", str(crop / "mask.nii.gz"), "--samples", "500", "--repeats", "4",
        "--out", str(out), "--with", "convention=total", "--prior", "D=0.1:3",
        "--tissue", "lesion:f=0.1,D=0.9,D_star=20", "--roi-voxels", "20",
    ]  # fmt: skip
    code, text, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    assert "comparing" in err
    assert "Note: lesion is outside" not in text
    found = json.loads((out / "comparison.json").read_text())
    assert 10 < found["snr"] < 30
    assert "convention='total'" in found["model"]
    assert found["rule"] == "roi_error(n_voxels=20, parameter=None)"
    for row in (*found["recommendation"], found["overall"]):
        assert row["reason"] in text.replace("\n", " ")
        assert f"\n    {row['command']}\n" in text, "in one line, to be pasted"
        assert row["margin"] > 0
    with (out / "comparison.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(found["table"])
    assert matplotlib.image.imread(out / "comparison.png").std() > 0.1
    assert run(monkeypatch, capsys, *arguments)[0] == 1
    code, text, _ = run(monkeypatch, capsys, *arguments, "--overwrite", "--json")
    assert json.loads(text)["table"] == found["table"]
    # The recommended command runs once it has its scan.
    name, *command = shlex.split(found["overall"]["command"].replace("SCAN", arguments[4]))
    assert name == "sklearn-qmri"
    command += ["--mask", arguments[6], "--out", str(tmp_path / "maps"), "--samples", "300"]
    code, _, err = run(monkeypatch, capsys, *command)
    assert code == 0, err


def test_natural_input(crop, tmp_path, monkeypatch, capsys):
    """Any case of a model's name; the b-values beside a scan also for `compare`; assumptions."""
    scan = [str(crop / "dwi.nii.gz"), "--mask", str(crop / "mask.nii.gz"), "--model", "ivim"]
    out = str(tmp_path / "maps")
    code, _, err = run(monkeypatch, capsys, "fit", *scan, "--out", out, "--no-report")
    assert code == 0, err
    assert "Assumed: mask" in err
    assert (
        "Rician noise with sigma learnt from the scan; bounds S0 0 to inf signal, f 0 to 1" in err
    )

    code, _, err = run(monkeypatch, capsys, "compare", "--scan", scan[0], "--model", "ivim2")
    assert code == 1
    assert "sklearn-qmri models" in err
    calls = []
    monkeypatch.setattr(
        "sklearn_qmri.cli._compare.compare_methods",
        lambda model, **_: calls.append(model) or sys.exit(7),
    )
    arguments = ["compare", "--scan", *scan, "--out", str(tmp_path / "compare")]
    assert run(monkeypatch, capsys, *arguments)[0] == 7
    assert list(calls[0].b_values) == [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]


def test_errors_name_commands_and_debug_shows_where(tmp_path, monkeypatch, capsys):
    code, _, err = run(monkeypatch, capsys, "compare", "--snr", "20", "--model", "t2decay")
    assert code == 1
    assert '--with echo_times="10 20 40"' in err
    assert "Traceback" not in err
    with pytest.raises(ValueError, match="echo_times"):
        run(monkeypatch, capsys, "compare", "--snr", "20", "--model", "T2Decay", "--debug")
