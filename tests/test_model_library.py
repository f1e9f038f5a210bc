"""Every signal model: derivatives, textbook values, recovery from noise-free signals."""

import numpy as np
import pytest
import torch

from sklearn_qmri import MLEEstimator
from sklearn_qmri._fisher import fisher_information, standard_deviations
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
