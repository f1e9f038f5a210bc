"""Networks trained without labels, on how well predictions explain the signals."""

from functools import partial
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from .._network import LabelTask, SignalLikelihood, train
from ..information import warn_of_unidentified
from ..noise import columns_of
from ..signal_models import SignalModel
from ..tissues import check_bounds
from ._door import check_fit, settle_sigma
from ._mle import fit_sigma
from ._net import (
    NETWORK,
    NetworkRegressorMixin,
    hold_out_tissues,
    learn_domain,
    make_inputs,
    network_settings,
)
from ._regressor import all_or_nothing

# Learning rate if the training settings have none.
_LR = 0.02
# Weight decay if the training settings have none, for noise as strong as the signal. Its square
# root dependence on the power of the noise was chosen by measurement from SNR 8 to 100: a decay in
# proportion to the power leaves too much variance at SNR 30, a constant one too much bias at 100.
_DECAY = 8e-4


class SelfSupervisedNetRegressor(NetworkRegressorMixin, BaseEstimator):
    """Network trained to explain signals, without labels.

    Minimises the negative log-likelihood of each row under the signal model at the network's own
    prediction. Under Gaussian noise this is the squared error of the signal, as first published
    (Barbieri 2020); under Rician noise it is the Rician likelihood (Parker 2025). Predictions
    approach maximum-likelihood estimates, with one network for all voxels, and like these they
    have a small bias and a large variance. Where noise hardly determines a parameter, these
    estimates are often at a bound. A weight decay therefore keeps the network short of them: the
    variance and mostly the root mean squared error are less, and the bias is mostly larger.

    The network can be trained on simulated signals, or on the voxels of the scan itself.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit`, as in `MLEEstimator`.
    bounds : dict of {str: (float, float)}, default=None
        Ranges of parameters by name, in place of the signal model's bounds, for sigmoid outputs.
        With ``normalize="rms"`` the bounds of amplitudes are in units of the row's root mean
        square.
    normalize : {None, "rms"}, default=None
        "rms": the network gets each row divided by its root mean square, so that the scanner's
        scale may differ between rows; amplitudes are scaled back.
    sigma_input : bool, default=False
        Whether the network gets log(sigma / root mean square of the row) as one more input.
    network : MLP, default=None
        Architecture. None: ``MLP()``. Its output "sigmoid" keeps each parameter between its bounds.
        "auto" is sigmoid if both bounds are finite, softplus if only the lower one is, else
        identity. "abs" is in units of the loss scale, or for amplitudes in units of the mean of
        the rows' largest signals.
    max_epochs : int, default=40
        Length of the training, in passes over the rows.
    training : Training, default=None
        Settings of the training. None: ``Training()``. A `weight_decay` of None is 8e-4 times the
        root mean square of the noise over that of the signals, and 0 trains on the likelihood
        alone. `sigma` thus matters under Gaussian noise too.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : NoiseModel
    sigma_ : float or None
        Noise level, as given or as learnt. None if `fit` got one per row.
    network_ : FittedNetwork
        Trained network, with its weights `coefs` and `intercepts`. Its `history` holds the training
        and validation losses of each epoch and member.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    References
    ----------
    Barbieri et al., Magn Reson Med 2020;83:312. Kaandorp et al., Magn Reson Med 2021;86:2250.
    Parker et al., NMR Biomed 2025;38:e70136.

    Examples
    --------
    >>> from sklearn_qmri import SelfSupervisedNetRegressor
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 500, snr=30, random_state=0)
    >>> net = SelfSupervisedNetRegressor(model, sigma=1 / 30, max_epochs=10, random_state=0)
    >>> net.fit(X).predict(X).shape
    (500, 4)
    """

    _parameter_constraints: ClassVar = {
        **NETWORK,
        "signal_model": [SignalModel],
        "bounds": [dict, None],
    }

    def __init__(
        self,
        signal_model,
        *,
        noise="auto",
        sigma=None,
        bounds=None,
        normalize=None,
        sigma_input=False,
        network=None,
        max_epochs=40,
        training=None,
        random_state=None,
        verbose=0,
    ):
        self.signal_model = signal_model
        self.noise = noise
        self.sigma = sigma
        self.bounds = bounds
        self.normalize = normalize
        self.sigma_input = sigma_input
        self.network = network
        self.max_epochs = max_epochs
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        return tags

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Train on signals.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, simulated or of the scan itself.
        y : array-like of shape (n_voxels, n_parameters), default=None
            True parameters. They are only used to hold out whole tissues (distinct rows of y) for
            validation.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Takes precedence over the parameter of the same name.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument or parameter is out of range, or no row is usable.
        RuntimeError
            If the training diverges.
        """
        network, training = network_settings(self)
        rows = check_fit(self, X, y, sigma, y_needed=False)
        warn_of_unidentified(self.signal_model_)
        learn = partial(fit_sigma, self.signal_model, self.noise_, rows.X, self.verbose)
        rows = settle_sigma(self, rows, sigma, learn)
        X, sigma = rows.X, rows.sigma
        # Without y, every row is a tissue of its own.
        tissues = np.arange(len(X), dtype=float)[:, None] if rows.y is None else rows.y
        rng = check_random_state(self.random_state)
        inputs = make_inputs(self, network, self.signal_model_, X, sigma)
        amplitude = inputs.amplitude(X)
        bounds = check_bounds(self.bounds, self.signal_model_)
        largest = np.mean(np.abs(X).max(axis=1, keepdims=True) / amplitude)
        head = _shape_output(network.output, self.signal_model_, bounds, largest)
        # Without an amplitude the predicted signal is in the units of X already.
        scaled = any(p.amplitude for p in self.signal_model_.parameters)
        unit = amplitude if scaled else np.ones_like(amplitude)
        # The likelihood is in units of sigma: measurements, and the factors that convert predicted
        # signals.
        level = columns_of(sigma)
        target = np.hstack([X / level, np.broadcast_to(unit / level, X.shape)])
        # Gaussian noise has a likelihood of mean((x - s)^2 / sigma^2) / 2. Times the factor this is
        # the mean squared error of the normalised signals over their mean square, if all rows have
        # the same sigma / amplitude. The loss, which the weight decay is weighed against, thus does
        # not depend on the units of X.
        power = np.mean((X / amplitude) ** 2)
        noise_share = np.mean((level / amplitude) ** 2) / (power if power > 0 else 1.0)
        task = LabelTask(
            inputs.transform(X, sigma),
            target[None],
            hold_out_tissues(tissues, training.validation_fraction, rng),
            [head],
            np.ones((1, len(self.signal_model_.parameters))),
            SignalLikelihood(self.signal_model_, self.noise_, 2 * noise_share),
        )
        fitted = train(
            task, inputs, network, training, max_epochs=self.max_epochs, lr=_LR,
            weight_decay=_DECAY * np.sqrt(noise_share), rng=rng, verbose=self.verbose,
        )  # fmt: skip
        self.network_ = learn_domain(fitted, self.signal_model_, self.noise_, X, sigma)
        return self


def _shape_output(output, signal_model, bounds, largest):
    """Shape, offset and width of the last layer for each parameter, see `Head`.

    `largest` is the mean of the rows' largest signals, in the scale of the network's inputs.
    """
    columns = []
    for p, (low, high) in zip(signal_model.parameters, bounds.T, strict=True):
        shape = output
        if output == "auto":
            shape = "sigmoid" if np.isfinite([low, high]).all() else "softplus"
            shape = shape if np.isfinite(low) else "identity"
        if shape == "sigmoid" and not np.isfinite([low, high]).all():
            raise ValueError(
                f"output='sigmoid' needs finite bounds, {p.name} has ({low:g}, {high:g})."
            )
        # Amplitudes have a prior in arbitrary units, so that their scale comes from the signals.
        spread = largest if p.amplitude else p.prior[1] - p.prior[0]
        columns.append(
            {
                "sigmoid": ("sigmoid", low, high - low),
                "softplus": ("softplus", low, spread),
                "abs": ("abs", 0.0, largest if p.amplitude else p.loss_scale),
                "identity": ("identity", largest if p.amplitude else np.mean(p.prior), spread),
            }[shape]
        )
    shapes, low, width = zip(*columns, strict=True)
    return shapes, np.array(low), np.array(width)
