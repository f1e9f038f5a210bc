"""One contract: what holds for every public estimator, where it needs a signal model."""

import copy
import inspect
import pickle
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.model_selection import KFold, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import sklearn_qmri
from sklearn_qmri import (
    MLP,
    BiasConstrainedNetRegressor,
    BiasConstrainedNetRegressorCV,
    HybridLabelNetRegressor,
    HybridLabelNetRegressorCV,
    HybridLabelRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
    Status,
    Training,
)
from sklearn_qmri.estimators import ESTIMATORS as TABLE
from sklearn_qmri.estimators import entry_of
from sklearn_qmri.metrics import parameter_scorer
from sklearn_qmri.signal_models import IVIM

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
SIGMA = 1 / 40


def net(estimator, *, network=None, training=None, **params):
    """A small network."""
    return estimator(
        MODEL,
        sigma=SIGMA,
        network=MLP((16, 16), **(network or {})),
        max_epochs=4,
        training=Training(**(training or {})),
        random_state=0,
        **params,
    )


ESTIMATORS = {
    "mle": MLEEstimator(MODEL, sigma=SIGMA),
    "mle-gaussian": MLEEstimator(MODEL, noise="gaussian", sigma=SIGMA),
    "segmented": SegmentedIVIMEstimator(MODEL),
    "net-0": net(HybridLabelNetRegressor, alpha=0),
    "net-.5": net(HybridLabelNetRegressor, alpha=0.5, resample_noise=False),
    "net-raw": net(
        HybridLabelNetRegressor, normalize=None, sigma_input=True, training={"n_init": 2}
    ),
    "net-fresh": net(HybridLabelNetRegressor, resample_noise=True),
    "net-subnets": net(
        HybridLabelNetRegressor,
        network={"parallel_subnets": True, "batch_norm": True, "dropout": 0.1},
    ),
    "ensemble": net(HybridLabelNetRegressor, training={"ensemble": True, "n_init": 3}),
    "net-cv": HybridLabelNetRegressorCV(net(HybridLabelNetRegressor)),
    "bias-constrained": net(BiasConstrainedNetRegressor),
    "bias-constrained-cv": BiasConstrainedNetRegressorCV(net(BiasConstrainedNetRegressor), cv=2),
    "self-supervised": net(SelfSupervisedNetRegressor),
    "hybrid-ridge": HybridLabelRegressor(Ridge(), label_estimator=MLEEstimator(MODEL, sigma=SIGMA)),
    "pretrained": PretrainedNetRegressor(MODEL, sigma=SIGMA),
    "posterior": PosteriorMeanEstimator(MODEL, sigma=SIGMA, n_atoms=512, random_state=0),
}
# Estimators that learn or use a noise level of their own.
WITH_SIGMA = [name for name, e in ESTIMATORS.items() if "sigma" in entry_of(e).takes]
CONTRACT = {
    "fit": ["self", "X", "y", "sigma"],
    "estimate": ["self", "X", "sigma", "fixed", "return_std"],
    "predict": ["self", "X", "sigma", "fixed", "return_std"],
}


@pytest.fixture(params=ESTIMATORS.values(), ids=ESTIMATORS.keys())
def estimator(request):
    return clone(request.param)


@pytest.fixture(params=WITH_SIGMA)
def with_sigma(request):
    return clone(ESTIMATORS[request.param])


def is_estimator(name):
    return hasattr(getattr(sklearn_qmri, name), "predict")


def test_no_public_estimator_is_missing_here():
    public = {name for name in sklearn_qmri.__all__ if is_estimator(name)}
    assert {type(estimator).__name__ for estimator in ESTIMATORS.values()} == public
    assert {entry.estimator.__name__ for entry in TABLE} == public


@pytest.mark.parametrize("name", [n for n in sklearn_qmri.__all__ if is_estimator(n)])
@pytest.mark.parametrize("method", CONTRACT)
def test_signatures(name, method):
    """More keywords may follow, as metadata of estimators inside."""
    given = inspect.signature(getattr(getattr(sklearn_qmri, name), method)).parameters
    assert list(given)[: len(CONTRACT[method])] == CONTRACT[method]
    keywords = [given[key] for key in CONTRACT[method][2:] if key != "y"]
    assert all(p.kind is p.KEYWORD_ONLY and not p.default for p in keywords)


def test_results_have_the_same_keys(estimator, signals):
    X, y = signals
    found = estimator.fit(X, y).estimate(X)
    n, p = y.shape
    shapes = {"parameters": (n, p), "status": (n,), "at_bound": (n, p), "residual_rms": (n,)}
    for key, shape in shapes.items():
        assert found[key].shape == shape
    assert found.at_bound.dtype == bool
    assert set(found.status) <= set(Status)
    assert "std" not in found or isinstance(estimator, PosteriorMeanEstimator)
    np.testing.assert_array_equal(estimator.predict(X), found.parameters)


def test_standard_deviations_are_given_or_refused_by_name(estimator, signals):
    X, y = signals
    estimator.fit(X, y)
    alone = getattr(getattr(estimator, "network_", None), "n_members", 2) < 2
    if alone or "std" not in entry_of(estimator).takes:
        for method in (estimator.estimate, estimator.predict):
            with pytest.raises(ValueError, match="return_std"):
                method(X, return_std=True)
        return
    found = estimator.estimate(X, return_std=True)
    parameters, std = estimator.predict(X, return_std=True)
    np.testing.assert_array_equal(parameters, found.parameters)
    np.testing.assert_array_equal(std, found.std)
    assert std.shape == y.shape
    assert (std[np.isfinite(std)] >= 0).all()


def test_known_parameters_are_used_or_refused_by_name(estimator, signals):
    X, y = signals
    estimator.fit(X, y)
    if "fixed" in entry_of(estimator).takes:
        found = estimator.predict(X, fixed={"D": y[:, 2]})
        np.testing.assert_allclose(found[:, 2], y[:, 2])
        return
    for method in (estimator.estimate, estimator.predict):
        with pytest.raises(ValueError, match="does not take fixed"):
            method(X, fixed={"D": 1.0})


def test_clone_and_params(estimator):
    params = estimator.get_params()
    (key,) = [key for key in params if key.endswith("signal_model__convention")][:1]
    copied = clone(estimator)
    assert copied.get_params().keys() == params.keys()
    assert copied.set_params(**{key: "total"}).get_params()[key] == "total"
    assert estimator.get_params()[key] == "additive"


def test_fit_returns_self_and_leaves_parameters_alone(estimator, signals):
    before = copy.deepcopy(estimator.get_params())
    assert estimator.fit(*signals) is estimator
    after = estimator.get_params()
    assert after.keys() == before.keys()
    for key, value in before.items():
        if not hasattr(value, "predict"):
            assert after[key] == value


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
    """Bit for bit, but for the regressors of others."""
    X, y = signals
    whole = estimator.fit(X, y).predict(X)
    order = np.random.RandomState(0).permutation(len(X))
    parts = [(estimator.predict(X[order]), whole[order])]
    parts += [(estimator.predict(X[i : i + 1]), whole[i : i + 1]) for i in range(0, 40, 3)]
    for found, expected in parts:
        if isinstance(estimator, HybridLabelRegressor):
            np.testing.assert_allclose(found, expected)
        else:
            np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "kind", ["float32", "fortran", "memmap", "read-only", "list", "frame", "masked"]
)
def test_kinds_of_input(estimator, signals, kind, tmp_path):
    X, y = signals
    joblib.dump(X, tmp_path / "X")
    read_only = X.copy()
    read_only.flags.writeable = False
    given = {
        "float32": X.astype(np.float32),
        "fortran": np.asfortranarray(X),
        "memmap": joblib.load(tmp_path / "X", mmap_mode="r"),
        "read-only": read_only,
        "list": X.tolist(),
        "frame": pd.DataFrame(X, columns=[f"b{i}" for i in range(10)]),
        "masked": np.ma.MaskedArray(X),
    }[kind]
    expected = estimator.fit(X, y).predict(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*not writable")
        found = estimator.fit(given, y).predict(given)
    if kind == "float32":  # single precision input is another input
        scale = [p.loss_scale for p in MODEL.parameters]
        assert np.median(np.abs(found - expected) / scale) < 0.01
    else:
        assert found.dtype == np.float64
        np.testing.assert_array_equal(found, expected)


def test_masked_entries_are_no_data(estimator, signals):
    X, y = signals
    spoilt = X.copy()
    spoilt[3, 4] = 1e6
    masked = np.ma.masked_greater(spoilt, 1e5)
    estimator.fit(X, y)
    with pytest.warns(UserWarning, match="1 of 180 rows"):
        found = estimator.estimate(masked)
    spoilt[3, 4] = np.nan
    with pytest.warns(UserWarning, match="1 of 180 rows"):
        np.testing.assert_array_equal(found.parameters, estimator.estimate(spoilt).parameters)
    # Estimators of single measurements do with the others, the rest have no estimate.
    unknown = np.isnan(found.parameters[3])
    assert unknown.all() == (found.status[3] == Status.BAD_INPUT) == unknown.any()


def test_data_frames(estimator, signals):
    X, y = signals
    X = pd.DataFrame(X, columns=[f"b{i}" for i in range(10)])
    expected = estimator.fit(X, y).predict(X)
    score = estimator.score(X, y)
    with pytest.raises(ValueError, match="feature names"):
        estimator.predict(X[X.columns[::-1]])
    y = pd.DataFrame(y, columns=MODEL.parameter_names)
    shuffled = y[["D", "f", "S0", "D_star"]]
    np.testing.assert_array_equal(estimator.fit(X, shuffled).predict(X), expected)
    assert estimator.score(X, shuffled) == pytest.approx(score, rel=1e-12)
    with pytest.raises(ValueError, match=r"columns \['S0', 'f', 'D', 'Dstar'\], expected"):
        estimator.fit(X, y.rename(columns={"D_star": "Dstar"}))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda y: y * [1, 100, 1, 1],
        lambda y: y * [1, 1, 1e-3, 1e-3],
        lambda y: y[:, ::-1],
        lambda y: (y - y.mean(axis=0)) / y.std(axis=0),
    ],
    ids=["percent", "mm^2/s", "order", "standardised"],
)
def test_truth_in_other_units_is_refused(estimator, signals, spoil):
    X, y = signals
    with pytest.raises(ValueError, match=r"y has .* outside its bounds .* check its unit"):
        estimator.fit(X, spoil(y))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_truth_that_is_unknown_is_excluded(estimator, signals, bad):
    X, y = signals
    y = y.copy()
    y[5, 2] = bad
    with pytest.warns(UserWarning, match="1 of 180 rows"):
        assert np.isfinite(estimator.fit(X, y).predict(X)).all()


def test_bad_rows(estimator, signals):
    X, y = signals
    X = X.copy()
    X[0], X[5, 0] = np.nan, np.inf
    n_bad = 2
    if getattr(estimator, "noise", None) == "auto" or hasattr(estimator, "estimator"):
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
    with pytest.raises(ValueError, match=r"None of the 3 rows"):
        estimator.fit(np.full((3, 10), np.nan), y[:3])


def test_warnings_point_here(estimator, signals):
    X, y = signals
    X = X.copy()
    X[0, 3] = np.inf
    pipeline = make_pipeline(FunctionTransformer(), clone(estimator))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X, y).predict(X)
        pipeline.fit(X, y).predict(X)
    ours = [w for w in caught if "rows hold" in str(w.message)]
    assert len(ours) >= 4
    assert {w.filename for w in ours} == {__file__}


def test_state_of_the_caller_is_left_alone(estimator, signals):
    X, y = signals
    filters, threads = list(warnings.filters), torch.get_num_threads()
    torch_state = torch.get_rng_state()
    np.random.seed(0)  # noqa: NPY002
    estimator.fit(X, y).estimate(X)
    assert list(warnings.filters) == filters
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), torch_state)
    drawn = np.random.uniform()  # noqa: NPY002
    assert drawn == np.random.RandomState(0).uniform()


def test_only_bad_rows_in_predict(estimator, signals):
    estimator.fit(*signals)
    with pytest.warns(UserWarning, match="3 of 3 rows"):
        assert np.isnan(estimator.predict(np.full((3, 10), np.nan))).all()


@pytest.mark.parametrize("factor", [1e-4, 1e4])
@pytest.mark.parametrize("name", ["mle", "mle-gaussian", "segmented", "net-0", "self-supervised"])
def test_change_of_units(name, factor, signals):
    """Counts, or thousandths: amplitudes follow, all else stays."""
    X, y = signals
    units = np.array([factor, 1, 1, 1])
    given = {} if name == "segmented" else {"sigma": SIGMA * factor}
    reference, scaled = (clone(ESTIMATORS[name]) for _ in range(2))
    expected = reference.fit(X, y).predict(X)
    found = scaled.fit(X * factor, y * units, **given).predict(X * factor)
    tolerance = 1e-4 if name in ("mle", "mle-gaussian", "segmented") else 0.02
    scale = np.array([p.loss_scale for p in MODEL.parameters])
    np.testing.assert_allclose(found / units / scale, expected / scale, atol=tolerance)


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
def test_bad_sigma(with_sigma, signals, sigma, message):
    with pytest.raises(ValueError, match=message):
        with_sigma.fit(*signals, sigma=sigma)
    with pytest.raises(ValueError, match=message):
        with_sigma.fit(*signals).predict(signals[0], sigma=sigma)


def test_unknown_noise(with_sigma, signals):
    key = "estimator__noise" if hasattr(with_sigma, "estimator") else "noise"
    with pytest.raises(ValueError, match="Got 'poisson'"):
        with_sigma.set_params(**{key: "poisson"}).fit(*signals)


def test_sigma_per_voxel_must_be_given_again(with_sigma, signals):
    X, y = signals
    sigma = np.full(len(X), SIGMA)
    key = "estimator__sigma" if hasattr(with_sigma, "estimator") else "sigma"
    with_sigma.set_params(**{key: None}).fit(X, y, sigma=sigma)
    with pytest.raises(ValueError, match="Pass sigma here too"):
        with_sigma.predict(X)
    assert with_sigma.predict(X, sigma=sigma).shape == y.shape


def test_bad_voxels_need_no_sigma(with_sigma, signals):
    X, y = signals
    X, sigma = X.copy(), np.full(len(X), SIGMA)
    X[0], sigma[0] = np.nan, np.nan
    with pytest.warns(UserWarning, match="1 of 180 rows"):
        predicted = with_sigma.fit(X, y, sigma=sigma).predict(X, sigma=sigma)
    assert np.isnan(predicted).any(axis=1).sum() == 1


def test_failed_fit_is_no_fit(estimator, signals):
    X, y = signals
    estimator.fit(X, y)
    with pytest.raises(ValueError, match="None of the 180"):
        estimator.fit(np.full_like(X, np.nan), y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


class Interrupting:
    """Data that are interrupted while they are read."""

    def __array__(self, dtype=None, copy=None):
        raise KeyboardInterrupt


def test_interrupted_fit_is_no_fit(estimator, signals):
    X, y = signals
    estimator.fit(X, y)
    with pytest.raises(KeyboardInterrupt):
        estimator.fit(X, Interrupting())
    with pytest.raises(NotFittedError):
        estimator.predict(X)


def test_sigma_in_a_pipeline(with_sigma, signals):
    """Off, only the last step's keyword reaches it; on, requests route it."""
    X, y = signals
    sigma = np.linspace(0.5, 2, len(X)) * SIGMA
    expected = clone(with_sigma).fit(X, y, sigma=sigma).predict(X, sigma=sigma)
    step = type(with_sigma).__name__.lower()
    off = make_pipeline(FunctionTransformer(), clone(with_sigma))
    off.fit(X, y, **{f"{step}__sigma": sigma})
    np.testing.assert_array_equal(off.predict(X, sigma=sigma), expected)
    with sklearn.config_context(enable_metadata_routing=True):
        with_sigma.set_fit_request(sigma=True).set_predict_request(sigma=True)
        on = make_pipeline(FunctionTransformer(), with_sigma).fit(X, y, sigma=sigma)
        np.testing.assert_array_equal(on.predict(X, sigma=sigma), expected)


PER_MEASUREMENT = [name for name in WITH_SIGMA if ESTIMATORS[name]._per_measurement]


@pytest.mark.parametrize("name", PER_MEASUREMENT)
def test_one_level_for_all_measurements_has_three_shapes(signals, name):
    """The same number as a number, for each measurement, and for each one of each row."""
    X, y = signals
    predicted = []
    for sigma in (SIGMA, np.full((1, X.shape[1]), SIGMA), np.full(X.shape, SIGMA)):
        fitted = clone(ESTIMATORS[name]).fit(X, y, sigma=sigma)
        predicted.append(fitted.predict(X, sigma=sigma))
        assert fitted.sigma_ is None or np.shape(fitted.sigma_) == np.shape(sigma)
    for other in predicted[1:]:
        np.testing.assert_allclose(other, predicted[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", PER_MEASUREMENT)
def test_measurements_that_do_not_exist(signals, name):
    """Estimated from the others, or, where every measurement is an input, no estimate."""
    X, y = signals
    fitted = clone(ESTIMATORS[name]).fit(X, y)
    sigma = np.full(X.shape, SIGMA)
    sigma[3, 4] = np.inf
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="1 of 180 rows hold NaN")
        found = fitted.estimate(X, sigma=sigma)
    whole = fitted.estimate(X, sigma=np.full(X.shape, SIGMA))
    others = np.arange(len(X)) != 3
    np.testing.assert_array_equal(found.parameters[others], whole.parameters[others])
    if fitted._takes_missing:
        assert np.isfinite(found.parameters[3]).all()
        assert (found.parameters[3] != whole.parameters[3]).any()
    else:
        assert found.status[3] == Status.BAD_INPUT
        level = np.full((1, X.shape[1]), SIGMA)
        level[0, 4] = np.inf
        with pytest.raises(
            ValueError, match=r"infinite for measurements \[4\], but .* needs every"
        ):
            fitted.predict(X, sigma=level)


def test_scorers_pass_levels_per_measurement_on(signals):
    X, y = signals
    sigma = np.full(X.shape, SIGMA)
    sigma[:, 5:] *= 2
    scorer = parameter_scorer("root_mean_squared_error", "D")
    with sklearn.config_context(enable_metadata_routing=True):
        mle = MLEEstimator(MODEL).set_fit_request(sigma=True).set_predict_request(sigma=True)
        found = cross_validate(mle, X, y, scoring=scorer, params={"sigma": sigma}, cv=KFold(2))
    expected = []
    for train, test in KFold(2).split(X):
        fitted = MLEEstimator(MODEL).fit(X[train], sigma=sigma[train])
        expected.append(scorer(fitted, X[test], y[test], sigma=sigma[test]))
    np.testing.assert_array_equal(found["test_score"], expected)
