"""
Choosing alpha by bias and variance
===================================

Judged by mean squared error on tissues like those of the training, a network trained on true
parameters (alpha = 0) always wins: its target, the posterior mean, is what minimises that error.
What it wins in variance it pays in bias. Here a grid search chooses the alpha of least variance
among those whose bias stays under a limit.

The setting is the 10 b-value protocol of arXiv 2205.05587 at SNR 30, and small for speed: 600
tissues, 16 noise repeats each. Repeats of a tissue stay on one side of every split.
"""

import numpy as np
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from sklearn_qmri import HybridLabelNetRegressor
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import bias_variance_scorer, least_variance
from sklearn_qmri.signal_models import IVIM

model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
X, y = make_signals(model, 600, snr=30, n_repeats=16, random_state=0)
groups = np.repeat(np.arange(600), 16)


def search(n_jobs=None, max_bias=0.1):
    """Grid search over alpha, in a pipeline as users have them."""
    net = HybridLabelNetRegressor(model, sigma=1 / 30, max_epochs=20, random_state=0)
    return GridSearchCV(
        Pipeline([("scan", FunctionTransformer()), ("net", net)]),
        {"net__alpha": [0.0, 0.25, 0.5, 0.75, 1.0]},
        cv=GroupKFold(3),
        scoring=bias_variance_scorer.from_model(model),
        refit=least_variance(max_bias=max_bias),
        n_jobs=n_jobs,
    ).fit(X, y, groups=groups)


if __name__ == "__main__":
    fitted = search()
    bias = np.sqrt(-np.minimum(fitted.cv_results_["mean_test_neg_squared_bias"], 0))
    std = np.sqrt(-fitted.cv_results_["mean_test_neg_variance"])
    for alpha, b, s in zip(fitted.param_grid["net__alpha"], bias, std, strict=True):
        print(f"alpha {alpha:4.2f}: RMS bias {b:.3f}, std {s:.3f} (in units of the loss scales)")
    print(f"chosen: {fitted.best_params_}")
