"""Any regressor, trained on blended labels."""

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

    Fits `regressor` to ``alpha * label + (1 - alpha) * y``, where `label_estimator` predicts the
    label. `HybridLabelNetRegressor` is the network made for this purpose; this class does the same
    for other regressors, such as random forests.

    Parameters
    ----------
    regressor : regressor
        Regressor that is fitted to X and the blended labels. The labels have the floating-point
        type of X, so that a network of torch or skorch in single precision gets float32 if X is
        float32.
    alpha : float or array-like of shape (n_parameters,), default=0.5
        Weight of the label, in [0, 1]. With 0 no labels are computed.
    label_estimator : regressor, default=None
        Regressor that is fitted to (X, y); its ``predict(X)`` gives the label. Rows with a label of
        NaN are excluded. None: ``MLEEstimator()``, for signals linear in y with Gaussian noise. For
        other signals, pass ``MLEEstimator(signal_model)``.
    memory : str or joblib.Memory, default=None
        Cache of labels. Fits on the same X and y that differ only in alpha compute them once.

    Attributes
    ----------
    regressor_ : regressor
        Fitted regressor.
    label_estimator_ : regressor or None
        Fitted label estimator. None if no labels had to be computed.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    Notes
    -----
    If the label estimator has a signal model, the columns of a DataFrame y are taken by its
    parameter names, and the amplitudes of labels are clipped as in `HybridLabelNetRegressor`.

    Fit and predict pass metadata on. With metadata routing, metadata goes where `regressor` and
    `label_estimator` request it. Without, it goes to every method that takes it by name.

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

    A skorch network of your own, in single precision:

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
        """Route metadata of fit and predict to both estimators, as they request.

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
            Labels that were computed before. `label_estimator` is then unused.
        **params : dict
            Further metadata.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If alpha is out of range, or the labels do not have the shape of y or are all NaN.
        TypeError
            For metadata that neither estimator takes.
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
            metadata = of_rows(X, routed.label_estimator, usable)
            self.label_estimator_, labels[usable] = compute_labels(
                clone(self._labeller()), X[usable], y[usable], metadata, self.memory
            )
        # Labels without weight must not exclude rows, not even if they are NaN.
        labels = np.where(alpha > 0, labels, y)
        usable &= np.isfinite(labels).all(axis=1)
        # For its warning of excluded rows, and its error if no row is left.
        usable_rows(np.where(usable[:, None], 0.0, np.nan), Gaussian())
        target = blend(y[usable], labels[usable], alpha, model).astype(X.dtype)
        metadata = of_rows(X, routed.regressor, usable).fit
        self._single_output_, self.n_outputs_ = single_output, y.shape[1]
        self.regressor_ = clone(self.regressor).fit(
            X[usable], target[:, 0] if single_output else target, **metadata
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
            Further metadata.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`), `at_bound` (n_voxels, n_parameters), always False, and `residual_rms` (units
            of X). The residual is NaN unless the label estimator has a signal model and a noise
            level. All values are NaN for rows that the regressor cannot take.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X does not fit the training, or for `fixed` and `return_std`.
        TypeError
            For metadata that neither estimator takes.
        """
        refuse(self, fixed=fixed, return_std=return_std)
        check_is_fitted(self)
        X = self._check_signals(X, reset=False)
        usable = self._possible(X)
        warn_of_bad_rows(usable, "their estimates are NaN")
        routed = self._route("predict", sigma, params)
        metadata = of_rows(X, routed.regressor, usable).predict
        X = X[usable]
        parameters = self._predict(X, metadata)
        # A regressor may return NaN for a row that it accepts.
        finite = np.isfinite(parameters).all(axis=1)
        return scatter_results(
            usable,
            parameters=parameters,
            status=np.where(finite, Status.OK, Status.BAD_INPUT).astype(np.int8),
            at_bound=np.zeros(parameters.shape, dtype=bool),
            residual_rms=self._residual(X, parameters),
        )

    def predict(self, X, *, sigma=None, fixed=None, return_std=False, **params):
        """Predict with the fitted regressor.

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
            Further metadata.

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that the regressor cannot take.

        Raises
        ------
        NotFittedError, ValueError, TypeError
            Same as `estimate`.
        """
        arguments = {"sigma": sigma, "fixed": fixed, "return_std": return_std, **params}
        return predicted(self, self.estimate(X, **arguments), return_std=False)

    def _predict(self, X, given):
        """Predictions (n_usable, n_parameters) of rows that the regressor can take."""
        # Most regressors refuse to predict no rows.
        if not len(X):
            return np.empty((0, self.n_outputs_))
        outputs = np.asarray(self.regressor_.predict(X, **given))
        return outputs.reshape(len(X), -1)

    def _check_signals(self, X, reset):
        """Validated X, with NaN for masked values. Single precision stays, for the regressor."""
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
        """Root mean square residual of each row; NaN without a signal model or a noise level."""
        model, noise, sigma = (
            getattr(self.label_estimator_, name, None)
            for name in ("signal_model_", "noise_", "sigma_")
        )
        if model is None or sigma is None:
            return np.full(len(X), np.nan)
        parameters = parameters.astype(np.float64)
        sigma = np.asarray(sigma)
        sigma = np.broadcast_to(sigma, (len(X), X.shape[1]) if sigma.ndim == 2 else len(X))
        residual = X - expected_measurement(model, noise, parameters, sigma)
        n_present = np.maximum(np.count_nonzero(np.isfinite(residual), axis=1), 1)
        mean = np.nansum(residual**2, axis=1) / n_present
        return np.sqrt(np.where(np.isfinite(parameters).all(axis=1), mean, np.nan))

    def _route(self, caller, sigma, params):
        """Metadata for the methods of both estimators; sigma is one of them."""
        metadata = params if sigma is None else {**params, "sigma": sigma}
        inside = {"regressor": self.regressor, "label_estimator": self._labeller()}
        return route(self, caller, metadata, inside)

    def _labeller(self):
        """The label estimator, or the default one."""
        return MLEEstimator() if self.label_estimator is None else self.label_estimator
