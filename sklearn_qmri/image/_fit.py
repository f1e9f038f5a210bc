"""Fits and training for a scan: from some of its voxels to a fitted estimator."""

from typing import NamedTuple

import numpy as np

from .._network import Training
from ..datasets import learn_prior
from ..estimators import (
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    SegmentedIVIMEstimator,
    SelfSupervisedNetRegressor,
    entry_named,
)
from ..noise import level_of_rows
from ._train import train_for_snr

_LEAST_SNR = 2.0  # lower end of the SNRs of training where the scan has voxels of air
# Voxels whose fitted signal is at most this many sigma count as air. Rayleigh noise, that of a
# magnitude without signal, exceeds 4 sigma once in 3,000 measurements: exp(-4^2 / 2).
_AIR = 4.0
_PERCENTILES = (0.5, 99.5)  # of amplitudes; beyond them are outliers


class FittedToScan(NamedTuple):
    """Result of `fit_to_scan`.

    Parameters
    ----------
    estimator : fitted estimator
        Estimator to hand to `predict_image`.
    sigma : float or None
        Noise level to predict the scan with. None: the estimator's own.
    snr : tuple of float or None
        Range of signal-to-noise ratios that a network was trained for. None: no such network.

    Examples
    --------
    >>> from sklearn_qmri.image import FittedToScan
    >>> FittedToScan("an estimator").sigma is None
    True
    """

    estimator: object
    sigma: float | None = None
    snr: tuple | None = None


def fit_to_scan(
    name,
    signal_model,
    X,
    *,
    noise="auto",
    sigma=None,
    bounds=None,
    fixed=None,
    prior=None,
    alpha=0.5,
    bias_weight=10.0,
    n_tissues=50_000,
    n_jobs=None,
    device="cpu",
    random_state=None,
    verbose=0,
    tell=None,
):
    """Fit an estimator to a scan, given some of its voxels.

    Hybrid-label and bias-constrained networks are trained on simulated tissues at the
    signal-to-noise ratios of the scan. Voxels without signal (air) affect the lower end of that
    range only: the amplitude of a fit to noise alone can be any number.

    Parameters
    ----------
    name : str
        Name in the table of estimators: "mle", "segmented", "hybrid", "bias-constrained",
        "self-supervised", "pretrained" or "posterior".
    signal_model : SignalModel
        Model of the scan's protocol.
    X : array-like of shape (n_voxels, n_measurements)
        Signals, e.g. from `sample_voxels`.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        Noise model. "auto": the signal model's own.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Noise level, units of X. None: learnt from X by maximum likelihood.
    bounds : dict of {str: (float, float)}, default=None
        Bounds by parameter name in place of the signal model's.
    fixed : dict of {str: float}, default=None
        Values of known parameters by name, for "mle" only.
    prior : dict, ndarray, callable or "scan", default=None
        Tissues to train on, or to weight by likelihood. Same as `prior` of `make_signals`. "scan":
        learnt from X by `learn_prior`, whose wide prior is that of the signal model.
    alpha : float or array-like of shape (n_parameters,), default=0.5
        Weight of the maximum-likelihood labels of "hybrid".
    bias_weight : float or array-like of shape (n_parameters,), default=10.0
        Weight of the squared bias of "bias-constrained" and "pretrained".
    n_tissues : int, default=50000
        Number of simulated tissues to train on.
    n_jobs : int, default=None
        Number of processes for maximum likelihood.
    device : str, default="cpu"
        Device on which torch fits and trains.
    random_state : int, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: progress bars.
    tell : callable, default=None
        Called with one line of text about each step.

    Returns
    -------
    FittedToScan
        Fitted estimator, the `sigma` to predict with, and the `snr` of training.

    Raises
    ------
    ValueError
        If no estimator has this name, the estimator cannot take known parameters, or X does not fit
        the signal model.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.image import fit_to_scan
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 200, 500, 1000])
    >>> X, _ = make_signals(model, 500, snr=30, random_state=0)
    >>> fitted = fit_to_scan("mle", model, X)
    >>> f"{fitted.estimator.sigma_:.2f}"
    '0.03'
    """
    entry, tell = entry_named(name), tell or (lambda text: None)
    method = entry.estimator
    if fixed and "fixed" not in entry.takes:
        raise ValueError(f"{name!r} cannot take known parameters, got fixed={fixed!r}.")
    if method is SegmentedIVIMEstimator:
        return FittedToScan(method(signal_model, bounds=bounds).fit(X))
    # Every other method needs the noise level, which maximum likelihood learns if it is not given.
    mle = MLEEstimator(
        signal_model, noise=noise, sigma=sigma, bounds=bounds, fixed=fixed, n_jobs=n_jobs,
        device=device, verbose=verbose,
    ).fit(X)  # fmt: skip
    mle.set_params(verbose=0)  # later calls of `predict` show no bar; the same below
    level = float(level_of_rows(np.atleast_1d(mle.sigma_))[0])
    tell(f"Noise level: sigma = {level:.4g} (units of the scan)")
    if method is MLEEstimator:
        return FittedToScan(mle)
    if method is PretrainedNetRegressor:
        net = method(signal_model, bias_weight=bias_weight, noise=noise, sigma=mle.sigma_)
        return FittedToScan(net.fit(X))
    return _fit_with_level(
        entry, mle, level, X, prior, alpha, bias_weight, n_tissues, random_state, verbose, tell
    )


def _fit_with_level(
    entry, mle, sigma, X, prior, alpha, bias_weight, n_tissues, random_state, verbose, tell
):
    """`fit_to_scan` by an entry of the table that needs a training, at the noise level of `mle`.

    The signal model, the settings of the likelihood and the device are those of `mle`.
    """
    method, model = entry.estimator, mle.signal_model
    common = {"noise": mle.noise, "sigma": sigma, "random_state": random_state, "verbose": verbose}
    if method is SelfSupervisedNetRegressor:
        training = Training(device=mle.device)
        net = method(model, bounds=mle.bounds, normalize="rms", training=training, **common)
        return FittedToScan(net.fit(X).set_params(verbose=0))
    ranges = amplitude_ranges(model, mle.predict(X), sigma)
    if isinstance(prior, str):
        tell("Learning the prior from the scan")
        prior = learn_prior(
            model, X, sigma=sigma, noise=mle.noise, prior=ranges, random_state=random_state
        )
    if method is PosteriorMeanEstimator:
        posterior = method(model, prior=_with_amplitudes(prior, ranges), **common)
        return FittedToScan(posterior.fit(X).set_params(verbose=0))
    # The first amplitude is the signal without weighting; its range over sigma is that of the SNR.
    snr = tuple(float(end) / sigma for end in next(iter(ranges.values())))
    tell(f"Training on {n_tissues:,} simulated tissues at SNR {snr[0]:.1f} to {snr[1]:.1f}")
    net = train_for_snr(
        model, snr, name=entry.name, noise=mle.noise, bounds=mle.bounds, prior=prior,
        alpha=alpha, bias_weight=bias_weight, n_tissues=n_tissues, n_jobs=mle.n_jobs,
        device=mle.device, random_state=random_state, verbose=verbose,
    )  # fmt: skip
    return FittedToScan(net, sigma, snr)


def _with_amplitudes(prior, ranges):
    """Prior with the ranges of amplitudes of a scan, whose units no signal model's prior knows.

    Samples and callables have amplitudes of their own.
    """
    return ranges | (prior or {}) if prior is None or isinstance(prior, dict) else prior


def amplitude_ranges(signal_model, parameters, sigma):
    """Range of each amplitude in a scan, without outliers, by name.

    A fit to noise alone may have an amplitude of any size, whose signal decays before the first
    measurement. Voxels whose fitted signal nowhere exceeds a few sigma therefore lower the lower
    end of the range to the least SNR, and have no other effect.

    Parameters
    ----------
    signal_model : SignalModel
    parameters : ndarray of shape (n_voxels, n_parameters)
        Maximum-likelihood estimates; NaN if a voxel has none.
    sigma : float

    Returns
    -------
    dict of {str: (float, float)}
    """
    parameters = parameters[np.isfinite(parameters).all(axis=1)]
    tissue = np.abs(signal_model.simulate(parameters)).max(axis=1) > _AIR * sigma
    floor = _LEAST_SNR * sigma
    ranges = {}
    for p, column in zip(signal_model.parameters, parameters.T, strict=True):
        if not p.amplitude:
            continue
        if not tissue.any():
            raise ValueError(
                f"Cannot tell the scan's {p.name}: the fitted signal of no voxel exceeds "
                f"{_AIR:g} sigma (sigma = {sigma:.4g}). Give a mask of tissue or a smaller sigma."
            )
        # The lower percentile of all voxels would lie in air if air is more than its share.
        low, high = np.maximum(np.percentile(column[tissue], _PERCENTILES), floor)
        ranges[p.name] = (float(floor if np.mean(~tissue) > 0.005 else low), float(high))
    return ranges
