"""The segmented IVIM fit against theory and against fits written another way."""

import numpy as np
import pytest
from conftest import B_VALUES, PAPER_BOUNDS
from scipy.optimize import least_squares

from sklearn_qmri import SegmentedIVIMEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import IVIM

# The protocol of a volunteer in the OSIPI code collection.
LONG = [0, 1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 250, 350, 400, 550, 700, 850, 1000]
BODY = {"f": (0.05, 0.4), "D": (0.5, 2.0)}


def test_exact_where_perfusion_has_decayed():
    model = IVIM(B_VALUES)
    prior = {"f": (0.1, 0.3), "D": (0.5, 1.5), "D_star": (80, 150)}
    X, y = make_signals(model, 200, noise="gaussian", sigma=1e-12, prior=prior, random_state=0)
    found = SegmentedIVIMEstimator(model).fit(X).predict(X)
    np.testing.assert_allclose(found, y, rtol=1e-3)


def test_line_and_curve_are_those_of_another_solver(model):
    """D of the line that weights from itself reproduce; the rest by scipy's least squares."""
    X, _ = make_signals(model, 20, snr=80, prior={"f": (0.2, 0.4)}, random_state=0)
    found = SegmentedIVIMEstimator(model).fit(X).predict(X)
    b = np.array(B_VALUES) * 1e-3
    high = b >= 0.2
    for x, (S0, f, D, D_star) in zip(X, found, strict=True):
        # Weighted by the fitted signal, the line is the exponential of least squares.
        line = least_squares(
            lambda p, x=x: p[0] * np.exp(-b[high] * p[1]) - x[high], [1, 1], xtol=1e-12
        )
        assert pytest.approx(line.x[1], rel=1e-3) == D
        trials = [
            least_squares(
                lambda p, x=x, D=D: model.simulate([[p[0], p[1], D, p[2]]])[0] - x,
                [x[0], 0.3, start],
                bounds=([0, 0, 2], [np.inf, 1, 300]),
                x_scale=[1, 1, 30],
            )
            for start in (5, 20, 60, 150)
        ]
        best = min(trials, key=lambda trial: trial.cost)
        residual = model.simulate([[S0, f, D, D_star]])[0] - x
        assert (residual**2).sum() / 2 <= best.cost * (1 + 1e-6)


def test_unbiased_at_high_snr():
    """Where perfusion has decayed, mean errors of f and D are within three standard errors."""
    model = IVIM(LONG)
    prior = {"S0": (0.999, 1.001), "f": (0.1, 0.3), "D": (0.5, 1.5), "D_star": (60, 100)}
    X, y = make_signals(model, 20_000, noise="gaussian", snr=300, prior=prior, random_state=5)
    error = SegmentedIVIMEstimator(model).fit(X).predict(X)[:, 1:3] - y[:, 1:3]
    assert (np.abs(error.mean(axis=0)) < 3 * error.std(axis=0) / np.sqrt(len(X)) + 2e-4).all()


def test_errors_are_less_than_those_of_published_two_step_fits():
    """At SNR 30, Rician, the 18 b-values: .057 for f and .173 for D with such weights."""
    model = IVIM(LONG, convention="total")
    X, y = make_signals(model, 20_000, snr=30, prior=BODY, random_state=31415)
    error = SegmentedIVIMEstimator(model).fit(X).predict(X) - y
    _, f, D, _ = np.sqrt(np.mean(error**2, axis=0))
    assert f < 0.057
    assert D < 0.173


@pytest.mark.parametrize("snr", [15, 30])
def test_std_of_D_is_that_of_the_weighted_line(snr):
    """The line with the weights of the true signals has the least variance that a line can."""
    model = IVIM(LONG, convention="total")
    tissue = np.repeat([[1.0, 0.1, 1.37, 26.3]], 3000, axis=0)
    rng = np.random.default_rng(snr)
    truth = model.simulate(tissue)
    X = np.hypot(truth + rng.normal(size=truth.shape) / snr, rng.normal(size=truth.shape) / snr)
    found = SegmentedIVIMEstimator(model).fit(X).predict(X)[:, 2]
    b = np.array(LONG) * 1e-3
    high = b >= 0.2
    design = np.stack([np.ones(high.sum()), -b[high]], axis=1) * truth[0, high, None]
    line = np.linalg.pinv(design) @ (np.log(X[:, high]) * truth[0, high]).T
    assert found.std() < 1.05 * line[1].std()


def test_zero_and_negative_signals_at_high_b_are_data():
    """Gaussian signals that have decayed into the noise are no reason to give a voxel up."""
    model = IVIM(LONG)
    tissues = np.repeat([[1.0, 0.15, 2.5, 60.0]], 5000, axis=0)
    rng = np.random.default_rng(8)
    X = model.simulate(tissues) + rng.normal(scale=0.1, size=(5000, len(LONG)))
    assert (X <= 0).any(axis=1).mean() > 0.4
    found = SegmentedIVIMEstimator(model).fit(X).estimate(X)
    assert (found.status != Status.BAD_INPUT).mean() > 0.999
    usable = found.status != Status.BAD_INPUT
    assert np.median(found.parameters[usable, 2]) == pytest.approx(2.5, rel=0.05)
    assert np.isfinite(found.parameters[usable]).all()


def test_bounds_and_rows_without_a_line(model):
    X, _ = make_signals(model, 200, snr=10, random_state=0)
    X[0, 9] = 0.0  # two of three high b-values suffice
    X[1, 8:] = 0.0  # one does not
    X[2, :7] = -1.0
    X[3, 4] = np.nan
    segmented = SegmentedIVIMEstimator(model, bounds=PAPER_BOUNDS)
    with pytest.warns(UserWarning, match="1 of 200"):
        segmented.fit(X)
    with (
        pytest.warns(UserWarning, match="1 of 200 rows hold NaN"),
        pytest.warns(UserWarning, match="2 of 200 rows have too few positive signals"),
    ):
        found = segmented.estimate(X)
    bad = found.status == Status.BAD_INPUT
    assert np.flatnonzero(bad).tolist() == [1, 2, 3]
    assert np.isnan(found.parameters[bad]).all()
    assert np.isfinite(found.parameters[~bad]).all()
    assert (found.parameters[~bad, 1] <= 0.5).all()
    assert found.at_bound.any()
    with pytest.raises(ValueError, match="needs a b-value below b_threshold=900"):
        SegmentedIVIMEstimator(model, b_threshold=900).fit(X)


def test_rows_do_not_depend_on_their_neighbours(model):
    X, _ = make_signals(model, 100, snr=12, random_state=0)
    segmented = SegmentedIVIMEstimator(model).fit(X)
    together = segmented.predict(X)
    alone = np.vstack([segmented.predict(X[i : i + 1]) for i in range(len(X))])
    np.testing.assert_array_equal(alone, together)
