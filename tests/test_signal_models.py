import pickle
import warnings

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import clone

from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    LinearGaussian,
    Parameter,
    SignalModel,
    powder_average,
)

B = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
LINEAR = LinearGaussian(
    [[1.0, 0.5, -1.0], [0.2, 2.0, 0.3]], [1.0, 2.0, 3.0], [0.0, 1.0], [1.0, 2.0]
)
MODELS = [IVIM(B), IVIM(B, convention="total"), LINEAR]


class Decay(SignalModel):
    """A user's own model: a formula and its parameters."""

    parameters = (
        Parameter("S0", "signal", (0.0, float("inf")), (0.8, 1.2), amplitude=True),
        Parameter("T2", "ms", (1.0, 3000.0), (20.0, 300.0)),
    )

    def __init__(self, echo_times):
        self.echo_times = echo_times

    def signal(self, theta):
        S0, T2 = theta
        return S0 * torch.exp(-self.acquisition("echo_times", theta) / T2)


def draw(model, n=50):
    rng = np.random.RandomState(1)
    return torch.tensor(np.stack([rng.uniform(*p.prior, n) for p in model.parameters]))


@pytest.mark.parametrize("model", MODELS, ids=repr)
def test_jacobian_is_the_derivative(model):
    theta = draw(model)
    signal, jacobian = model.jacobian(theta)
    by_autodiff = SignalModel.jacobian(model, theta)
    torch.testing.assert_close(signal, model.signal(theta))
    torch.testing.assert_close(jacobian, by_autodiff[1])
    for j in range(len(theta)):
        step = torch.zeros_like(theta)
        step[j] = 1e-6 * theta[j].abs().clamp(min=1e-3)
        difference = (model.signal(theta + step) - model.signal(theta - step)) / (2 * step[j])
        torch.testing.assert_close(jacobian[j], difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", MODELS[:2], ids=repr)
def test_curvature_is_the_second_derivative(model):
    theta = draw(model, 5)
    weights = torch.tensor(np.random.RandomState(0).normal(size=(len(B), 5)))
    upper = model.curvature(theta, weights, model.jacobian(theta)[1] * weights)
    for v in range(5):

        def weighted(t, v=v):
            return (weights[:, v] * model.signal(t[:, None])[:, 0]).sum()

        expected = torch.autograd.functional.hessian(weighted, theta[:, v])
        torch.testing.assert_close(upper[:, :, v].triu(), expected.triu())
    jacobian = model.jacobian(theta)[1] * weights
    by_differences = model.curvature_by_differences(theta, weights, jacobian)
    for j in range(len(theta)):
        for k in range(j, len(theta)):
            torch.testing.assert_close(by_differences[j, k], upper[j, k], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("S0", [0.0, 1.0])
@pytest.mark.parametrize("f", [0.0, 1.0])
def test_derivatives_are_finite_on_the_bounds(S0, f):
    theta = torch.tensor([[S0], [f], [0.01], [300.0]], dtype=torch.float64)
    signal, jacobian = IVIM(B).jacobian(theta)
    assert torch.isfinite(jacobian).all()
    assert torch.isfinite(IVIM(B).curvature(theta, torch.ones_like(signal), jacobian)).all()


def test_conventions_are_one_model_with_two_names():
    theta = draw(MODELS[0])
    total = theta.clone()
    total[3] += theta[2]
    torch.testing.assert_close(MODELS[0].signal(theta), MODELS[1].signal(total))


def test_ivim_reproduces_numbers_worked_by_hand():
    # b = 500 s/mm^2 = 0.5 ms/um^2: 2 * (0.25 * exp(-0.5 * 21) + 0.75 * exp(-0.5)).
    theta = torch.tensor([[2.0], [0.25], [1.0], [20.0]], dtype=torch.float64)
    expected = 2 * (0.25 * np.exp(-10.5) + 0.75 * np.exp(-0.5))
    assert IVIM([500]).signal(theta).item() == pytest.approx(expected, rel=1e-14)


def test_default_scales_are_those_of_the_paper():
    assert [p.loss_scale for p in IVIM(B).parameters] == pytest.approx([1.0, 0.3, 1.7, 80.0])
    assert Parameter("x", "", (-1, 1), (-0.5, 1.5)).loss_scale == 1.0


def test_identity_is_by_value():
    listed, array = IVIM(B), IVIM(np.array(B, dtype=float))
    assert listed == array
    assert hash(listed) == hash(array)
    assert listed != IVIM(B[:-1])
    assert listed != IVIM(B, convention="total")
    assert listed != "IVIM"
    assert pickle.loads(pickle.dumps(array)) == array
    assert clone(array, safe=False) == array
    assert joblib.hash(listed) == joblib.hash(pickle.loads(pickle.dumps(listed)))
    before = joblib.hash(listed)
    listed.signal(draw(listed))
    assert joblib.hash(listed) == before, "use must not change a model"
    assert repr(listed) == f"IVIM(b_values={B}, convention='additive')"


def test_parameters_of_the_constructor():
    model = IVIM(B)
    assert model.get_params() == {"b_values": B, "convention": "additive"}
    assert model.set_params(convention="total").convention == "total"
    with pytest.raises(ValueError, match="Invalid parameter 'bvals'"):
        model.set_params(bvals=B)
    assert model.n_measurements == 10


@pytest.mark.parametrize(
    ("b_values", "message"),
    [
        ([0, np.nan], r"got \[nan\] at positions \[1\]"),
        ([0, -5, 10], r"at least 0, got \[-5.0\]"),
        ([], "non-empty"),
        ([[0, 1]], "1-D"),
        (["a"], "sequence of numbers"),
    ],
)
def test_bad_b_values_are_refused_at_first_use(b_values, message):
    model = IVIM(b_values)
    with pytest.raises(ValueError, match=message):
        make_signals(model, 2, snr=10)


def test_unknown_convention_is_refused():
    with pytest.raises(ValueError, match="'additive', 'total'"):
        IVIM(B, convention="both").parameter_names  # noqa: B018


def test_linear_model_comes_from_pairs(rng):
    theta = rng.normal(size=(500, 2)) + [0, 3]
    X = theta @ np.asarray(LINEAR.coef) + LINEAR.intercept
    fitted = LinearGaussian.from_pairs(X, theta)
    np.testing.assert_allclose(fitted.coef, LINEAR.coef, atol=1e-12)
    np.testing.assert_allclose(fitted.intercept, LINEAR.intercept, atol=1e-12)
    start = fitted.start(torch.tensor(X.T))
    np.testing.assert_allclose(start.T, theta, atol=1e-12)


def test_own_model_needs_only_a_formula():
    """Its derivatives come from forward-mode differentiation, and are those worked by hand."""
    model, theta = Decay([10.0, 40.0]), torch.tensor([[2.0], [80.0]], dtype=torch.float64)
    signal, (by_S0, by_T2) = model.jacobian(theta)
    times = torch.tensor([[10.0], [40.0]], dtype=torch.float64)
    decay = torch.exp(-times / 80)
    torch.testing.assert_close(signal, 2 * decay)
    torch.testing.assert_close(by_S0, decay)
    torch.testing.assert_close(by_T2, 2 * decay * times / 80**2)


def test_masked_values_are_not_data():
    b_values = np.ma.masked_array([0.0, 500.0, 1000.0], mask=[False, True, False])
    with pytest.raises(ValueError, match=r"finite values of at least 0, got \[nan\]"):
        ADC(b_values).simulate([[1.0, 1.0]])
    tissues = np.ma.masked_array([[1.0, 1.0], [1.0, 2.0]], mask=[[False, False], [False, True]])
    found = ADC([0, 1000]).simulate(tissues)
    np.testing.assert_allclose(found[0], [1, np.exp(-1)])
    assert np.isnan(found[1]).all()
    X = np.ma.masked_array([[1.0, 0.5, 9.0], [1.0, 0.5, 0.3]], mask=[[0, 0, 1], [0, 0, 0]])
    means, _, _ = powder_average(X, [0, 1000, 1000])
    np.testing.assert_allclose(means, [[1.0, np.nan], [1.0, 0.4]])
    with pytest.raises(ValueError, match="b_values expects"):
        powder_average([[1.0, 0.5, 0.3]], b_values)


def test_read_only_arrays_are_read_without_a_warning():
    b_values, tissues = np.array([0.0, 1000.0]), np.array([[1.0, 1.0]])
    for array in (b_values, tissues):
        array.flags.writeable = False
    frozen = [np.array(a, dtype=float) for a in (LINEAR.coef, LINEAR.intercept)]
    for array in frozen:
        array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(ADC(b_values).simulate(tissues), [[1.0, np.exp(-1)]])
        LinearGaussian(*frozen, LINEAR.center, LINEAR.half_range).simulate(tissues)
