"""Acquisitions from the files beside images, in the units of signal models."""

import json

import nibabel
import numpy as np
import pytest
from test_cli import run

from sklearn_qmri import MLEEstimator
from sklearn_qmri.image import (
    average_repeats,
    open_scan,
    predict_cohort,
    predict_image,
    read_acquisition,
    write_nifti,
)
from sklearn_qmri.image._kinds import check_kinds
from sklearn_qmri.signal_models import ADC, SPGR, InversionRecovery, T2Decay


def collection(folder, suffix, entity, fields, signals=None):
    """One 3-D image per measurement with its sidecar, as in the file collections of BIDS."""
    paths = []
    for n, sidecar in enumerate(fields, start=1):
        path = folder / f"sub-01_{entity}-{n}_{suffix}.nii.gz"
        data = np.ones((2, 2, 1)) if signals is None else signals[..., n - 1]
        write_nifti(path, data, np.eye(4))
        (folder / path.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
        paths.append(path)
    return paths


@pytest.mark.parametrize(
    ("suffix", "entity", "fields", "expected"),
    [
        ("MESE", "echo", [{"EchoTime": 0.01}, {"EchoTime": 0.05}], {"echo_times": [10, 50]}),
        (
            "VFA",
            "flip",
            [
                {"FlipAngle": angle, "RepetitionTimeExcitation": 0.015, "EchoTime": 0.003}
                for angle in (2, 9)
            ],
            {
                "echo_times": [3, 3],
                "flip_angles": [2, 9],
                "repetition_times": [15, 15],
                "repetition_time": 15,
            },
        ),
        (
            "IRT1",
            "inv",
            [
                {"InversionTime": t, "RepetitionTimePreparation": 15, "RepetitionTimeExcitation": 1}
                for t in (0.05, 2.0)
            ],
            {
                "inversion_times": [50, 2000],
                "repetition_times": [15000, 15000],
                "repetition_time": 15000,
            },
        ),
        ("T1w", "run", [{"RepetitionTime": 0.5}, {"RepetitionTime": 3}],
         {"repetition_times": [500, 3000]}),
        ("MESE", "echo", [{}, {}], {}),
        (
            "IRT1",
            "inv",
            [{"InversionTime": t, "RepetitionTimeExcitation": 0.007, "RepetitionTime": 15}
             for t in (0.05, 2.0)],
            {
                "inversion_times": [50, 2000],
                "repetition_times": [15000, 15000],
                "repetition_time": 15000,
            },
        ),
    ],
)  # fmt: skip
def test_file_collections(tmp_path, suffix, entity, fields, expected):
    found = read_acquisition(collection(tmp_path, suffix, entity, fields))
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values)


@pytest.mark.parametrize("field", ["FlipAngle", "RepetitionTime", "EchoTime"])
def test_a_field_that_one_sidecar_lacks_is_unknown(tmp_path, field):
    """It may be one that the signal model has no use for."""
    fields = [{"InversionTime": 0.05, field: 9}, {"InversionTime": 2.0}]
    with pytest.warns(UserWarning, match=f"inv-2_IRT1.nii.gz has no {field}"):
        known = read_acquisition(collection(tmp_path, "IRT1", "inv", fields))
    assert set(known) == {"inversion_times"}


def test_files_beside_a_pair_and_of_an_opened_scan(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(np.ones((2, 2, 2, 3), np.int16), np.eye(4)), tmp_path / "d.img")
    (tmp_path / "d.bval").write_text("0 500 1000")
    for name in ("d.img", "d.hdr"):
        assert read_acquisition(tmp_path / name)["b_values"].tolist() == [0, 500, 1000]
    scan = open_scan(tmp_path / "d.img")
    assert read_acquisition(scan)["b_values"].tolist() == [0, 500, 1000]
    with pytest.raises(ValueError, match="in memory only has no files"):
        read_acquisition(nibabel.Nifti1Image(np.ones((2, 2, 2, 3)), np.eye(4)))


def test_one_image_with_bval_and_sidecar(tmp_path):
    path = tmp_path / "sub-01_dwi.nii.gz"
    write_nifti(path, np.ones((2, 2, 1, 5)), np.eye(4))
    (tmp_path / "sub-01_dwi.bval").write_text("0 0 795 800 805\n")
    (tmp_path / "sub-01_dwi.json").write_text(json.dumps({"EchoTime": 0.06, "FlipAngle": [9] * 5}))
    found = read_acquisition([path])
    assert found["b_values"].tolist() == [0, 0, 795, 800, 805], "repeats and jitter stay apart"
    assert found["echo_times"].tolist() == [60] * 5
    assert found["flip_angles"].tolist() == [9] * 5


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dwi.bval", "0 100", "has 2 b-values, but the scan 5 volumes"),
        ("dwi.bval", "", "no number in it"),
        ("dwi.json", '{"EchoTime": [0.1, 0.2]}', "has 2 values, but the scan 5 volumes"),
        ("dwi.json", '{"EchoTime": "short"}', "EchoTime of dwi.nii.gz expects numbers"),
        ("dwi.json", '{"EchoTime": null}', "EchoTime of dwi.nii.gz expects finite numbers"),
        ("dwi.json", "{", "not a JSON sidecar"),
        ("dwi.json", "[1]", "not a JSON sidecar"),
    ],
)
def test_files_that_do_not_fit(tmp_path, name, content, message):
    write_nifti(tmp_path / "dwi.nii.gz", np.ones((2, 2, 1, 5)), np.eye(4))
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=message):
        read_acquisition(tmp_path / "dwi.nii.gz")


def test_maps_of_a_collection_are_those_of_the_stack(tmp_path, rng):
    """From files to T2 with nothing typed by hand."""
    truth = np.stack([rng.uniform(90, 110, 24), rng.uniform(40, 200, 24)], axis=1)
    times = [10, 30, 60, 120]
    signals = T2Decay(times).simulate(truth).reshape(4, 3, 2, 4)
    fields = [{"EchoTime": t / 1000} for t in times]
    paths = collection(tmp_path, "MESE", "echo", fields, signals)
    model = T2Decay(read_acquisition(paths)["echo_times"])
    mle = MLEEstimator(model, sigma=0.01).fit(signals.reshape(-1, 4))
    maps = predict_image(mle, paths)
    stacked = predict_image(mle, nibabel.Nifti1Image(signals, np.eye(4)))
    np.testing.assert_array_equal(maps["T2"].get_fdata(), stacked["T2"].get_fdata())
    np.testing.assert_allclose(maps["T2"].get_fdata().ravel(), truth[:, 1], rtol=1e-3)
    odd = tmp_path / "odd.nii.gz"
    write_nifti(odd, np.ones((4, 3, 1)), np.eye(4))
    with pytest.raises(ValueError, match=r"odd.nii.gz has shape \(4, 3, 1\), but the image"):
        predict_image(mle, [*paths[:3], odd])


def test_arguments_are_those_of_signal_models(tmp_path):
    fields = [{"FlipAngle": a, "RepetitionTimeExcitation": 0.015} for a in (2, 9)]
    found = read_acquisition(collection(tmp_path, "VFA", "flip", fields))
    assert SPGR(found["flip_angles"], found["repetition_time"]) == SPGR([2, 9], 15)
    fields = [{"InversionTime": t, "RepetitionTimePreparation": 15} for t in (0.05, 2.0)]
    found = read_acquisition(collection(tmp_path, "IRT1", "inv", fields))
    model = InversionRecovery(found["inversion_times"], found["repetition_time"])
    assert model == InversionRecovery([50, 2000], 15000)


def test_averaging_repeats(rng):
    b = [800, 0, 795, 0, 400, 805]
    data = rng.uniform(1, 9, (3, 2, 2, 6)).astype(np.float32)
    data[0, 0, 0, 4] = np.nan
    image = nibabel.Nifti1Image(data, np.diag([2.0, 2, 3, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.set_sform(image.affine, code=1)
    means, shells, counts = average_repeats(image, b, tolerance=6)
    assert means.header["sform_code"] == 1
    assert means.header.get_xyzt_units()[0] == "mm"
    assert shells.tolist() == [0, 400, 800]
    assert counts.tolist() == [2, 1, 3]
    expected = np.stack(
        [data[..., [1, 3]].mean(-1), data[..., 4], data[..., [0, 2, 5]].mean(-1)], axis=-1
    )
    np.testing.assert_allclose(means.get_fdata(), expected, rtol=1e-6)
    _, shells, _ = average_repeats(nibabel.Nifti1Image(data, np.eye(4)), b)
    assert shells.tolist() == [0, 400, 795, 800, 805], "by default only repeats"
    with pytest.raises(ValueError, match="2 b-values were given for 6 volumes"):
        average_repeats(nibabel.Nifti1Image(data, np.eye(4)), [0, 1])
    for tolerance in (np.nan, -1):
        with pytest.raises(ValueError, match="tolerance expects a finite number"):
            average_repeats(image, b, tolerance=tolerance)
    with pytest.raises(ValueError, match="b_values expects finite numbers"):
        average_repeats(image, [np.nan, *b[1:]])


def test_means_of_magnitudes_are_fitted_with_gaussian_noise():
    """Away from the noise floor the mean of 16 repeats is four times as sure, and unbiased."""
    model, n = ADC([0, 0, 400, 400] * 8), 4000
    clean = model.simulate([[1.0, 1.0]])
    noise = np.random.RandomState(0).normal(0, 1 / 30, (2, n, 32))
    X = np.hypot(clean + noise[0], noise[1]).reshape(n, 1, 1, 32)
    means, shells, counts = average_repeats(nibabel.Nifti1Image(X, np.eye(4)), model.b_values)
    assert counts.tolist() == [16, 16]
    mle = MLEEstimator(ADC(shells), noise="gaussian", sigma=1 / 120)
    D = predict_image(mle.fit(means.get_fdata()[:, 0, 0]), means, return_std=True)
    assert np.std(D["D"].get_fdata()) == pytest.approx(np.mean(D["D_std"].get_fdata()), rel=0.05)
    assert np.mean(D["D"].get_fdata()) == pytest.approx(1.0, abs=0.01)


def test_sidecars_are_inherited(tmp_path):
    """Fields of folders above count, and the more specific file wins."""
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    paths = collection(folder, "MESE", "echo", [{}, {"EchoTime": 0.05}])
    for path, fields in {
        tmp_path / "dataset_description.json": {"Name": "x"},
        tmp_path / "MESE.json": {"EchoTime": 9.0, "RepetitionTime": 2.0},
        tmp_path / "MEGRE.json": {"FlipAngle": 9},
        tmp_path / "acq-fast_MESE.json": {"RepetitionTime": 7.0},
        tmp_path / "sub-01" / "sub-01_MESE.json": {"RepetitionTime": 3.0},
        folder / "sub-01_echo-1_MESE.json": {"EchoTime": 0.01},
    }.items():
        path.write_text(json.dumps(fields))
    known = read_acquisition(paths)
    np.testing.assert_allclose(known["echo_times"], [10, 50])
    assert known["repetition_time"] == 3000
    assert "flip_angles" not in known
    (tmp_path / "dataset_description.json").unlink()
    assert "repetition_time" not in read_acquisition(paths), "no dataset, no folders above"


def test_b_values_are_inherited_and_read_from_sidecars(tmp_path):
    folder = tmp_path / "sub-01" / "dwi"
    folder.mkdir(parents=True)
    scan = folder / "sub-01_run-1_dwi.nii.gz"
    write_nifti(scan, np.ones((2, 2, 1, 3)), np.eye(4))
    assert read_acquisition(scan) == {}
    (folder / "sub-01_run-1_dwi.json").write_text('{"DiffusionBValue": [0, 500, 1000]}')
    np.testing.assert_array_equal(read_acquisition(scan)["b_values"], [0, 500, 1000])
    (tmp_path / "dataset_description.json").write_text("{}")
    (tmp_path / "dwi.bval").write_text("0 500 1000.5")
    np.testing.assert_array_equal(read_acquisition(scan)["b_values"], [0, 500, 1000.5])
    (folder / "sub-01_run-1_dwi.bval").write_text("0 500 800")
    text = r"dwi.bval has the b-values \[0.0, 500.0, 800.0\], but DiffusionBValue .* \[0.0, 500"
    with pytest.raises(ValueError, match=text):
        read_acquisition(scan)
    given = read_acquisition(scan, b_values=[0, 1, 2])
    assert given["b_values"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "fields", "kind"),
    [
        ("sub-01_part-phase_T1w", {}, "phase"),
        ("sub-01_part-imag_T1w", {}, "imaginary part"),
        ("sub-01_UNIT1", {}, "UNI image of MP2RAGE"),
        ("scan_ph", {}, "phase"),
        ("ph_01", {}, None),
        ("scan", {"ImageType": "ORIGINAL\\PRIMARY\\P"}, "phase"),
        ("scan", {"Units": "rad"}, "phase"),
        ("scan", {"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "phase"),
        ("scan", {"ImageType": ["DERIVED", "PRIMARY", "M", "ND", "UNI"]}, "UNI image of MP2RAGE"),
        ("sub-01_part-real_T1w", {}, "real part"),
        ("sub-01_part-mag_T1w", {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}, None),
    ],
)
def test_phases_and_the_like_are_refused(tmp_path, name, fields, kind):
    write_nifti(tmp_path / f"{name}.nii.gz", np.ones((2, 2, 1, 3)), np.eye(4))
    (tmp_path / f"{name}.json").write_text(json.dumps(fields))
    scan = open_scan(tmp_path / f"{name}.nii.gz")
    signed, times = InversionRecovery([50, 400, 2000]), [10, 20, 30]
    if kind is None:
        check_kinds(scan, T2Decay(times))
        return
    with pytest.raises(ValueError, match=f"{name}.nii.gz is a {kind}, but T2Decay describes magn"):
        check_kinds(scan, T2Decay(times))
    if kind == "real part":
        check_kinds(scan, signed)
    else:
        with pytest.raises(ValueError, match="describes magnitudes or real parts"):
            check_kinds(scan, signed)


def test_commands_and_cohorts_refuse_phases(tmp_path, monkeypatch, capsys):
    model = T2Decay([10, 20, 30])
    for part in ("mag", "phase"):
        path = tmp_path / f"sub-01_part-{part}_MESE.nii.gz"
        write_nifti(path, np.ones((2, 2, 1, 3)) + np.arange(3), np.eye(4))
    path.with_name("sub-01_MESE.json").write_text('{"EchoTime": [0.01, 0.02, 0.03]}')
    code, _, err = run(
        monkeypatch, capsys, "fit", str(path), "--model", "T2Decay", "--out", str(tmp_path / "m")
    )
    assert code == 1
    assert "part-phase_MESE.nii.gz is a phase, but T2Decay describes magnitudes" in err
    mle = MLEEstimator(model, sigma=1.0).fit([[9.0, 8.0, 7.0]])
    images = [path.with_name("sub-01_part-mag_MESE.nii.gz"), path]
    with pytest.warns(UserWarning, match="1 of 2 scans failed"):
        rows = predict_cohort(mle, images, None, tmp_path / "maps")
    assert [row.outcome for row in rows] == ["done", "failed"]
    assert "is a phase" in rows[1].reason
