"""Figures show what they were given, with names and units."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from conftest import hybrid_net

from sklearn_qmri import (
    MLP,
    BiasConstrainedNetRegressor,
    BiasConstrainedNetRegressorCV,
    HybridLabelNetRegressorCV,
    MLEEstimator,
)
from sklearn_qmri.compare import compare_methods
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.image import plot_maps
from sklearn_qmri.inspection import (
    AlphaPathDisplay,
    BiasVarianceDisplay,
    BiasWeightPathDisplay,
    LabelShiftDisplay,
    ParameterMapDisplay,
    TradeOffDisplay,
)
from sklearn_qmri.metrics import bias_curve
from sklearn_qmri.signal_models import ADC


@pytest.fixture(autouse=True)
def no_window():
    mpl.use("Agg")
    yield
    mpl.pyplot.close("all")


@pytest.fixture
def repeats(model):
    X, y = make_signals(model, 100, snr=30, n_repeats=4, random_state=0)
    return X, y, MLEEstimator(model, sigma=1 / 30).fit(X).predict(X)


def test_alpha_path(model, repeats):
    X, y, _ = repeats
    net = hybrid_net(model, sigma=1 / 30, max_epochs=3, hidden_layer_sizes=(8,), random_state=0)
    cv = HybridLabelNetRegressorCV(net, per_parameter=True).fit(X, y)
    display = AlphaPathDisplay.from_estimator(cv, limits={"bound": np.full(4, 0.1)})
    assert display.axes_.shape == (4,)
    lines = {line.get_label(): line for line in display.axes_[2].lines}
    np.testing.assert_allclose(
        lines["noise std"].get_ydata(), np.sqrt(np.mean(cv.std_path_[..., 2] ** 2, axis=1))
    )
    assert lines["bound"].get_ydata()[0] == 0.1
    assert display.axes_[2].lines[-1].get_xdata()[0] == cv.alpha_[2]
    assert [ax.get_title() for ax in display.axes_][3] == "D_star (um^2/ms)"
    assert len(display.figure_.legends) == 1
    again = display.plot(axes=mpl.pyplot.subplots(1, 4)[1])
    assert again.axes_[-1].get_legend() is not None


def test_bias_weight_path(model, repeats):
    X, y, _ = repeats
    net = BiasConstrainedNetRegressor(
        model, sigma=1 / 30, network=MLP((8,)), max_epochs=3, random_state=0
    )
    cv = BiasConstrainedNetRegressorCV(net, cv=2).fit(X, y)
    display = BiasWeightPathDisplay.from_estimator(cv, limits={"bound": np.full(4, 0.1)})
    ax = display.axes_[1]
    lines = {line.get_label(): line for line in ax.lines}
    for name, path in (("RMS bias", cv.bias_path_), ("RMSE", cv.rmse_path_)):
        expected = np.c_[cv.bias_weights_, np.sqrt(np.mean(path[..., 1] ** 2, axis=1))]
        np.testing.assert_allclose(lines[name].get_xydata(), expected)
    assert lines["bound"].get_ydata()[0] == 0.1
    assert ax.lines[-1].get_xdata()[0] == cv.bias_weight_[1]
    assert ax.get_xscale() == "log"
    display.figure_.canvas.draw()
    low, high = ax.get_xlim()
    ticks = zip(ax.get_xticks(), ax.get_xticklabels(), strict=True)
    assert [text.get_text() for x, text in ticks if low <= x <= high] == ["1", "3", "10", "30"]


def test_bias_and_variance(model, repeats):
    X, y, predicted = repeats
    display = BiasVarianceDisplay.from_predictions(
        y, {"MLE": predicted, "truth": y}, model, n_bins=5
    )
    assert display.axes_.shape == (3, 4)
    mle, truth = display.axes_[0, 2].lines[:2]
    np.testing.assert_allclose(mle.get_ydata(), bias_curve(y, predicted, 2, n_bins=5).bias)
    np.testing.assert_array_equal(truth.get_ydata(), 0)
    assert display.axes_[2, 2].get_ylabel() == "RMSE of D (um^2/ms)"
    assert display.axes_[2, 1].get_xlabel() == "true f"
    mle = MLEEstimator(model, sigma=1 / 30).fit(X)
    other = BiasVarianceDisplay.from_estimators({"MLE": mle}, X, y, model, n_bins=5)
    np.testing.assert_array_equal(
        other.axes_[0, 2].lines[0].get_ydata(), display.axes_[0, 2].lines[0].get_ydata()
    )


def test_label_shift(model, repeats):
    _, y, predicted = repeats
    predicted = predicted.copy()
    predicted[::7] = np.nan
    shifted = y + [0, 0.1, -0.5, 0]
    display = LabelShiftDisplay.from_predictions(
        y, {"MLE": predicted, "shifted": shifted}, model, ("D", "f"), n_cells=4
    )
    assert [ax.get_title() for ax in display.axes_] == ["MLE", "shifted"]
    np.testing.assert_allclose(display.predicted["shifted"] - display.true, [[-0.5, 0.1]] * 16)
    assert np.isfinite(display.predicted["MLE"]).all()
    assert display.axes_[0].get_ylabel() == "f"
    assert display.axes_[1].get_xlabel() == "D (um^2/ms)"
    with pytest.raises(ValueError, match="two of"):
        LabelShiftDisplay.from_predictions(y, {"MLE": predicted}, model, ("D", "T1"))


def test_without_matplotlib(model, repeats, monkeypatch):
    _, y, predicted = repeats
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install 'sklearn-qmri\[plot\]'"):
        BiasVarianceDisplay.from_predictions(y, {"MLE": predicted}, model)


def test_trade_off(model):
    alphas = np.linspace(0, 1, 21)
    bias = np.outer(1 - alphas, np.full(4, 0.1))
    std = np.outer(0.1 + alphas, np.full(4, 0.1))
    methods = {"MLE": (np.zeros(4), np.full(4, 0.1))}
    bound = np.array([np.nan, 0.05, 0.05, 0.05])
    chosen = [(0.05, 0.06), None, (0.048, 0.062), (0.0, 0.11)]
    weights = np.geomspace(1, 30, 25)
    paths = {
        "alpha": (alphas, bias, std),
        "bias weight": (weights, bias[:1] / weights[:, None], std[:1] * weights[:, None]),
    }
    display = TradeOffDisplay(paths, methods, model.parameters, chosen, bound).plot()
    assert [ax.get_title() for ax in display.axes_][2] == "D (um^2/ms)"
    lines = [{line.get_label(): line for line in ax.lines} for ax in display.axes_]
    np.testing.assert_array_equal(lines[1]["alpha path"].get_xydata(), np.c_[bias[:, 1], std[:, 1]])
    np.testing.assert_allclose(
        lines[1]["bias weight path"].get_xydata(), np.c_[0.1 / weights, 0.01 * weights]
    )
    np.testing.assert_array_equal(lines[2]["recommended"].get_xydata(), [chosen[2]])
    assert np.isnan(lines[1]["recommended"].get_xydata()).all()
    assert "Cramer-Rao bound (unbiased)" not in lines[0]
    assert "Cramer-Rao bound (unbiased)" in lines[1]
    assert display.axes_[0].get_ylim()[0] == 0, "the distance from the origin is the error"


def test_trade_off_of_a_comparison(model):
    found = compare_methods(model, snr=30, n_samples=300, n_repeats=3, random_state=0)
    display = TradeOffDisplay.from_comparison(found, model)
    assert set(display.methods) == {"mle", "segmented", "posterior", "self-supervised"}
    assert set(display.paths) == {"alpha", "bias weight", "pretrained, bias weight"}
    _, std = display.methods["mle"]
    rows = [r for r in found.table if r["tissue"] == "all" and r["method"] == "mle"]
    np.testing.assert_array_equal(std, [row["std"] for row in rows])


def test_parameter_maps(model):
    maps = np.random.RandomState(0).uniform(size=(2, 6, 9, 4))
    maps[:, :2] = np.nan
    display = ParameterMapDisplay(
        dict(zip(("MLE", "network"), maps, strict=True)), model.parameters
    )
    figure = display.plot(title="a slice").figure_
    assert figure.number in mpl.pyplot.get_fignums(), "as all figures that notebooks show"
    assert display.axes_.shape == (2, 4)
    assert display.axes_[1, 0].get_ylabel() == "network"
    assert display.axes_[0, 3].get_title() == "D_star (um^2/ms)"
    limits = [ax.images[0].get_clim() for ax in display.axes_[:, 2]]
    assert limits[0] == limits[1], "one scale for all methods"
    np.testing.assert_allclose(limits[0], np.nanpercentile(maps[..., 2], [1, 99]))


def test_maps_of_an_image():
    """The slice of `predict_image`'s maps, and an error that names what is missing."""
    nibabel = pytest.importorskip("nibabel")
    model = ADC([0, 500, 1000])
    volume = np.arange(24.0).reshape(2, 3, 4)
    maps = {name: nibabel.Nifti1Image(volume, np.eye(4)) for name in model.parameter_names}
    display = plot_maps(maps, model.parameters, index=1)
    drawn = display.axes_[0, 1].images[0].get_array()
    np.testing.assert_array_equal(drawn, volume[::-1, ::-1, 1].T)
    with pytest.raises(ValueError, match=r"not \['D'\]"):
        plot_maps({"S0": maps["S0"]}, model.parameters)
