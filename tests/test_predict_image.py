"""Whole images: geometry, masks, noise maps, damage, memory."""

import json
import os
import subprocess
import sys
import warnings

import nibabel
import numpy as np
import pytest
from conftest import hybrid_net
from joblib import parallel_config
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_qmri import (
    HybridLabelNetRegressorCV,
    HybridLabelRegressor,
    MLEEstimator,
    Status,
)
from sklearn_qmri.image import (
    _scan,
    apply_mask,
    compute_mask,
    fit_to_scan,
    mean_signal,
    open_scan,
    predict_image,
    read_b_values,
    read_map,
    read_volume,
    sample_voxels,
    train_for_snr,
    write_maps,
    write_nifti,
)
from sklearn_qmri.signal_models import ADC, IVIM, T2Decay


@pytest.fixture
def scan(crop):
    """Image, mask and a fitted estimator of a piece of the real scan."""
    image, mask = nibabel.load(crop / "dwi.nii.gz"), nibabel.load(crop / "mask.nii.gz")
    X = apply_mask(read_volume(image), read_volume(mask))
    model = IVIM(read_b_values(crop / "dwi.bval"))
    return image, mask, MLEEstimator(model, bounds={"f": (0, 0.5)}).fit(X)


def test_maps_are_the_estimates_in_place(scan, crop):
    image, mask, mle = scan
    inside = read_volume(mask) != 0
    expected = mle.estimate(apply_mask(read_volume(image), inside))
    maps = predict_image(mle, crop / "dwi.nii.gz", crop / "mask.nii.gz")
    extra = {"status", "residual_rms", "at_bound", "aic", "bic"}
    assert set(maps) == {"S0", "f", "D", "D_star", *extra}
    for j, name in enumerate(mle.signal_model_.parameter_names):
        values = maps[name].get_fdata()
        # Rows come slice by slice there, so that blocks of voxels differ.
        np.testing.assert_allclose(
            np.nanmedian(values), np.median(expected.parameters[:, j]), rtol=1e-5
        )
        np.testing.assert_array_equal(np.isfinite(values), inside)
        np.testing.assert_array_equal(maps[name].affine, image.affine)
        assert maps[name].header.get_zooms() == image.header.get_zooms()[:3]
        assert maps[name].header["sform_code"] == image.header["sform_code"]
    status = read_volume(maps["status"])
    assert status.dtype == np.int8
    np.testing.assert_array_equal(status == -1, ~inside)
    assert np.bincount(status[inside])[1] == pytest.approx(np.sum(expected.status == 1), rel=0.01)


def test_maps_of_bounds_and_criteria(scan, crop, tmp_path):
    image, mask, mle = scan
    inside = read_volume(mask) != 0
    maps = predict_image(mle, image, mask)
    bits = read_volume(maps["at_bound"])
    assert not bits[~inside].any()
    for j, name in enumerate(mle.signal_model_.parameter_names):
        low, high = mle.bounds_[:, j].astype(np.float32)
        values = read_volume(maps[name])[inside]
        on = (values == low) | (values == high)
        told = bits[inside] // 2**j % 2 == 1
        # An estimate that single precision rounds to the bound is not on it.
        assert on[told].all()
        assert np.mean(on != told) < 1e-3
    assert (bits > 0).any()
    # The number of parameters is 4 and that of measurements 10.
    rest = read_volume(maps["bic"])[inside] - read_volume(maps["aic"])[inside]
    np.testing.assert_allclose(rest, 4 * np.log(10) - 8, atol=0.01)
    write_maps(maps, tmp_path, mle, prefix="sub-01", description="mle")
    story = json.loads(
        (tmp_path / "sub-01_model-IVIM_param-atbound_desc-mle_dwimap.json").read_text()
    )
    assert story["Bits"]["4"] == "D is on a bound"


def test_jobs_change_no_bit(scan):
    image, mask, mle = scan
    one, two = (
        predict_image(mle, image, mask, n_jobs=n, chunk_size=500, return_std=True) for n in (1, 2)
    )
    assert len(one) == 13
    for name in one:
        np.testing.assert_array_equal(one[name].get_fdata(), two[name].get_fdata())


def test_noise_map_and_fill(scan):
    image, mask, mle = scan
    level = np.where(read_volume(mask) != 0, mle.sigma_, np.nan)
    given = predict_image(mle, image, mask, sigma=level, fill=0)
    expected = predict_image(mle, image, mask, sigma=mle.sigma_, fill=0)
    np.testing.assert_array_equal(given["D"].get_fdata(), expected["D"].get_fdata())
    assert (given["D"].get_fdata()[read_volume(mask) == 0] == 0).all()


@pytest.mark.parametrize("kind", ["f4", "i2", "u2", "f8"])
def test_data_types_scaling_and_orientation_are_respected(scan, tmp_path, kind):
    image, mask, mle = scan
    data = read_volume(image).astype(float)
    scaled = kind in ("i2", "u2")
    stored = np.round((data[::-1] - 3) / 0.5).clip(0) if scaled else data[::-1]
    flipped = nibabel.Nifti1Image(stored.astype(kind), image.affine @ np.diag([-1, 1, 1, 1]))
    if scaled:
        flipped.header.set_slope_inter(0.5, 3)
    path = tmp_path / "scan.nii"
    nibabel.save(flipped, path)
    found = predict_image(mle, path, read_volume(mask)[::-1])
    expected = predict_image(mle, nibabel.Nifti1Image(data[::-1], flipped.affine),
                             read_volume(mask)[::-1])  # fmt: skip
    np.testing.assert_allclose(
        found["S0"].get_fdata(), expected["S0"].get_fdata(), rtol=0.02, equal_nan=True
    )
    np.testing.assert_allclose(found["S0"].affine, flipped.affine)


def test_bad_voxels_stop_nothing_and_are_told_once(scan):
    image, mask, mle = scan
    data = read_volume(image).astype(np.float32)
    inside = np.argwhere(read_volume(mask) != 0)
    data[tuple(inside[0])] = np.nan
    data[(*inside[1], 3)] = np.inf
    data[tuple(inside[2])] = 0
    with pytest.warns(UserWarning, match="Of .* voxels 3 are no possible") as told:
        maps = predict_image(mle, nibabel.Nifti1Image(data, image.affine), mask, chunk_size=400)
    assert len(told) == 1
    status = read_volume(maps["status"])
    assert [status[tuple(v)] for v in inside[:3]] == [Status.BAD_INPUT] * 3
    assert np.isnan(maps["D"].get_fdata()[tuple(inside[0])])


def test_estimators_that_hold_others_have_names_too(scan):
    image, mask, mle = scan
    X = apply_mask(read_volume(image), read_volume(mask))
    y = np.repeat(mle.predict(X[::40])[:60], 4, axis=0)
    signals = np.repeat(X[::40][:60], 4, axis=0)
    net = hybrid_net(
        mle.signal_model, sigma=mle.sigma_, max_epochs=1, normalize="rms", random_state=0
    )
    cv = HybridLabelNetRegressorCV(net, cv=2).fit(signals, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {"S0", "f", "D", "D_star", "status"} <= set(predict_image(cv, image, mask))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: (s[2], s[0].slicer[..., 0], s[1]), "expects 4 dimensions, got shape"),
        (lambda s: (s[2], s[0].slicer[..., :7], s[1]), "has 7 volumes, but 10 measurements"),
        (lambda s: (s[2], s[0], np.ones((3, 3, 3))), "mask has shape .*, but the image"),
        (lambda s: (s[2], s[0], np.zeros(s[0].shape[:3])), "no voxel in it"),
        (
            lambda s: (s[2], s[0], nibabel.Nifti1Image(np.ones(s[0].shape[:3]), np.eye(4))),
            "affine of mask is not that of the image",
        ),
    ],
)
def test_what_does_not_fit_is_refused(scan, change, message):
    with pytest.raises(ValueError, match=message):
        predict_image(*change(scan))


def test_damaged_or_foreign_file_is_refused(scan, crop, tmp_path):
    image, mask, mle = scan
    path = tmp_path / "scan.nii.gz"
    path.write_bytes((crop / "dwi.nii.gz").read_bytes()[:4000])
    with pytest.raises(ValueError, match="damaged"):
        predict_image(mle, path, mask)
    path.write_text("no image")
    with pytest.raises(ValueError, match="not a NIfTI image"):
        predict_image(mle, path)
    with pytest.raises(OSError, match="missing"):
        predict_image(mle, tmp_path / "missing.nii")


MEMORY = """
import resource, sys, numpy as np, nibabel
from sklearn_qmri import MLEEstimator
from sklearn_qmri.image import predict_image
from sklearn_qmri.signal_models import ADC
model = ADC([0, 300, 600, 1000] * 5)
mle = MLEEstimator(model, sigma=10.0).fit(np.full((1, 20), 100.0))
predict_image(mle, nibabel.Nifti1Image(np.full((8, 8, 1, 20), 100.0), np.eye(4)))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
maps = predict_image(mle, sys.argv[1], chunk_size=20000)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, len(maps))
"""


def test_scan_is_not_read_at_once(tmp_path, rng):
    """Growth of peak memory stays well under the size of the scan."""
    shape = (128, 128, 40, 20)  # 52 MB as float32, 105 MB as float64
    path = tmp_path / "scan.nii"
    data = rng.uniform(50, 200, size=shape[2:]).astype(np.float32)
    image = nibabel.Nifti1Image(np.broadcast_to(data, shape).copy(), np.eye(4))
    nibabel.save(image, path)
    run = subprocess.run(
        [sys.executable, "-c", MEMORY, str(path)], capture_output=True, text=True, check=True
    )
    grown, n_maps = run.stdout.split()
    assert int(n_maps) == 7
    assert float(grown) < 60


def test_automatic_mask_is_the_body(real_data):
    """Within 3 % of the voxels of the mask that came with the pelvis scan."""
    folder = real_data / "pelvis_ivim"
    given = read_volume(nibabel.load(folder / "mask.nii.gz")) != 0
    found = compute_mask(folder / "dwi.nii.gz")
    overlap = 2 * np.count_nonzero(found & given) / (found.sum() + given.sum())
    assert overlap > 0.97


def test_nothing_to_mask():
    with pytest.raises(ValueError, match="All voxels have a mean signal of 3"):
        compute_mask(nibabel.Nifti1Image(np.full((4, 4, 2, 3), 3.0), np.eye(4)))


def test_sampled_voxels_are_of_the_mask(scan):
    image, mask, _ = scan
    inside = {row.tobytes() for row in apply_mask(read_volume(image), read_volume(mask))}
    rows = sample_voxels(image, mask, 300, random_state=0)
    assert rows.shape == (300, 10)
    assert {row.tobytes() for row in rows} <= inside
    np.testing.assert_array_equal(rows, sample_voxels(image, mask, 300, random_state=0))
    assert len(sample_voxels(image, mask, 10**9)) == np.count_nonzero(read_volume(mask))


def test_finished_slabs_are_kept(scan, tmp_path, monkeypatch):
    image, mask, mle = scan
    first = predict_image(mle, image, mask, chunk_size=500, memory=str(tmp_path))

    def never(*args, **kwargs):
        raise AssertionError("estimated anew")

    monkeypatch.setattr(type(mle), "estimate", never)
    again = predict_image(mle, image, mask, chunk_size=500, memory=str(tmp_path))
    np.testing.assert_array_equal(again["D"].get_fdata(), first["D"].get_fdata())
    with pytest.raises(AssertionError, match="estimated anew"):
        predict_image(mle, image, mask, sigma=9.0, chunk_size=500, memory=str(tmp_path))


def test_complex_images_are_refused(scan):
    image, mask, mle = scan
    data = read_volume(image).astype(np.complex64)
    with pytest.raises(ValueError, match="expects real numbers, got complex64"):
        predict_image(mle, nibabel.Nifti1Image(data, image.affine), mask)


FULL_DISK = """
import resource, signal, sys
import nibabel, numpy as np
from sklearn_qmri import MLEEstimator
from sklearn_qmri.image import predict_image, write_maps
from sklearn_qmri.signal_models import ADC
model = ADC([0, 500, 1000])
X = np.random.RandomState(0).uniform(50, 90, (32, 32, 8, 3))
mle = MLEEstimator(model, sigma=1.0).fit(X[0, 0])
maps = predict_image(mle, nibabel.Nifti1Image(X, np.eye(4)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
try:
    write_maps(maps, sys.argv[1], mle, prefix="scan", description="mle")
except OSError as error:
    print("refused:", error)
"""


def test_no_room_in_mid_write_leaves_no_partial_file(tmp_path):
    """The system cuts files at 8 kB, so that a map cannot be written whole."""
    run = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "refused: [Errno 27] File too large" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written_to(scan, tmp_path):
    image, mask, mle = scan
    maps = predict_image(mle, image, mask)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        write_maps(maps, tmp_path / "file" / "maps", mle, prefix="scan", description="mle")


def test_maps_of_a_story(scan, tmp_path):
    image, mask, mle = scan
    maps = predict_image(mle, image, mask)
    given = {"prefix": "sub-01", "description": "mle", "sigma": 12.5, "sources": ["dwi.nii.gz"]}
    paths = write_maps(maps, tmp_path, mle, **given)
    assert [p.name for p in paths][3] == "sub-01_model-IVIM_param-Dstar_desc-mle_dwimap.nii.gz"
    story = json.loads(
        (tmp_path / "sub-01_model-IVIM_param-Dstar_desc-mle_dwimap.json").read_text()
    )
    assert story["Parameter"] == "D_star"
    assert story["Units"] == "mm^2/s"
    assert story["Sigma"] == 12.5
    assert story["Noise"] == "Rician()"
    assert story["Sources"] == ["dwi.nii.gz"]
    assert story["Libraries"]["numpy"] == np.__version__
    status = read_volume(maps["status"])
    assert story["Voxels"]["AT_BOUND"] == np.count_nonzero(status == Status.AT_BOUND)
    with pytest.raises(FileExistsError, match="exists already"):
        write_maps(maps, tmp_path, mle, **given)
    with pytest.raises(ValueError, match="letters and digits, got 'm-le'"):
        write_maps(maps, tmp_path, mle, prefix="sub-01", description="m-le")


def test_empty_slices_at_the_ends_cost_nothing(scan):
    """Nor does a slice with more voxels than are wanted at once."""
    image, mask, mle = scan
    data = np.zeros((*image.shape[:2], 6, image.shape[3]), np.int16)
    data[:, :, 2:4] = read_volume(image)
    inside = np.zeros(data.shape[:3])
    inside[:, :, 2:4] = read_volume(mask)
    padded = nibabel.Nifti1Image(data, image.affine)
    found = predict_image(mle, padded, inside, chunk_size=500)["D"].get_fdata()
    expected = predict_image(mle, image, mask, chunk_size=500)["D"].get_fdata()
    np.testing.assert_array_equal(found[:, :, 2:4], expected)
    assert np.isnan(found[:, :, [0, 1, 4, 5]]).all()


def test_large_slabs_are_read_in_parts(scan, monkeypatch):
    image, mask, mle = scan
    whole = predict_image(mle, image, mask)
    monkeypatch.setattr(_scan, "_BYTES", 1)  # slice by slice
    for name, values in predict_image(mle, image, mask).items():
        np.testing.assert_array_equal(values.get_fdata(), whole[name].get_fdata())


def test_nan_in_a_mask_is_outside(scan):
    image, mask, mle = scan
    holes = np.where(read_volume(mask) != 0, 1.0, np.nan)
    found = predict_image(mle, image, holes)
    np.testing.assert_array_equal(np.isfinite(found["D"].get_fdata()), read_volume(mask) != 0)
    assert len(apply_mask(read_volume(image), holes)) == np.count_nonzero(read_volume(mask))


def test_voxels_without_a_noise_level_are_told(scan):
    image, mask, mle = scan
    inside = np.argwhere(read_volume(mask) != 0)
    level = np.full(image.shape[:3], mle.sigma_)
    for place, value in zip(inside[:3], (0.0, np.nan, -1.0), strict=True):
        level[tuple(place)] = value
    with pytest.warns(UserWarning, match="3 are no possible measurements"):
        maps = predict_image(mle, image, mask, sigma=level)
    status = read_volume(maps["status"])
    assert [status[tuple(v)] for v in inside[:3]] == [Status.BAD_INPUT] * 3
    assert np.count_nonzero(status == Status.BAD_INPUT) == 3


def test_unfitted_estimators_and_arrays_are_refused(scan):
    image, mask, mle = scan
    with pytest.raises(TypeError, match="path or a nibabel image, got ndarray"):
        predict_image(mle, read_volume(image), mask)
    with pytest.raises(NotFittedError):
        predict_image(clone(mle), image, mask)


def test_images_that_are_not_nifti_are_refused(scan, tmp_path):
    image, mask, mle = scan
    nibabel.save(nibabel.MGHImage(read_volume(image).astype(np.float32), np.eye(4)),
                 tmp_path / "scan.mgz")  # fmt: skip
    with pytest.raises(ValueError, match="expects NIfTI, got MGHImage of .*scan.mgz"):
        predict_image(mle, tmp_path / "scan.mgz", mask)
    nibabel.save(image, tmp_path / "scan.nii")
    content = bytearray((tmp_path / "scan.nii").read_bytes())
    content[70:72] = b"\xff\x7f"  # a data type that there is not
    (tmp_path / "scan.nii").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        predict_image(mle, tmp_path / "scan.nii", mask)


def test_hybrid_of_any_regressor_has_maps(scan):
    image, mask, mle = scan
    X = apply_mask(read_volume(image), read_volume(mask))[:200]
    forest = HybridLabelRegressor(
        LinearRegression(), label_estimator=MLEEstimator(mle.signal_model, sigma=14.0), alpha=1
    ).fit(X, mle.predict(X))
    maps = predict_image(forest, image, mask)
    assert set(maps) == {"S0", "f", "D", "D_star", "status", "residual_rms"}


@pytest.fixture
def adc():
    """Simulated image of ADC, in counts, and a fitted estimator."""
    model = ADC([0, 200, 500, 1000])
    truth = np.stack([np.full(480, 1000.0), np.linspace(0.5, 2.5, 480)], axis=1)
    noise = np.random.RandomState(0).normal(0, 20, (2, 480, 4))
    X = np.hypot(model.simulate(truth) + noise[0], noise[1])
    image = nibabel.Nifti1Image(X.reshape(8, 6, 10, 4).astype(np.float32), np.eye(4))
    return image, MLEEstimator(model, sigma=20.0).fit(X)


def test_a_scan_is_opened_once_and_handed_on(adc):
    image, mle = adc
    mask = np.arange(480).reshape(8, 6, 10) % 3 > 0
    scan = open_scan(image, mask, 15.0, n_expected=4)
    assert (scan.n_measurements, scan.n_voxels) == (4, 320)
    here, there = predict_image(mle, scan), predict_image(mle, image, mask, sigma=15.0)
    for name in there:
        np.testing.assert_array_equal(here[name].get_fdata(), there[name].get_fdata())
    assert len(sample_voxels(scan)) == 320
    assert len(sample_voxels(scan, np.ones(mask.shape))) == 480, "another mask, when given"
    np.testing.assert_array_equal(mean_signal(scan), mean_signal(image))
    with pytest.raises(ValueError, match="has 4 volumes, but 5 measurements"):
        open_scan(scan, n_expected=5)


def test_training_does_not_look_at_air():
    """Fits of noise alone have any S0; the range of tissue is 300 / 10, give or take."""
    rng = np.random.RandomState(0)
    model, n, sigma = T2Decay([10, 25, 50, 90, 150, 250]), 400, 10.0
    tissue = np.stack([300 * rng.uniform(0.9, 1.1, n), rng.uniform(40, 120, n)], axis=1)
    clean = np.concatenate([model.simulate(tissue), np.zeros((n // 2, 6))])
    noise = rng.normal(0, sigma, (2, *clean.shape))
    X = np.hypot(clean + noise[0], noise[1])
    given = {"sigma": sigma, "n_tissues": 500, "random_state": 0}
    hybrid = fit_to_scan("hybrid", model, X, **given)
    assert hybrid.sigma == sigma
    assert hybrid.snr[0] == 2, "voxels without signal are among those to predict"
    assert 31 < hybrid.snr[1] < 38
    assert 24 < fit_to_scan("hybrid", model, X[:n], **given).snr[0] < 28
    low, high = fit_to_scan("posterior", model, X, **given).estimator.prior["S0"]
    assert (low, high / sigma) == (20, pytest.approx(hybrid.snr[1]))
    with pytest.raises(ValueError, match="Cannot tell the scan's S0"):
        fit_to_scan("hybrid", model, X[n:] / 2, **given)
    net = fit_to_scan("bias-constrained", model, X, bias_weight=[1.0, 30.0], **given)
    assert (net.snr, net.estimator.bias_weight) == (hybrid.snr, [1.0, 30.0])
    assert (net.estimator.normalize, net.estimator.sigma_input) == ("rms", True)
    with pytest.raises(ValueError, match=r"name expects one of \['hybrid', 'bias-con.*got 'mle'"):
        train_for_snr(model, 30, name="mle")
    with pytest.raises(ValueError, match="name expects one of .*'mle'.*got 'bayes'"):
        fit_to_scan("bayes", model, X)


def test_estimators_say_what_they_take(adc):
    image, mle = adc
    X = read_volume(image).reshape(-1, 4)
    pipeline = make_pipeline(FunctionTransformer(), mle).fit(X)
    maps = predict_image(pipeline, image, sigma=20.0)
    expected = predict_image(mle, image, sigma=20.0)["D"].get_fdata()
    np.testing.assert_array_equal(maps["D"].get_fdata(), expected)
    y = mle.predict(X)
    hybrid = HybridLabelRegressor(LinearRegression(), label_estimator=mle, alpha=1)
    search = GridSearchCV(hybrid, {"alpha": [0.5, 1.0]}, cv=2).fit(X, y)
    assert {"S0", "D"} == set(predict_image(search, image))
    with pytest.raises(ValueError, match="GridSearchCV takes no sigma"):
        predict_image(search, image, sigma=20.0)
    with pytest.raises(ValueError, match="GridSearchCV gives no standard deviations"):
        predict_image(search, image, return_std=True)


@pytest.mark.parametrize("backend", ["multiprocessing", "threading", "loky"])
def test_backends_change_no_bit_and_no_filter(adc, backend):
    image, mle = adc
    one = predict_image(mle, image, chunk_size=50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        with parallel_config(backend=backend):
            two = predict_image(mle, image, chunk_size=50, n_jobs=2)
        assert warnings.filters == before
    for name in one:
        np.testing.assert_array_equal(one[name].get_fdata(), two[name].get_fdata())


def test_truncated_slabs_are_estimated_anew(adc, tmp_path):
    image, mle = adc
    first = predict_image(mle, image, chunk_size=100, memory=str(tmp_path))
    parts = list(tmp_path.rglob("output.pkl"))
    assert len(parts) > 2
    for length, part in zip((0, 40, 100), parts, strict=False):
        os.truncate(part, length)
    again = predict_image(mle, image, chunk_size=100, memory=str(tmp_path))
    for name in first:
        np.testing.assert_array_equal(again[name].get_fdata(), first[name].get_fdata())


def test_files_are_in_the_units_of_bids_and_read_back(adc, tmp_path):
    image, mle = adc
    maps = predict_image(mle, image, return_std=True)
    given = {"prefix": "sub-01", "description": "mle"}
    paths = dict(zip(maps, write_maps(maps, tmp_path, mle, **given), strict=True))
    for name in ("D", "D_std"):
        path, values = paths[name], maps[name].get_fdata()
        np.testing.assert_allclose(nibabel.load(path).get_fdata(), values / 1000, rtol=1e-6)
        np.testing.assert_allclose(read_map(path), values, rtol=1e-6)
    np.testing.assert_array_equal(read_map(paths["S0"]), maps["S0"].get_fdata())
    sidecar = tmp_path / "sub-01_model-ADC_param-D_desc-mle_dwimap.json"
    sidecar.write_text("{}")
    with pytest.raises(ValueError, match="has no Units"):
        read_map(paths["D"])


def test_a_volume_without_numbers_is_named(adc):
    data = adc[0].get_fdata().copy()
    data[..., 2] = np.nan
    with pytest.raises(ValueError, match=r"Volumes \[2\] of the image"):
        mean_signal(nibabel.Nifti1Image(data, np.eye(4)))


def test_zeros_in_some_volumes_only_are_told(adc):
    """Of the edge of a field of view that moved; rounding at low signal makes few, and is not."""
    image, mle = adc
    data = image.get_fdata().copy()
    data[0, :, :, 1:3] = 0
    with pytest.warns(UserWarning, match=r"60 of 480 voxels are exactly 0 .*volumes \[1, 2\]"):
        predict_image(mle, nibabel.Nifti1Image(data, np.eye(4)))
    noise = np.random.RandomState(0).normal(0, 1.0, (2, 20, 20, 6, 4))
    counts = np.hypot(*noise).round().astype(np.int16)  # 12 % are 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        predict_image(mle, nibabel.Nifti1Image(counts + (counts.sum(-1) == 0)[..., None],
                                               np.eye(4), dtype=np.int16), sigma=1.0)  # fmt: skip


def test_images_without_an_affine_or_with_a_named_type(adc):
    image, mle = adc
    data = image.get_fdata().round()
    with pytest.raises(ValueError, match="image has no affine"):
        predict_image(mle, nibabel.Nifti1Image(data, None))
    expected = predict_image(mle, nibabel.Nifti1Image(data, np.eye(4)))["D"].get_fdata()
    for name in ("compat", "smallest"):
        named = nibabel.Nifti1Image(data.astype(np.int64), np.eye(4), dtype=name)
        np.testing.assert_array_equal(predict_image(mle, named)["D"].get_fdata(), expected)


def test_voxels_of_zeros_and_nan_only(tmp_path):
    data = np.full((2, 2, 1, 3), [9.0, 6.0, 4.0])
    data[0, 0, 0] = 0, np.nan, np.nan
    image = nibabel.Nifti1Image(data, np.eye(4))
    estimator = MLEEstimator(ADC([0, 400, 800]), sigma=1.0)
    with pytest.warns(UserWarning, match="Of 4 voxels 1 are no possible"):
        maps = predict_image(estimator.fit(data.reshape(-1, 3)[1:]), image, mask=np.ones((2, 2, 1)))
    status = maps["status"].get_fdata()
    assert status[0, 0, 0] == Status.BAD_INPUT
    assert np.isfinite(maps["D"].get_fdata()).sum() == 3


def test_sidecar_of_endless_brackets(tmp_path):
    write_nifti(tmp_path / "sub-01_T2map.nii.gz", np.ones((2, 2, 1)), np.eye(4))
    (tmp_path / "sub-01_T2map.json").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="not a JSON sidecar"):
        read_map(tmp_path / "sub-01_T2map.nii.gz")
