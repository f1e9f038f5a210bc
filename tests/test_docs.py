"""Documents say what the code is."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from test_docstrings import public_names
from test_model_library import MODELS

from sklearn_qmri import MLEEstimator, signal_models
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import LinearGaussian, SignalModel

ROOT = Path(__file__).parents[1]


def table_row(model):
    """Row of docs/signal_models.md: name, parameters with bounds, priors and scales, noise."""

    def interval(pair):
        return " to ".join("inf" if np.isinf(v) else f"{v:g}" for v in pair)

    parts = [
        f"{p.name}{f' ({p.unit})' if p.unit else ''} {interval(p.bounds)} / {interval(p.prior)} / "
        f"{p.loss_scale:g}"
        for p in model.parameters
        if p.name != "S0"
    ]
    params = {name: getattr(model, name) for name in inspect.signature(type(model)).parameters}
    options = "".join(
        f", {name}={value!r}"
        for name, value in params.items()
        if np.ndim(value) == 0 and name != "repetition_time" and value not in (None, False)
    )
    acquisition = [name for name, value in params.items() if np.ndim(value) > 0]
    acquisition += [name for name in params if name == "repetition_time"]
    noise = "Rician" if model.magnitude else "Gaussian"
    call = f"`{type(model).__name__}({', '.join(acquisition)}{options})`"
    return f"| {call} | {'; '.join(parts)} | {noise} |"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_table_of_models_is_up_to_date(model):
    assert table_row(model) in (ROOT / "docs" / "signal_models.md").read_text()


def test_every_model_is_in_the_library_test():
    public = {
        value
        for name, value in vars(signal_models).items()
        if name in signal_models.__all__ and isinstance(value, type)
    }
    models = {c for c in public if issubclass(c, SignalModel)} - {SignalModel, LinearGaussian}
    assert models == {type(model) for model in MODELS}


def test_own_signal_model_works_as_documented():
    page = (ROOT / "docs" / "add_signal_model.md").read_text()
    (path,) = re.findall(r"literalinclude} (\S+)", page)
    source = (ROOT / "docs" / path).read_text()
    code = source.split("# model-start\n")[1].split("# model-end")[0]
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 10
    namespace = {
        "torch": torch,
        **{
            name: getattr(signal_models, name) for name in ("Parameter", "SignalModel", "amplitude")
        },
    }
    exec(code, namespace)
    model = namespace["T1Rho"]([0, 10, 20, 40, 80])
    X, y = make_signals(model, 200, snr=1e4, random_state=0)
    found = MLEEstimator(model, sigma=1e-4).fit(X).predict(X)
    assert np.median(np.abs(found[:, 1] / y[:, 1] - 1)) < 1e-3


def test_reference_lists_every_public_name_once():
    listed = []
    for section in (ROOT / "docs" / "api.rst").read_text().split(".. currentmodule:: ")[1:]:
        module, _, text = section.partition("\n")
        names = re.findall(r"^   (\w+)$", text, flags=re.MULTILINE)
        listed += [f"{module}.{name}" for name in names]
    assert sorted(listed) == sorted(public_names())
