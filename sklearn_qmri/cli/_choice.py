"""Probabilities of several signal models, written beside the maps of a fit."""

import json

import numpy as np

from .._files import replacing
from .._version import __version__
from ..estimators import MLEEstimator, PosteriorMeanEstimator
from ..image import predict_model_probabilities
from ..image._fit import amplitude_ranges
from ..noise import level_of_rows
from ._console import notes
from ._protocol import acquisition_of, make_model


def other_models(text, signal_model, task, overwrite):
    """Signal models by name from an option, with the acquisition of another one; None if none.

    Raises
    ------
    ValueError
        If there are less than two names, a name twice, or a model that the scan has no acquisition
        for.
    FileExistsError
        If there are maps of their probabilities already, unless `overwrite`.
    """
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(f"--models expects two or more different models, got {text!r}.")
    models = {name: make_model(name, None, [], acquisition_of(signal_model)) for name in names}
    for stem in _stems(models, task).values():
        if (path := _with(stem, ".nii.gz")).exists() and not overwrite:
            raise FileExistsError(f"{path} exists already.")
    return models


def _stems(models, task):
    """Paths of the maps without their endings, by name."""
    folder, prefix = task.maps.folder, task.maps.prefix
    stems = {name: folder / f"{prefix}_model-{name}_desc-evidence_probseg" for name in models}
    return stems | {"best": folder / f"{prefix}_desc-evidence_dseg"}


def write_probabilities(models, mle, X, task, seed):
    """Write maps of the probability of each model, and of the most probable one.

    Parameters
    ----------
    models : dict of {str: SignalModel} or None
        Result of `other_models`; None writes nothing.
    mle : MLEEstimator
        With the noise model, and with the noise level if it is known.
    X : ndarray of shape (n_voxels, n_measurements)
        Signals of some voxels.
    task : Task
    seed : int
    """
    if models is None:
        return
    posteriors, sigma = _posteriors(models, mle, X, seed)
    maps = predict_model_probabilities(posteriors, task.scan, verbose=1)
    levels = {str(i): name for i, name in enumerate(models, 1)} | {"0": "none"}
    story = {
        "Criterion": "evidence",
        "Models": {name: repr(model) for name, model in models.items()},
        "Priors": {name: posterior.prior for name, posterior in posteriors.items()},
        "Sigma": sigma,
        "Sources": [str(source) for source in task.sources],
        "Mask": str(task.mask),
        "GeneratedBy": [{"Name": "sklearn_qmri", "Version": __version__}],
        "Use": "research only",
    }
    for name, stem in _stems(models, task).items():
        with replacing(_with(stem, ".nii.gz")) as scratch:
            maps[name].to_filename(scratch)
        own = {"Levels": levels} if name == "best" else {"Units": ""}
        with replacing(_with(stem, ".json")) as scratch:
            scratch.write_text(json.dumps(own | story, indent=1) + "\n")
    best = np.asanyarray(maps["best"].dataobj)[task.scan.inside]
    shares = ", ".join(f"{name} {np.mean(best == i):.0%}" for i, name in enumerate(models, 1))
    notes.print(f"Most probable model: {shares} of the voxels")


def _with(stem, ending):
    return stem.with_name(stem.name + ending)


def _posteriors(models, mle, X, seed):
    """Fitted posteriors by name, and the noise level of all."""
    fits = {
        name: MLEEstimator(model, noise=mle.noise, sigma=mle.sigma).fit(X)
        for name, model in models.items()
    }
    # Residuals of a model that does not explain the signals would make all models look alike.
    sigma = mle.sigma
    if sigma is None:
        sigma = min(fit.sigma_ for fit in fits.values())
    level = float(level_of_rows(np.broadcast_to(sigma, (1, X.shape[1])))[0])
    posteriors = {}
    for name, fit in fits.items():
        prior = amplitude_ranges(models[name], fit.predict(X), level)
        posterior = PosteriorMeanEstimator(
            models[name], noise=mle.noise, sigma=sigma, prior=prior, random_state=seed
        )
        posteriors[name] = posterior.fit(X)
    return posteriors, np.asarray(sigma).tolist()
