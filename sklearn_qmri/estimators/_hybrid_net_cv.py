"""Alpha chosen along its whole path, for the price of one training per fold."""

from collections.abc import Iterable
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils._param_validation import HasMethods, Interval
from sklearn.utils.validation import check_is_fitted

from ..metrics import least_variance, least_weighted, product_decomposition, quadratic
from ..tissues import number_tissues
from ._door import (
    TissueRegressorMixin,
    all_or_nothing,
    check_parameters,
    check_signals,
    usable_rows,
)
from ._hybrid_net import HybridLabelNetRegressor
from ._output import error_scale


class HybridLabelNetRegressorCV(MetaEstimatorMixin, TissueRegressorMixin, BaseEstimator):
    """Hybrid-label network whose alpha is chosen by bias and variance on held-out tissues.

    The best prediction at some alpha is linear in alpha: so each fold trains one network with
    outputs for both, true parameters and maximum-likelihood labels (two networks side by side
    with ``resample_noise=True``), and every alpha between is an interpolation of what they
    predict. Signed bias is then affine and variance quadratic in
    alpha, and the best alpha has a closed form.

    Parameters
    ----------
    estimator : HybridLabelNetRegressor, default=None
        Its alpha does not matter. None: ``HybridLabelNetRegressor()``.
    alphas : array-like of shape (n_alphas,), default=None
        Where the path is reported; alpha itself is chosen between. None: 0, 0.1, ..., 1.
    per_parameter : bool, default=False
        Choose one alpha for each parameter, by its own bias and variance.
    criterion : least_weighted or least_variance, default=None
        Rule that chooses, in units of the scales of the errors. None:
        ``least_weighted(weight=2)``. Not the mean squared error (a weight of 1): on tissues like
        those of the training its choice is 0 but for noise.
    cv : int, splitter or iterable of (train, test) rows, default=3
        Whole tissues (distinct rows of y) are held out: an integer is that of `GroupKFold`, and a
        splitter gets them as groups.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (n_parameters,)
    alphas_ : ndarray of shape (n_alphas,)
    bias_path_, std_path_, rmse_path_ : ndarray of shape (n_alphas, n_folds, n_parameters)
        Root mean square bias over tissues (corrected for the finite number of repeats), noise
        standard deviation and root mean squared error, in the units of the parameters.
    estimator_ : HybridLabelNetRegressor
        Trained on all rows, on both kinds of label; its predictions are blended by `alpha_`.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    sklearn_qmri.metrics.least_variance : Rule with a limit on the bias.

    Examples
    --------
    >>> from sklearn_qmri import HybridLabelNetRegressor, HybridLabelNetRegressorCV
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 300, snr=30, n_repeats=4, random_state=0)
    >>> net = HybridLabelNetRegressor(model, sigma=1 / 30, max_epochs=5, random_state=0)
    >>> HybridLabelNetRegressorCV(net).fit(X, y).bias_path_.shape
    (11, 3, 4)
    """

    _parameter_constraints: ClassVar = {
        "estimator": [HybridLabelNetRegressor, None],
        "alphas": ["array-like", None],
        "per_parameter": ["boolean"],
        "criterion": [least_weighted, least_variance, None],
        "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split"), Iterable],
    }

    def __init__(self, estimator=None, *, alphas=None, per_parameter=False, criterion=None, cv=3):
        self.estimator = estimator
        self.alphas = alphas
        self.per_parameter = per_parameter
        self.criterion = criterion
        self.cv = cv

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None, mle_labels=None):
        """Measure the path on held-out tissues, choose alpha, train on all rows.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            With noise repeats: several rows of each tissue.
        sigma : float or array-like of shape (n_voxels,), default=None
            As for the estimator.
        mle_labels : array-like of the shape of y, default=None
            Computed once for all folds where not given.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument is out of range, no tissue has repeats, a split tears one apart, or no
            alpha meets the criterion.
        RuntimeError
            If a training diverges.
        """
        self._validate_params()
        net = HybridLabelNetRegressor() if self.estimator is None else clone(self.estimator)
        X = check_signals(self, X, reset=True, signal_model=net.signal_model)
        labelled = self._label(net, X, y, sigma, mle_labels)
        rows, y = labelled[0], labelled[2]
        names = net.signal_model_.parameter_names
        rule = self._check_rule(names)
        self._scale_ = error_scale(
            net.param_scale, net.signal_model_, y, np.ones_like(y), net.normalize
        )
        folds = self._split(len(X), rows, y)
        forms = [self._measure(net, *labelled[1:], *fold) for fold in folds]
        self._set_path(rule, names, *np.stack(forms, axis=3))
        self.estimator_ = clone(net).set_params(alpha=self.alpha_)
        self.estimator_._fit_labels(*labelled[1:], both=True)
        self.estimator_.sigma_ = net.sigma_
        self.estimator_.label_estimator_ = net.label_estimator_
        return self

    def _label(self, net, X, y, sigma, mle_labels):
        """Which rows are usable, and these with noise levels and labels, once for all folds."""
        given = sigma is not None
        all_y, self._single_output_ = check_parameters(y, X, net.signal_model)
        net.label_estimator_ = None
        usable_X, y, sigma, labels = net._validate_fit(X, y, sigma, mle_labels)
        if labels is None:
            labels = net._label(usable_X, y, sigma if given else None)
        rows = np.flatnonzero(net.noise_.is_valid(X) & np.isfinite(all_y).all(axis=1))
        kept = usable_rows(usable_X, net.noise_, y, labels)
        return rows[kept], usable_X[kept], y[kept], sigma[kept], labels[kept]

    def _check_rule(self, names):
        """The criterion, if it fits; alphas too are checked before anything is trained."""
        alphas = np.linspace(0, 1, 11) if self.alphas is None else np.asarray(self.alphas, float)
        if alphas.ndim != 1 or not ((alphas >= 0) & (alphas <= 1)).all() or len(alphas) == 0:
            raise ValueError(f"alphas expects values in [0, 1], got {self.alphas!r}.")
        self.alphas_ = alphas
        rule = least_weighted(weight=2) if self.criterion is None else self.criterion
        rule.check()
        if rule.parameter is not None and rule.parameter not in names:
            raise ValueError(f"{rule!r} names no parameter of {list(names)}.")
        if rule.parameter is not None and self.per_parameter:
            raise ValueError(
                f"per_parameter=True needs a criterion without parameter, got {rule!r}."
            )
        return rule

    def _split(self, n_rows, rows, y):
        """Training and test rows of each fold, as places among the usable ones; whole tissues."""
        tissues = np.full(n_rows, -1)
        tissues[rows] = number_tissues(y)
        place = np.full(n_rows, -1)
        place[rows] = np.arange(len(rows))
        cv = GroupKFold(self.cv) if isinstance(self.cv, Integral) else check_cv(self.cv)
        for train, held_out in cv.split(np.empty((n_rows, 1)), None, tissues):
            train, held_out = (place[index][place[index] >= 0] for index in (train, held_out))
            if np.isin(tissues[rows[held_out]], tissues[rows[train]]).any():
                raise ValueError(f"cv={self.cv!r} puts noise repeats of a tissue on both sides.")
            yield train, held_out

    def _measure(self, net, X, y, sigma, labels, rows, held_out):
        """Quadratic forms of bias and variance on the held-out tissues of a fold."""
        net = clone(net)
        net._fit_labels(X[rows], y[rows], sigma[rows], labels[rows], both=True)
        found = net._per_label(X[held_out], sigma[held_out]).mean(axis=1)
        return product_decomposition(y[held_out], found - y[held_out])

    def _set_path(self, rule, names, bias, variance):
        """Alpha and its path from forms (2, 2, n_folds, n_parameters)."""
        squared_bias, squared_std = (
            np.stack([quadratic(form, a) for a in self.alphas_]) for form in (bias, variance)
        )
        self.bias_path_ = np.sqrt(np.maximum(squared_bias, 0.0))
        self.std_path_ = np.sqrt(squared_std)
        self.rmse_path_ = np.sqrt(np.maximum(squared_bias + squared_std, 0.0))
        forms = np.stack([bias, variance]).mean(axis=3) / self._scale_**2
        if self.per_parameter:
            self.alpha_ = np.array([rule.best_alpha(*pair) for pair in np.moveaxis(forms, 3, 0)])
        elif rule.parameter is None:
            self.alpha_ = rule.best_alpha(*forms.mean(axis=3))
        else:
            self.alpha_ = rule.best_alpha(*forms[..., names.index(rule.parameter)])

    def predict(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predict tissue parameters; see `HybridLabelNetRegressor.predict`.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            None: the one of `fit`.
        fixed : None
            Known parameters are refused.
        return_std : bool, default=False
            With ``ensemble=True``, also return the spread of its members.

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        NotFittedError, ValueError
            As of `HybridLabelNetRegressor.predict`.
        """
        check_is_fitted(self)
        X = check_signals(self, X, reset=False)
        found = self.estimator_.predict(X, sigma=sigma, fixed=fixed, return_std=return_std)
        if not self._single_output_:
            return found
        return tuple(part[:, 0] for part in found) if return_std else found[:, 0]

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predictions with their status; see `HybridLabelNetRegressor.estimate`.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            None: the one of `fit`.
        fixed : None
            Known parameters are refused.
        return_std : bool, default=False
            With ``ensemble=True``, also return the spread of its members.

        Returns
        -------
        Bunch
            Arrays with one row per voxel.

        Raises
        ------
        NotFittedError, ValueError
            As of `HybridLabelNetRegressor.estimate`.
        """
        check_is_fitted(self)
        X = check_signals(self, X, reset=False)
        return self.estimator_.estimate(X, sigma=sigma, fixed=fixed, return_std=return_std)
