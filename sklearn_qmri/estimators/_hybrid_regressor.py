"""Blended labels for any regressor."""

import warnings
from inspect import signature

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, clone
from sklearn.utils import Bunch, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import _check_method_params, check_is_fitted, validate_data

from ._door import all_or_nothing, check_parameters
from ._labels import check_alpha, compute_labels
from ._mle import MLEEstimator


class HybridLabelRegressor(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Any regressor, trained on labels blended from truth and maximum-likelihood estimates.

    Fits `regressor` to ``alpha * label + (1 - alpha) * y``, where the label is what
    `label_estimator` predicts. `HybridLabelNetRegressor` is the network made for this; here is
    the same for random forests and the like.

    Parameters
    ----------
    regressor : regressor
        Fitted to X and the blended labels.
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
    """

    def __init__(self, regressor, *, alpha=0.5, label_estimator=None, memory=None):
        self.regressor = regressor
        self.alpha = alpha
        self.label_estimator = label_estimator
        self.memory = memory

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        inner = get_tags(self.regressor)
        tags.input_tags.allow_nan = inner.input_tags.allow_nan
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
    def fit(self, X, y, *, mle_labels=None, **params):
        """Blend labels and fit the regressor to them.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals, a voxel per row.
        y : array-like of shape (n_samples, n_parameters) or (n_samples,)
            True parameters.
        mle_labels : array-like of the shape of y, default=None
            Labels computed before; `label_estimator` is not used then.
        **params : dict
            Metadata.

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
        blend, single_output = check_parameters(y, X)
        alpha = check_alpha(self.alpha, blend.shape[1])
        routed = self._route("fit", params)
        self.label_estimator_ = None
        if alpha.any():
            if mle_labels is None:
                labeller = clone(self._labeller())
                self.label_estimator_, labels = compute_labels(
                    labeller, X, blend, routed.label_estimator, self.memory
                )
            else:
                labels, _ = check_parameters(mle_labels, X)
                if labels.shape != blend.shape:
                    raise ValueError(f"mle_labels has shape {labels.shape}, y {blend.shape}.")
            blend = np.where(alpha > 0, alpha * labels, 0) + (1 - alpha) * blend
        params, usable = routed.regressor.fit, np.isfinite(blend).all(axis=1)
        if not usable.any():
            raise ValueError(f"All {len(usable)} rows have a y or a label of NaN or infinity.")
        if not usable.all():
            warnings.warn(
                f"{np.count_nonzero(~usable)} of {len(usable)} rows have a y or a label of NaN or "
                "infinity: left out of the fit.",
                stacklevel=2,
            )
            rows = np.flatnonzero(usable)
            params = _check_method_params(X, params, rows)
            X, blend = X[rows], blend[rows]
        target = blend[:, 0] if single_output else blend
        self.regressor_ = clone(self.regressor).fit(X, target, **params)
        return self

    def predict(self, X, **params):
        """Predict by the fitted regressor.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Signals, a voxel per row.
        **params : dict
            Metadata.

        Returns
        -------
        ndarray of shape (n_samples, n_parameters) or (n_samples,)
            As the regressor gives them.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X does not fit what was trained on.
        TypeError
            For metadata that nothing takes.
        """
        check_is_fitted(self, "regressor_")
        X = self._check_signals(X, reset=False)
        return self.regressor_.predict(X, **self._route("predict", params).regressor.predict)

    def _check_signals(self, X, reset):
        finite = "allow-nan" if get_tags(self.regressor).input_tags.allow_nan else True
        return validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)

    def _route(self, caller, params):
        """Metadata for each estimator's methods."""
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, caller, **params)

        estimators = {"regressor": self.regressor, "label_estimator": self._labeller()}
        taken = {
            name: Bunch(
                **{
                    method: {
                        key: value
                        for key, value in params.items()
                        if key in signature(getattr(estimator, method)).parameters
                    }
                    for method in ("fit", "predict")
                }
            )
            for name, estimator in estimators.items()
        }
        used = {key for each in taken.values() for method in each.values() for key in method}
        if unknown := sorted(set(params) - used):
            raise TypeError(f"{caller} got {unknown}, which neither estimator takes.")
        return Bunch(**taken)

    def _labeller(self):
        return MLEEstimator() if self.label_estimator is None else self.label_estimator
