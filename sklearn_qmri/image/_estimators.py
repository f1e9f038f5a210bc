"""Description of a run for the sidecars of its maps: the estimator and its input."""

import json
import os
from numbers import Real

import numpy as np

from ..dictionary import WeightedPrior
from ..estimators import core, signal_model_of

_LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # of the quantiles that describe a learnt prior
_IN_MEMORY = "a map in memory"


def describe_run(estimator, sigma, sources, fixed=None, mask=None):
    """Fields of a sidecar that determine the values of the maps."""
    story = describe(estimator) | {"Sources": [str(source) for source in sources]}
    if sigma is not None:
        # The noise level is that of the scan, not the one that the estimator may have learnt.
        story["Sigma"] = _described(sigma)
        story |= {"SigmaLearnt": False, "SigmaStandardError": None}
    if fixed:
        story["Fixed"] = {n: _described(v) for n, v in fixed.items()}
    if mask is not None:
        story["Mask"] = str(mask)
    # Through JSON and back, so that it compares equal to a sidecar that was read from disk.
    return json.loads(json.dumps(story, default=repr))


def _described(value):
    """A number or a few as they are, a file by its name, and any other map by words."""
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, (str, os.PathLike)):
        return str(value)
    if hasattr(value, "dataobj"):
        return value.get_filename() or _IN_MEMORY
    values = np.asarray(value)
    return values.tolist() if values.ndim == 2 and len(values) == 1 else _IN_MEMORY


def describe(estimator):
    """Method, signal model, noise and seed behind an estimator's maps, ready for JSON."""
    inner, model = core(estimator), signal_model_of(estimator)
    noise = getattr(inner, "noise_", None)
    # An attribute that an estimator lacks is null in the sidecar.
    # A search has chosen its own, which ends in an underscore.
    weights = [
        getattr(inner, f"{name}_", getattr(inner, name, None)) for name in ("alpha", "bias_weight")
    ]
    alpha, bias_weight = (None if w is None else np.asarray(w, float).tolist() for w in weights)
    seed, error = getattr(inner, "random_state", None), getattr(inner, "sigma_error_", np.nan)
    sigma = getattr(inner, "sigma_", None)
    return {
        "Method": type(inner).__name__,
        "Estimator": " ".join(repr(estimator).split()),
        "SignalModel": _arguments_of(model),
        "Noise": repr(noise),
        "NoiseModel": None if noise is None else _arguments_of(noise),
        "Sigma": None if sigma is None else np.asarray(sigma, float).tolist(),
        "SigmaLearnt": bool(np.isfinite(error)),
        "SigmaStandardError": float(error) if np.isfinite(error) else None,
        "Alpha": alpha,
        "BiasWeight": bias_weight,
        "Seed": int(seed) if isinstance(seed, (int, np.integer)) else None,
        "Training": _training_of(inner),
    }


def _arguments_of(value):
    """Class and arguments of a signal model or noise model."""
    arguments = {name: np.asarray(item).tolist() for name, item in value.get_params().items()}
    return {"Name": type(value).__name__} | arguments


def _training_of(estimator):
    """Tissues, SNRs and number of rows that an estimator was trained on; None without a training.

    For a posterior mean these are the tissues of its prior.
    """
    if hasattr(estimator, "atoms_"):
        tissues = np.transpose([estimator.atoms_.min(axis=0), estimator.atoms_.max(axis=0)])
        names = estimator.signal_model_.parameter_names
        prior = dict(zip(names, tissues.tolist(), strict=True))
        about = {"prior": prior, "rows": len(estimator.atoms_)}
        if isinstance(estimator.prior, WeightedPrior):
            about["learnt"] = dict(zip(names, _quantiles(estimator), strict=True))
    else:
        about = getattr(getattr(estimator, "network_", None), "about", {})
    keys = {"prior": "Prior", "learnt": "LearntPrior", "snr": "SNR", "rows": "Rows"}
    return {key: about[name] for name, key in keys.items() if name in about} or None


def _quantiles(estimator):
    """Quantiles of each parameter under a prior of weighted tissues."""
    quantiles = []
    for values in estimator.atoms_.T:
        order = np.argsort(values)
        upper = np.cumsum(estimator.atom_weights_[order])
        index = np.searchsorted(upper, np.array(_LEVELS) * upper[-1])
        quantiles.append(values[order][index].tolist())
    return quantiles
