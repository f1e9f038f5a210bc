"""Limits of a protocol against closed forms, and methods side by side."""

import numpy as np
import pytest
from test_posterior import Line

from sklearn_qmri.compare import compare_methods, estimate_snr, limits
from sklearn_qmri.compare._candidates import GridOfSettings, LineOfAlphas
from sklearn_qmri.compare._command import make_command
from sklearn_qmri.compare._recommend import recommend
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import (
    cramer_rao_bound,
    least_variance,
    least_weighted,
    quadratic,
    roi_error,
)
from sklearn_qmri.noise import Gaussian, Rician, resolve_noise
from sklearn_qmri.signal_models import ADC, IVIM, SPGR, LinearGaussian, Parameter

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]


def test_linear_gaussian_limits():
    """Least squares reaches the bound; under a Gaussian prior the posterior mean shrinks."""
    times, sigma = np.array([0.0, 1.0, 2.0, 3.0]), 0.5
    design = np.stack([np.ones(4), times], axis=1)
    covariance = np.eye(2)

    def prior(n, rng):
        return rng.multivariate_normal([0, 0], covariance, size=n)

    theta = np.array([[0.0, 0.0], [1.0, -0.5]])
    found = limits(
        Line(times), theta, sigma=sigma, prior=prior, n_repeats=2000, n_atoms=50_000,
        random_state=0,
    )  # fmt: skip
    information = design.T @ design / sigma**2
    exact = np.sqrt(np.diag(np.linalg.inv(information)))
    np.testing.assert_allclose(found.cramer_rao_std, [exact] * 2)
    gain = np.linalg.inv(information + np.eye(2)) @ information
    bias = theta @ gain.T - theta
    std = np.sqrt(np.diag(gain @ np.linalg.inv(information) @ gain.T))
    np.testing.assert_allclose(found.posterior_mean_bias, bias, atol=0.03)
    np.testing.assert_allclose(found.posterior_mean_std, [std] * 2, rtol=0.05)
    np.testing.assert_allclose(found.posterior_mean_rmse**2, bias**2 + std**2, rtol=0.15, atol=1e-3)


def test_limits_of_ivim(model):
    theta = [[1.0, 0.3, 1.0, 40.0], [1.0, 0.1, 2.0, 100.0]]
    found = limits(model, theta, sigma=1 / 30, random_state=0)
    np.testing.assert_array_equal(
        found.cramer_rao_std, cramer_rao_bound(model, theta, sigma=1 / 30)
    )
    again = limits(model, theta, sigma=1 / 30, random_state=0)
    np.testing.assert_array_equal(found.posterior_mean_rmse, again.posterior_mean_rmse)
    with pytest.raises(ValueError, match="at least 2"):
        limits(model, theta, sigma=1 / 30, n_repeats=1)
    with pytest.raises(ValueError, match="theta has 3 parameters per tissue, expected 4"):
        limits(model, np.ones((2, 3)), sigma=1 / 30)


@pytest.fixture(scope="module")
def comparison():
    return compare_methods(
        IVIM(B_VALUES), snr=30, n_samples=2000, n_repeats=20, random_state=0,
    )  # fmt: skip


def column(comparison, tissue, method, figure):
    rows = [r for r in comparison.table if (r["tissue"], r["method"]) == (tissue, method)]
    return np.array([np.nan if r[figure] is None else r[figure] for r in rows])


def test_comparison_measures_each_method(comparison):
    tissues = {row["tissue"] for row in comparison.table}
    assert tissues == {"all", "prior", "brain", "kidney", "liver", "muscle"}
    mle = column(comparison, "prior", "mle", "slope")
    shrunk = column(comparison, "prior", "posterior", "slope")
    assert (shrunk[1:] < mle[1:]).all()
    assert np.isnan(column(comparison, "liver", "mle", "slope")).all()
    for method in ("mle", "posterior", "alpha 0", "alpha 0.5", "segmented"):
        bias, std, rmse = (
            column(comparison, "all", method, figure) for figure in ("rms_bias", "std", "rmse")
        )
        np.testing.assert_allclose(rmse**2, bias**2 + std**2, rtol=0.02, atol=1e-4)
    rmse = {m: column(comparison, "prior", m, "rmse") for m in ("posterior", "alpha 1")}
    assert (rmse["posterior"][1:] < rmse["alpha 1"][1:]).all()


def test_bound_of_the_comparison_is_only_a_std(comparison):
    theta = [IVIM(B_VALUES).named_tissues()["liver"]]
    bound = cramer_rao_bound(IVIM(B_VALUES), theta, sigma=1 / 30)[0]
    np.testing.assert_allclose(column(comparison, "liver", "Cramer-Rao bound", "std"), bound)
    assert np.isnan(column(comparison, "liver", "Cramer-Rao bound", "rmse")).all()


def test_path_of_the_comparison_is_its_table(comparison):
    for alpha in (0, 0.25, 1):
        row = np.flatnonzero(np.isclose(comparison.path.alphas, alpha))[0]
        for figure in ("rms_bias", "std"):
            np.testing.assert_allclose(
                comparison.path[figure][row],
                column(comparison, "all", f"alpha {alpha:g}", figure),
                rtol=1e-6,
            )


def test_tissue_outside_the_prior_is_noted(comparison):
    assert comparison.notes == [
        "brain is outside the prior in f: networks and the posterior mean have never seen "
        "such tissue."
    ]


def test_frontier_of_the_comparison_is_its_table(comparison):
    frontier = comparison.frontier
    assert (frontier.bias_weights[0], frontier.bias_weights[-1]) == (1, 30)
    for weight in (1, 4, 10, 30):
        (row,) = np.flatnonzero(frontier.bias_weights == weight)
        for figure in ("rms_bias", "std"):
            expected = column(comparison, "all", f"bias weight {weight}", figure)
            np.testing.assert_allclose(frontier[figure][row], expected, rtol=1e-6)
    assert (frontier.std[-1] > frontier.std[0]).all()


def test_noise_correlation_of_the_table(comparison):
    """The errors of f and D are tied in any fit of two compartments."""
    rows = {r["parameter"]: r for r in reversed(comparison.table) if r["method"] == "mle"}
    assert (rows["f"]["correlated_with"], rows["D"]["correlated_with"]) == ("D", "f")
    assert rows["f"]["noise_correlation"] == pytest.approx(rows["D"]["noise_correlation"])
    assert -0.95 < rows["f"]["noise_correlation"] < -0.4


def test_recommendation_is_the_least_loss_of_all_rows(comparison):
    """By hand from the table: no row has a lesser error of a mean over 10 voxels."""
    for row, parameter in zip(comparison.recommendation, IVIM(B_VALUES).parameters, strict=True):
        losses = [
            r["rms_bias"] ** 2 + r["std"] ** 2 / 10
            for r in comparison.table
            if r["tissue"] == "all" and r["parameter"] == row["parameter"] and r["rmse"] is not None
        ]
        loss = row["rms_bias"] ** 2 + row["std"] ** 2 / 10
        assert loss <= min(losses) * (1 + 1e-9)
        assert row["loss"] * parameter.loss_scale**2 == pytest.approx(loss)
        assert row["margin"] == pytest.approx(100 * (1 - row["loss"] / row["runner_up_loss"]))
        assert row["runner_up"] != row["method"]
        assert row["rule"] == "roi_error(n_voxels=10, parameter=None)"
        assert "Least error of a mean over 10 voxels" in row["reason"]
        assert f"--estimator {row['method']}" in row["command"]
    overall = comparison.overall
    assert overall["parameter"] == "all"
    assert overall["loss"] >= np.mean([row["loss"] for row in comparison.recommendation])


PARAMETERS = [Parameter("D", "um^2/ms", (0, 4), (0.5, 1.5)), Parameter("f", "", (0, 1), (0, 1))]


def candidates():
    """A line with all of its bias at alpha 0, and a grid that is better for D only."""
    bias = np.array([[4.0, 0.0], [0.0, 0.0]])[..., None] * [0.01, 0.01]
    variance = np.array([[1.0, 1.0], [1.0, 5.0]])[..., None] * [0.01, 0.01]
    grid = np.array([[0.02, 0.09], [0.005, 0.09]]), np.array([[0.01, 0.1], [0.015, 0.1]])
    line = LineOfAlphas("hybrid", bias, variance)
    return line, GridOfSettings("bias-constrained", *grid, "bias_weight", (1, 4))


def commanded(method, settings):
    return f"{method} {settings}"


def test_each_method_takes_part_at_its_best_setting():
    line, grid = candidates()
    alphas = np.linspace(0, 1, 10_001)
    loss = quadratic(line.variance[..., 0], alphas) + 3 * quadratic(line.bias[..., 0], alphas)
    rows, overall = recommend(least_weighted(3), PARAMETERS, [line, grid], {}, commanded)
    D, f = rows
    assert (D["method"], D["setting"]) == ("bias-constrained", {"bias_weight": 4})
    assert D["loss"] == pytest.approx(0.015 + 3 * 0.005)
    assert (D["runner_up"], D["runner_up_loss"]) == ("hybrid", pytest.approx(loss.min()))
    assert D["command"] == "bias-constrained {'bias_weight': {'D': 4.0}}"
    assert f["setting"]["alpha"] == pytest.approx(alphas[np.argmin(loss)], abs=1e-4)
    assert overall["method"] == "hybrid"
    assert list(overall["setting"]["alpha"]) == ["D", "f"]
    assert "Least variance + 3 * bias^2" in D["reason"]
    assert "below that of hybrid at alpha 0.75 (RMS bias 0.05" in D["reason"]
    # A parameter that is known takes no part.
    rows, overall = recommend(least_weighted(3), PARAMETERS, [line, grid], {"f"}, commanded)
    assert rows[1]["method"] is None
    assert overall["setting"] == {"bias_weight": {"D": 4}}


def test_limit_of_bias_that_some_or_no_methods_meet():
    line, grid = candidates()
    rows, overall = recommend(least_variance(0.1), PARAMETERS, [line, grid], {}, commanded)
    assert rows[0]["setting"] == {"bias_weight": 4}
    assert rows[1]["setting"]["alpha"] == pytest.approx(0.5)  # where the bias of .2 has halved
    assert (rows[1]["runner_up"], rows[1]["margin"]) == (None, None)
    assert "within 0.1 um^2/ms" in rows[0]["reason"]
    assert overall["method"] == "hybrid", "which alone meets the limit for all parameters"
    grid = grid._replace(squared_bias=grid.squared_bias[:, 1:], variance=grid.variance[:, 1:])
    rows, overall = recommend(least_variance(0.1), PARAMETERS[1:], [grid], {}, commanded)
    assert (rows[0]["method"], rows[0]["setting"], rows[0]["command"]) == (None, {}, None)
    assert "the smallest RMS bias is 0.15, of bias-constrained" in rows[0]["reason"]
    assert overall["method"] is None


def test_commands_have_what_the_comparison_had():
    model, known = SPGR([2, 5], repetition_time=15), {"B1": (0.75, 1.25)}
    prior = {"B1": (1, 1), "T1": (100, 2000.5)}
    common = "sklearn-qmri fit SCAN --model SPGR --with flip_angles=2,5 --with repetition_time=15"
    noise = resolve_noise("auto", model)
    settings = {"alpha": {"S0": 0.25, "T1": 1 / 3}}
    found = make_command(model, noise, prior, known, "hybrid", settings)
    assert found == (
        f"{common} --estimator hybrid --alpha S0=0.25,T1=0.333 --prior B1=1:1 "
        "--prior T1=100:2000.5 --bounds B1=0.75:1.25"
    )
    found = make_command(model, noise, prior, known, "mle", {})
    assert found == f"{common} --estimator mle --fixed B1=1"
    found = make_command(IVIM([0, 0.5], "total"), Rician(), None, {}, "mle", {})
    assert found.endswith("--model IVIM --b-values 0,0.5 --with convention=total --estimator mle")


def test_what_no_command_can_express_has_none():
    model, linear = ADC([0, 500]), LinearGaussian([[1.0]], [0.0], [0.0], [1.0])
    own = type("Own", (ADC,), {})([0, 500])
    arguments = [
        (model, Gaussian(), None, {}, "mle", {}),
        (model, Rician(), np.ones((3, 2)), {}, "posterior", {}),
        (own, Rician(), None, {}, "mle", {}),
        (linear, Gaussian(), None, {}, "mle", {}),
    ]
    assert [make_command(*a) for a in arguments] == [None] * 4
    assert make_command(model, Rician(), np.ones((3, 2)), {}, "mle", {}) is not None


def test_tissues_of_interest():
    tissues = {"lesion": [1.0, 0.15, 0.9, 30.0]}
    found = compare_methods(
        IVIM([0, 20, 60]), snr=30, tissues=tissues, n_samples=500, n_repeats=2, random_state=0
    )
    assert {row["tissue"] for row in found.table} == {"lesion"}
    assert "segmented" not in {row["method"] for row in found.table}
    assert found.notes[0].startswith("There is no segmented estimate: ")


def test_what_the_prior_leaves_no_choice_of_is_known_to_all():
    """With B1 known, T1 by fitting is about as noisy as its bound says."""
    model = SPGR([2, 5, 10, 15, 20], repetition_time=15)
    found = compare_methods(
        model, snr=1000, prior={"B1": (1, 1)}, n_samples=2000, n_repeats=10, random_state=0
    )
    std = {r["method"]: r["std"] for r in found.table if r["parameter"] == "T1"}
    for method in ("mle", "self-supervised", "alpha 0", "alpha 1", "bias weight 10"):
        assert std[method] == pytest.approx(std["Cramer-Rao bound"], rel=0.4)
    (B1,) = (row for row in found.recommendation if row["parameter"] == "B1")
    assert (B1["method"], B1["reason"]) == (None, "B1 is known and not estimated.")


def test_snr_is_that_of_tissue_not_of_air(rng):
    X, _ = make_signals(IVIM(B_VALUES), 2000, snr=30, random_state=0)
    air = np.hypot(*rng.normal(scale=1 / 30, size=(2, 4000, 10)))
    assert estimate_snr(IVIM(B_VALUES), np.vstack([X, air])) == pytest.approx(30, rel=0.05)
    with pytest.raises(ValueError, match="has no amplitude"):
        estimate_snr(LinearGaussian([[1.0]], [0.0], [0.0], [1.0]), np.ones((3, 1)))


@pytest.mark.parametrize("rule", [least_weighted, least_variance, roi_error])
def test_rules_refuse_what_is_not_positive(rule):
    with pytest.raises(ValueError, match="got -1"):
        compare_methods(IVIM(B_VALUES), snr=30, rule=rule(-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"tissues": {"a": [1.0, 0.1, 1.0, -40.0]}}, r"tissues\['a'\] has D_star of -40"),
        ({"n_repeats": 1}, "n_repeats expects at least 2, got 1"),
        ({"tissues": {}}, "name at least one tissue"),
        ({"tissues": {"a": [1.0, 2.0]}}, r"tissues\['a'\] has 2 parameters per tissue, expected 4"),
        ({"prior": {"g": (0, 1)}}, "prior names"),
        ({"rule": roi_error(10, parameter="D")}, "rule expects no parameter"),
        ({"snr": -1}, "snr expects a positive number"),
    ],
)
def test_comparison_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        compare_methods(IVIM(B_VALUES), **({"snr": 30, "n_samples": 10} | arguments))


def test_processes_change_no_figure_and_devices_must_be_there():
    settings = {"snr": 30, "n_samples": 200, "n_repeats": 2, "random_state": 0}
    model = ADC([0, 500, 1000])
    one, two = (compare_methods(model, **settings, n_jobs=n) for n in (1, 2))
    assert one.table == two.table
    with pytest.raises(ValueError, match="device='moon' cannot be used"):
        compare_methods(model, **settings, device="moon")
