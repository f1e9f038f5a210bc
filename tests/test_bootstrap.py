"""Bias and spread by simulated repeats, beside theory and beside the errors at the truth."""

import json

import nibabel
import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from test_cli import run

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
)
from sklearn_qmri.datasets import make_phantom, make_signals
from sklearn_qmri.image import predict_image, read_map
from sklearn_qmri.inspection import parametric_bootstrap
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.signal_models import ADC, IVIM, SPGR

MODEL = ADC([0, 200, 500, 1000])


def test_an_efficient_estimate_has_the_spread_of_the_bound():
    """At high SNR, standard deviations are those of the Fisher information, and bias is 0."""
    _, y = make_signals(MODEL, 200, snr=200, random_state=0)
    X = MODEL.simulate(y)
    mle = MLEEstimator(MODEL, sigma=1 / 200).fit(X)
    found = parametric_bootstrap(mle, y, n_repeats=400, random_state=0)
    std = mle.estimate(X, return_std=True).std
    np.testing.assert_allclose(np.median(found.std / std, axis=0), 1, atol=0.01)
    z = found.bias / (found.std / 20)
    assert np.abs(z.mean(axis=0)).max() < 0.3
    assert np.std(z) == pytest.approx(1, abs=0.1)
    expected = np.sqrt(found.bias**2 + found.std**2 * 399 / 400)
    np.testing.assert_allclose(found.root_mean_squared_error, expected, rtol=1e-9)
    assert (found.n_valid == 400).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLEEstimator(MODEL, sigma=1 / 20),
        lambda: PretrainedNetRegressor(MODEL, sigma=1 / 20),
        lambda: HybridLabelNetRegressor(MODEL, sigma=1 / 20, max_epochs=3, random_state=0),
        lambda: PosteriorMeanEstimator(MODEL, sigma=1 / 20, n_atoms=1024, random_state=0),
        lambda: make_pipeline(FunctionTransformer(), MLEEstimator(MODEL, sigma=1 / 20)),
    ],
    ids=["mle", "pretrained", "hybrid", "posterior", "pipeline"],
)
@pytest.mark.filterwarnings("ignore")
def test_sums_of_all_voxels_are_a_decomposition(make):
    """Means over voxels are the bias and variance that noise repeats give."""
    X, y = make_signals(MODEL, 300, snr=20, random_state=0)
    fitted = make().fit(X, y)
    found = parametric_bootstrap(fitted, y, n_repeats=100, random_state=0)
    Z, t = make_signals(MODEL, snr=20, n_samples=300, prior=y, n_repeats=100, random_state=1)
    parts = bias_variance_decomposition(t, fitted.predict(Z))
    np.testing.assert_allclose(np.mean(found.std**2, axis=0), parts.variance, rtol=0.08)
    squared_bias = np.mean(found.bias**2 - found.std**2 / 100, axis=0)
    np.testing.assert_allclose(squared_bias, parts.squared_bias, atol=0.05 * parts.variance.max())


def test_seeds_jobs_and_batches_change_nothing():
    _, y = make_signals(MODEL, 30, snr=20, random_state=0)
    mle = MLEEstimator(MODEL, sigma=1 / 20).fit(MODEL.simulate(y))
    one, two = (parametric_bootstrap(mle, y, n_repeats=7, random_state=3, n_jobs=n) for n in (1, 2))
    for key in ("bias", "std", "root_mean_squared_error"):
        np.testing.assert_array_equal(one[key], two[key])
    other = parametric_bootstrap(mle, y, n_repeats=7, random_state=4)
    assert (other.std != one.std).any()


def test_optima_on_bounds_have_a_spread():
    """Fisher information is silent on a bound; repeats are not."""
    model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    X, _ = make_signals(model, 400, snr=15, random_state=0)
    mle = MLEEstimator(model, sigma=1 / 15).fit(X)
    result = mle.estimate(X, return_std=True)
    found = parametric_bootstrap(mle, result.parameters, random_state=0)
    bounded = result.at_bound.any(axis=1)
    assert bounded.sum() > 20
    assert np.isnan(result.std[bounded]).any()
    assert np.isfinite(found.std).all()
    assert np.median(found.std[bounded], axis=0).min() > 0


def test_voxels_without_an_estimate_and_known_parameters():
    model = SPGR([3, 8, 15, 22], repetition_time=15)
    rng = np.random.RandomState(0)
    y = np.column_stack(
        [np.full(50, 1000.0), rng.uniform(500, 2000, 50), rng.uniform(0.8, 1.2, 50)]
    )
    y[3] = np.nan
    mle = MLEEstimator(model, sigma=2.0, fixed={"B1": 1.0}).fit(np.ones((1, 4)))
    known = {"B1": np.nan_to_num(y[:, 2], nan=1.0)}
    found = parametric_bootstrap(mle, y, fixed=known, random_state=0)
    assert np.isnan(found.std[3]).all()
    assert found.n_valid[3] == 0
    others = np.arange(50) != 3
    assert np.isfinite(found.std[others]).all()
    np.testing.assert_allclose(found.std[others, 2], 0, atol=1e-9)
    assert np.median(np.abs(found.bias[others, 1] / y[others, 1])) < 0.05


def test_bad_arguments():
    mle = MLEEstimator(MODEL, sigma=0.1)
    with pytest.raises(NotFittedError):
        parametric_bootstrap(mle, np.ones((2, 2)))
    mle.fit(np.ones((1, 4)))
    for n_repeats in (1, 2.5, "many"):
        with pytest.raises(ValueError, match="n_repeats expects an integer of at least 2"):
            parametric_bootstrap(mle, np.ones((2, 2)), n_repeats=n_repeats)
    with pytest.raises(ValueError, match=r"parameters expects a row per voxel of \['S0', 'D'\]"):
        parametric_bootstrap(mle, np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"sigma expects a number or one per voxel \(2\)"):
        parametric_bootstrap(mle, np.ones((2, 2)), sigma=np.ones(3))
    search = GridSearchCV(MLEEstimator(MODEL, sigma=0.1), {"n_starts": [1, 2]}, cv=2)
    search.fit(*make_signals(MODEL, 20, snr=30, random_state=0))
    assert np.isfinite(parametric_bootstrap(search, np.ones((2, 2)), random_state=0).std).all()
    with pytest.raises(ValueError, match="sigma does not reach the estimator inside of GridSearch"):
        parametric_bootstrap(search, np.ones((2, 2)), sigma=0.2)
    model = IVIM([0, 20, 100, 300, 800])
    segmented = SegmentedIVIMEstimator(model).fit(np.ones((1, 5)))
    with pytest.raises(ValueError, match="does not know"):
        parametric_bootstrap(segmented, [[1.0, 0.1, 1.0, 20.0]])
    found = parametric_bootstrap(segmented, [[1.0, 0.1, 1.0, 20.0]], sigma=0.02, random_state=0)
    assert (found.std > 0).all()


def test_maps_of_errors(tmp_path, monkeypatch, capsys):
    phantom = make_phantom(MODEL, shape=(16, 16, 3), snr=30, random_state=0)
    image = nibabel.Nifti1Image(phantom.data, np.eye(4))
    mle = MLEEstimator(MODEL, sigma=1 / 30).fit(phantom.data[phantom.mask])
    maps = predict_image(mle, image, phantom.mask, error="bootstrap", chunk_size=100)
    again = predict_image(mle, image, phantom.mask, error="bootstrap", chunk_size=100, n_jobs=2)
    fisher = predict_image(mle, image, phantom.mask, return_std=True)
    inside = phantom.mask
    for name in ("D_std", "D_bias", "S0_std", "S0_bias"):
        values = maps[name].get_fdata()
        np.testing.assert_array_equal(values, again[name].get_fdata())
        np.testing.assert_array_equal(np.isfinite(values), inside)
    ratio = maps["D_std"].get_fdata()[inside] / fisher["D_std"].get_fdata()[inside]
    assert np.nanmedian(ratio) == pytest.approx(1, abs=0.1)
    with pytest.raises(ValueError, match="error expects None or 'bootstrap', got 'jackknife'"):
        predict_image(mle, image, error="jackknife")
    with pytest.raises(ValueError, match="drop return_std"):
        predict_image(mle, image, error="bootstrap", return_std=True)
    nibabel.save(image, tmp_path / "dwi.nii.gz")
    code, _, err = run(
        monkeypatch, capsys, "fit", str(tmp_path / "dwi.nii.gz"), "--model", "ADC", "--error",
        "bootstrap", "--bval", "0,200,500,1000", "--estimator", "pretrained", "--sigma", "0.033",
        "--out", str(tmp_path / "maps"),
    )  # fmt: skip
    assert code == 0, err
    stem = "dwi_model-ADC_param-Dbias_desc-pretrained_dwimap"
    assert json.loads((tmp_path / "maps" / f"{stem}.json").read_text())["Units"] == "mm^2/s"
    assert np.isfinite(read_map(tmp_path / "maps" / f"{stem}.nii.gz")).any()


@pytest.mark.filterwarnings("ignore:Of ")
def test_repeats_have_the_measurements_that_there_are():
    """Missing volumes, by NaN or by their noise level, do not make the errors smaller."""
    model = ADC([0, 50, 100, 200, 400, 800])
    X, _ = make_signals(model, 200, snr=30, prior={"S0": (1, 1), "D": (1, 1)}, random_state=0)
    X = 1000 * X.reshape(20, 10, 1, 6)
    gaps, level = X.copy(), np.full(X.shape, 1000 / 30)
    gaps[..., 4:], level[..., 4:] = np.nan, 0.0
    mle = MLEEstimator(model, sigma=1000 / 30).fit(X.reshape(-1, 6))
    for data, sigma in ((gaps, None), (X, level)):
        image = nibabel.Nifti1Image(data, np.eye(4))
        std = predict_image(mle, image, sigma=sigma, return_std=True)["D_std"].get_fdata()
        told = predict_image(mle, image, sigma=sigma, error="bootstrap")["D_std"].get_fdata()
        assert np.median(told) == pytest.approx(np.median(std), rel=0.1)
