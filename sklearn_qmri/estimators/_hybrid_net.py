"""The network regressor."""

from typing import ClassVar

import numpy as np
import torch
from sklearn.base import clone
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from .._network import Domain, Head, HeadPerLabel, NetworkInputs, ScaledSquaredError
from ..signal_models import SignalModel
from ..tissues import measure
from ._door import (
    all_or_nothing,
    check_fit,
    check_parameters,
    settle_sigma,
    take_rows,
    usable_rows,
)
from ._labels import check_alpha, compute_labels, route_sigma
from ._mle import MLEEstimator
from ._net import NetRegressor, hold_out_tissues
from ._output import error_scale, limit_amplitudes, shape_output


class HybridLabelNetRegressor(NetRegressor):
    """Network trained on labels blended from truth and maximum-likelihood estimates.

    Minimises ``alpha * MSE(prediction, MLE label) + (1 - alpha) * MSE(prediction, y)``, each
    parameter's error divided by its scale; up to a constant, the squared error to the blended
    label ``alpha * MLE label + (1 - alpha) * y``. Training on the truth (alpha = 0) gives the
    least variance and a bias towards the mean of the training tissues; maximum-likelihood labels
    (alpha = 1) give the low bias and the variance of the maximum-likelihood estimate itself.

    Parameters
    ----------
    signal_model : SignalModel, default=None
        None: signals linear in the parameters with Gaussian noise, estimated from X and y.
    alpha : float or array-like of shape (n_parameters,), default=0.5
        Weight of the maximum-likelihood label, in [0, 1]. With 0, no such labels are computed.
    noise : {"auto", "gaussian", "rician"} or noise model, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float, default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit`, from X and the noise-free signals of y.
    label_estimator : regressor, default=None
        Fitted to (X, y); its ``predict(X)`` gives the second label. None: `MLEEstimator` with
        the same signal model, noise and sigma. A `sigma` passed to `fit` is passed on to it: with
        metadata routing as it requests, without if both its methods take it by name.
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
        Shape of the last layer. "sigmoid" squashes each parameter into the range of its training
        targets, 2 % wider on both sides unless its alpha is 0. "auto": sigmoid, but softplus for
        parameters without upper bound unless their alpha is 0, and identity for those without any
        bound. "abs" is in units of the parameter's error scale.
    parallel_subnets : bool, default=False
        One network per parameter, each with these hidden layers, instead of one for all.
    dropout : float, default=0
        Share of the units dropped in training, after every hidden layer but the last.
    batch_norm : bool, default=False
        Normalise each hidden layer over the batch before its activation.
    param_scale : array-like of shape (n_parameters,), default=None
        Divides each parameter's error. None: the loss scales of `signal_model_`.
    n_init : int, default=1
        Networks trained side by side from different initial weights; the one with the least
        validation loss predicts.
    ensemble : bool, default=False
        Predict the mean of all `n_init` networks instead.
    max_epochs : int, default=40
        Length of the one-cycle schedule of the learning rate.
    batch_size : int, default=None
        None: 1000, or less where that would leave fewer than 20 steps per epoch.
    lr : float, default=0.02
        Peak of the learning rate.
    schedule : {"onecycle", "constant"}, default="onecycle"
        Of the learning rate.
    weight_decay : float, default=0
        L2 penalty of all weights, as Adam takes it.
    patience : int, default=None
        Stop after this many epochs without a better validation loss. None: never.
    validation_fraction : float, default=0.2
        Share of the tissues (distinct rows of y) that is held out to choose epoch and network.
    resample_noise : bool, default=False
        Train every epoch on fresh noise over the noise-free signals of y: less overfitting.
        Maximum-likelihood labels belong to the noise that they were computed from; so unless
        alpha is 0, one network is trained on each kind of label, side by side, and what they
        predict is blended.
    device : str, default="cpu"
        Where torch trains.
    memory : str or joblib.Memory, default=None
        Cache of labels: fits on the same X and y that differ in alpha compute them once.
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
    label_estimator_ : estimator or None
        None if no labels had to be computed.
    coefs_, intercepts_ : list of ndarray
        Weights of each layer, (n_networks, n_in, n_out) and (n_networks, 1, n_out), of what
        predicts: one network; those of the ensemble; or for each of these one per parameter.
    loss_curve_ : ndarray of shape (n_epochs, n_init)
        Training loss of each network; twice as many columns where both kinds of label have their
        own.
    validation_loss_ : ndarray of shape (n_epochs, n_init)
    best_init_ : int
    n_epochs_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    HybridLabelNetRegressorCV : Chooses alpha by bias and variance.
    HybridLabelRegressor : The same labels for any regressor.

    Notes
    -----
    Maximum-likelihood labels of an amplitude are cut at 3 times the largest true one of the
    training, relative to the row's root mean square with ``normalize="rms"``: where a signal is all
    noise, a rapid decay with an amplitude of any size may explain it best.

    References
    ----------
    Epstein et al., arXiv 2205.05587; MELBA 2024:002.

    Examples
    --------
    >>> from sklearn_qmri import HybridLabelNetRegressor
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 1000, snr=30, random_state=0)
    >>> net = HybridLabelNetRegressor(model, alpha=0.5, sigma=1 / 30, random_state=0)
    >>> net.fit(X, y).predict(X).shape
    (1000, 4)
    """

    _parameter_constraints: ClassVar = {
        **NetRegressor._parameter_constraints,
        "signal_model": [SignalModel, None],
        "resample_noise": ["boolean"],
    }

    def __init__(
        self,
        signal_model=None,
        *,
        alpha=0.5,
        noise="auto",
        sigma=None,
        label_estimator=None,
        normalize=None,
        sigma_input=False,
        standardize=True,
        hidden_layer_sizes=(64, 64, 64),
        activation="silu",
        output="auto",
        parallel_subnets=False,
        dropout=0.0,
        batch_norm=False,
        param_scale=None,
        n_init=1,
        ensemble=False,
        max_epochs=40,
        batch_size=None,
        lr=0.02,
        schedule="onecycle",
        weight_decay=0.0,
        patience=None,
        validation_fraction=0.2,
        resample_noise=False,
        device="cpu",
        memory=None,
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
        self.alpha = alpha
        self.label_estimator = label_estimator
        self.param_scale = param_scale
        self.resample_noise = resample_noise
        self.memory = memory

    def get_metadata_routing(self):
        """Sigma goes to the label estimator as that requests.

        Returns
        -------
        MetadataRouter
            For scikit-learn.
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if self.label_estimator is not None:
            mapping = MethodMapping().add(caller="fit", callee="fit")
            mapping.add(caller="fit", callee="predict")
            router.add(label_estimator=self.label_estimator, method_mapping=mapping)
        return router

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None, mle_labels=None):
        """Train on signals of known tissues.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            Rows with identical values are noise repeats of one tissue.
        sigma : float or array-like of shape (n_voxels,), default=None
            Takes precedence over the parameter of the same name.
        mle_labels : array-like of shape (n_voxels, n_parameters), default=None
            Maximum-likelihood labels computed before; `label_estimator` is not used then.

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
        both = self.resample_noise and bool(np.any(self.alpha))
        self._fit_labels(X, y, sigma, mle_labels, both)
        return self

    def _fit_labels(self, X, y, sigma, mle_labels, both=False):
        """Train on blended labels; on both kinds apart, to blend predictions, if `both`."""
        self.label_estimator_ = None
        given_sigma = sigma is not None
        X, y, sigma, mle_labels = self._validate_fit(X, y, sigma, mle_labels)
        alphas = [np.zeros(y.shape[1]), np.ones(y.shape[1])] if both else [self._alpha_]
        self._mix_ = np.stack([1 - self._alpha_, self._alpha_] if both else np.ones_like(alphas))
        needed = np.any(alphas, axis=0)
        if mle_labels is None:
            mle_labels = y
            if needed.any():
                mle_labels = self._label(X, y, sigma if given_sigma else None)
        labels = np.where(needed, mle_labels, y)
        usable = usable_rows(X, self.noise_, y, labels)
        X, y, sigma, labels = X[usable], y[usable], sigma[usable], labels[usable]
        self._inputs_ = NetworkInputs(
            self.signal_model_, self.normalize, self.sigma_input, self.standardize
        )
        self._inputs_.fit(X, sigma)
        self._train_blends(X, y, labels, sigma, alphas)
        predicted = self._members(X, sigma).mean(axis=0)
        domain = Domain(self.signal_model_, self.noise_, self._inputs_)
        self._domain_ = domain.fit(X, predicted, sigma)

    def _per_label(self, X, sigma):
        """Predictions of usable rows, (n_labels, n_members, n_voxels, n_parameters)."""
        members = super()._members(X, sigma)
        per_label = len(members) // len(self._mix_)
        return members.reshape(len(self._mix_), per_label, *members.shape[1:])

    def _members(self, X, sigma):
        return np.einsum("lp,lmvp->mvp", self._mix_, self._per_label(X, sigma))

    def _validate_fit(self, X, y, sigma, mle_labels):
        """Check everything; drop unusable rows; settle model, noise, noise level and alpha."""
        if self.normalize is not None and self.signal_model is None:
            raise ValueError("normalize='rms' needs a signal_model, to know the amplitudes.")
        rows = check_fit(self, X, y, sigma, y_needed=True)
        self._alpha_ = check_alpha(self.alpha, rows.y.shape[1])
        if self.resample_noise and self.signal_model is None:
            raise ValueError("resample_noise=True needs a signal_model, to simulate y again.")
        if mle_labels is not None:
            mle_labels, _ = check_parameters(mle_labels, X, self.signal_model, "mle_labels")
            mle_labels = take_rows(mle_labels, rows.usable)
        rows = settle_sigma(self, rows, sigma)
        return rows.X, rows.y, rows.sigma, mle_labels

    def _label(self, X, y, sigma):
        """Labels by the label estimator."""
        if self.label_estimator is None:
            estimator = MLEEstimator(
                self.signal_model, noise=self.noise, sigma=self.sigma_, verbose=self.verbose
            )
            params = Bunch(fit={"sigma": sigma}, predict={"sigma": sigma})
        else:
            estimator = clone(self.label_estimator)
            params = route_sigma(self, estimator, sigma)
        self.label_estimator_, labels = compute_labels(estimator, X, y, params, self.memory)
        return labels

    def _train_blends(self, X, y, labels, sigma, alphas):
        """Train members on the blend of labels and y at each alpha."""
        rng = check_random_state(self.random_state)
        unit = self._inputs_.parameter_scale(X)
        truth = y / unit
        labels = limit_amplitudes(labels / unit, truth, self.signal_model_)
        targets = np.stack([a * labels + (1 - a) * truth for a in alphas])
        valid = hold_out_tissues(y, self.validation_fraction, rng)
        scale = error_scale(self.param_scale, self.signal_model_, y, unit, self.normalize)
        self._heads_ = [
            shape_output(self.output, self.signal_model_, alpha, target, scale)
            for alpha, target in zip(alphas, targets, strict=True)
        ]
        self._train(
            self._inputs_.transform(X, sigma),
            targets if len(alphas) > 1 else targets[0],
            valid,
            self._head(),
            ScaledSquaredError(scale),
            rng,
            n_labels=len(alphas),
            refresh=self._refresher(X, y, targets, sigma, ~valid, rng),
        )

    def _refresher(self, X, y, targets, sigma, rows, rng):
        """What gives every epoch fresh noise for the members that are trained on y."""
        if not self.resample_noise:
            return None
        y, sigma = y[rows], sigma[rows]
        x, targets = self._inputs_.transform(X[rows], sigma), targets[:, rows]

        def refresh():
            fresh = measure(self.signal_model_, self.noise_, y, sigma, rng)
            inputs = [self._inputs_.transform(fresh, sigma)] + [x] * (len(targets) - 1)
            labels = np.stack([y / self._inputs_.parameter_scale(fresh), *targets[1:]])
            labels = np.repeat(labels, self.n_init, axis=0)
            return torch.as_tensor(np.stack(inputs)), torch.as_tensor(labels, dtype=torch.float32)

        return refresh

    def _head(self):
        heads = [Head(*head) for head in self._heads_]
        return heads[0] if len(heads) == 1 else HeadPerLabel(heads)
