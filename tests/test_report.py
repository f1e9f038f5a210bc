"""Reports: defects that were planted are named, and the page is whole, small and works."""

import json
import re
import shutil
import subprocess

import nibabel
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift
from typer.testing import CliRunner

from sklearn_qmri import MLEEstimator, PosteriorMeanEstimator, PretrainedNetRegressor
from sklearn_qmri.cli import app
from sklearn_qmri.datasets import WeightedPrior, make_phantom, make_signals
from sklearn_qmri.image import (
    open_scan,
    predict_cohort,
    predict_image,
    sample_voxels,
    write_maps,
    write_report,
)
from sklearn_qmri.image.report._evidence import Reference, gather
from sklearn_qmri.image.report._finding import NOTE
from sklearn_qmri.image.report._of_maps import bounds_of_error
from sklearn_qmri.image.report._overview import overview_of
from sklearn_qmri.image.report._page import findings, page_of
from sklearn_qmri.image.report._run import find_runs, read_run
from sklearn_qmri.signal_models import ADC, IVIM, SPGR, InversionRecovery, T2Decay

B_VALUES = np.array([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])


@pytest.fixture(scope="module")
def clean():
    """A scan without defects: signals, mask, noise level and tissues."""
    phantom = make_phantom(IVIM(B_VALUES), shape=(48, 48, 5), snr=30, random_state=0)
    rng, scale = np.random.RandomState(1), 200
    data, sigma = phantom.data * scale, phantom.sigma * scale
    air = ~phantom.mask
    data[air] = sigma * np.hypot(*rng.normal(size=(2, np.count_nonzero(air), len(B_VALUES))))
    truth = phantom.truth.copy()
    truth[..., 0] *= scale
    return data, phantom.mask, sigma, truth


def write(folder, data, mask, estimator, fit=True, prefix="sub-01"):
    """Maps of a scan that is kept as files, and their run."""
    folder.mkdir(exist_ok=True)
    for name, values in (("scan", data.astype(np.float32)), ("mask", mask.astype(np.uint8))):
        nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), folder / f"{name}.nii.gz")
    path = folder / "scan.nii.gz"
    if fit:
        estimator.fit(sample_voxels(path, folder / "mask.nii.gz", random_state=0))
    maps = predict_image(estimator, path, mask)
    write_maps(
        maps, folder, estimator, prefix=prefix, description="test", sources=[path],
        mask=folder / "mask.nii.gz",
    )  # fmt: skip
    ((name, sidecars),) = find_runs(folder).items()
    return read_run(name, sidecars)


def evidence_of(run):
    return gather(run.scan, run.signal_model, run.noise, run.maps, run.sigma)


def names_of(run):
    return {finding.name: finding for finding in findings(run, evidence_of(run))}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("estimator", [MLEEstimator, PretrainedNetRegressor])
def test_a_clean_scan_has_no_finding_but_notes(clean, tmp_path, estimator):
    data, mask, *_ = clean
    found = names_of(write(tmp_path, data, mask, estimator(IVIM(B_VALUES))))
    assert all(finding.rank == NOTE for finding in found.values()), found


def changed(volume, change):
    """Function that changes one volume of a scan, or several."""

    def plant(data, mask, sigma, truth):
        data[..., volume] = change(data[..., volume])
        return data, mask

    return plant


def noisy(data, mask, sigma, truth):
    rng = np.random.RandomState(0)
    data[..., 7] = np.abs(data[..., 7] + rng.normal(size=mask.shape) * 60)
    return data, mask


def dropout(data, mask, sigma, truth):
    data[:, :, 2, 7] *= 0.3
    return data, mask


def smooth(data, mask, sigma, truth):
    return gaussian_filter(data, (0.7, 0.7, 0, 0)), mask


def averaged(data, mask, sigma, truth):
    rng, signal = np.random.RandomState(0), IVIM(B_VALUES).simulate(truth[mask])
    noise = sigma * rng.normal(size=(2, 4, *signal.shape))
    data[mask] = np.hypot(signal + noise[0], noise[1]).mean(axis=0)
    return data, mask


def uneven(data, mask, sigma, truth):
    level = sigma * np.linspace(0.5, 2.5, len(data))[:, None, None, None]
    signal, rng = np.zeros_like(data), np.random.RandomState(0)
    signal[mask] = IVIM(B_VALUES).simulate(truth[mask])
    noise = level * rng.normal(size=(2, *data.shape))
    return np.hypot(signal + noise[0], noise[1]), mask


def truncated(data, mask, sigma, truth):
    data[:, :, 4, 5:] = 0
    return data, mask


def copied(data, mask, sigma, truth):
    data[..., 5] = data[..., 4]
    return data, mask


def negative(data, mask, sigma, truth):
    data[mask] -= 20
    return data, mask


def zeros(data, mask, sigma, truth):
    data[::7, ::3, :, 4] = 0
    return data, mask


def gaps(data, mask, sigma, truth):
    data[::7, ::3, :, 4] = np.nan
    return data, mask


def tiny(data, mask, sigma, truth):
    few = np.zeros_like(mask)
    few[20:24, 20:24, 2] = True
    return data, few


PLANTED = {
    "Swapped volumes": changed([2, 8], lambda pair: pair[..., ::-1]),
    "Motion in one volume": changed(9, lambda image: shift(image, (0.7, 0.3, 0))),
    "Scale of one volume": changed(6, lambda image: 0.85 * image),
    "Spoilt slices": dropout,
    "Spoilt volume": noisy,
    "Smoothed or interpolated scan": smooth,
    "Denoised or averaged scan": averaged,
    "Uneven noise": uneven,
    "Mask full of air": lambda data, mask, *_: (data, np.ones_like(mask)),
    "Tissue outside the mask": lambda data, mask, *_: (data, np.roll(mask, 12, axis=0)),
    "Tiny mask": tiny,
    "Truncated scan": truncated,
    "Equal volumes": copied,
    "Clipped values": lambda data, mask, *_: (np.minimum(data, np.quantile(data, 0.98)), mask),
    "Coarsely rounded values": lambda data, mask, *_: (np.round(data / 30) * 30, mask),
    "Negative magnitudes": negative,
    "Zeros": zeros,
    "Missing measurements": gaps,
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("defect", PLANTED)
def test_planted_defects_are_named(clean, tmp_path, defect):
    data, mask, sigma, truth = clean
    data, mask = PLANTED[defect](data.copy(), mask, sigma, truth)
    found = names_of(write(tmp_path, data, mask, MLEEstimator(IVIM(B_VALUES))))
    # A volume that is noisier has another scale as well.
    names = {defect, "Scale of one volume"} if defect == "Spoilt volume" else {defect}
    assert names & set(found), list(found)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("defect", "settings", "volumes", "b_values"),
    [
        ("Noise level does not fit", {"sigma": 20.0}, slice(None), B_VALUES),
        ("Noise level does not fit", {"sigma": 2.0}, slice(None), B_VALUES),
        ("Noise floor", {"noise": "gaussian"}, slice(None), B_VALUES),
        ("Too few measurements", {"sigma": 6.7}, [0, 3, 7, 9], B_VALUES[[0, 3, 7, 9]]),
        ("No low b-value", {"sigma": 6.7}, slice(5, None), B_VALUES[5:]),
        ("Implausible values", {}, slice(None), B_VALUES / 10),
        ("Implausible values", {}, slice(None), B_VALUES * 10),
    ],
)
def test_wrong_settings_are_named(clean, tmp_path, defect, settings, volumes, b_values):
    data, mask, *_ = clean
    estimator = MLEEstimator(IVIM(b_values), **settings)
    assert defect in names_of(write(tmp_path, data[..., volumes], mask, estimator))


@pytest.mark.filterwarnings("ignore")
def test_a_narrow_prior_is_named(clean, tmp_path):
    data, mask, sigma, _ = clean
    prior = {"S0": (100, 300), "D": (0.3, 0.6)}
    narrow = PosteriorMeanEstimator(IVIM(B_VALUES), sigma=sigma, prior=prior, random_state=0)
    assert "Prior too narrow" in names_of(write(tmp_path, data, mask, narrow))


@pytest.fixture(scope="module")
def folder(clean, tmp_path_factory):
    data, mask, sigma, _ = clean
    path = tmp_path_factory.mktemp("report")
    write(path, data, mask, MLEEstimator(IVIM(B_VALUES), sigma=sigma))
    return path


def test_page_is_one_file_without_network(folder):
    page = write_report(folder).read_text()
    assert len(page) < 5e6
    # Whatever the page loads is in it, and a policy forbids the rest.
    sources = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert all(source.startswith("data:") for source in sources), sources
    assert "default-src 'none'" in page
    data = json.loads(re.search(r'id="data">(.*?)</script>', page)[1])
    assert data["panels"] == ["anatomy", "S0", "f", "D", "D_star", "residual_rms", "snr"]
    assert all(len(layer["images"]) == 5 for layer in data["layers"].values())
    for words in ("Methods text", "Rician", "um^2/ms", "Cram", "Epstein"):
        assert words in page


def test_a_hundred_slices_are_small(tmp_path):
    """Maps of 100 slices whose noise no coding compresses."""
    rng, shape = np.random.RandomState(0), (160, 160, 100)
    model = IVIM(B_VALUES[::3])
    mle = MLEEstimator(model, sigma=1.0).fit(model.simulate([[100, 0.2, 1.0, 20.0]]))
    maps = {name: rng.uniform(size=shape).astype(np.float32) for name in model.parameter_names}
    maps["status"] = np.zeros(shape, dtype=np.int8)
    images = {name: nibabel.Nifti1Image(values, np.eye(4)) for name, values in maps.items()}
    write_maps(images, tmp_path, mle, prefix="sub-01", description="mle")
    page = write_report(tmp_path)
    assert page.stat().st_size < 5e6
    data = json.loads(re.search(r'id="data">(.*?)</script>', page.read_text())[1])
    assert len(data["slices"]) == 100


def test_page_escapes_names(folder, tmp_path):
    ((name, sidecars),) = find_runs(folder).items()
    run = read_run(name, sidecars)
    page = page_of(run._replace(name="<script>alert(1)</script>"))
    assert "<script>alert" not in page


def test_regions_and_lost_scan(folder, tmp_path, clean):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (folder / "scan.nii.gz").rename(folder / "moved.nii.gz")
    try:
        labels = clean[1].astype(int) * 3
        page = write_report(copy, labels=labels).read_text()
        assert "The scan is not where it was" in page
        assert "Regions" in page
        assert re.search(r'<td class="n">3</td><td>D \(um\^2/ms\)', page)
        assert "Misfit by measurement" not in page
        again = write_report(copy, scan=folder / "moved.nii.gz").read_text()
        assert "Misfit by measurement" in again
    finally:
        (folder / "moved.nii.gz").rename(folder / "scan.nii.gz")


def test_folder_of_several_runs_has_outliers_first(tmp_path):
    rows = [
        {
            "name": f"sub-{i}", "page": f"sub-{i}.html", "thumbnails": {}, "n_voxels": 10,
            "medians": {"D": 1 + 0.01 * i + (i == 3)}, "units": {"D": "um^2/ms"}, "findings": [],
            "rank": 0,
        }
        for i in range(6)
    ]  # fmt: skip
    page = overview_of(rows)
    order = re.findall(r'<a href="(sub-\d)', page)
    assert order[0] == "sub-3"
    assert sorted(order) == [f"sub-{i}" for i in range(6)]


def test_other_pages_are_kept(folder, tmp_path, clean):
    data, mask, sigma, _ = clean
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    mle = MLEEstimator(IVIM(B_VALUES), sigma=sigma).fit(data[mask])
    maps = predict_image(mle, folder / "scan.nii.gz", mask)
    write_maps(maps, copy, mle, prefix="sub-02", description="mle", sources=["scan.nii.gz"])
    write_report(copy)
    pages = sorted(copy.glob("sub-*_report.html"))
    assert [page.name[:6] for page in pages] == ["sub-01", "sub-02"]
    before = [page.stat().st_mtime_ns for page in pages]
    overview = write_report(copy, keep=True).read_text()
    assert before == [page.stat().st_mtime_ns for page in pages]
    assert all(page.name in overview for page in pages)


@pytest.mark.filterwarnings("ignore")
def test_cohort_and_learnt_prior(clean, tmp_path):
    """Maps in a folder for each subject have one page; a learnt prior is beside the wide one."""
    data, mask, sigma, _ = clean
    model, scans = IVIM(B_VALUES), []
    for subject in ("sub-01", "sub-02"):
        (tmp_path / "in" / subject).mkdir(parents=True)
        scans.append(tmp_path / "in" / subject / f"{subject}_dwi.nii.gz")
        nibabel.save(nibabel.Nifti1Image(data[:, :, :1], np.eye(4)), scans[-1])
    tissues = make_signals(model, 500, sigma=1, random_state=0)[1]
    wide = np.transpose([(100, 300), *(p.prior for p in model.parameters[1:])])
    prior = WeightedPrior(model, tissues, np.full(500, 1 / 500), wide)
    posterior = PosteriorMeanEstimator(model, sigma=sigma, prior=prior, random_state=0)
    masks = [mask[:, :, :1]] * 2
    predict_cohort(posterior.fit(data[mask][:50]), scans, masks, tmp_path / "out")
    page = write_report(tmp_path / "out").read_text()
    links = re.findall(r'<a href="([^"]+)"', page)
    assert sorted(link.split("/")[0] for link in links) == ["sub-01", "sub-02"]
    own = (tmp_path / "out" / links[0]).read_text()
    row = re.search(r"<tr><td>f</td><td>([^<]*)</td>\s*<td>([^<]*)</td></tr>", own)
    median = float(row[2].split(", ")[2])
    assert median == pytest.approx(np.median(tissues[:, 1]), rel=0.01)


def test_methods_text_has_the_scanner(folder):
    sidecar = folder / "scan.json"
    fields = {
        "MagneticFieldStrength": 3,
        "Manufacturer": "Siemens",
        "ManufacturersModelName": "Prisma",
    }
    sidecar.write_text(json.dumps(fields))
    try:
        page = write_report(folder).read_text()
    finally:
        sidecar.unlink()
    assert "Data were acquired at 3 T on a scanner Siemens Prisma." in page


@pytest.mark.parametrize("spoilt", ["nan volume", "nan slice", "infinity", "all nan"])
def test_no_number_is_no_crash(clean, tmp_path, spoilt, recwarn):
    data, mask, sigma, _ = clean
    data = data.copy()
    if spoilt == "infinity":
        data[10:12, 20:22, 2, 3] = np.inf
    else:
        slices = slice(2, 3) if spoilt == "nan slice" else slice(None)
        volumes = slice(None) if spoilt == "all nan" else slice(7, 8)
        data[:, :, slices, volumes] = np.nan
    mle = MLEEstimator(IVIM(B_VALUES), sigma=sigma).fit(clean[0][mask])
    run = write(tmp_path, data, mask, mle, fit=False)
    recwarn.clear()
    found = names_of(run)
    page_of(run)
    assert not [w for w in recwarn if "report" in str(w.filename)], [
        str(w.message) for w in recwarn
    ]
    if spoilt in ("nan volume", "nan slice"):
        assert "Missing measurements" in found
        assert all(finding.rank == NOTE for finding in found.values()), found


@pytest.mark.filterwarnings("ignore")
def test_magnitudes_of_signals_that_change_sign(tmp_path):
    model = InversionRecovery([50, 100, 200, 400, 800, 1600, 3200], magnitude=True)
    phantom = make_phantom(model, shape=(24, 24, 2), snr=30, random_state=0)
    run = write(tmp_path, phantom.data, phantom.mask, MLEEstimator(model, sigma=phantom.sigma))
    assert all(finding.rank == NOTE for finding in names_of(run).values())


@pytest.mark.filterwarnings("ignore")
def test_bound_knows_what_is_known(tmp_path):
    """Known parameters, missing measurements and levels per measurement are in the bound."""
    model = SPGR([3, 6, 10, 15, 20, 25], repetition_time=15)
    phantom = make_phantom(model, shape=(24, 24, 1), snr=100, random_state=0)
    mle = MLEEstimator(model, sigma=phantom.sigma, fixed={"B1": 1.0})
    data = phantom.data
    data[phantom.mask] = make_signals(
        model, np.count_nonzero(phantom.mask), sigma=phantom.sigma, random_state=0,
        prior={"B1": (1, 1)},
    )[0]  # fmt: skip
    run = write(tmp_path, data, phantom.mask, mle)
    run = run._replace(scan=open_scan(run.scan, fixed={"B1": 1.0}))
    reference = evidence_of(run).reference
    bound = bounds_of_error(reference)
    for theta, found in zip(reference.parameters[:5], bound, strict=False):
        # Derivatives of S0 and T1 by differences; the noise is nearly Gaussian at this level.
        steps = 1e-3 * theta * np.eye(3)[:2]
        J = np.array(
            [(model.simulate([theta + s]) - model.simulate([theta - s]))[0] for s in steps]
        )
        J /= 2 * steps.sum(axis=1, keepdims=True)
        expected = np.sqrt(np.diag(np.linalg.inv(J @ J.T))) * phantom.sigma
        np.testing.assert_allclose(found[:2], expected, rtol=0.1)
        assert np.isnan(found[2])


def test_misfit_of_noise_is_one():
    """Also with few measurements beyond the parameters, where chi-squared is far from normal."""
    for b_values in ([0, 200, 500, 1000], np.arange(0, 1000, 50)):
        model = ADC(b_values)
        X, _ = make_signals(model, 2000, snr=50, random_state=0)
        mle = MLEEstimator(model, sigma=1 / 50).fit(X)
        reference = Reference.of(mle, X, np.full(X.shape, 1 / 50), {})
        # The median of 2,000 chi-squared variables has a standard error of a few per cent.
        assert reference.misfit() == pytest.approx(1, abs=0.1)


def test_foreign_files_are_passed_over(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    for name, text in (
        ("sub-01_model-ADC_desc-t_mask", '{"Type": "Brain"}'), ("x_model-foo_desc-y_z", "[1]"),
        ("x_model-foo_desc-y_map", '{"SignalModel": {"Name": "Foo"}, "Parameter": "a"}'),
    ):  # fmt: skip
        (copy / f"{name}.json").write_text(text)
        (copy / f"{name}.nii.gz").write_bytes(b"")
    assert len(find_runs(copy)) == 1


def test_labels_and_scan_must_fit(folder, clean):
    mask = clean[1].astype(np.int16)
    flipped = nibabel.Nifti1Image(mask, np.diag([-1.0, 1, 1, 1]))
    with pytest.raises(ValueError, match="affine of labels"):
        write_report(folder, labels=flipped)
    with pytest.raises(ValueError, match="labels has shape"):
        write_report(folder, labels=mask[:, :, :2])
    other = nibabel.Nifti1Image(clean[0], np.diag([2.0, 1, 1, 1]))
    with pytest.raises(ValueError, match="affine of the scan"):
        write_report(folder, scan=other)
    with pytest.raises(ValueError, match="has 3 volumes"):
        write_report(folder, scan=nibabel.Nifti1Image(clean[0][..., :3], np.eye(4)))


def test_levels_in_memory(clean, tmp_path):
    """Levels per measurement are kept as numbers; a map in memory is said to be one."""
    data, mask, sigma, _ = clean
    mle = MLEEstimator(IVIM(B_VALUES), sigma=sigma).fit(data[mask])
    image, levels = nibabel.Nifti1Image(data, np.eye(4)), np.full((1, 10), sigma)
    for name, level in (("few", levels), ("map", np.full(mask.shape, sigma))):
        maps = predict_image(mle, image, mask, sigma=level)
        write_maps(maps, tmp_path / name, mle, prefix="a#1", description="mle", sigma=level)
    assert "Misfit by measurement" in write_report(tmp_path / "few", scan=image).read_text()
    assert "a map in memory" in write_report(tmp_path / "map", scan=image).read_text()
    with_map = open_scan(image, sigma=np.full(mask.shape, sigma))
    assert "Misfit by measurement" in write_report(tmp_path / "map", scan=with_map).read_text()


def test_folder_without_maps(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no maps"):
        write_report(tmp_path)


def test_own_signal_model_is_asked_for(tmp_path):
    class Own(T2Decay):
        """A model that this package does not have."""

    model = Own([10, 40, 90])
    mle = MLEEstimator(model, sigma=1.0).fit(model.simulate([[100, 80.0]]))
    scan = nibabel.Nifti1Image(np.full((4, 4, 1, 3), model.simulate([[100, 80.0]])[0]), np.eye(4))
    write_maps(predict_image(mle, scan), tmp_path, mle, prefix="sub-01", description="mle")
    with pytest.raises(ValueError, match="'Own'.*not of this package"):
        write_report(tmp_path)
    assert "Own" in write_report(tmp_path, signal_model=model, scan=scan).read_text()


@pytest.mark.filterwarnings("ignore")
def test_command_line(folder, tmp_path):
    scan, run = str(folder / "scan.nii.gz"), CliRunner()
    arguments = ["fit", scan, "--mask", str(folder / "mask.nii.gz"), "--bval", "0 10 20 30 50 80"]
    arguments[-1] += " 100 200 400 800"
    out = tmp_path / "maps"
    result = run.invoke(app, [*arguments, "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "report.html" in result.output.replace("\n", "")
    assert (out / "report.html").exists()
    (out / "report.html").unlink()
    assert run.invoke(app, ["report", str(out)]).exit_code == 0
    assert "sklearn-qmri" in (out / "report.html").read_text()
    without = tmp_path / "without"
    assert run.invoke(app, [*arguments, "--out", str(without), "--no-report"]).exit_code == 0
    assert not list(without.glob("*.html"))


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs the browser chromium")
def test_slider_and_marks_in_a_browser(folder, tmp_path):
    """The page runs without a message; slider and marks change the maps."""
    page = write_report(folder).read_text()
    probe = """<script>
    const wait = (ms) => new Promise((done) => setTimeout(done, ms));
    const seen = () => Array.from(
      document.querySelectorAll("canvas"), (canvas) => canvas.toDataURL()).join();
    (async () => {
      await wait(1000);
      const first = seen(), slider = document.getElementById("slice");
      slider.value = 0; slider.dispatchEvent(new Event("input")); await wait(500);
      const second = seen();
      document.querySelectorAll("#marks input").forEach((box) => box.click()); await wait(500);
      const marks = document.querySelectorAll("#marks input").length;
      document.title = `moved ${first !== second} marked ${marks === 0 || second !== seen()}`;
    })();
    </script>"""
    path = tmp_path / "probe.html"
    path.write_text(page.replace("</body>", probe + "</body>"))
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        "--virtual-time-budget=8000", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
        path.as_uri(),
    ]  # fmt: skip
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "<title>moved true marked true</title>" in found.stdout, found.stderr[-2000:]
    assert "CONSOLE" not in found.stderr
