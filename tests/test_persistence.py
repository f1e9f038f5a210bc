"""Model files: what comes back is what went in, and nothing else gets in."""

import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import skops.io
import torch
from conftest import bias_constrained_net, hybrid_net, self_supervised_net
from sklearn.ensemble import RandomForestRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_qmri import (
    BiasConstrainedNetRegressorCV,
    HybridLabelNetRegressorCV,
    HybridLabelRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
    persistence,
)
from sklearn_qmri.metrics import least_variance, roi_error
from sklearn_qmri.persistence import load_estimator, save_estimator
from sklearn_qmri.signal_models import IVIM, InversionRecovery

MODEL = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
SMALL = {"sigma": 1 / 40, "max_epochs": 2, "hidden_layer_sizes": (8,), "random_state": 0}
ESTIMATORS = [
    MLEEstimator(),
    MLEEstimator(MODEL, bounds={"f": (0, 0.5)}),
    SegmentedIVIMEstimator(MODEL),
    PosteriorMeanEstimator(MODEL, sigma=1 / 40, n_atoms=256, random_state=0),
    PretrainedNetRegressor(MODEL, sigma=1 / 40),
    hybrid_net(),
    hybrid_net(MODEL, **SMALL),
    hybrid_net(MODEL, **SMALL, ensemble=True, n_init=2, parallel_subnets=True),
    bias_constrained_net(MODEL, **SMALL),
    bias_constrained_net(MODEL, **SMALL, max_bias_weight=None, bias_weight=[1, 4, 10, 30]),
    BiasConstrainedNetRegressorCV(
        bias_constrained_net(MODEL, **SMALL), bias_weights=[1, 10], rule=roi_error(10), cv=2
    ),
    HybridLabelNetRegressorCV(hybrid_net(MODEL, **SMALL), rule=least_variance(max_bias=10)),
    self_supervised_net(MODEL, **SMALL),
    make_pipeline(FunctionTransformer(), MLEEstimator(MODEL)),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=repr)
def test_round_trip(estimator, signals, tmp_path):
    X, y = signals
    path = tmp_path / "model.skops"
    save_estimator(estimator.fit(X, y), path)
    loaded = load_estimator(path)
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))
    assert repr(loaded) == repr(estimator)
    assert [p.name for p in tmp_path.iterdir()] == ["model.skops"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize(
    "estimator",
    [
        MLEEstimator(MODEL),
        hybrid_net(MODEL, **SMALL, device="cuda"),
        self_supervised_net(MODEL, **SMALL, device="cuda"),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_fitted_on_a_gpu_loads_where_there_is_none(estimator, signals, tmp_path):
    X, y = signals
    save_estimator(estimator.fit(X, y), tmp_path / "model.skops")
    expected = estimator.predict(X)
    code = (
        "import sys, numpy as np; from sklearn_qmri.persistence import load_estimator\n"
        "made = load_estimator(sys.argv[1])\n"
        "np.save(sys.argv[2], made.predict(np.load(sys.argv[3])))"
    )
    np.save(tmp_path / "X.npy", X)
    paths = [str(tmp_path / name) for name in ("model.skops", "found.npy", "X.npy")]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    subprocess.run([sys.executable, "-c", code, *paths], check=True, env=environment)
    np.testing.assert_allclose(np.load(paths[1]), expected, rtol=1e-5)


def test_forest_only_where_it_is_trusted(signals, tmp_path):
    X, y = signals
    forest = HybridLabelRegressor(RandomForestRegressor(3, max_depth=2, random_state=0)).fit(X, y)
    path = tmp_path / "forest.skops"
    save_estimator(forest, path)
    with pytest.raises(ValueError, match="sklearn.tree._tree.Tree"):
        load_estimator(path)
    loaded = load_estimator(path, trusted=["sklearn.tree._tree.Tree"])
    np.testing.assert_array_equal(loaded.predict(X), forest.predict(X))


class Own(IVIM):
    """A signal model that the package does not know."""


def test_own_signal_model_only_where_it_is_trusted(signals, tmp_path):
    path = tmp_path / "own.skops"
    save_estimator(MLEEstimator(Own(MODEL.b_values)).fit(signals[0]), path)
    name = f"{Own.__module__}.Own"
    with pytest.raises(ValueError, match=name):
        load_estimator(path)
    assert isinstance(load_estimator(path, trusted=[name]).signal_model, Own)


def test_existing_file_is_kept(tmp_path):
    path = tmp_path / "model.skops"
    save_estimator(MLEEstimator(MODEL), path)
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="overwrite=True"):
        save_estimator(MLEEstimator(), path)

    class Unknown:
        def __reduce__(self):
            raise TypeError("not to be written")

    with pytest.raises(Exception, match="."):
        save_estimator(MLEEstimator(bounds={"f": Unknown()}), path, overwrite=True)
    assert path.read_bytes() == before
    save_estimator(MLEEstimator(InversionRecovery([100, 900])), path, overwrite=True)
    assert load_estimator(path).signal_model == InversionRecovery([100, 900])


def tampered(path, change):
    """The file with its schema changed."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "schema.json":
                content = change(content.decode()).encode()
            new.writestr(name, content)
    path.write_bytes(buffer.getvalue())


def test_tampered_and_foreign_files_are_refused(signals, tmp_path):
    path = tmp_path / "model.skops"

    def write():
        path.unlink(missing_ok=True)
        save_estimator(MLEEstimator(MODEL).fit(signals[0]), path)

    write()
    tampered(path, lambda text: text.replace("sklearn_qmri.mle", "os").replace("MLEEst", "sys"))
    with pytest.raises(ValueError, match="holds"):
        load_estimator(path)
    write()
    tampered(path, lambda text: text[: len(text) // 2])
    with pytest.raises(ValueError, match="not a model file, or is damaged"):
        load_estimator(path)
    write()
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"PK not a zip", b"\x80\x04K\x01."):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a model file, or is damaged"):
            load_estimator(path)
    path.write_bytes(skops.io.dumps({"weights": np.ones(3)}))
    with pytest.raises(ValueError, match="not written by save_estimator"):
        load_estimator(path)
    with pytest.raises(OSError, match="missing"):
        load_estimator(tmp_path / "missing.skops")


def test_file_of_another_format_says_why(tmp_path, monkeypatch):
    path = tmp_path / "model.skops"
    monkeypatch.setattr(persistence, "_FORMAT", 99)
    save_estimator(MLEEstimator(MODEL), path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="in format 99; this is .* which reads format 2"):
        load_estimator(path)


def test_cache_folder_is_neither_written_nor_read(tmp_path):
    path = tmp_path / "model.skops"
    made = HybridLabelRegressor(RandomForestRegressor(3), memory=str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="without memory"):
        save_estimator(made, path)
    assert load_estimator(path).memory is None
    assert made.memory is not None, "the estimator itself stays as it is"

    def point_elsewhere(text):
        schema = json.loads(text)
        schema["content"]["content"]["memory"]["content"] = '"/tmp/elsewhere"'
        return json.dumps(schema)

    tampered(path, point_elsewhere)
    with pytest.raises(ValueError, match="names a cache folder"):
        load_estimator(path)


def test_reference_to_a_text_is_no_none():
    node = {"__loader__": "JsonNode", "__id__": 1, "content": "null"}
    assert list(persistence._cache_folders({"memory": node})) == []
    other = {**node, "content": '"/tmp/elsewhere"'}
    assert list(persistence._cache_folders({"a": other, "memory": node})) == ["memory"]


def test_bombs_are_refused_unread(tmp_path):
    path = tmp_path / "model.skops"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", bytes(2**28 + 1))
    with pytest.raises(ValueError, match="claim to hold 268,435,457"):
        load_estimator(path)
    save_estimator(MLEEstimator(MODEL), path, overwrite=True)
    tampered(path, lambda text: '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}")
    with pytest.raises(ValueError, match="not a model file, or is damaged"):
        load_estimator(path)


def test_only_classes_are_trusted():
    for name in persistence._trusted_types():
        module, _, attribute = name.rpartition(".")
        assert isinstance(getattr(__import__(module, fromlist=[attribute]), attribute), type)
