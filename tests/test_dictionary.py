"""Posteriors over atoms: small systems of equations, and means over kernels."""

import numpy as np
import pytest
import torch

from sklearn_qmri.dictionary import (
    N_KERNELS,
    find_posterior,
    make_atoms,
    mean_over_kernels,
    simulate_atoms,
)
from sklearn_qmri.dictionary._elimination import solve_small
from sklearn_qmri.noise import Gaussian, Rician
from sklearn_qmri.signal_models import ADC, Kurtosis, T2Decay


@pytest.mark.parametrize("size", [1, 3, 6])
def test_small_systems(size):
    rng = np.random.default_rng(0)
    root = rng.normal(size=(40, size, size))
    matrix, right = root @ root.swapaxes(1, 2) + np.eye(size), rng.normal(size=(40, size))
    given = torch.tensor(matrix).permute(1, 2, 0), torch.tensor(right).T
    solution, diagonal, log_determinant = solve_small(*given)
    np.testing.assert_allclose(solution.T, np.linalg.solve(matrix, right[..., None])[..., 0])
    inverse = np.linalg.inv(matrix)
    np.testing.assert_allclose(diagonal.T, inverse.diagonal(axis1=1, axis2=2))
    np.testing.assert_allclose(log_determinant, np.linalg.slogdet(matrix)[1])


def test_singular_systems_stay_finite():
    matrix = torch.ones(2, 2, 1)
    for part in solve_small(matrix, torch.tensor([[1.0], [1.0]])):
        assert torch.isfinite(part).all()


# Signal models, the ranges of their atoms, and how many there are.
MODELS = {
    "ADC": (ADC([0, 200, 500, 1000]), {"D": (0.05, 4.0)}, 128),
    "T2": (T2Decay([10, 30, 60, 100, 150]), {"T2": (5.0, 1000.0)}, 128),
    "Kurtosis": (
        Kurtosis([0, 0, 500, 1000, 1500, 2000]),
        {"D": (0.1, 3.5), "K": (0.0, 3.0)},
        1024,
    ),
}


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("snr", [20, 60, 200])
def test_mean_over_kernels_is_that_of_the_posterior(name, noise, snr):
    """Beside a sum over 65,536 points; at high SNR the atoms alone are too few for the mean.

    The error, in standard deviations of the posterior, adds its square to the mean squared error.
    """
    model, prior, n_atoms = MODELS[name]
    ranges = np.array([prior.get(p, (1.0, 1.0)) for p in model.parameter_names]).T
    few, many = (make_atoms(model, ranges, n, 16) for n in (n_atoms, 2**16))
    rng = np.random.default_rng(0)
    tissues = many.tissues[rng.integers(2**16, size=200)]
    signal = model.simulate(tissues)
    x = torch.tensor(noise.sample(signal * snr, np.random.RandomState(0)) / snr).float()
    precision = torch.full_like(x, snr)

    _, expected = find_posterior(noise, x, precision, simulate_atoms(many, model, noise))
    simulated = simulate_atoms(few, model, noise)
    nearest, points = find_posterior(noise, x, precision, simulated, N_KERNELS)
    mean = mean_over_kernels(simulated, model, noise, nearest, points)
    std = expected.variance.sqrt()[:, 1:] + 1e-6
    error, of_points = (
        ((m[:, 1:] - expected.mean[:, 1:]) / std).square().mean(0) for m in (mean, points.mean)
    )
    assert (error < 0.03).all(), error
    assert (error < 0.5 * of_points).all() or (of_points < 0.02).all()
    assert (mean[:, 0] - 1).abs().median() < 2 / snr
