"""Network trained on hybrid labels."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping

from ._hybrid_training import check_hybrid, resamples, train_on_labels
from ._labels import check_alpha, label_rows
from ._net import NETWORK, NetworkRegressorMixin
from ._regressor import all_or_nothing


class HybridLabelNetRegressor(NetworkRegressorMixin, BaseEstimator):
    """Network trained on labels blended from truth and maximum-likelihood estimates.

    Minimises ``alpha * MSE(prediction, MLE label) + (1 - alpha) * MSE(prediction, y)``, with each
    parameter's error divided by its scale. Up to a constant this is the squared error to the
    blended label ``alpha * MLE label + (1 - alpha) * y``. Training on the truth (alpha = 0) gives
    the least variance and a bias towards the mean of the training tissues. Maximum-likelihood
    labels (alpha = 1) give the low bias and the variance of the maximum-likelihood estimate itself.

    Parameters
    ----------
    signal_model : SignalModel, default=None
        Signal model. None: signals linear in the parameters with Gaussian noise, estimated from X
        and y.
    alpha : float or array-like of shape (n_parameters,), default=0.5
        Weight of the maximum-likelihood label, in [0, 1]. With 0 no such labels are computed.
    noise : {"auto", "gaussian", "rician"} or NoiseModel, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit`, from X and the noise-free signals of y.
    label_estimator : regressor, default=None
        Regressor that is fitted to (X, y); its ``predict(X)`` gives the second label. None:
        `MLEEstimator` with the same signal model, noise and sigma. A `sigma` passed to `fit` is
        passed on to it. With metadata routing this follows its requests; without, sigma goes to
        the methods that take it by name.
    normalize : {None, "rms"}, default=None
        "rms": the network gets each row divided by its root mean square, so that the scanner's
        scale may differ between rows; amplitudes are scaled back. None: rows to predict must have
        the same scale as the training rows, which may be any.
    sigma_input : bool, default=False
        Whether the network gets log(sigma / root mean square of the row) as one more input.
    param_scale : array-like of shape (n_parameters,), default=None
        Divisor of each parameter's error. None: the loss scales of `signal_model_`, and for
        amplitudes the mean of the training tissues.
    network : MLP, default=None
        Architecture. None: ``MLP()``. If it is given, a search can set its settings by names such
        as ``network__hidden_layer_sizes``.
    max_epochs : int, default=40
        Length of the training, in passes over the rows.
    training : Training, default=None
        Settings of the training. None: ``Training()``. If it is given, a search can set its
        settings by names such as ``training__lr``.
    resample_noise : bool or "auto", default="auto"
        Whether each epoch trains on fresh noise added to the noise-free signals of y, which reduces
        overfitting. Maximum-likelihood labels belong to the noise that they were computed from.
        With True and an alpha above 0, one network is therefore trained on each kind of label, and
        their predictions are blended, at twice the cost. "auto": True if there is a signal model
        and alpha is 0.
    memory : str or joblib.Memory, default=None
        Cache of labels. Fits on the same X and y that differ only in alpha compute them once.
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
    label_estimator_ : estimator or None
        Fitted label estimator. None if no labels had to be computed.
    network_ : FittedNetwork
        Trained network, with its weights `coefs` and `intercepts`. Its `history` holds the training
        and validation losses of each epoch and member.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    HybridLabelNetRegressorCV : Chooses alpha by bias and variance.
    HybridLabelRegressor : The same labels for any regressor.

    Notes
    -----
    Maximum-likelihood labels of an amplitude are clipped at 3 times the largest true amplitude of
    the training rows. With ``normalize="rms"`` both are relative to the row's root mean square. The
    reason is that a rapid decay with an amplitude of any size may best explain a signal that is
    all noise.

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
        **NETWORK,
        "resample_noise": ["boolean", StrOptions({"auto"})],
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
        param_scale=None,
        network=None,
        max_epochs=40,
        training=None,
        resample_noise="auto",
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
        self.param_scale = param_scale
        self.network = network
        self.max_epochs = max_epochs
        self.training = training
        self.resample_noise = resample_noise
        self.memory = memory
        self.random_state = random_state
        self.verbose = verbose

    def get_metadata_routing(self):
        """Route sigma to the label estimator, as it requests.

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
            True parameters. Rows with identical values are noise repeats of one tissue.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Takes precedence over the parameter of the same name.
        mle_labels : array-like of shape (n_voxels, n_parameters), default=None
            Maximum-likelihood labels that were computed before. `label_estimator` is then unused.

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
        rows = check_hybrid(self, self, X, y, sigma)
        alpha = check_alpha(self.alpha, rows.y.shape[1])
        self.label_estimator_, labelled, _ = label_rows(self, rows, sigma, mle_labels, alpha > 0)
        # One kind of label, the blend. With weights that add up to 1, the squared errors to both
        # labels and the squared error to their blend differ by a constant:
        # a (p - m)^2 + (1 - a) (p - t)^2 = (p - a m - (1 - a) t)^2 + a (1 - a) (m - t)^2.
        alphas, mix = alpha[None], np.ones((1, len(alpha)))
        if alpha.any() and resamples(self, alpha):
            # Two kinds of label, truth (alpha = 0) and maximum likelihood (alpha = 1), of which
            # only the truth can get fresh noise. The predictions are blended instead.
            alphas, mix = np.stack([0 * alpha, 0 * alpha + 1]), np.stack([1 - alpha, alpha])
        self.network_ = train_on_labels(
            self, self.signal_model_, self.noise_, labelled, alphas, mix
        )
        return self
