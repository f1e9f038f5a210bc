"""Limits of a protocol against closed forms."""

import numpy as np
import pytest
from test_posterior import Line

from sklearn_qmri.compare import limits
from sklearn_qmri.metrics import cramer_rao_bound


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
    with pytest.raises(ValueError, match="3 parameters"):
        limits(model, np.ones((2, 3)), sigma=1 / 30)
