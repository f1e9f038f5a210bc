"""Bias and spread of an estimator at given tissues, by simulated repeats."""

from numbers import Integral, Real

import numpy as np
from joblib import Parallel, delayed
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_is_fitted

from .._arrays import as_floats
from .._warnings import quiet
from ..estimators import core, refuse_to_lose_sigma, signal_model_of, takes
from ..estimators._rows import scatter_rows
from ..noise import check_sigma, resolve_noise
from ..tissues import measure

_ROWS = 65536  # rows that are simulated and estimated at once; small sets take several repeats


def parametric_bootstrap(
    estimator, parameters, *, sigma=None, fixed=None, n_repeats=30, random_state=None, n_jobs=None
):
    """Bias and spread of any estimator at each of many tissues.

    Noise repeats of each tissue are simulated and estimated again. At estimates, in place of the
    unknown true tissues, this is the parametric bootstrap. It works where the Fisher information is
    silent: for networks, and for optima on bounds.

    Parameters
    ----------
    estimator : fitted estimator
        Estimator with a signal model, or a pipeline or search that ends in one.
    parameters : array-like of shape (n_voxels, n_parameters)
        Tissues, e.g. estimates. Voxels with NaN have no result.
    sigma : float or array-like, default=None
        Noise level of shape (n_voxels,), (n_voxels, n_measurements) or (1, n_measurements), same as
        for `predict`. None: the one of `fit`.
    fixed : dict of {str: float or array-like of shape (n_voxels,)}, default=None
        Known parameters by name, for estimators that take them: those that the estimates were made
        with.
    n_repeats : int, default=30
        Noise repeats of each tissue, at least 2. The standard error of `std` is about
        ``std / sqrt(2 * n_repeats)``, that of `bias` is ``std / sqrt(n_repeats)``.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time, whatever `n_jobs` is.
    n_jobs : int, default=None
        Number of processes, as in joblib.

    Returns
    -------
    Bunch
        Arrays of shape (n_voxels, n_parameters): `bias` (mean estimate minus the tissue), `std` and
        `root_mean_squared_error` of the estimates, and `n_valid` (n_voxels,), the number of repeats
        with an estimate. NaN where fewer than 2 have one.

    Raises
    ------
    NotFittedError
        Before `fit`.
    ValueError
        If the shape of `parameters` or `sigma` does not fit, no noise level is known, or
        `n_repeats` is less than 2.

    References
    ----------
    Efron B, Tibshirani R (1993), An Introduction to the Bootstrap, chapter 6.

    Examples
    --------
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.inspection import parametric_bootstrap
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 200, 500, 1000])
    >>> X, y = make_signals(model, 100, snr=30, random_state=0)
    >>> mle = MLEEstimator(model, sigma=1 / 30).fit(X)
    >>> found = parametric_bootstrap(mle, mle.predict(X), random_state=0)
    >>> found.std.shape
    (100, 2)
    """
    check_is_fitted(estimator)
    if not isinstance(n_repeats, Integral) or n_repeats < 2:
        raise ValueError(f"n_repeats expects an integer of at least 2, got {n_repeats!r}.")
    model = signal_model_of(estimator)
    parameters = as_floats(parameters)
    if parameters.ndim != 2 or parameters.shape[1] != len(model.parameters):
        raise ValueError(
            f"parameters expects a row per voxel of {list(model.parameter_names)}, got shape "
            f"{parameters.shape}."
        )
    usable = np.isfinite(parameters).all(axis=1)
    levels = _levels(estimator, sigma, len(parameters), model, usable)
    seeds = check_random_state(random_state).randint(2**31 - 1, size=n_repeats)
    # Several repeats of a small set in one call: each call has a cost of its own.
    together = max(1, min(n_repeats, _ROWS // max(1, np.count_nonzero(usable))))
    known = {
        name: np.broadcast_to(as_floats(value), len(parameters))[usable]
        for name, value in (fixed or {}).items()
    }
    chosen = parameters[usable], levels[usable], known
    parts = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_sums)(estimator, *chosen, seeds[i : i + together])
        for i in range(0, n_repeats, together)
    )
    n, total, squares = (sum(part) for part in zip(*parts, strict=True))
    return _moments(usable, n, total, squares)


def _levels(estimator, sigma, n_voxels, model, usable):
    """Noise levels of all voxels, from the argument or the estimator."""
    inner = core(estimator)
    if sigma is not None:
        refuse_to_lose_sigma(estimator)
    sigma = getattr(inner, "sigma_", None) if sigma is None else sigma
    if sigma is None or (isinstance(sigma, Real) and np.isnan(sigma)):
        raise ValueError("sigma expects the noise level, which the estimator does not know.")
    return check_sigma(sigma, n_voxels, usable, model.n_measurements)


def _sums(estimator, parameters, levels, known, seeds):
    """Number of repeats with an estimate, and sums of their errors and squared errors."""
    model = signal_model_of(estimator)
    noise = getattr(core(estimator), "noise_", None) or resolve_noise("auto", model)
    repeats = [
        measure(model, noise, parameters, levels, np.random.RandomState(seed)) for seed in seeds
    ]
    options = {}
    if takes(estimator, "sigma"):
        options["sigma"] = np.tile(levels, (len(seeds), *[1] * (levels.ndim - 1)))
    if known:
        options["fixed"] = {name: np.tile(value, len(seeds)) for name, value in known.items()}
    with quiet():
        found = estimator.predict(np.concatenate(repeats), **options)
    error = found.reshape(len(seeds), *parameters.shape) - parameters
    valid = np.isfinite(error).all(axis=2)
    error[~valid] = 0.0
    return np.count_nonzero(valid, axis=0), error.sum(axis=0), (error**2).sum(axis=0)


def _moments(usable, n, total, squares):
    """`Bunch` of all voxels from the sums of the usable ones."""
    count = np.where(n >= 2, n, np.nan)[:, None]
    bias = total / count
    # Errors are those about the tissue, so that hardly a digit is lost unless the bias is large.
    variance = np.maximum(squares / count - bias**2, 0.0) * count / (count - 1)
    columns = {
        "bias": bias,
        "std": np.sqrt(variance),
        "root_mean_squared_error": np.sqrt(squares / count),
    }
    results = {name: scatter_rows(values, usable) for name, values in columns.items()}
    return Bunch(**results, n_valid=scatter_rows(n, usable, fill=0))
