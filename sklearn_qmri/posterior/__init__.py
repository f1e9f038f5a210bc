"""Posterior means under a prior, by Monte Carlo."""

from ._estimator import PosteriorMeanEstimator

__all__ = ["PosteriorMeanEstimator"]
