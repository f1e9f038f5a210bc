"""The network regressor."""

import warnings
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.utils import Bunch, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted

from .._inputs import Domain, NetworkInputs, expected_signal
from .._network import Head, evaluate, train
from .._sigma import sigma_from_pairs
from .._validation import (
    NOISE,
    SIGMA,
    Status,
    check_noise,
    check_parameters,
    check_sigma,
    check_signals,
    resolve_sigma,
    scatter_rows,
    usable_rows,
    warn_of_bad_rows,
)
from ..mle import MLEEstimator
from ..signal_models import LinearGaussian, SignalModel, resolve_model
from ._labels import check_alpha, compute_labels, hold_out_tissues, route_sigma
from ._output import error_scale, shape_output

_MANY = 0.1  # share of rows out of domain that is worth a warning


class HybridLabelNetRegressor(RegressorMixin, BaseEstimator):
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
    hidden_layer_sizes : tuple of int, default=(64, 64, 64)
    output : {"auto", "sigmoid", "softplus", "abs", "identity"}, default="auto"
        Shape of the last layer. "sigmoid" squashes each parameter into the range of its training
        targets. "auto": sigmoid, but softplus for parameters without upper bound unless their
        alpha is 0, and identity for those without any bound.
    param_scale : array-like of shape (n_parameters,), default=None
        Divides each parameter's error. None: the loss scales of `signal_model_`.
    n_init : int, default=1
        Networks trained side by side from different initial weights; the one with the least
        validation loss predicts.
    max_epochs : int, default=40
        Length of the one-cycle schedule of the learning rate.
    batch_size : int, default=None
        None: 1000, or less where that would leave fewer than 20 steps per epoch.
    lr : float, default=0.02
        Peak of the learning rate.
    patience : int, default=None
        Stop after this many epochs without a better validation loss. None: never.
    validation_fraction : float, default=0.2
        Share of the tissues (distinct rows of y) that is held out to choose epoch and network.
    device : str, default="cpu"
        Where torch trains.
    memory : str or joblib.Memory, default=None
        Cache of labels: fits on the same X and y that differ in alpha compute them once.
    random_state : int, RandomState instance or None, default=None
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
        Weights of each layer of the network that predicts.
    loss_curve_ : ndarray of shape (n_epochs, n_init)
        Training loss of each network.
    validation_loss_ : ndarray of shape (n_epochs, n_init)
    best_init_ : int
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

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
        "signal_model": [SignalModel, None],
        "noise": NOISE,
        "sigma": SIGMA,
        "normalize": [StrOptions({"rms"}), None],
        "sigma_input": ["boolean"],
        "hidden_layer_sizes": [tuple, list],
        "output": [StrOptions({"auto", *Head.SHAPES})],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
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
        hidden_layer_sizes=(64, 64, 64),
        output="auto",
        param_scale=None,
        n_init=1,
        max_epochs=40,
        batch_size=None,
        lr=0.02,
        patience=None,
        validation_fraction=0.2,
        device="cpu",
        memory=None,
        random_state=None,
        verbose=0,
    ):
        self.signal_model = signal_model
        self.alpha = alpha
        self.noise = noise
        self.sigma = sigma
        self.label_estimator = label_estimator
        self.normalize = normalize
        self.sigma_input = sigma_input
        self.hidden_layer_sizes = hidden_layer_sizes
        self.output = output
        self.param_scale = param_scale
        self.n_init = n_init
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags

    def get_metadata_routing(self):
        """Sigma goes to the label estimator as that requests.

        Returns
        -------
        MetadataRouter
        """
        router = MetadataRouter(owner=self).add_self_request(self)
        if self.label_estimator is not None:
            mapping = MethodMapping().add(caller="fit", callee="fit")
            mapping.add(caller="fit", callee="predict")
            router.add(label_estimator=self.label_estimator, method_mapping=mapping)
        return router

    def fit(self, X, y, *, sigma=None, mle_labels=None):
        """Train on signals of known tissues.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            Rows with identical values are noise repeats of one tissue.
        sigma : float or array-like of shape (n_voxels,), default=None
            Takes precedence over the parameter of the same name.
        mle_labels : array-like of shape (n_voxels, n_parameters), default=None
            Maximum-likelihood labels computed before; `label_estimator` is not used then.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            If an argument or parameter is out of range, or no row is usable.
        RuntimeError
            If the training diverges.
        """
        self._domain = self.label_estimator_ = None  # not fitted until all of this is done
        given_sigma = sigma is not None
        X, y, sigma, mle_labels = self._validate_fit(X, y, sigma, mle_labels)
        if mle_labels is None:
            mle_labels = self._second_labels(X, y, sigma if given_sigma else None)
        labels = np.where(self._alpha > 0, mle_labels, y)
        usable = usable_rows(X, self.noise_, y, labels)
        X, y, sigma, labels = X[usable], y[usable], sigma[usable], labels[usable]
        self._inputs = NetworkInputs(self.signal_model_, self.normalize, self.sigma_input)
        self._inputs.fit(X, sigma)
        self._train(X, y, self._alpha * labels + (1 - self._alpha) * y, sigma)
        domain = Domain(self.signal_model_, self.noise_, self._inputs)
        self._domain = domain.fit(X, self._forward(X, sigma), sigma)
        return self

    def __sklearn_is_fitted__(self):
        return getattr(self, "_domain", None) is not None

    def estimate(self, X, *, sigma=None):
        """Predictions with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
        sigma : float or array-like of shape (n_voxels,), default=None
            Default: the one of `fit`.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`; out of domain where the residual, the noise level or the prediction is
            beyond what training saw), `residual_rms` (units of X). NaN for rows that are not
            possible measurements.
        """
        X, sigma, usable = self._validate_predict(X, sigma)
        parameters = self._forward(X, sigma)
        inside = self._domain.contains(X, parameters, sigma)
        if np.count_nonzero(~inside) > _MANY * len(X):
            warnings.warn(
                f"{np.count_nonzero(~inside)} of {len(X)} rows are unlike what the network was "
                "trained on; their status says so.",
                stacklevel=2,
            )
        status = np.where(inside, Status.OK, Status.OUT_OF_DOMAIN).astype(np.int8)
        residual = X - expected_signal(self.signal_model_, self.noise_, parameters, sigma)
        return Bunch(
            parameters=scatter_rows(parameters, usable),
            status=scatter_rows(status, usable, Status.BAD_INPUT),
            residual_rms=scatter_rows(np.sqrt(np.mean(residual**2, axis=1)), usable),
        )

    def predict(self, X, *, sigma=None):
        """Predict tissue parameters.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
        sigma : float or array-like of shape (n_voxels,), default=None
            Default: the one of `fit`.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        """
        X, sigma, usable = self._validate_predict(X, sigma)
        parameters = scatter_rows(self._forward(X, sigma), usable)
        return parameters[:, 0] if self._single_output else parameters

    def _validate_predict(self, X, sigma):
        """Usable rows and their noise levels, and which rows those are."""
        check_is_fitted(self)
        X = check_signals(self, X, reset=False)
        usable = self.noise_.is_valid(X)
        sigma = resolve_sigma(self, sigma, usable)
        warn_of_bad_rows(usable, "their predictions are NaN")
        return X[usable], sigma[usable], usable

    def _validate_fit(self, X, y, sigma, mle_labels):
        """Check everything; drop unusable rows; settle model, noise, noise level and alpha."""
        self._validate_params()
        if self.normalize is not None and self.signal_model is None:
            raise ValueError("normalize='rms' needs a signal_model, to know the amplitudes.")
        X = check_signals(self, X, reset=True, signal_model=self.signal_model)
        y, self._single_output = check_parameters(y, X, self.signal_model)
        self._alpha = check_alpha(self.alpha, y.shape[1])
        if mle_labels is not None:
            mle_labels, _ = check_parameters(mle_labels, X, self.signal_model)
        self.noise_ = check_noise(self.noise, self.signal_model or LinearGaussian)
        usable = usable_rows(X, self.noise_, y)
        n_voxels, X, y = len(X), X[usable], y[usable]
        self.signal_model_ = resolve_model(self.signal_model, X, y)
        sigma = self.sigma if sigma is None else sigma
        if sigma is None:
            self.sigma_ = sigma_from_pairs(self.signal_model_, self.noise_, X, y)
            sigma = np.full(len(X), self.sigma_)
        else:
            self.sigma_ = float(sigma) if np.ndim(sigma) == 0 else None
            sigma = check_sigma(sigma, n_voxels, usable)[usable]
        return X, y, sigma, None if mle_labels is None else mle_labels[usable]

    def _second_labels(self, X, y, sigma):
        """Labels by the label estimator; y itself where no alpha needs them."""
        if not np.any(self._alpha > 0):
            return y
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

    def _train(self, X, y, target, sigma):
        """Train the members on their targets and keep the best one's weights."""
        rng = check_random_state(self.random_state)
        unit = self._inputs.parameter_scale(X)
        x, target = self._inputs.transform(X, sigma), target / unit
        valid = hold_out_tissues(y, self.validation_fraction, rng)
        n_train = np.count_nonzero(~valid)
        self._head = shape_output(self.output, self.signal_model_, self._alpha, target)
        weights, losses, history = train(
            x,
            target,
            valid,
            head=Head(*self._head),
            scale=error_scale(self.param_scale, self.signal_model_, y, unit, self.normalize),
            sizes=[x.shape[1], *self.hidden_layer_sizes, y.shape[1]],
            rng=rng,
            n_init=self.n_init,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size or int(np.clip(n_train // 20, 16, 1000)),
            lr=self.lr,
            patience=self.patience,
            device=self.device,
            verbose=self.verbose,
        )
        self.best_init_ = int(np.argmin(losses))
        self.coefs_, self.intercepts_ = weights[self.best_init_]
        self.loss_curve_ = np.array(history[:, "train_loss"])
        self.validation_loss_ = np.array(history[:, "valid_loss"])

    def _forward(self, X, sigma):
        """Parameters of usable rows."""
        x = self._inputs.transform(X, sigma)
        weights = self.coefs_, self.intercepts_
        return evaluate(x, weights, Head(*self._head)) * self._inputs.parameter_scale(X)
