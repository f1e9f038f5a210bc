"""Networks trained without labels: their predictions must explain the signals they came from."""

from typing import ClassVar

import numpy as np
from sklearn.utils import check_random_state

from .._network import Domain, NetworkInputs, SignalLikelihood
from ..information import warn_of_unidentified
from ..tissues import check_bounds
from ._door import all_or_nothing, check_fit, settle_sigma
from ._mle import MLEEstimator
from ._net import NetRegressor, hold_out_tissues


class SelfSupervisedNetRegressor(NetRegressor):
    """Network trained to explain signals, without labels.

    Minimises the negative log-likelihood of each row under the signal model at the network's own
    prediction: under Gaussian noise the squared error of the signal, as first published
    (Barbieri 2020), under Rician noise its likelihood (Parker 2025). Little bias and much
    variance, like maximum likelihood, which it approaches from one network for all voxels.

    Trains on simulated signals as well as on the voxels of the scan that it is then applied to.

    Parameters
    ----------
    signal_model : SignalModel
        What a tissue would measure without noise.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float, default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit` as `MLEEstimator` does.
    bounds : dict of {str: (float, float)}, default=None
        Ranges of parameters by name, in place of the signal model's bounds, for sigmoid outputs.
        With ``normalize="rms"`` those of amplitudes are in units of the row's root mean square.
    normalize : {None, "rms"}, default=None
        "rms": the network sees each row divided by its root mean square, so that the scanner's
        scale does not matter; amplitudes are scaled back.
    sigma_input : bool, default=False
        Give the network log(sigma / root mean square of the row) as one more input.
    standardize : bool, default=True
        Whiten the inputs, by what the training rows are like.
    hidden_layer_sizes : tuple of int, default=(64, 64, 64)
        Units of each hidden layer, from the input on.
    activation : {"silu", "gelu", "elu", "relu", "tanh"}, default="silu"
    output : {"auto", "sigmoid", "softplus", "abs", "identity"}, default="auto"
        Shape of the last layer. "sigmoid" squashes each parameter between its bounds. "auto":
        sigmoid where both are finite, softplus where only the lower one is, else identity. "abs"
        is in units of the loss scale, for amplitudes of the mean of the rows' largest signals.
    parallel_subnets : bool, default=False
        One network per parameter, each with these hidden layers, instead of one for all.
    dropout : float, default=0
        Share of the units dropped in training, after every hidden layer but the last.
    batch_norm : bool, default=False
        Normalise each hidden layer over the batch before its activation.
    n_init : int, default=1
        Networks trained side by side from different initial weights; the one with the least
        validation loss predicts.
    ensemble : bool, default=False
        Predict the mean of all `n_init` networks instead.
    max_epochs : int, default=40
        Length of the one-cycle schedule of the learning rate.
    batch_size : int, default=None
        None: 1000, or less where that would leave fewer than 20 steps per epoch.
    lr : float, default=0.01
        Peak of the learning rate.
    schedule : {"onecycle", "constant"}, default="onecycle"
        Of the learning rate.
    weight_decay : float, default=0
        L2 penalty of all weights, as Adam takes it.
    patience : int, default=None
        Stop after this many epochs without a better validation loss. None: never.
    validation_fraction : float, default=0.2
        Share of the rows that is held out to choose epoch and network.
    device : str, default="cpu"
        Where torch trains.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : noise model
    sigma_ : float or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
    coefs_, intercepts_ : list of ndarray
        Weights of each layer, (n_networks, n_in, n_out) and (n_networks, 1, n_out), of what
        predicts: one network; those of the ensemble; or for each of these one per parameter.
    loss_curve_ : ndarray of shape (n_epochs, n_init)
        Training loss of each network.
    validation_loss_ : ndarray of shape (n_epochs, n_init)
    best_init_ : int
    n_epochs_ : int
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
        **NetRegressor._parameter_constraints,
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
        standardize=True,
        hidden_layer_sizes=(64, 64, 64),
        activation="silu",
        output="auto",
        parallel_subnets=False,
        dropout=0.0,
        batch_norm=False,
        n_init=1,
        ensemble=False,
        max_epochs=40,
        batch_size=None,
        lr=0.01,
        schedule="onecycle",
        weight_decay=0.0,
        patience=None,
        validation_fraction=0.2,
        device="cpu",
        random_state=None,
        verbose=0,
    ):
        super().__init__(
            signal_model=signal_model,
            noise=noise,
            sigma=sigma,
            normalize=normalize,
            sigma_input=sigma_input,
            standardize=standardize,
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            output=output,
            parallel_subnets=parallel_subnets,
            dropout=dropout,
            batch_norm=batch_norm,
            n_init=n_init,
            ensemble=ensemble,
            max_epochs=max_epochs,
            batch_size=batch_size,
            lr=lr,
            schedule=schedule,
            weight_decay=weight_decay,
            patience=patience,
            validation_fraction=validation_fraction,
            device=device,
            random_state=random_state,
            verbose=verbose,
        )
        self.bounds = bounds

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
            Simulated, or of the scan itself.
        y : array-like of shape (n_voxels, n_parameters), default=None
            Not learnt from; validation then holds out whole tissues (distinct rows of y).
        sigma : float or array-like of shape (n_voxels,), default=None
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
        rows = check_fit(self, X, y, sigma, y_needed=False)
        warn_of_unidentified(self.signal_model_)
        rows = settle_sigma(self, rows, sigma, lambda: self._learn_sigma(rows.X))
        X, sigma = rows.X, rows.sigma
        tissues = np.arange(len(X), dtype=float)[:, None] if rows.y is None else rows.y
        rng = check_random_state(self.random_state)
        self._inputs_ = NetworkInputs(
            self.signal_model_, self.normalize, self.sigma_input, self.standardize
        )
        x = self._inputs_.fit(X, sigma).transform(X, sigma)
        amplitude = self._inputs_.amplitude(X)
        scaled = any(p.amplitude for p in self.signal_model_.parameters)
        bounds = check_bounds(self.bounds, self.signal_model)
        largest = np.mean(np.abs(X).max(axis=1, keepdims=True) / amplitude)
        self._heads_ = [_shape_output(self.output, self.signal_model_, bounds, largest)]
        # The loss is the squared error of what the network sees, if the noise is Gaussian.
        factor = 2 * np.mean((sigma[:, None] / amplitude) ** 2)
        self._train(
            x,
            np.hstack([X, amplitude if scaled else np.ones_like(amplitude)]) / sigma[:, None],
            hold_out_tissues(tissues, self.validation_fraction, rng),
            self._head(),
            SignalLikelihood(self.signal_model_, self.noise_, factor),
            rng,
        )
        predicted = self._members(X, sigma).mean(axis=0)
        domain = Domain(self.signal_model_, self.noise_, self._inputs_)
        self._domain_ = domain.fit(X, predicted, sigma)
        return self

    def _learn_sigma(self, X):
        mle = MLEEstimator(self.signal_model, noise=self.noise_, verbose=self.verbose)
        return mle.fit(X).sigma_


def _shape_output(output, signal_model, bounds, largest):
    """Shape, offset and width of the last layer for each parameter, see `Head`.

    `largest` is the mean of the rows' largest signals, as the network sees them.
    """
    columns = []
    for p, (low, high) in zip(signal_model.parameters, bounds.T, strict=True):
        shape = output
        if output == "auto":
            shape = "sigmoid" if np.isfinite(low + high) else "softplus"
            shape = shape if np.isfinite(low) else "identity"
        if shape == "sigmoid" and not np.isfinite(low + high):
            raise ValueError(
                f"output='sigmoid' needs finite bounds, {p.name} has ({low:g}, {high:g})."
            )
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
