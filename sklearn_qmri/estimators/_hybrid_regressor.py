"""Blended labels for any regressor."""

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping
from sklearn.utils.validation import check_is_fitted, validate_data

from .._arrays import as_floats
from ..noise import Gaussian, expected_measurement
from ..status import Status
from ._labels import blend, check_alpha, compute_labels
from ._mle import MLEEstimator
from ._regressor import TissueRegressorMixin, all_or_nothing, predicted, refuse
from ._routing import of_rows, route
from ._rows import check_parameters, check_truth, scatter_results, usable_rows, warn_of_bad_rows


class HybridLabelRegressor(MetaEstimatorMixin, TissueRegressorMixin, BaseEstimator):
    """Any regressor, trained on labels blended from truth and maximum-likelihood estimates.

    Fits `regressor` to ``alpha * label + (1 - alpha) * y``, where the label is what
    `label_estimator` predicts. `HybridLabelNetRegressor` is the network made for this; here is
    the same for random forests and the like.

    Parameters
    ----------
    regressor : regressor
        Fitted to X and the blended labels, in the floating-point type of X: a network of torch or
        skorch in single precision gets float32 where X is.
    alpha : float or array-like of shape (n_parameters,), default=0.5
        Weight of the label, in [0, 1]. With 0, no labels are computed.
    label_estimator : regressor, default=None
        Fitted to (X, y); its ``predict(X)`` gives the label, NaN where it has none (such rows are
        left out). None: ``MLEEstimator()``, of signals linear in y with Gaussian noise; give
        ``MLEEstimator(signal_model)`` for any other.
    memory : str or joblib.Memory, default=None
        Cache of labels: fits on the same X and y that differ in alpha compute them once.

    Attributes
    ----------
    regressor_ : regressor
    label_estimator_ : regressor or None
        None if no labels had to be computed.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    Notes
    -----
    Where the label estimator has a signal model, columns of a DataFrame y are taken by its names,
    and the amplitudes of labels are clipped as in `HybridLabelNetRegressor`.

    Fit and predict pass metadata on. With metadata routing they go where `regressor` and
    `label_estimator` request them; without, to every method that takes them by name.

    Examples
    --------
    >>> from sklearn.ensemble import RandomForestRegressor
    >>> from sklearn_qmri import HybridLabelRegressor, MLEEstimator
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 200, snr=30, random_state=0)
    >>> forest = RandomForestRegressor(10, random_state=0)
    >>> hybrid = HybridLabelRegressor(forest, label_estimator=MLEEstimator(model, sigma=1 / 30))
    >>> hybrid.fit(X, y).predict(X).shape
    (200, 4)

    A network of your own, by skorch, in single precision:

    >>> import numpy as np
    >>> from skorch import NeuralNetRegressor
    >>> from torch import nn
    >>> layers = nn.Sequential(nn.Linear(10, 32), nn.SiLU(), nn.Linear(32, 4))
    >>> own = NeuralNetRegressor(layers, max_epochs=2, verbose=0)
    >>> hybrid = HybridLabelRegressor(own, label_estimator=MLEEstimator(model, sigma=1 / 30))
    >>> hybrid.fit(X.astype(np.float32), y).predict(X.astype(np.float32)).dtype
    dtype('float32')
    """

    def __init__(self, regressor, *, alpha=0.5, label_estimator=None, memory=None):
        self.regressor = regressor
        self.alpha = alpha
        self.label_estimator = label_estimator
        self.memory = memory

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.regressor)
        tags.target_tags.multi_output = inner.target_tags.multi_output
        tags.regressor_tags.poor_score = inner.regressor_tags.poor_score
        return tags

    def get_metadata_routing(self):
        """Metadata of fit and predict go to both estimators, as they request.

        Returns
        -------
        MetadataRouter
            For scikit-learn.
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        mapping.add(caller="predict", callee="predict")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(regressor=self.regressor, method_mapping=mapping)
        labels = MethodMapping().add(caller="fit", callee="fit").add(caller="fit", callee="predict")
        return router.add(label_estimator=self._labeller(), method_mapping=labels)

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None, mle_labels=None, **params):
        """Blend labels and fit the regressor to them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            True parameters.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, for those of the two estimators that take it.
        mle_labels : array-like of the shape of y, default=None
            Labels computed before; `label_estimator` is not used then.
        **params : dict
            More metadata.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If alpha is out of range, or labels have another shape than y or are all NaN.
        TypeError
            For metadata that nothing takes.
        """
        X = self._check_signals(X, reset=True)
        model = getattr(self._labeller(), "signal_model", None)
        y, single_output = check_parameters(y, X, model)
        if model is not None:
            check_truth(y, model)
        alpha = check_alpha(self.alpha, y.shape[1])
        routed = self._route("fit", sigma, params)
        usable = self._possible(X) & np.isfinite(y).all(axis=1)
        self.label_estimator_, labels = None, y
        if mle_labels is not None:
            labels, _ = check_parameters(mle_labels, X, model, "mle_labels")
            if labels.shape != y.shape:
                raise ValueError(f"mle_labels has shape {labels.shape}, y {y.shape}.")
        elif alpha.any() and usable.any():
            labels = np.full(y.shape, np.nan)
            given = of_rows(X, routed.label_estimator, usable)
            self.label_estimator_, labels[usable] = compute_labels(
                clone(self._labeller()), X[usable], y[usable], given, self.memory
            )
        labels = np.where(alpha > 0, labels, y)
        usable &= np.isfinite(labels).all(axis=1)
        usable_rows(np.where(usable[:, None], 0.0, np.nan), Gaussian())  # warns, or refuses none
        target = blend(y[usable], labels[usable], alpha, model).astype(X.dtype)
        given = of_rows(X, routed.regressor, usable).fit
        self._single_output_, self.n_outputs_ = single_output, y.shape[1]
        self.regressor_ = clone(self.regressor).fit(
            X[usable], target[:, 0] if single_output else target, **given
        )
        return self

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False, **params):
        """Predictions with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, if the regressor takes it.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            Refused: regressors have no standard deviations in common.
        **params : dict
            More metadata.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`), `at_bound` (n_voxels, n_parameters), False throughout, and `residual_rms`
            (units of X), which is known where the label estimator has a signal model and a noise
            level. NaN for rows that the regressor cannot take.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X does not fit the training, or for `fixed` and `return_std`.
        TypeError
            For metadata that nothing takes.
        """
        refuse(self, fixed=fixed, return_std=return_std)
        check_is_fitted(self)
        X = self._check_signals(X, reset=False)
        usable = self._possible(X)
        warn_of_bad_rows(usable, "their estimates are NaN")
        routed = self._route("predict", sigma, params)
        given = of_rows(X, routed.regressor, usable).predict
        X = X[usable]
        parameters = self._predict(X, given)
        finite = np.isfinite(parameters).all(axis=1)
        return scatter_results(
            usable,
            parameters=parameters,
            status=np.where(finite, Status.OK, Status.BAD_INPUT).astype(np.int8),
            at_bound=np.zeros(parameters.shape, dtype=bool),
            residual_rms=self._residual(X, parameters),
        )

    def predict(self, X, *, sigma=None, fixed=None, return_std=False, **params):
        """Predict by the fitted regressor.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, if the regressor takes it.
        fixed : None
            Refused, see `estimate`.
        return_std : bool, default=False
            Refused, see `estimate`.
        **params : dict
            More metadata.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that the regressor cannot take.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            Same as `estimate`.
        """
        given = {"sigma": sigma, "fixed": fixed, "return_std": return_std, **params}
        return predicted(self, self.estimate(X, **given), return_std=False)

    def _predict(self, X, given):
        """Predictions of rows that the regressor can take, as columns."""
        if not len(X):
            return np.empty((0, self.n_outputs_))
        outputs = np.asarray(self.regressor_.predict(X, **given))
        return outputs.reshape(len(X), -1)

    def _check_signals(self, X, reset):
        if isinstance(X, np.ma.MaskedArray):
            X = as_floats(X)
        return validate_data(
            self, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite=False
        )

    def _possible(self, X):
        """Rows that the regressor can take."""
        if get_tags(self.regressor).input_tags.allow_nan:
            return ~np.isinf(X).any(axis=1)
        return np.isfinite(X).all(axis=1)

    def _residual(self, X, parameters):
        """Root mean square residual of each row, NaN where no signal or noise level is known."""
        model, noise, sigma = (
            getattr(self.label_estimator_, name, None)
            for name in ("signal_model_", "noise_", "sigma_")
        )
        if model is None or sigma is None:
            return np.full(len(X), np.nan)
        parameters = parameters.astype(np.float64)
        expected = expected_measurement(model, noise, parameters, np.full(len(X), sigma))
        return np.sqrt(np.mean((X - expected) ** 2, axis=1))

    def _route(self, caller, sigma, params):
        given = params if sigma is None else {**params, "sigma": sigma}
        inside = {"regressor": self.regressor, "label_estimator": self._labeller()}
        return route(self, caller, given, inside)

    def _labeller(self):
        return MLEEstimator() if self.label_estimator is None else self.label_estimator
