"""Maps of known parameters and of the noise level, in Python and on the command line."""

import json

import nibabel
import numpy as np
import pytest
from test_cli import run

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import predict_image, read_map
from sklearn_qmri.noise import Rician
from sklearn_qmri.signal_models import ADC, IVIM, SPGR

ANGLES, SHAPE, SIGMA = [2, 4, 8, 12, 18, 25], (12, 10, 4), 0.5
SETTINGS = [
    "--model",
    "SPGR",
    "--with",
    "flip_angles=2,4,8,12,18,25",
    "--with",
    "repetition_time=15",
]


@pytest.fixture(scope="module")
def vfa(tmp_path_factory):
    """Scan of variable flip angles whose B1 varies, with maps of B1 and of T1."""
    folder = tmp_path_factory.mktemp("vfa")
    rng, model = np.random.RandomState(0), SPGR(ANGLES, repetition_time=15)
    n = np.prod(SHAPE)
    truth = np.column_stack(
        [rng.uniform(1500, 2500, n), rng.uniform(600, 1800, n), np.linspace(0.7, 1.3, n)]
    )
    X, _ = make_signals(model, n, sigma=SIGMA, prior=lambda *_: truth, random_state=1)
    images = {"scan": X.reshape(*SHAPE, -1), "T1": truth[:, 1], "B1": truth[:, 2]}
    images["sigma"] = np.full(n, SIGMA)
    for name, values in images.items():
        values = values.reshape(*SHAPE, -1) if name == "scan" else values.reshape(SHAPE)
        nibabel.save(
            nibabel.Nifti1Image(values.astype(np.float32), np.eye(4)), folder / f"{name}.nii.gz"
        )
    return folder


def error(T1, folder, inside=slice(None)):
    """Median relative error of T1."""
    truth = nibabel.load(folder / "T1.nii.gz").get_fdata()
    return np.median(np.abs(T1 / truth - 1)[inside])


def test_map_of_b1_in_python(vfa):
    model = SPGR(ANGLES, repetition_time=15)
    mle = MLEEstimator(model, sigma=SIGMA, fixed={"B1": 1.0}).fit(np.ones((1, 6)))
    scan = vfa / "scan.nii.gz"
    right = predict_image(mle, scan, fixed={"B1": vfa / "B1.nii.gz"}, n_jobs=1)
    wrong = predict_image(mle, scan)
    assert error(right["T1"].get_fdata(), vfa) < 0.02
    assert error(wrong["T1"].get_fdata(), vfa) > 0.1
    np.testing.assert_allclose(
        right["B1"].get_fdata(), nibabel.load(vfa / "B1.nii.gz").get_fdata(), rtol=1e-6
    )
    slabs = predict_image(mle, scan, fixed={"B1": vfa / "B1.nii.gz"}, chunk_size=1)
    np.testing.assert_array_equal(slabs["T1"].get_fdata(), right["T1"].get_fdata())


def test_voxels_outside_a_map(vfa):
    """Zeros and NaN outside the mask of a map are voxels without estimate, and are counted."""
    mle = MLEEstimator(SPGR(ANGLES, repetition_time=15), sigma=SIGMA, fixed={"B1": 1.0})
    B1 = nibabel.load(vfa / "B1.nii.gz").get_fdata()
    B1[0], B1[1, 0, 0], B1[2, 0, 0] = 0.0, np.nan, 7.0
    mle.fit(np.ones((1, 6)))
    message = r"B1 is NaN or outside its bounds of 0.5 to 1.5 in 42 of 480 voxels: their status"
    with pytest.warns(UserWarning, match=message):
        maps = predict_image(mle, vfa / "scan.nii.gz", fixed={"B1": B1})
    hidden = np.ma.masked_array(B1, mask=np.arange(480).reshape(SHAPE) >= 400)
    with pytest.warns(UserWarning, match="BAD_INPUT"):
        masked = predict_image(mle, vfa / "scan.nii.gz", fixed={"B1": hidden})
    assert (masked["status"].get_fdata().ravel()[400:] == Status.BAD_INPUT).all()
    lost = maps["status"].get_fdata() == Status.BAD_INPUT
    assert lost.sum() == 42
    assert np.isnan(maps["T1"].get_fdata()[lost]).all()
    assert error(maps["T1"].get_fdata(), vfa, ~lost) < 0.02


def test_bad_maps(vfa, tmp_path):
    mle = MLEEstimator(SPGR(ANGLES, repetition_time=15), sigma=SIGMA, fixed={"B1": 1.0})
    mle.fit(np.ones((1, 6)))
    scan = vfa / "scan.nii.gz"
    with pytest.raises(ValueError, match=r"fixed names 'B2', but the parameters are \['S0', 'T1'"):
        predict_image(mle, scan, fixed={"B2": 1.0})
    with pytest.raises(ValueError, match=r"fixed\['B1'\] has shape \(3, 3, 3\), but the image"):
        predict_image(mle, scan, fixed={"B1": np.ones((3, 3, 3))})
    other = nibabel.Nifti1Image(np.ones(SHAPE, np.float32), np.diag([2.0, 2, 2, 1]))
    with pytest.raises(ValueError, match=r"affine of fixed\['B1'\] is not that of the image"):
        predict_image(mle, scan, fixed={"B1": other})
    nibabel.save(other, tmp_path / "other.nii.gz")
    with pytest.raises(
        ValueError, match=r"fixed\['B1'\] of .*other.nii.gz is not .* of .*scan.nii.gz"
    ):
        predict_image(mle, scan, fixed={"B1": tmp_path / "other.nii.gz"})
    X, _ = make_signals(IVIM([0, 50, 200, 800]), 20, snr=30, random_state=0)
    posterior = PosteriorMeanEstimator(IVIM([0, 50, 200, 800]), sigma=1 / 30, n_atoms=64).fit(X)
    image = nibabel.Nifti1Image(X.reshape(5, 4, 1, 4), np.eye(4))
    with pytest.raises(ValueError, match="takes no known parameters"):
        predict_image(posterior, image, fixed={"f": 0.1})


def test_maps_on_the_command_line(vfa, tmp_path, monkeypatch, capsys):
    arguments = [
        "fit", str(vfa / "scan.nii.gz"), *SETTINGS, "--fixed", f"B1={vfa / 'B1.nii.gz'}",
        "--sigma", str(vfa / "sigma.nii.gz"), "--out", str(tmp_path),
    ]  # fmt: skip
    code, _, err = run(monkeypatch, capsys, *arguments)
    assert code == 0, err
    (path,) = tmp_path.glob("*T1map.nii.gz")
    assert error(read_map(path), vfa) < 0.02
    story = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert story["Fixed"] == {"B1": str(vfa / "B1.nii.gz")}
    assert story["Sigma"] == str(vfa / "sigma.nii.gz")


def test_noise_level_is_learnt_beside_a_map(vfa, tmp_path, monkeypatch, capsys):
    arguments = ["fit", str(vfa / "scan.nii.gz"), *SETTINGS, "--out", str(tmp_path)]
    code, _, err = run(monkeypatch, capsys, *arguments, "--fixed", f"B1={vfa / 'B1.nii.gz'}")
    assert code == 0, err
    (path,) = tmp_path.glob("*T1map.nii.gz")
    story = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert story["Sigma"] == pytest.approx(SIGMA, rel=0.1)
    assert error(read_map(path), vfa) < 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fixed", "B1=high"], "--fixed expects name=number or name=map.nii.gz"),
        (["--sigma", "low"], "--sigma expects a number, or a map"),
        (["--fixed", "B1=none.nii.gz"], "none.nii.gz"),
    ],
)
def test_bad_maps_on_the_command_line(vfa, tmp_path, monkeypatch, capsys, arguments, message):
    command = ["fit", str(vfa / "scan.nii.gz"), *SETTINGS, "--out", str(tmp_path / "maps")]
    code, _, err = run(monkeypatch, capsys, *command, *arguments)
    assert code != 0
    assert message in " ".join(err.split())
    assert not (tmp_path / "maps").exists()


def test_averages_on_the_command_line(tmp_path, monkeypatch, capsys):
    """The right noise model, which the sidecar names, leaves less bias than plain Rician noise."""
    model, snr, n = ADC([0, 200, 400, 800, 1500]), 15, np.array([1, 1, 1, 4, 8])
    signal = np.broadcast_to(model.simulate([[1.0, 1.5]])[0] * snr, (8000, n.max(), len(n)))
    x = Rician().sample(signal, np.random.RandomState(0))
    X = np.stack([x[:, :k, j].mean(axis=1) for j, k in enumerate(n)], axis=1) / snr
    path = tmp_path / "dwi.nii.gz"
    nibabel.save(nibabel.Nifti1Image(X.reshape(20, 20, 20, 5).astype(np.float32), np.eye(4)), path)
    error, levels = [], []
    for k, extra in enumerate(([], ["--averages", "1,1,1,4,8"])):
        out = tmp_path / f"maps{k}"
        code, _, err = run(
            monkeypatch, capsys, "fit", str(path), "--bval", "0,200,400,800,1500", "--model", "ADC",
            "--out", str(out), *extra,
        )  # fmt: skip
        assert code == 0, err
        (file,) = out.glob("*_param-D_*.nii.gz")
        error.append(abs(np.median(read_map(file)) - 1.5))
        story = json.loads(file.with_name(file.name.replace(".nii.gz", ".json")).read_text())
        levels.append(story["Sigma"] * snr)
    assert error[1] < 0.4 * error[0]
    assert levels[1] == pytest.approx(1, rel=0.03) != pytest.approx(levels[0], rel=0.03)
    assert "AveragedMagnitude" in story["Noise"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--averages", "1,2"], "--averages expects 5 numbers, one per measurement, got 2"),
        (["--averages", "1,1,1,1,0"], "n_averages expects a positive number"),
        (["--averages", "some.txt"], "--averages expects numbers or a file of them"),
        (["--averages", "1,1,1,1,2", "--average"], "--averages counts averages of the scanner"),
    ],
)
def test_bad_averages(tmp_path, monkeypatch, capsys, arguments, message):
    path, b = tmp_path / "dwi.nii.gz", "0,0,400,800,1500"
    nibabel.save(nibabel.Nifti1Image(np.ones((3, 3, 3, 5), np.float32), np.eye(4)), path)
    command = ["fit", str(path), "--bval", b, "--model", "ADC", "--out", str(tmp_path / "maps")]
    code, _, err = run(monkeypatch, capsys, *command, *arguments)
    assert code != 0
    assert message in " ".join(err.split())
    assert not (tmp_path / "maps").exists()


@pytest.fixture(scope="module")
def averaged():
    """A scan whose measurements have noise levels of their own, which also vary in space."""
    model, rng = ADC([0, 200, 400, 800, 1500]), np.random.RandomState(0)
    level = 20 * np.array([1, 1, 1, 0.5, 0.25]) * np.linspace(0.5, 1.5, 10)[:, None, None, None]
    level = np.broadcast_to(level, (10, 10, 10, 5)).copy()
    X = model.simulate([[1000.0, 1.2]])[0] + level * rng.standard_normal(level.shape)
    return model, nibabel.Nifti1Image(X.astype(np.float32), np.eye(4)), level


def test_maps_of_sigma_for_each_measurement(averaged):
    model, image, level = averaged
    mle = MLEEstimator(model, noise="gaussian", sigma=20.0).fit(np.ones((1, 5)))
    found = predict_image(mle, image, sigma=level, return_std=True, chunk_size=200)
    X = image.get_fdata().reshape(-1, 5)
    expected, std = mle.predict(X, sigma=level.reshape(-1, 5), return_std=True)
    # The rows of a slab are in another order: compare as volumes.
    np.testing.assert_allclose(found["D"].get_fdata().ravel(), expected[:, 1], rtol=1e-5)
    np.testing.assert_allclose(found["D_std"].get_fdata().ravel(), std[:, 1], rtol=1e-4)
    z = (found["D"].get_fdata() - 1.2) / found["D_std"].get_fdata()
    assert np.std(z) == pytest.approx(1, abs=0.08)
    one = predict_image(mle, image, sigma=level[:1, 0, 0])
    same = predict_image(mle, image, sigma=np.broadcast_to(level[0, 0, 0], level.shape).copy())
    np.testing.assert_array_equal(one["D"].get_fdata(), same["D"].get_fdata())


def test_measurements_without_a_level_are_missing(averaged):
    model, image, level = averaged
    level = level.copy()
    level[3, 3, 3, 2], level[4, 4, 4] = 0.0, np.nan
    mle = MLEEstimator(model, noise="gaussian", sigma=20.0).fit(np.ones((1, 5)))
    with pytest.warns(UserWarning, match="Of 1,?000 voxels 1 "):
        found = predict_image(mle, image, sigma=level)
    status = found["status"].get_fdata()
    assert status[4, 4, 4] == Status.BAD_INPUT
    assert np.count_nonzero(status == Status.BAD_INPUT) == 1
    assert np.isfinite(found["D"].get_fdata()[3, 3, 3])
    with pytest.raises(ValueError, match=r"sigma has shape \(10, 10, 10, 4\), but the image"):
        predict_image(mle, image, sigma=level[..., :4])


@pytest.mark.parametrize("method", ["mle", "pretrained"])
def test_levels_per_measurement_on_the_command_line(
    averaged, tmp_path, monkeypatch, capsys, method
):
    model, image, level = averaged
    nibabel.save(image, tmp_path / "dwi.nii.gz")
    nibabel.save(nibabel.Nifti1Image(level, np.eye(4)), tmp_path / "noise.nii.gz")
    out = tmp_path / "maps"
    code, _, err = run(
        monkeypatch, capsys, "fit", str(tmp_path / "dwi.nii.gz"), "--bval", "0,200,400,800,1500",
        "--model", "ADC", "--sigma", str(tmp_path / "noise.nii.gz"), "--estimator", method,
        "--out", str(out),
    )  # fmt: skip
    assert code == 0, err
    (file,) = out.glob("*_param-D_*.nii.gz")
    assert np.median(read_map(file)) == pytest.approx(1.2, rel=0.02)
    story = json.loads(file.with_name(file.name.replace(".nii.gz", ".json")).read_text())
    assert story["Sigma"] == str(tmp_path / "noise.nii.gz")
