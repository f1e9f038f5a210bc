"""The weight of the bias chosen along its whole path, for the price of one training per fold."""

from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone

from ..metrics import bias_variance_decomposition, roi_error
from ._bias_constrained_net import BiasConstrainedMixin, BiasConstrainedNetRegressor
from ._bias_constrained_training import check_bias_weight, network_at, train_on_bias
from ._net import check_training
from ._path_cv import PATH, check_rule, set_paths, split_tissues
from ._regressor import all_or_nothing

_N_WEIGHTS = 25  # of the default path; neighbours differ by 15 % for a largest weight of 30
_N_VOXELS = 10


class BiasConstrainedNetRegressorCV(MetaEstimatorMixin, BiasConstrainedMixin, BaseEstimator):
    """Bias-constrained network whose weights are chosen by bias and variance on held-out tissues.

    The weight is an input of the network. So each fold trains one network, and its bias and
    variance along the whole path of weights are those of its predictions.

    Parameters
    ----------
    estimator : BiasConstrainedNetRegressor, default=None
        Its `bias_weight` does not matter. None: ``BiasConstrainedNetRegressor()``.
    bias_weights : array-like of shape (n_weights,), default=None
        Path of weights, between 1 and the estimator's `max_bias_weight`; one of them is chosen.
        None: 25 of them, evenly spaced on a logarithmic axis.
    rule : least_weighted, least_variance or roi_error, default=None
        Rule that chooses for each parameter, by its own bias and variance, in units of its loss
        scale. A rule that names a parameter chooses one weight for all. None:
        ``roi_error(n_voxels=10)``.
    cv : int, splitter or iterable of (train, test) rows, default=3
        Whole tissues (distinct rows of y) are held out: an integer is that of `GroupKFold`, and a
        splitter gets them as groups.

    Attributes
    ----------
    bias_weight_ : ndarray of shape (n_parameters,)
    bias_weights_ : ndarray of shape (n_weights,)
    bias_path_, std_path_, rmse_path_ : ndarray of shape (n_weights, n_folds, n_parameters)
        Root mean square bias over tissues (corrected for the finite number of repeats), noise
        standard deviation and root mean squared error, in the units of the parameters.
    signal_model_ : SignalModel
    noise_ : NoiseModel
    sigma_ : float or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
    max_bias_weight_ : float
        Largest weight that the network has been trained for.
    network_ : FittedNetwork
        Trained on all rows.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    sklearn_qmri.metrics.roi_error : Rule for the mean over a region.
    HybridLabelNetRegressorCV : Chooses the label, in the same way.

    Examples
    --------
    >>> from sklearn_qmri import BiasConstrainedNetRegressor, BiasConstrainedNetRegressorCV
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.metrics import roi_error
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 300, snr=30, n_repeats=4, random_state=0)
    >>> net = BiasConstrainedNetRegressor(model, sigma=1 / 30, max_epochs=5, random_state=0)
    >>> BiasConstrainedNetRegressorCV(net, rule=roi_error(20)).fit(X, y).bias_path_.shape
    (25, 3, 4)
    """

    _parameter_constraints: ClassVar = {
        "estimator": [BiasConstrainedNetRegressor, None],
        "bias_weights": ["array-like", None],
        **PATH,
    }

    def __init__(self, estimator=None, *, bias_weights=None, rule=None, cv=3):
        self.estimator = estimator
        self.bias_weights = bias_weights
        self.rule = rule
        self.cv = cv

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Measure the path on held-out tissues, choose the weights, train on all rows.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            True parameters, with noise repeats: several rows of each tissue.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Same as in `BiasConstrainedNetRegressor.fit`.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument is out of range, no tissue has repeats, a split has rows of one tissue on
            both sides, or no weight meets the rule.
        RuntimeError
            If a training diverges.
        """
        net = BiasConstrainedNetRegressor() if self.estimator is None else clone(self.estimator)
        rows = check_training(self, net, X, y, sigma)
        model, noise = self.signal_model_, self.noise_
        rule = roi_error(_N_VOXELS) if self.rule is None else self.rule
        check_rule(rule, model.parameter_names)
        if net.max_bias_weight is None:
            raise ValueError("estimator expects a max_bias_weight, to train for a path of weights.")
        self.bias_weights_ = self._check_path(net.max_bias_weight)
        folds = split_tissues(self.cv, len(rows.usable), np.flatnonzero(rows.usable), rows.y)
        paths = [self._measure(net, rows, *fold) for fold in folds]
        # (n_weights, n_folds, n_parameters)
        squared_bias, variance = (np.stack(path, axis=1) for path in zip(*paths, strict=True))
        set_paths(self, squared_bias, variance)
        scale = np.array([p.loss_scale for p in model.parameters])
        parts = squared_bias.mean(axis=1) / scale**2, variance.mean(axis=1) / scale**2
        self.bias_weight_ = self._choose(rule, model.parameter_names, *parts)
        self.network_ = train_on_bias(net, model, noise, rows)
        self.max_bias_weight_ = net.max_bias_weight
        return self

    @property
    def _usual_weight(self):
        """Weight of predictions for which no other is given."""
        return self.bias_weight_

    def _check_path(self, largest):
        """Weights of the path, each within the range of the training."""
        if self.bias_weights is None:
            # Not geomspace, whose last value may exceed the largest by rounding.
            return np.minimum(largest ** np.linspace(0, 1, _N_WEIGHTS), largest)
        weights = np.asarray(self.bias_weights, dtype=np.float64)
        if weights.ndim != 1 or len(weights) == 0:
            raise ValueError(f"bias_weights expects a list of weights, got {self.bias_weights!r}.")
        return check_bias_weight(weights, len(weights), largest)

    def _measure(self, net, rows, train, held_out):
        """Squared bias and variance (n_weights, n_parameters) on the held-out tissues of a fold."""
        trained = rows.take(np.isin(np.arange(len(rows.X)), train))
        network = train_on_bias(net, self.signal_model_, self.noise_, trained)
        X, y, sigma = rows.X[held_out], rows.y[held_out], rows.sigma[held_out]
        ones = np.ones(y.shape[1])
        parts = [
            bias_variance_decomposition(y, variant.predict(X, sigma))
            for variant in (
                network_at(network, w * ones, net.max_bias_weight) for w in self.bias_weights_
            )
        ]
        return np.stack([p.squared_bias for p in parts]), np.stack([p.variance for p in parts])

    def _choose(self, rule, names, squared_bias, variance):
        """Weight of each parameter, from scaled paths of shape (n_weights, n_parameters)."""
        if rule.parameter is not None:
            columns = [names.index(rule.parameter)] * len(names)
        else:
            columns = range(len(names))
        best = [rule.best(squared_bias[:, j], variance[:, j], "bias_weight") for j in columns]
        return self.bias_weights_[best]
