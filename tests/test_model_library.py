"""Every signal model: derivatives, textbook values, recovery from noise-free signals."""

import warnings

import numpy as np
import pytest
import torch

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.information import (
    fisher_information,
    hardly_identified,
    standard_deviations,
    unidentified,
)
from sklearn_qmri.noise import Gaussian
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    SPGR,
    BiexponentialT2,
    InversionRecovery,
    IVIMKurtosis,
    Kurtosis,
    ProstateHybrid,
    R2StarDecay,
    SaturationRecovery,
    SignalModel,
    SIRSphericalMean,
    SphericalMeanThreeCompartment,
    SphericalMeanTwoCompartment,
    StretchedExponential,
    T2Decay,
    TriExponential,
    TwoCompartmentDiffusionT2,
    powder_average,
)


def crossed(*axes):
    """Every combination, one array per axis."""
    return [grid.ravel() for grid in np.meshgrid(*axes, indexing="ij")]


B = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
KURTOSIS_B = [0, 10, 20, 30, 50, 80, 100, 200, 400, 700, 1000, 1500, 2000]
ECHOES = [10, 20, 30, 40, 60, 80, 100, 130, 160, 200, 250, 300]
# The protocols of docs/signal_models.md.
MODELS = [
    ADC([0, 200, 500, 1000]),
    Kurtosis([0, 200, 400, 600, 800, 1000]),
    StretchedExponential([0, 200, 500, 1000, 2000, 3000]),
    IVIM(B),
    IVIM(B, convention="total"),
    IVIMKurtosis(KURTOSIS_B),
    IVIMKurtosis(KURTOSIS_B, convention="additive"),
    TriExponential([0, 0.5, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 400, 600, 800, 1000]),
    SphericalMeanTwoCompartment([0, 500, 1000, 2000, 3000]),
    SphericalMeanThreeCompartment([0, 300, 700, 1000, 1500, 2000, 3000, 5000]),
    T2Decay(ECHOES),
    T2Decay(ECHOES + [400, 600, 900], offset=True),
    BiexponentialT2(np.arange(1, 33) * 10.0),
    R2StarDecay([2, 5, 10, 15, 20, 30, 45]),
    InversionRecovery([50, 100, 200, 500, 1000, 2000, 4000, 8000], repetition_time=15000),
    InversionRecovery([50, 100, 200, 500, 1000, 2000, 4000, 8000], magnitude=True),
    SaturationRecovery([50, 100, 200, 500, 1000, 2000, 4000, 8000]),
    SPGR([2, 5, 10, 15, 20], repetition_time=15),
    TwoCompartmentDiffusionT2(*crossed([0, 250, 500, 1000, 1500], [5, 20, 50, 100, 200, 400, 800])),
    ProstateHybrid(*crossed([0, 150, 400, 800, 1500, 2500], [30, 60, 100, 200, 400, 800])),
    SIRSphericalMean(
        *crossed([0, 1000, 2000, 3000], [100, 400, 1000, 2500], [300, 1500]),
    ),
]
NAMES = [repr(model)[:40] for model in MODELS]


def draw(model, n, seed=0):
    """Tissues of the prior, as parameters along the first axis."""
    rng = np.random.RandomState(seed)
    return torch.tensor(np.stack([rng.uniform(*p.prior, n) for p in model.parameters]))


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_jacobian_is_the_derivative(model):
    theta = draw(model, 200)
    signal, jacobian = model.jacobian(theta)
    torch.testing.assert_close(signal, model.signal(theta), rtol=1e-12, atol=1e-14)
    automatic = SignalModel.jacobian(model, theta)[1]
    known = torch.isfinite(automatic)  # 0 ** alpha has no automatic derivative
    assert known.double().mean() > 0.8
    torch.testing.assert_close(jacobian[known], automatic[known], rtol=1e-7, atol=1e-9)
    for j, column in enumerate(jacobian):
        step = torch.zeros_like(theta)
        step[j] = 1e-6 * theta[j].abs().clamp(min=1e-3)
        difference = (model.signal(theta + step) - model.signal(theta - step)) / (2 * step[j])
        torch.testing.assert_close(column, difference, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_derivatives_are_finite_in_the_corners(model):
    ends = [(low, min(high, 1e4)) for low, high in (p.bounds for p in model.parameters)]
    corners = torch.tensor(np.stack([grid.ravel() for grid in np.meshgrid(*ends)]))
    for dtype in (torch.float64, torch.float32):
        signal, jacobian = model.jacobian(corners.to(dtype))
        assert torch.isfinite(signal).all()
        assert torch.isfinite(jacobian).all()


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_prior_is_within_bounds(model):
    for p in model.parameters:
        assert p.bounds[0] <= p.prior[0] < p.prior[1] <= p.bounds[1]
        assert p.loss_scale > 0


def recovered(model, tissues, **settings):
    """Whether each parameter comes back to 1e-3 of its scale; NaN where not identifiable.

    Identifiable is what has a Cramer-Rao standard deviation under a quarter of its scale where the
    noise is a hundredth of the largest signal.
    """
    fixed = {"B1": tissues[:, 2]} if isinstance(model, SPGR) else None
    X = model.simulate(tissues)
    folded = getattr(model, "magnitude", False) and X.min() < 0
    mle = MLEEstimator(model, noise="rician" if folded else "gaussian", sigma=1e-4, **settings)
    X = np.abs(X) if folded else X
    found = mle.fit(X[:1]).estimate(X, fixed=fixed).parameters
    scale = np.array([p.loss_scale for p in model.parameters])
    free = np.full(tissues.shape, True)
    free[:, [name in (fixed or {}) for name in model.parameter_names]] = False
    information = fisher_information(model, Gaussian(), tissues, np.abs(X).max(axis=1) / 100)
    std = standard_deviations(information, free)
    return np.where(std < scale / 4, np.abs(found - tissues) < 1e-3 * scale, np.nan)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_noise_free_signals_give_the_tissue_back(model):
    tissues, settings = draw(model, 1000).numpy().T, {}
    if isinstance(model, TwoCompartmentDiffusionT2):
        # Many optima in flat valleys; and only where the expansion in Kb holds, b < 3 / (Db * Kb).
        settings = {"n_starts": 64, "max_iter": 1000}
        _, _, Da, kb, _, _, Kb = tissues.T
        tissues = tissues[Da * kb * Kb * max(model.b_values) * 1e-3 < 3]
    share = np.nanmean(recovered(model, tissues, **settings), axis=0)
    assert not (share < 0.99).any(), dict(zip(model.parameter_names, share.round(4), strict=True))


def one(model, *values):
    """Signal of one tissue."""
    return model.simulate([values])[0]


def test_textbook_values_of_diffusion():
    # Half of the signal is left at b = log(2) / D.
    np.testing.assert_allclose(one(ADC([1000 * np.log(2)]), 1.0, 1.0), 0.5)
    # The cumulant expansion, Jensen and Helpern 2010: log S = -b D + b^2 D^2 K / 6; white matter
    # with D = 1 um^2/ms and K = 1 at b = 2000 s/mm^2.
    np.testing.assert_allclose(np.log(one(Kurtosis([2000]), 1.0, 1.0, 1.0)), -2 + 4 / 6)
    # Bennett 2003: at b = 1 / DDC the signal is 1/e whatever alpha is.
    for alpha in (0.3, 0.7, 1.0):
        np.testing.assert_allclose(one(StretchedExponential([500]), 1.0, 2.0, alpha), np.exp(-1))


def test_models_with_more_compartments_contain_those_with_fewer():
    b = KURTOSIS_B
    ivim = one(IVIM(b, convention="total"), 1.0, 0.2, 1.0, 40.0)
    np.testing.assert_allclose(one(IVIMKurtosis(b), 1.0, 0.2, 1.0, 40.0, 0.0), ivim)
    additive = IVIMKurtosis(b, convention="additive")
    np.testing.assert_allclose(one(additive, 1.0, 0.2, 1.0, 39.0, 0.0), ivim)
    np.testing.assert_allclose(one(TriExponential(b), 1.0, 0.2, 0.0, 1.0, 40.0, 500.0), ivim)
    # Fractions of the whole: .3 fast, .2 * .7 = .14 in the middle, .56 slow.
    parts = 0.3 * np.exp(-8.0) + 0.14 * np.exp(-0.4) + 0.56 * np.exp(-0.02)
    np.testing.assert_allclose(one(TriExponential([20]), 1, 0.2, 0.3, 1.0, 20.0, 400.0), parts)
    kurtosis = one(Kurtosis(b), 1.0, 1.0, 0.8)
    np.testing.assert_allclose(one(IVIMKurtosis(b), 1.0, 0.0, 1.0, 40.0, 0.8), kurtosis)


def test_spherical_means_are_means_over_the_sphere(rng):
    """Against the mean of the directional signal over many directions, and its limits."""
    cosine = (np.arange(20_000) + 0.5) / 20_000  # even spacing on [0, 1] is even on the sphere
    b, v, axial = 2.0, 0.6, 1.7
    stick = np.exp(-b * axial * cosine**2).mean()
    zeppelin = np.exp(-b * (1 - v) * axial - b * v * axial * cosine**2).mean()
    two = one(SphericalMeanTwoCompartment([2000]), 1.0, v, axial)
    np.testing.assert_allclose(two, v * stick + (1 - v) * zeppelin, rtol=1e-8)
    three = one(SphericalMeanThreeCompartment([2000]), 1.0, v, axial, 0.3)
    np.testing.assert_allclose(three, 0.7 * two + 0.3 * np.exp(-6))
    # Sticks at high b: the mean falls as b^-1/2 (Kaden 2016; Veraart 2019), pi / (4 b lambda).
    high = one(SphericalMeanTwoCompartment([100_000]), 1.0, 1.0, 2.0)
    np.testing.assert_allclose(high, np.sqrt(np.pi / (4 * 100 * 2.0)), rtol=1e-12)
    tensor = np.exp(-2 * 0.5 - 2 * 1.5 * cosine**2).mean()  # Dpar 2, Dperp .5 um^2/ms
    sir = one(SIRSphericalMean([2000], [1e6], [0]), 1.0, 2.0, 0.25, 1000.0)
    np.testing.assert_allclose(sir, tensor, rtol=1e-8)


def test_textbook_values_of_relaxation():
    np.testing.assert_allclose(one(T2Decay([80.0], offset=True), 1.0, 80.0, 0.1), np.exp(-1) + 0.1)
    # Myelin water fraction .1: at TE = 0 all of S0, at long TE only the long component.
    mwf = one(BiexponentialT2([0.0, 1000.0]), 1.0, 0.1, 15.0, 80.0)
    np.testing.assert_allclose(mwf, [1.0, 0.9 * np.exp(-12.5)], rtol=1e-9)
    # Half-life of a rate: log(2) / R2_star = 13.86 ms at 50 1/s.
    np.testing.assert_allclose(one(R2StarDecay([13.862943611]), 1.0, 50.0), 0.5)
    # The null of full inversion is at T1 log 2: 624 ms for grey matter with T1 = 900 ms.
    null = InversionRecovery([900 * np.log(2), 900 * np.log(1.9)])
    assert one(null, 1.0, 900.0, 1.0)[0] == pytest.approx(0, abs=1e-12)
    assert one(null, 1.0, 900.0, 0.9)[1] == pytest.approx(0, abs=1e-12)
    # With a finite TR the null is at T1 log(2 / (1 + exp(-TR / T1))).
    short = InversionRecovery([900 * np.log(2 / (1 + np.exp(-2)))], repetition_time=1800)
    assert one(short, 1.0, 900.0, 1.0)[0] == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(one(SaturationRecovery([500.0]), 1.0, 500.0, 1.0), 1 - np.exp(-1))


def test_spoiled_gradient_echo_is_brightest_at_the_ernst_angle():
    angles = np.arange(1.0, 90.0, 0.01)
    signal = one(SPGR(angles, repetition_time=15), 1.0, 1000.0, 1.0)
    ernst = np.rad2deg(np.arccos(np.exp(-15 / 1000)))
    assert angles[signal.argmax()] == pytest.approx(ernst, abs=0.01)
    # A B1 of .8 is a flip angle of .8.
    np.testing.assert_allclose(
        one(SPGR([10], 15), 1.0, 1000.0, 0.8), one(SPGR([8], 15), 1.0, 1000.0, 1.0)
    )


def test_saturated_inversion_has_its_null_where_it_should():
    # 1 = (2 - exp(-TD / T1)) * exp(-TI / T1): for TD = T1 log 2, TI = T1 log 1.5.
    model = SIRSphericalMean([0], [1000 * np.log(1.5)], [1000 * np.log(2)])
    assert one(model, 1.0, 1.0, 0.5, 1000.0)[0] == pytest.approx(0, abs=1e-12)


def test_compartments_decay_with_their_own_diffusivity_and_t2():
    model = TwoCompartmentDiffusionT2([1000, 1000], [50, 100])
    a = np.exp(-2.0 - np.array([0.5, 1.0]))
    b = np.exp(-0.4 + 0.16 / 6 - np.array([1.0, 2.0]))
    found = one(model, 1.0, 0.3, 2.0, 0.2, 100.0, 50.0, 1.0)
    np.testing.assert_allclose(found, 0.3 * a + 0.7 * b)
    # Radiology 2018;287:864 at TE = 57 ms without diffusion weighting: fractions times decays.
    prostate = one(ProstateHybrid([0], [57]), 1.0, 0.2, 0.5, 2.5, 0.5, 1.2, 500.0, 50.0, 80.0)
    decays = np.exp(-57 / np.array([500, 50, 80]))
    np.testing.assert_allclose(prostate, [0.2, 0.4, 0.4] @ decays)


def test_magnitudes_are_fitted_without_their_signs():
    model = InversionRecovery([50, 100, 200, 500, 1000, 2000, 4000], magnitude=True)
    X, y = make_signals(model, 300, snr=50, random_state=0)
    assert (X >= 0).all()
    found = MLEEstimator(model, sigma=1 / 50).fit(X).predict(X)
    signed = InversionRecovery(model.inversion_times)
    Z, _ = make_signals(signed, 300, snr=50, prior=lambda n, rng: y, random_state=0)
    reference = MLEEstimator(signed, sigma=1 / 50).fit(Z).predict(Z)
    error, expected = (np.sqrt(np.mean((p[:, 1] - y[:, 1]) ** 2)) for p in (found, reference))
    assert error < 1.3 * expected


def test_powder_average():
    b = [0, 5, 995, 1005, 1000, 2000, 2010]
    X = np.array([[1.0, 1.2, 0.4, 0.6, 0.8, 0.1, 0.3], [1, 1, 1, np.nan, 1, 2, 2]])
    means, shells, counts = powder_average(X, b)
    np.testing.assert_array_equal(counts, [2, 3, 2])
    np.testing.assert_allclose(shells, [2.5, 1000, 2005])
    np.testing.assert_allclose(means[0], [1.1, 0.6, 0.2])
    np.testing.assert_allclose(means[1], [1, np.nan, 2])
    directions = [[0, 0, 0], [0, 0, 0], [1, 0, 0], [-2, 0, 0], [0, 1, 0], [0, 0, 1], [0, 1, 0]]
    means, _, counts = powder_average(X[:1], b, directions)
    np.testing.assert_array_equal(counts, [1, 2, 2])
    ramp = [0, 5, 10, 15, 20, 25, 800, 1000, 1040, 1080, 1120, 1160]
    np.testing.assert_allclose(
        powder_average(np.ones((1, 12)), ramp)[1], [2.5, 12.5, 22.5, 800, 1020, 1100, 1160]
    )
    with pytest.raises(ValueError, match="look like ms/um"):
        powder_average(X[:, :3], [0, 1, 2.5])
    with pytest.raises(ValueError, match="X expects shape"):
        powder_average(np.ones((2, 2, 2, 3)), b[:3])
    np.testing.assert_allclose(means[0], [1.1, (0.5 + 0.8) / 2, 0.2], err_msg="opposites are one")
    with pytest.raises(ValueError, match="b_values expects 7"):
        powder_average(X, b[:-1])
    with pytest.raises(ValueError, match=r"directions expects finite numbers of shape \(7, 3\)"):
        powder_average(X, b, directions[:-1])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ADC([0, 0.5, 1.0]), r"b_values=...\) got values up to 1, which look like ms/um"),
        (lambda: IVIM([0, 1e9]), "look like s/m"),
        (lambda: T2Decay([0.01, 0.08]), "echo_times=.* look like seconds; give ms"),
        (lambda: InversionRecovery([0.05, 4.0]), "inversion_times=.* look like seconds"),
        (lambda: InversionRecovery([50, 4000], repetition_time=0.5), "got 0.5, which look.* sec"),
        (lambda: InversionRecovery([50, 4000], repetition_time=10), "longest .* mean seconds"),
        (lambda: InversionRecovery([50, 4000], repetition_time=np.inf), "positive number, got inf"),
        (lambda: SaturationRecovery([0.1, 5]), "look like seconds"),
        (lambda: SPGR([0.05, 0.3], 15), "flip_angles=.* look like radians; give degrees"),
        (lambda: SPGR([5, 20], 0.015), "repetition_time=.* look like seconds"),
        (lambda: SPGR([5, 20], -3), "expects a positive number, got -3"),
        (lambda: SPGR([5, 20], None), "expects a positive number, got None"),
        (lambda: ADC([0, 1000j]), "expects real numbers"),
        (lambda: ADC([0, -1000]), "at least 0, got"),
        (lambda: ADC([0, np.nan]), r"got \[nan\]"),
        (lambda: ADC([]), "non-empty"),
        (
            lambda: TwoCompartmentDiffusionT2([0, 1000], [50, 60, 70]),
            "expects acquisitions of one length, got 2 b_values, 3 echo_times",
        ),
    ],
)
def test_bad_acquisitions_are_refused(make, message):
    model = make()
    middle = [np.mean(p.prior) for p in model.parameters]
    with pytest.raises(ValueError, match=message):
        model.simulate([middle])


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (ADC([500]), ["S0", "D"]),
        (IVIM([0, 100, 100, 800]), ["f", "D", "D_star"]),
        (SphericalMeanTwoCompartment([0, 1000, 1000]), ["v", "lambda"]),
        (SPGR([5, 20], repetition_time=15), ["S0", "T1", "B1"]),
    ],
    ids=repr,
)
def test_what_no_measurement_tells_is_named(model, names):
    X, _ = make_signals(model, 20, snr=30, random_state=0)
    with pytest.warns(UserWarning, match=f"does not determine {', '.join(names)}: "):
        MLEEstimator(model, sigma=1 / 30).fit(X)


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_documented_protocols_determine_everything(model):
    assert unidentified(model) == []


def test_what_is_lost_in_noise_is_named():
    model = SPGR([2, 5, 10, 15, 20], repetition_time=15)
    assert unidentified(model) == []
    assert hardly_identified(model) == ["S0", "T1", "B1"]
    assert hardly_identified(model, ["B1"]) == []
    X = model.simulate([[1.0, 1000.0, 1.0]] * 3)
    with pytest.warns(UserWarning, match="hardly determines S0, T1, B1"):
        MLEEstimator(model, sigma=0.001).fit(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MLEEstimator(model, sigma=0.001, fixed={"B1": 1.0}).fit(X)


def test_derivatives_that_are_not_finite_are_told():
    class Careless(StretchedExponential):
        def jacobian(self, theta):
            return SignalModel.jacobian(self, theta)

    model = Careless([0, 500, 1000])
    with pytest.raises(ValueError, match="alpha are not finite everywhere"):
        MLEEstimator(model, sigma=0.1).fit(model.simulate([[1.0, 1.0, 0.8]]))


def test_kurtosis_stays_where_its_expansion_ends():
    """At u = b D = 3 / K the exponent has its minimum of -1.5 / K."""
    b = np.arange(0, 10_000, 100.0)
    signal = one(Kurtosis(b), 1.0, 1.0, 1.0)
    assert (np.diff(signal) <= 0).all()
    np.testing.assert_allclose(signal[b >= 3000], np.exp(-1.5))
    X, _ = make_signals(Kurtosis([0, 500, 1000, 2000, 3000]), 2000, snr=30, random_state=0)
    assert X.max() < 1.5


def test_maps_of_what_is_known():
    """Voxels outside of a B1 map get no estimate; values outside its bounds are refused."""
    model = SPGR([2, 5, 10, 15, 20], repetition_time=15)
    X = model.simulate([[1.0, 1000.0, 0.9]] * 3)
    mle = MLEEstimator(model, sigma=0.001, fixed={"B1": 1.0}).fit(X)
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        found = mle.estimate(X, fixed={"B1": [0.9, np.nan, 0.9]})
    np.testing.assert_allclose(found.parameters[[0, 2], 1], 1000, rtol=1e-3)
    assert np.isnan(found.parameters[1]).all()
    assert found.status[1] == Status.BAD_INPUT
    with pytest.raises(ValueError, match="bounds of 0.5 to 1.5, got 90 in 3 of 3 places"):
        mle.estimate(X, fixed={"B1": [90, 100, 110]})


def test_tissues_need_all_parameters():
    with pytest.raises(ValueError, match=r"shape \(n, 2\) .*'T2'\], got shape \(1, 3\)"):
        T2Decay([10, 30]).simulate([[1, 80, 0.5]])


def test_fixed_parameters_need_no_measurement():
    assert unidentified(SPGR([5, 20], repetition_time=15), ["B1"]) == []
    assert unidentified(ADC([0, 500]), ["S0", "D"]) == []
