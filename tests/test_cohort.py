"""Cohorts: maps beside each other, failures told, finished scans left alone."""

import csv
import json
import os
import signal
from functools import partial

import nibabel
import numpy as np
import pytest
from sklearn.model_selection import GridSearchCV

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import predict_cohort, predict_image, read_map, write_nifti
from sklearn_qmri.image._workers import on_own_processes
from sklearn_qmri.signal_models import ADC, IVIM, T2Decay

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


def _write(image, model, theta, sigma, seed):
    """A scan of one tissue with Gaussian noise, and its b-values beside it."""
    rng = np.random.RandomState(seed)
    X = model.simulate([theta]) + sigma * rng.standard_normal(
        (np.prod(SHAPE), model.n_measurements)
    )
    write_nifti(image, X.reshape(*SHAPE, -1).astype(np.float32), np.eye(4))
    image.with_name(image.name.replace(".nii.gz", ".bval")).write_text(
        " ".join(map(str, model.b_values))
    )


def test_sigma_of_each_subject_is_learnt(protocols, tmp_path):
    """Scales and noise levels differ by subject; the report has what was learnt, and medians."""
    images, _, b_values = protocols
    levels, D = (5.0, 20.0, 60.0), (0.7, 1.2, 2.0)
    for n, image in enumerate(images):
        _write(image, ADC(b_values[n]), [1000 * (n + 1), D[n]], levels[n], n)
    model = ADC(b_values[0])
    mle = MLEEstimator(model, sigma=1e-3, noise="gaussian").fit(model.simulate([[1, 1]]))
    report = predict_cohort(mle, images, None, tmp_path / "maps", sigma="learn")
    assert [row.outcome for row in report] == ["done"] * 3
    np.testing.assert_allclose([row.sigma for row in report], levels, rtol=0.15)
    np.testing.assert_allclose([row.medians["D"] for row in report], D, rtol=0.05)
    story = json.loads(next((tmp_path / "maps").rglob("sub-03*param-D_*.json")).read_text())
    assert story["SigmaLearnt"]
    assert story["Sigma"] == report[2].sigma
    assert 0 < story["SigmaStandardError"] < 0.2 * story["Sigma"]
    with (tmp_path / "maps" / "cohort.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [float(row["sigma"]) for row in rows] == pytest.approx(
        [row.sigma for row in report], rel=1e-5
    )
    assert float(rows[1]["D (um^2/ms)"]) == pytest.approx(report[1].medians["D"], rel=1e-5)
    assert rows[0]["model"] == "ADC"
    before = files(tmp_path / "maps")
    again = predict_cohort(mle, images, None, tmp_path / "maps", sigma="learn")
    assert [row.outcome for row in again] == ["skipped"] * 3
    assert [row.sigma for row in again] == [row.sigma for row in report]
    for one, other in zip(again, report, strict=True):
        assert one.medians == pytest.approx(other.medians, rel=1e-5)
    after = files(tmp_path / "maps")
    assert {p for p in after if after[p] != before[p]} <= {
        next(p for p in after if p.suffix == ".tsv")
    }
    with pytest.warns(UserWarning, match="3 of 3 scans failed"):
        other = predict_cohort(mle, images, None, tmp_path / "maps", sigma=9.0)
    assert "was made with another Sigma" in other[0].reason


def test_each_scan_gets_the_estimator_of_its_protocol(protocols, tmp_path):
    """Networks of two protocols and a fallback that takes any; one of another signal model too."""
    images, masks, b_values = protocols
    nets = []
    for values in b_values[:2]:
        X, y = make_signals(ADC(values), 300, snr=30, random_state=0)
        net = HybridLabelNetRegressor(ADC(values), sigma=1 / 30, alpha=0, max_epochs=1)
        nets.append(net.fit(X, y))
    mle = MLEEstimator(IVIM([0, 20, 60, 200, 800]), sigma=1 / 30)
    mle.fit(mle.signal_model.simulate([[1, 0.2, 1, 20]]))
    report = predict_cohort([*nets, mle], images, masks, tmp_path / "maps")
    assert [row.outcome for row in report] == ["done"] * 3
    assert [row.model for row in report] == ["ADC", "ADC", "IVIM"]
    assert [row.protocol["b_values"] for row in report] == [list(map(float, b)) for b in b_values]
    names = [row.maps[1].name.split("_desc-")[1].split("_")[0] for row in report]
    assert names == ["hybridlabelnetregressor"] * 2 + ["mleestimator"]
    with (tmp_path / "maps" / "cohort.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [bool(row["D_star (um^2/ms)"]) for row in rows] == [False, False, True]


def test_a_corrupted_subject_costs_itself_alone_and_is_resumed(mle, cohort, tmp_path):
    images, masks = cohort
    good = images[1].read_bytes()
    images[1].write_bytes(good[: len(good) // 2])
    with pytest.warns(UserWarning, match="1 of 3 scans failed"):
        report = predict_cohort(mle, images, masks, tmp_path / "maps", sigma="learn")
    assert [row.outcome for row in report] == ["done", "failed", "done"]
    assert "sub-02_dwi.nii.gz" in report[1].reason
    images[1].write_bytes(good)
    report = predict_cohort(mle, images, masks, tmp_path / "maps", sigma="learn")
    assert [row.outcome for row in report] == ["skipped", "done", "skipped"]


def test_learnt_levels_must_reach_the_estimator(mle, cohort, tmp_path):
    images, masks = cohort
    X, y = make_signals(mle.signal_model, 40, snr=30, random_state=0)
    search = GridSearchCV(mle, {"n_starts": [1, 2]}, cv=2).fit(X, y)
    with pytest.warns(UserWarning, match="sigma does not reach the estimator inside of GridSearch"):
        report = predict_cohort(search, images, masks, tmp_path / "maps", sigma="learn")
    assert [row.outcome for row in report] == ["failed"] * 3


def test_maps_of_another_run_are_kept_whatever_is_asked_for(mle, cohort, tmp_path):
    images, masks = cohort
    predict_cohort(mle, images, masks, tmp_path / "maps")
    before = files(tmp_path / "maps")
    for options in ({"sigma": 500.0}, {"sigma": 500.0, "return_std": True}):
        with pytest.warns(UserWarning, match="3 of 3 scans failed"):
            report = predict_cohort(mle, images, masks, tmp_path / "maps", **options)
        assert "was made with another Sigma" in report[0].reason
    after = files(tmp_path / "maps")
    assert all(after[path] == before[path] for path in before if path.suffix != ".tsv")
    report = predict_cohort(mle, images, masks, tmp_path / "maps", return_std=True)
    assert [row.outcome for row in report] == ["done"] * 3


def test_a_scan_of_known_b_values_is_no_multi_echo_scan(tmp_path):
    """As many volumes are no reason for another signal model."""
    adc, t2 = ADC([0, 100, 200, 300]), T2Decay([10, 20, 30, 40])
    scan = tmp_path / "dwi.nii.gz"
    _write(scan, ADC([0, 200, 400, 800]), [1000.0, 1.0], 5.0, 0)
    estimators = [MLEEstimator(m, sigma=5.0).fit(m.simulate([[1000.0, 1.0]])) for m in (t2, adc)]
    (row,) = predict_cohort(estimators, [scan], None, tmp_path / "maps")
    assert (row.model, row.protocol["b_values"]) == ("ADC", [0.0, 200.0, 400.0, 800.0])
    assert row.medians["D"] == pytest.approx(1, rel=0.05)


def test_bad_descriptions_are_told_at_once(mle, cohort, tmp_path):
    with pytest.raises(ValueError, match="description expects letters and digits, got 'my_fit'"):
        predict_cohort(mle, *cohort, tmp_path / "maps", description="my_fit")
