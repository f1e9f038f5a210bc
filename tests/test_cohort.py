"""Cohorts: maps beside each other, failures told, finished scans left alone."""

import csv
import json
import os
import signal
from functools import partial

import nibabel
import numpy as np
import pytest

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import predict_cohort, predict_image, read_map, write_nifti
from sklearn_qmri.image._workers import on_own_processes
from sklearn_qmri.signal_models import ADC

SHAPE = (6, 5, 4)


@pytest.fixture
def mle():
    model = ADC([0, 200, 500, 1000])
    X, _ = make_signals(model, 50, snr=30, random_state=0)
    return MLEEstimator(model, sigma=1 / 30).fit(X)


@pytest.fixture
def cohort(mle, tmp_path):
    """Paths of three scans and their masks, laid out as in BIDS."""
    images, masks = [], []
    for n in (1, 2, 3):
        folder = tmp_path / "raw" / f"sub-{n:02}" / "dwi"
        folder.mkdir(parents=True)
        X, _ = make_signals(mle.signal_model, np.prod(SHAPE), snr=30, random_state=n)
        images.append(folder / f"sub-{n:02}_dwi.nii.gz")
        masks.append(folder / f"sub-{n:02}_mask.nii.gz")
        write_nifti(images[-1], X.reshape(*SHAPE, -1).astype(np.float32), np.eye(4))
        write_nifti(masks[-1], (np.arange(6) > n)[:, None, None] * np.ones(SHAPE), np.eye(4))
    return images, masks


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_maps_lie_as_the_scans_do(mle, cohort, tmp_path):
    report = predict_cohort(mle, *cohort, tmp_path / "maps", return_std=True)
    assert [row.outcome for row in report] == ["done"] * 3
    assert [sum(row.voxels.values()) for row in report] == [80, 60, 40]
    path = (
        tmp_path
        / "maps"
        / "sub-02"
        / "dwi"
        / "sub-02_model-ADC_param-D_desc-mleestimator_dwimap.nii.gz"
    )
    assert path in report[1].maps
    assert np.isfinite(nibabel.load(path).get_fdata()).sum() == 60
    story = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
    assert story["Sources"] == [str(cohort[0][1]), str(cohort[1][1])]
    described = json.loads((tmp_path / "maps" / "dataset_description.json").read_text())
    assert described["DatasetType"] == "derivative"


def test_processes_change_no_byte(mle, cohort, tmp_path):
    for n_jobs in (1, 2):
        predict_cohort(mle, *cohort, tmp_path / str(n_jobs), n_jobs=n_jobs, description="mle")
    assert files(tmp_path / "1") == files(tmp_path / "2")


def test_one_bad_scan_stops_no_other(mle, cohort, tmp_path):
    images, masks = cohort
    good = images[1].read_bytes()
    images[1].write_bytes(good[:200])
    with pytest.warns(UserWarning, match="1 of 3 scans failed, .* ValueError: .*sub-02"):
        report = predict_cohort(mle, images, masks, tmp_path / "maps")
    assert [row.outcome for row in report] == ["done", "failed", "done"]
    with (tmp_path / "maps" / "cohort.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["outcome"] for row in rows] == ["done", "failed", "done"]
    assert "damaged" in rows[1]["reason"]
    assert not list((tmp_path / "maps").glob("sub-02/**/*.nii.gz"))

    images[1].write_bytes(good)
    before = files(tmp_path / "maps" / "sub-01")
    report = predict_cohort(mle, images, masks, tmp_path / "maps")
    assert [row.outcome for row in report] == ["skipped", "done", "skipped"]
    assert files(tmp_path / "maps" / "sub-01") == before
    report = predict_cohort(mle, images, masks, tmp_path / "maps", overwrite=True)
    assert [row.outcome for row in report] == ["done"] * 3


def test_what_cannot_be_right_is_told_at_once(mle, cohort, tmp_path):
    images, masks = cohort
    with pytest.raises(ValueError, match="masks expects one for each of 3 scans"):
        predict_cohort(mle, images, masks[:2], tmp_path / "maps")
    with pytest.raises(ValueError, match="masks expects one for each of 3 scans"):
        predict_cohort(mle, images, masks[0], tmp_path / "maps")
    with pytest.raises(ValueError, match="images expects a sequence"):
        predict_cohort(mle, str(images[0]), None, tmp_path / "maps")
    with pytest.raises(ValueError, match="images expects a sequence of at least one scan"):
        predict_cohort(mle, [], None, tmp_path / "maps")
    twin = images[0].with_name("sub-01_dwi.nii")
    with pytest.raises(ValueError, match="would have the same names"):
        predict_cohort(mle, [images[0], twin], None, tmp_path / "maps")
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        predict_cohort(mle, images, masks, tmp_path / "file" / "maps")
    assert not (tmp_path / "maps").exists()


def test_half_finished_maps_are_made_again(mle, cohort, tmp_path):
    images, masks = (given[:1] for given in cohort)
    predict_cohort(mle, images, masks, tmp_path / "maps")
    before = files(tmp_path / "maps")
    sidecar = next((tmp_path / "maps").rglob("*_param-S0_*.json"))
    sidecar.unlink()  # the last thing that is written
    (report,) = predict_cohort(mle, images, masks, tmp_path / "maps")
    assert report.outcome == "done"
    assert files(tmp_path / "maps") == before
    (report,) = predict_cohort(mle, images, masks, tmp_path / "maps", return_std=True)
    assert (report.outcome, len(report.maps)) == ("done", 9)
    (report,) = predict_cohort(mle, images, masks, tmp_path / "maps")
    assert (report.outcome, sum(report.voxels.values())) == ("skipped", 80)
    predict_cohort(mle, images, masks, tmp_path / "maps", overwrite=True)
    assert files(tmp_path / "maps").keys() == before.keys(), "no map of an earlier run is left"


def test_maps_of_another_estimator_are_not_taken_for_finished(mle, cohort, tmp_path):
    predict_cohort(mle, *cohort, tmp_path / "maps")
    other = MLEEstimator(mle.signal_model, sigma=0.5).fit(np.ones((1, 4)))
    with pytest.warns(UserWarning, match="3 of 3 scans failed.*another Estimator, Sigma"):
        report = predict_cohort(other, *cohort, tmp_path / "maps")
    assert {row.outcome for row in report} == {"failed"}


def test_noise_maps_are_told_in_the_sidecar(mle, cohort, tmp_path):
    images, masks = cohort
    level = tmp_path / "noise.nii.gz"
    write_nifti(level, np.full(SHAPE, 0.05), np.eye(4))
    predict_cohort(mle, images[:1], masks[:1], tmp_path / "maps", sigma=[level])
    story = json.loads(next((tmp_path / "maps").rglob("*_param-D_*.json")).read_text())
    assert story["Sigma"] == str(level)
    assert story["Sources"] == [str(images[0]), str(masks[0]), str(level)]


def test_paths_are_taken_from_where_the_caller_is(mle, cohort, tmp_path, monkeypatch):
    """Also where they lead upwards: maps stay in their folder."""
    folder = tmp_path / "raw" / "sub-01" / "dwi"
    monkeypatch.chdir(folder)
    scans = ["sub-01_dwi.nii.gz", "../../sub-02/dwi/sub-02_dwi.nii.gz"]
    report = predict_cohort(mle, scans, None, "../../../maps")
    assert [row.outcome for row in report] == ["done", "done"]
    assert report[1].maps[0].parent == tmp_path / "maps" / "sub-02" / "dwi"


def test_a_sidecar_that_is_not_ours_costs_its_scan_alone(mle, cohort, tmp_path):
    predict_cohort(mle, *cohort, tmp_path / "maps")
    sidecars = sorted((tmp_path / "maps").rglob("*_param-S0_*.json"))
    story = json.loads(sidecars[0].read_text())
    sidecars[0].write_text(json.dumps(story | {"Voxels": None}))
    sidecars[1].write_text("{")
    with pytest.warns(UserWarning, match="2 of 3 scans failed"):
        report = predict_cohort(mle, *cohort, tmp_path / "maps")
    assert [row.outcome for row in report] == ["failed", "failed", "skipped"]
    assert "has no Voxels" in report[0].reason
    assert f"{sidecars[1]} is not a JSON sidecar" in report[1].reason


def _die(item):
    """Die at one item, as when memory is short."""
    if item == "bad":
        os.kill(os.getpid(), signal.SIGKILL)
    return item.upper()


@pytest.fixture
def protocols(cohort):
    """Three scans, of which the second has other b-values, and the third more of them."""
    images, masks = cohort
    b_values = [0, 200, 500, 1000], [0, 100, 400, 800], [0, 50, 300, 600, 900]
    for n, (image, values) in enumerate(zip(images, b_values, strict=True)):
        X, _ = make_signals(ADC(values), np.prod(SHAPE), snr=30, random_state=n)
        write_nifti(image, X.reshape(*SHAPE, -1).astype(np.float32), np.eye(4))
        image.with_name(image.name.replace(".nii.gz", ".bval")).write_text(
            " ".join(map(str, values))
        )
    return images, masks, b_values


@pytest.mark.filterwarnings("ignore:Of 60 voxels")
@pytest.mark.parametrize(
    "kind",
    [MLEEstimator, PretrainedNetRegressor, partial(PosteriorMeanEstimator, random_state=0)],
)
def test_each_scan_has_its_own_protocol(protocols, tmp_path, kind):
    images, masks, b_values = protocols
    model = ADC(b_values[0])
    estimator = kind(model, sigma=1 / 30).fit(model.simulate([[1, 1]]))
    report = predict_cohort(estimator, images, masks, tmp_path / "maps")
    assert [row.outcome for row in report] == ["done"] * 3
    assert [row.protocol["b_values"] for row in report] == [list(map(float, b)) for b in b_values]
    for n in (1, 2):
        own = ADC(b_values[n])
        expected = predict_image(
            kind(own, sigma=1 / 30).fit(own.simulate([[1, 1]])), images[n], masks[n]
        )
        found = read_map(next(path for path in report[n].maps if "_param-D_" in path.name))
        np.testing.assert_allclose(found, expected["D"].get_fdata(), rtol=1e-6)
    with (tmp_path / "maps" / "cohort.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["protocol"] for row in rows][1] == "b_values 0 100 400 800"
    again = predict_cohort(estimator, images, masks, tmp_path / "maps")
    assert [row.outcome for row in again] == ["skipped"] * 3
    assert [row.protocol for row in again] == [row.protocol for row in report]


def test_a_noise_map_serves_another_protocol(protocols, tmp_path):
    images, masks, b_values = protocols
    write_nifti(tmp_path / "sigma.nii.gz", np.full(SHAPE, 1 / 30, dtype=np.float32), np.eye(4))
    model = ADC(b_values[0])
    net = PretrainedNetRegressor(model).fit(model.simulate([[1, 1]]), sigma=np.ones(1))
    maps = [tmp_path / "sigma.nii.gz"] * 3
    report = predict_cohort(net, images, masks, tmp_path / "maps", sigma=maps)
    assert [row.outcome for row in report] == ["done"] * 3
    with pytest.warns(UserWarning, match="2 of 3 scans failed"):
        report = predict_cohort(net, images, masks, tmp_path / "other", sigma=[1 / 30, None, None])
    assert "sigma expects the noise level" in report[1].reason


def test_networks_for_one_protocol_refuse_another(protocols, tmp_path):
    images, masks, b_values = protocols
    X, y = make_signals(ADC(b_values[0]), 200, snr=30, random_state=0)
    net = HybridLabelNetRegressor(ADC(b_values[0]), sigma=1 / 30, alpha=0, max_epochs=1).fit(X, y)
    with pytest.warns(UserWarning, match="2 of 3 scans failed"):
        report = predict_cohort(net, images, masks, tmp_path / "maps")
    assert [row.outcome for row in report] == ["done", "failed", "failed"]
    assert "b_values of the scan, [0.0, 100.0, 400.0, 800.0], are not those" in report[1].reason
    assert report[1].protocol == {}


def test_a_process_that_dies_costs_its_scan_alone():
    items = ["a", "b", "bad", "c", "d", "e"]
    *results, last = on_own_processes(2, _die, items)
    assert [r for r in results if isinstance(r, str)] == ["A", "B", "C", "D"]
    assert last == "E"
    assert "its process died" in str(results[2])
