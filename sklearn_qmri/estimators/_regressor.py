"""Shared behaviour of estimators: tags, `predict`, `score`, refusals and failed fits."""

from functools import wraps

from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from .._arrays import columns_by_name

# Results that `predict` returns, and the status, of which one warning may tell.
_PREDICTED = frozenset({"parameters", "std", "status"})


class TissueRegressorMixin(RegressorMixin):
    """Base of regressors from signals to tissue parameters: tags, `predict` and `score`."""

    # Whether noise levels may differ between the measurements of a voxel.
    _per_measurement = False
    # Whether measurements may be missing (NaN in X, or infinity in sigma). Otherwise a row without
    # one is no possible measurement.
    _takes_missing = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags

    def predict(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predict the parameters of every row, which are the `parameters` of `estimate`.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, see `estimate`. None: the one of `fit`.
        fixed : dict of {str: float or array-like of shape (n_voxels,)}, default=None
            Known parameters by name, for estimators that take them, see `estimate`.
        return_std : bool, default=False
            Whether to return standard deviations too, for estimators that have them, see
            `estimate`.

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that have no estimate.
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`.
        """
        results = self._estimate(X, sigma, fixed, return_std, _PREDICTED)
        return predicted(self, results, return_std)

    def _estimate(self, X, sigma, fixed, return_std, names):
        """Results of `estimate`. Those not in `names` may be missing, to save their memory."""
        return self.estimate(X, sigma=sigma, fixed=fixed, return_std=return_std)

    def score(self, X, y, sample_weight=None, *, sigma=None):
        """Compute the coefficient of determination, R^2, averaged over the parameters.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            True parameters; the columns of a DataFrame are taken by name.
        sample_weight : array-like of shape (n_voxels,), default=None
            Weight of each voxel.
        sigma : float or array-like of shape (n_voxels,), default=None
            Noise level, see `predict`. None: the one of `fit`.

        Returns
        -------
        float
            1 for perfect predictions, 0 for the mean of y.

        Raises
        ------
        NotFittedError, ValueError
            Same as `predict`.
        """
        model = _named_model(self)
        if model is not None:
            y = columns_by_name(y, list(model.parameter_names), "y")
        predicted = self.predict(X) if sigma is None else self.predict(X, sigma=sigma)
        return r2_score(y, predicted, sample_weight=sample_weight)


def _named_model(estimator):
    """Signal model that the user has given to the estimator or one inside it; None if none."""
    # A search has its network in `estimator`, and a hybrid regressor has `label_estimator`.
    for holder in (
        estimator,
        *(getattr(estimator, n, None) for n in ("estimator", "label_estimator")),
    ):
        if getattr(holder, "signal_model", None) is not None:
            return holder.signal_model
    return None


def predicted(estimator, found, return_std):
    """Result of `predict` from the result of `estimate`: parameters, and `std` on request.

    Arrays have one dimension if y had one in `fit`.
    """
    results = [found.parameters, found.std] if return_std else [found.parameters]
    if estimator._single_output_:
        results = [values[:, 0] for values in results]
    return tuple(results) if return_std else results[0]


def all_or_nothing(fit):
    """Decorate `fit` so that an estimator whose fit fails or is interrupted is not fitted.

    Everything that `fit` learns is in attributes whose names end in an underscore. They are deleted
    when a fit begins, and again if it does not complete. scikit-learn decides by such attributes
    whether an estimator is fitted.
    """

    @wraps(fit)
    def fit_or_forget(self, *args, **kwargs):
        _forget(self)
        try:
            return fit(self, *args, **kwargs)
        except BaseException:  # KeyboardInterrupt too
            _forget(self)
            raise

    return fit_or_forget


def _forget(estimator):
    """Delete the fitted attributes."""
    for name in [name for name in vars(estimator) if name.endswith("_")]:
        delattr(estimator, name)


def refuse(estimator, **options):
    """Refuse options that an estimator cannot take.

    Raises
    ------
    ValueError
        For the first option that is neither None nor False, with its name.
    """
    for name, value in options.items():
        if value is not None and value is not False:
            raise ValueError(f"{type(estimator).__name__} does not take {name}, got {value!r}.")
