"""What scikit-learn's checks look at, for estimators that are bound to a protocol."""

import copy
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SelfSupervisedNetRegressor,
    Status,
)
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
SIGMA = 1 / 40
NET = {"max_epochs": 4, "hidden_layer_sizes": (16, 16), "random_state": 0}
ESTIMATORS = {
    "mle": MLEEstimator(MODEL, sigma=SIGMA),
    "mle-gaussian": MLEEstimator(MODEL, noise="gaussian", sigma=SIGMA),
    "net-0": HybridLabelNetRegressor(MODEL, alpha=0, sigma=SIGMA, **NET),
    "net-.5": HybridLabelNetRegressor(MODEL, alpha=0.5, sigma=SIGMA, **NET),
    "net-rms": HybridLabelNetRegressor(
        MODEL, sigma=SIGMA, normalize="rms", sigma_input=True, n_init=2, **NET
    ),
    "net-fresh": HybridLabelNetRegressor(MODEL, sigma=SIGMA, resample_noise=True, **NET),
    "net-subnets": HybridLabelNetRegressor(
        MODEL, sigma=SIGMA, parallel_subnets=True, batch_norm=True, dropout=0.1, **NET
    ),
    "ensemble": HybridLabelNetRegressor(MODEL, sigma=SIGMA, ensemble=True, n_init=3, **NET),
    "self-supervised": SelfSupervisedNetRegressor(MODEL, sigma=SIGMA, **NET),
    "posterior-mean": PosteriorMeanEstimator(MODEL, sigma=SIGMA, n_atoms=512, random_state=0),
}


@pytest.fixture(params=ESTIMATORS.values(), ids=ESTIMATORS.keys())
def estimator(request):
    return clone(request.param)


def test_clone_and_params(estimator):
    params = estimator.get_params()
    assert params["signal_model__convention"] == "additive"
    copied = clone(estimator)
    assert copied.get_params().keys() == params.keys()
    assert copied.signal_model == estimator.signal_model
    assert copied.set_params(signal_model__convention="total").signal_model.convention == "total"
    assert estimator.signal_model.convention == "additive"


def test_fit_returns_self_and_leaves_parameters_alone(estimator, signals):
    before = copy.deepcopy(estimator.get_params())
    assert estimator.fit(*signals) is estimator
    assert estimator.get_params() == before


def test_fit_is_idempotent(estimator, signals):
    X, y = signals
    once = estimator.fit(X, y).predict(X)
    np.testing.assert_array_equal(estimator.fit(X, y).predict(X), once)


@pytest.mark.parametrize("roundtrip", [lambda e: pickle.loads(pickle.dumps(e)), copy.deepcopy])
def test_copies_predict_the_same(estimator, signals, roundtrip):
    X, y = signals
    expected = estimator.fit(X, y).predict(X)
    np.testing.assert_array_equal(roundtrip(estimator).predict(X), expected)


def test_rows_do_not_depend_on_each_other(estimator, signals):
    X, y = signals
    whole = estimator.fit(X, y).predict(X)
    scale = [p.loss_scale for p in MODEL.parameters]
    order = np.random.RandomState(0).permutation(len(X))
    np.testing.assert_allclose(estimator.predict(X[order]) / scale, whole[order] / scale, atol=1e-5)
    np.testing.assert_allclose(estimator.predict(X[7:9]) / scale, whole[7:9] / scale, atol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "fortran", "memmap", "list", "frame"])
def test_kinds_of_input(estimator, signals, kind, tmp_path):
    X, y = signals
    joblib.dump(X, tmp_path / "X")
    given = {
        "float32": X.astype(np.float32),
        "fortran": np.asfortranarray(X),
        "memmap": joblib.load(tmp_path / "X", mmap_mode="r"),
        "list": X.tolist(),
        "frame": pd.DataFrame(X, columns=[f"b{i}" for i in range(10)]),
    }[kind]
    expected = estimator.fit(X, y).predict(X)
    found = estimator.fit(given, y).predict(given)
    assert found.dtype == np.float64
    if kind == "float32":  # single precision input is another input
        assert np.median(np.abs(found / expected - 1)) < 0.05
    else:
        np.testing.assert_array_equal(found, expected)


def test_data_frames(estimator, signals):
    X, y = signals
    X = pd.DataFrame(X, columns=[f"b{i}" for i in range(10)])
    expected = estimator.fit(X, y).predict(X)
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(X[X.columns[::-1]])
    y = pd.DataFrame(y, columns=MODEL.parameter_names)
    np.testing.assert_array_equal(
        estimator.fit(X, y[["D", "f", "S0", "D_star"]]).predict(X), expected
    )
    with pytest.raises(ValueError, match=r"columns \['S0', 'f', 'D', 'Dstar'\], expected"):
        estimator.fit(X, y.rename(columns={"D_star": "Dstar"}))


def test_bad_rows(estimator, signals):
    X, y = signals
    X = X.copy()
    X[0, 3], X[5, 0] = np.nan, np.inf
    n_bad = 2
    if estimator.noise == "auto":
        X[9], X[11, 2] = 0.0, -0.1
        n_bad = 4
    with pytest.warns(UserWarning, match=f"{n_bad} of 180 rows"):
        estimator.fit(X, y)
    with pytest.warns(UserWarning, match=f"{n_bad} of 180 rows") as caught:
        result = estimator.estimate(X)
    assert len([w for w in caught if "rows hold" in str(w.message)]) == 1
    bad = result.status == Status.BAD_INPUT
    assert bad.sum() == n_bad
    np.testing.assert_array_equal(np.isnan(result.parameters).all(axis=1), bad)
    assert np.isfinite(result.residual_rms[~bad]).all()
    with pytest.raises(ValueError, match="None of the 3 rows"):
        estimator.fit(np.full((3, 10), np.nan), y[:3])


def test_only_bad_rows_in_predict(estimator, signals):
    estimator.fit(*signals)
    with pytest.warns(UserWarning, match="3 of 3 rows"):
        assert np.isnan(estimator.predict(np.full((3, 10), np.nan))).all()


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_change_of_units(factor, signals):
    X, y = signals
    for name in ("mle", "mle-gaussian", "net-rms"):
        estimator = clone(ESTIMATORS[name])
        expected = estimator.fit(X, y).predict(X)
        if name.startswith("mle"):
            estimator = clone(estimator).fit(X * factor, sigma=SIGMA * factor)
        found = estimator.predict(X * factor, sigma=SIGMA * factor)
        np.testing.assert_allclose(found / [factor, 1, 1, 1], expected, rtol=1e-4)


def test_wrong_widths_are_named(estimator, signals):
    X, y = signals
    with pytest.raises(ValueError, match=r"X has 9 measurements per voxel.* has 10"):
        estimator.fit(X[:, :9], y)
    with pytest.raises(ValueError, match="y has 3 parameters"):
        estimator.fit(X, y[:, :3])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.fit(X, y[:-1])
    estimator.fit(X, y)
    with pytest.raises(ValueError, match="9 features"):
        estimator.predict(X[:, :9])


@pytest.mark.parametrize(
    ("sigma", "message"),
    [(0.0, "positive finite"), (-1, r"got \[-1.0\]"), (np.nan, "nan"), ([0.1, 0.2], r"\(180\)")],
)
def test_bad_sigma(estimator, signals, sigma, message):
    with pytest.raises(ValueError, match=message):
        estimator.fit(*signals, sigma=sigma)
    with pytest.raises(ValueError, match=message):
        estimator.fit(*signals).predict(signals[0], sigma=sigma)


def test_unknown_noise(estimator, signals):
    with pytest.raises(ValueError, match="Got 'poisson'"):
        estimator.set_params(noise="poisson").fit(*signals)


def test_sigma_per_voxel_must_be_given_again(estimator, signals):
    X, y = signals
    sigma = np.full(len(X), SIGMA)
    estimator.set_params(sigma=None).fit(X, y, sigma=sigma)
    with pytest.raises(ValueError, match="pass sigma here too"):
        estimator.predict(X)
    assert estimator.predict(X, sigma=sigma).shape == y.shape


def test_bad_voxels_need_no_sigma(estimator, signals):
    X, y = signals
    X, sigma = X.copy(), np.full(len(X), SIGMA)
    X[0], sigma[0] = np.nan, np.nan
    with pytest.warns(UserWarning, match="1 of 180 rows"):
        predicted = estimator.fit(X, y, sigma=sigma).predict(X, sigma=sigma)
    assert np.isnan(predicted).any(axis=1).sum() == 1


def test_failed_fit_is_no_fit(estimator, signals):
    X, y = signals
    estimator.fit(X, y)
    with pytest.raises(ValueError, match="None of the 180"):
        estimator.fit(np.full_like(X, np.nan), y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_sigma_in_a_pipeline(estimator, signals):
    """Off, only the last step's keyword reaches it; on, requests route it."""
    X, y = signals
    sigma = np.linspace(0.5, 2, len(X)) * SIGMA
    expected = clone(estimator).fit(X, y, sigma=sigma).predict(X, sigma=sigma)
    step = type(estimator).__name__.lower()
    off = make_pipeline(FunctionTransformer(), clone(estimator))
    off.fit(X, y, **{f"{step}__sigma": sigma})
    np.testing.assert_array_equal(off.predict(X, sigma=sigma), expected)
    with sklearn.config_context(enable_metadata_routing=True):
        estimator.set_fit_request(sigma=True).set_predict_request(sigma=True)
        on = make_pipeline(FunctionTransformer(), estimator).fit(X, y, sigma=sigma)
        np.testing.assert_array_equal(on.predict(X, sigma=sigma), expected)
