"""Choice of alpha along its whole path, at the cost of one training per fold."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone

from ..metrics import least_weighted, product_decomposition, quadratic
from ._hybrid_net import HybridLabelNetRegressor
from ._hybrid_training import check_hybrid, train_on_labels
from ._labels import label_rows
from ._net import NetworkRegressorMixin
from ._outputs import error_scale
from ._path_cv import PATH, check_rule, set_paths, split_tissues
from ._regressor import all_or_nothing


class HybridLabelNetRegressorCV(MetaEstimatorMixin, NetworkRegressorMixin, BaseEstimator):
    """Hybrid-label network whose alpha is chosen by bias and variance on held-out tissues.

    The best prediction at a given alpha is linear in alpha. Each fold therefore trains one network
    with outputs for both true parameters and maximum-likelihood labels, or one network for each
    kind of label if noise is resampled. Every alpha in between is an interpolation of their
    predictions. Signed bias is then affine in alpha, variance is quadratic, and the best alpha has
    a closed form.

    Parameters
    ----------
    estimator : HybridLabelNetRegressor, default=None
        Network to train; its alpha does not matter. None: ``HybridLabelNetRegressor()``.
    alphas : array-like of shape (n_alphas,), default=None
        Values at which the path is reported. The chosen alpha is not restricted to them. None: 0,
        0.1, ..., 1.
    per_parameter : bool, default=False
        Whether to choose one alpha for each parameter, by its own bias and variance.
    rule : least_weighted, least_variance or roi_error, default=None
        Rule that chooses alpha, in units of the scales of the errors. None:
        ``least_weighted(weight=2)``. The mean squared error (a weight of 1) is not the default: on
        tissues like the training tissues it chooses 0, apart from noise.
    cv : int, splitter or iterable of (train, test) rows, default=3
        Splits, which hold out whole tissues (distinct rows of y). An integer is the number of folds
        of `GroupKFold`. A splitter gets the tissues as groups.

    Attributes
    ----------
    alpha_ : float or ndarray of shape (n_parameters,)
        Chosen alpha.
    alphas_ : ndarray of shape (n_alphas,)
        Values at which the path is reported.
    bias_path_, std_path_, rmse_path_ : ndarray of shape (n_alphas, n_folds, n_parameters)
        Root mean square bias over tissues (corrected for the finite number of repeats), noise
        standard deviation and root mean squared error, in the units of the parameters.
    signal_model_ : SignalModel
    noise_ : NoiseModel
    sigma_ : float or None
        Noise level, as given or as learnt. None if `fit` got one per row.
    label_estimator_ : estimator or None
        Fitted label estimator. None if the labels were given.
    network_ : FittedNetwork
        Network trained on all rows and both kinds of label, whose predictions `alpha_` blends.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    sklearn_qmri.metrics.least_variance : Rule with a limit on the bias.
    sklearn_qmri.metrics.roi_error : Rule for the mean over a region.

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
        **PATH,
    }

    def __init__(self, estimator=None, *, alphas=None, per_parameter=False, rule=None, cv=3):
        self.estimator = estimator
        self.alphas = alphas
        self.per_parameter = per_parameter
        self.rule = rule
        self.cv = cv

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None, mle_labels=None):
        """Measure the path on held-out tissues, choose alpha, train on all rows.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            True parameters, with noise repeats: several rows of each tissue.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Same as in `HybridLabelNetRegressor.fit`.
        mle_labels : array-like of the shape of y, default=None
            Maximum-likelihood labels. None: they are computed once for all folds.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument is out of range, no tissue has repeats, a split has rows of one tissue on
            both sides, or no alpha meets the rule.
        RuntimeError
            If a training diverges.
        """
        net = HybridLabelNetRegressor() if self.estimator is None else clone(self.estimator)
        rows = check_hybrid(self, net, X, y, sigma)
        names = self.signal_model_.parameter_names
        rule = self._check_rule(names)
        # All alphas are evaluated, so labels of all parameters are needed.
        needed = np.ones(len(names), dtype=bool)
        self.label_estimator_, labelled, kept = label_rows(net, rows, sigma, mle_labels, needed)
        # Places of the labelled rows among all rows of X.
        places = np.flatnonzero(rows.usable)[kept]
        folds = split_tissues(self.cv, len(rows.usable), places, labelled.y)
        forms = [self._measure(net, labelled, *fold) for fold in folds]
        scale = error_scale(
            net.param_scale, self.signal_model_, labelled.y, np.ones_like(labelled.y)
        )
        self._set_path(rule, names, scale, *np.stack(forms, axis=3))
        alpha = np.broadcast_to(self.alpha_, len(names))
        self.network_ = self._train(net, labelled, np.stack([1 - alpha, alpha]))
        return self

    def _train(self, net, labelled, mix):
        """Network trained on both kinds of label, with `mix` as weights of its predictions."""
        ends = np.stack([np.zeros(mix.shape[1]), np.ones(mix.shape[1])])
        return train_on_labels(net, self.signal_model_, self.noise_, labelled, ends, mix)

    def _check_rule(self, names):
        """Checked rule. Sets `alphas_`, as all checks must precede the training."""
        alphas = np.linspace(0, 1, 11) if self.alphas is None else np.asarray(self.alphas, float)
        if alphas.ndim != 1 or not ((alphas >= 0) & (alphas <= 1)).all() or len(alphas) == 0:
            raise ValueError(f"alphas expects values in [0, 1], got {self.alphas!r}.")
        self.alphas_ = alphas
        rule = least_weighted(weight=2) if self.rule is None else self.rule
        check_rule(rule, names)
        if rule.parameter is not None and self.per_parameter:
            raise ValueError(f"per_parameter=True needs a rule without parameter, got {rule!r}.")
        return rule

    def _measure(self, net, labelled, rows, held_out):
        """Quadratic forms of bias and variance on the held-out tissues of a fold."""
        tested = labelled.take(held_out)
        # The weights do not matter, as predictions for both kinds of label are taken separately.
        network = self._train(net, labelled.take(rows), np.ones((2, tested.y.shape[1])))
        # From (n_labels, n_members, n_rows, n_parameters) to the mean over the members.
        outputs = network.per_label(tested.X, tested.sigma).mean(axis=1)
        return product_decomposition(tested.y, outputs - tested.y)

    def _set_path(self, rule, names, scale, bias, variance):
        """Set alpha and its path, from forms of shape (2, 2, n_folds, n_parameters)."""
        # Each of shape (n_alphas, n_folds, n_parameters).
        squared_bias, squared_std = (
            np.stack([quadratic(form, a) for a in self.alphas_]) for form in (bias, variance)
        )
        set_paths(self, squared_bias, squared_std)
        # Means over folds, (2 for bias and variance, 2, 2, n_parameters). A mean of quadratic forms
        # is a quadratic form, so that the best alpha still has a closed form.
        forms = np.stack([bias, variance]).mean(axis=3) / scale**2
        if self.per_parameter:
            self.alpha_ = np.array([rule.best_alpha(*pair) for pair in np.moveaxis(forms, 3, 0)])
        elif rule.parameter is None:
            self.alpha_ = rule.best_alpha(*forms.mean(axis=3))
        else:
            self.alpha_ = rule.best_alpha(*forms[..., names.index(rule.parameter)])
