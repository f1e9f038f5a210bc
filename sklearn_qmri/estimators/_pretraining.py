"""Training of one network per signal model for any protocol, noise level and weight of the bias."""

import json
from functools import partial
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state

from .._network import (
    MLP,
    BiasWeights,
    CorrectionError,
    ProtocolFreeNetwork,
    Stream,
    Training,
    train,
)
from .._version import __version__
from ..dictionary import make_atoms
from ..noise import resolve_noise
from ..tissues import prior_ranges
from ._protocol_ranges import describe_protocol, merge_ranges
from ._random_protocols import RandomProtocols, Sizes

_LR = 0.005
_CLIP = 5.0  # largest norm of a gradient: rare tissues and low SNR have large losses
_STEPS = 200  # steps of an epoch, after each of which the network is validated
_VALIDATED = 20  # batches that are held out
_CELLS = 64
_BEYOND = 2.0  # weights up to this factor beyond the largest are trained too
# Least variance that a direction of the inputs is divided by, relative to the largest.
_LEAST_VARIANCE = 1e-4
_TRIED = 2000  # protocols whose properties are recorded


class PretrainingTask(NamedTuple):
    """Random protocols that a network learns from, see `RepeatTask` for the attributes."""

    source: RandomProtocols
    whitening: PCA
    n_inputs: int
    heads: list
    mix: np.ndarray
    seed: int
    steps: int

    n_shared = 1

    @property
    def criterion(self):
        """Loss per member."""
        return CorrectionError(self.source.sizes.repeats)

    def batches(self, network, training, generator):
        """Batches of an epoch to train on, none of which comes again, and those to validate on."""
        return Stream(partial(self._pass, self.steps), self.steps), list(self._pass(_VALIDATED, 0))

    def _pass(self, n_batches, number):
        """Batches that only depend on the seed and the number of the pass."""
        rng = np.random.RandomState([self.seed, number])
        generator = torch.Generator().manual_seed(int(rng.randint(2**30)))
        return (self._whitened(rng, generator) for _ in range(n_batches))

    def _whitened(self, rng, generator):
        inputs, target = self.source.batch(rng, generator)
        n = self.whitening.n_features_in_
        # The inputs of the weights are within -1 and 1 as they are.
        white = self.whitening.transform(inputs[:, :n].numpy()).astype(np.float32)
        return torch.cat([torch.from_numpy(white), inputs[:, n:]], 1), target


def pretrain(
    draw_protocol,
    *,
    prior=None,
    snr=(3.0, 200.0),
    noises=("auto",),
    max_bias_weight=30.0,
    n_atoms=1024,
    network=None,
    n_epochs=40,
    checkpoint=None,
    random_state=None,
    verbose=0,
):
    """Train a network for any protocol, noise level and weight of the squared bias.

    The network learns from protocols, noise levels and tissues that are drawn anew in every step.
    It sees a measurement through the posterior over atoms, and adds to the mean of the posterior
    what makes its bias smaller.

    Parameters
    ----------
    draw_protocol : callable
        Function of a `numpy.random.RandomState` that returns a signal model with a random protocol.
        All have one class and the same parameters, one of which is an amplitude.
    prior : dict of {str: (float, float)}, default=None
        Ranges of the tissues. Where the signal model searches for a parameter on a logarithmic
        axis, its logarithm is uniform. None: the prior of the signal model.
    snr : tuple of float, default=(3, 200)
        Range of the amplitude over sigma.
    noises : sequence of {"auto", "gaussian", "rician"} or NoiseModel, default=("auto",)
        Noise models, one of which is drawn in each step.
    max_bias_weight : float, default=30.0
        Largest weight of the squared bias that can be asked for.
    n_atoms : int, power of 2, default=1024
        Atoms of the dictionary. The posterior is exact where many of them resemble a measurement.
    network : MLP, default=None
        Architecture. None: three hidden layers of 128.
    n_epochs : int, default=40
        Length of the training, in epochs of 200 steps.
    checkpoint : path-like, default=None
        File that keeps the state of the training after every epoch. If it exists, the training is
        taken up there, and the result is that of a training without a break. It requires an integer
        as `random_state`, and can be deleted in the end.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    ProtocolFreeNetwork
        Value for the `weights` of `PretrainedNetRegressor`.

    Raises
    ------
    ValueError
        If the signal model does not have exactly one amplitude, a prior leaves its bounds, or
        `checkpoint` is the state of another training.
    RuntimeError
        If the training diverges.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri import pretrain
    >>> from sklearn_qmri.signal_models import ADC
    >>> def draw(rng):
    ...     return ADC(np.append(0.0, rng.uniform(100, 1000, size=rng.randint(2, 6))))
    >>> weights = pretrain(draw, n_atoms=256, n_epochs=1, random_state=0)
    >>> weights.about["protocols"]["number of measurements"]
    [3.0, 6.0]
    """
    if checkpoint is not None and not isinstance(random_state, Integral):
        raise ValueError(
            f"checkpoint expects an integer as random_state, got random_state={random_state!r}."
        )
    rng = check_random_state(random_state)
    network = MLP((128, 128, 128)) if network is None else network
    protocols = [draw_protocol(rng) for _ in range(_TRIED)]
    model = protocols[0]
    atoms = make_atoms(model, prior_ranges(model, prior), n_atoms, _CELLS)
    span = BiasWeights(1.0, _BEYOND * max_bias_weight)
    noises = [resolve_noise(noise, model) for noise in noises]
    source = RandomProtocols(draw_protocol, atoms, noises, snr, span, Sizes())
    about = {
        "model": name_of(model),
        "parameters": list(model.parameter_names),
        "prior": dict(zip(model.parameter_names, atoms.ranges.T.tolist(), strict=True)),
        "protocols": merge_ranges([describe_protocol(each) for each in protocols]),
        "snr": list(snr),
        "noises": [type(noise).__name__ for noise in noises],
        "max_bias_weight": float(max_bias_weight),
        "version": __version__,
    }
    if checkpoint is not None:
        settings = {"atoms": n_atoms, "epochs": n_epochs, "seed": int(random_state)}
        checkpoint = checkpoint, json.dumps([about, settings, repr(network)])
    task = _make_task(source, rng)
    fitted = train(
        task, None, network, Training(_LR), max_epochs=n_epochs, lr=_LR, rng=rng, clip=_CLIP,
        checkpoint=checkpoint, verbose=verbose,
    )  # fmt: skip
    about["validation_loss"] = float(fitted.history["valid_loss"].min())
    layers = _unwhitened(fitted, task.whitening)
    return ProtocolFreeNetwork(atoms, *layers, span, network.activation, about)


def name_of(signal_model):
    """Name of a signal model without its protocol, which tells what a network was trained for."""
    choices = [
        f"{name}={value}"
        for name, value in signal_model.get_params().items()
        if isinstance(value, (str, bool))
    ]
    return "-".join([type(signal_model).__name__, *choices])


def _make_task(source, rng):
    """Task with the whitening of the inputs, learnt from a few batches."""
    seed = int(rng.randint(2**30))
    generator = torch.Generator().manual_seed(seed)
    n_parameters = len(source.atoms.log)
    inputs = np.concatenate(
        [source.batch(rng, generator)[0][:, :-n_parameters].numpy() for _ in range(_VALIDATED)]
    )
    whitening = PCA(whiten=True).fit(inputs)
    variance = whitening.explained_variance_
    whitening.explained_variance_ = np.maximum(variance, _LEAST_VARIANCE * variance[0])
    zeros, ones = np.zeros(n_parameters), np.ones(n_parameters)
    heads = [(("identity",) * n_parameters, zeros, ones)]
    n_inputs = inputs.shape[1] + n_parameters
    return PretrainingTask(source, whitening, n_inputs, heads, ones[None], seed, _STEPS)


def _unwhitened(fitted, whitening):
    """Layers of a network on inputs before their whitening, which is linear too."""
    coefs = [layer[0] for layer in fitted.coefs]
    intercepts = [layer[0, 0] for layer in fitted.intercepts]
    n = whitening.n_features_in_
    # White inputs are (x - m) V / s: the first layer becomes x (V / s W) + (b - m V / s W).
    matrix = whitening.components_.T / np.sqrt(whitening.explained_variance_)
    first = matrix @ coefs[0][:n]
    intercepts[0] = (intercepts[0] - whitening.mean_ @ first).astype(np.float32)
    coefs[0] = np.concatenate([first, coefs[0][n:]]).astype(np.float32)
    return coefs, intercepts
