"""Alpha chosen along its whole path, for the price of one training per fold."""

from collections.abc import Iterable
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils._param_validation import HasMethods, Interval

from ..metrics import least_variance, least_weighted, product_decomposition, quadratic
from ..tissues import number_tissues
from ._hybrid_net import HybridLabelNetRegressor
from ._hybrid_training import check_hybrid, error_scale, train_on_labels
from ._labels import label_rows
from ._net import NetworkRegressorMixin
from ._regressor import all_or_nothing


class HybridLabelNetRegressorCV(MetaEstimatorMixin, NetworkRegressorMixin, BaseEstimator):
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
    signal_model_ : SignalModel
    noise_ : NoiseModel
    sigma_ : float or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
    label_estimator_ : estimator or None
        None if the labels were given.
    network_ : FittedNetwork
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
            Same as the estimator's.
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
        net = HybridLabelNetRegressor() if self.estimator is None else clone(self.estimator)
        rows = check_hybrid(self, net, X, y, sigma)
        names = self.signal_model_.parameter_names
        rule = self._check_rule(names)
        needed = np.ones(len(names), dtype=bool)
        self.label_estimator_, labelled, kept = label_rows(net, rows, sigma, mle_labels, needed)
        places = np.flatnonzero(rows.usable)[kept]
        folds = self._split(len(rows.usable), places, labelled.y)
        forms = [self._measure(net, labelled, *fold) for fold in folds]
        scale = error_scale(
            net.param_scale, self.signal_model_, labelled.y, np.ones_like(labelled.y)
        )
        self._set_path(rule, names, scale, *np.stack(forms, axis=3))
        alpha = np.broadcast_to(self.alpha_, len(names))
        self.network_ = self._train(net, labelled, np.stack([1 - alpha, alpha]))
        return self

    def _train(self, net, labelled, mix):
        """Network on both kinds of label, with predictions that are added by `mix`."""
        ends = np.stack([np.zeros(mix.shape[1]), np.ones(mix.shape[1])])
        return train_on_labels(net, self.signal_model_, self.noise_, labelled, ends, mix)

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
        """Training and test rows of each fold, as places among the usable ones; whole tissues.

        A splitter is given all rows, since it may hold indices of those that the user has; `rows`
        are the usable ones among them.
        """
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

    def _measure(self, net, labelled, rows, held_out):
        """Quadratic forms of bias and variance on the held-out tissues of a fold."""
        tested = labelled.take(held_out)
        network = self._train(net, labelled.take(rows), np.ones((2, tested.y.shape[1])))
        outputs = network.per_label(tested.X, tested.sigma).mean(axis=1)
        return product_decomposition(tested.y, outputs - tested.y)

    def _set_path(self, rule, names, scale, bias, variance):
        """Alpha and its path from forms (2, 2, n_folds, n_parameters)."""
        squared_bias, squared_std = (
            np.stack([quadratic(form, a) for a in self.alphas_]) for form in (bias, variance)
        )
        self.bias_path_ = np.sqrt(np.maximum(squared_bias, 0.0))
        self.std_path_ = np.sqrt(squared_std)
        self.rmse_path_ = np.sqrt(np.maximum(squared_bias + squared_std, 0.0))
        forms = np.stack([bias, variance]).mean(axis=3) / scale**2
        if self.per_parameter:
            self.alpha_ = np.array([rule.best_alpha(*pair) for pair in np.moveaxis(forms, 3, 0)])
        elif rule.parameter is None:
            self.alpha_ = rule.best_alpha(*forms.mean(axis=3))
        else:
            self.alpha_ = rule.best_alpha(*forms[..., names.index(rule.parameter)])
