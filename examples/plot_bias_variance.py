"""
Bias and variance of six ways to estimate
=========================================

A root mean squared error hides what it is made of. On noise repeats of known tissues it splits into
bias, which averaging over voxels or patients leaves, and variance, which it does not. Here both are
measured for six ways to turn the same ten measurements into f, D and D_star.

The setting is that of Epstein et al. (arXiv 2205.05587; MELBA 2024:002): intravoxel incoherent
motion with ten b-values, Rician noise at SNR 30, tissues drawn uniformly from the ranges published
there. Sizes are small for speed: 20,000 tissues to train on instead of 100,000.

What to look for: which methods draw estimates to the middle of the range, which are noisy, and that
none is best in both. The label that a network is trained on says more about its errors than that it
is a network.
"""

# %%
# Six estimators
# --------------
#
# Two need no training: maximum likelihood fits each voxel on its own, and the posterior mean is
# computed from the tissues of the prior. The four networks have the same layers and differ in what
# they are trained on. All methods know sigma, 1/30 where S0 is 1. As published, f is fitted between
# 0.01 and 0.5.

import matplotlib.pyplot as plt

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    PosteriorMeanEstimator,
    SelfSupervisedNetRegressor,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.inspection import BiasVarianceDisplay
from sklearn_qmri.metrics import (
    bias_curve,
    mean_bias,
    noise_std,
    rms_bias,
    root_mean_squared_error,
)
from sklearn_qmri.signal_models import IVIM

model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
settings = {"sigma": 1 / 30, "random_state": 0}
mle = MLEEstimator(model, sigma=1 / 30, bounds={"f": (0.01, 0.5)})
estimators = {
    "MLE": mle,
    "MLE labels": HybridLabelNetRegressor(model, alpha=1, label_estimator=mle, **settings),
    "self-supervised": SelfSupervisedNetRegressor(model, bounds=mle.bounds, **settings),
    "hybrid 0.5": HybridLabelNetRegressor(model, alpha=0.5, label_estimator=mle, **settings),
    "true labels": HybridLabelNetRegressor(model, alpha=0, **settings),
    "posterior mean": PosteriorMeanEstimator(model, **settings),
}

X, y = make_signals(model, 20_000, snr=30, random_state=0)
X_test, y_test = make_signals(model, 300, snr=30, n_repeats=20, random_state=1)
predictions = {name: e.fit(X, y).predict(X_test) for name, e in estimators.items()}

# %%
# One number each
# ---------------
#
# Over 300 tissues with 20 noise repeats each. The mean bias keeps its sign: it is near 0 where
# small values are drawn up and large ones down. The RMS bias does not let them cancel, and has the
# share of the finite number of repeats taken off.

measures = {
    "mean bias": mean_bias,
    "RMS bias": rms_bias,
    "noise std": noise_std,
    "RMSE": root_mean_squared_error,
}
for j, parameter in enumerate(model.parameters[1:], start=1):
    print(f"{parameter.name:3} {parameter.unit:14}" + "".join(f"{m:>11}" for m in measures))
    for name, predicted in predictions.items():
        values = (measure(y_test, predicted)[j] for measure in measures.values())
        print(f"  {name:16}" + "".join(f"{v:11.3g}" for v in values))
on_bound = mle.estimate(X_test).at_bound.mean(axis=0)
for name, share in zip(model.parameter_names, on_bound, strict=True):
    print(f"MLE of {name} on a bound: {share:.1%}")

# %%
# By RMSE the comparison was over before it began: the test tissues come from the distribution of
# the training, where nothing has less of it than the posterior mean, and a network on true labels
# tends to that. What the error consists of is another matter.
#
# Over the range of a parameter
# -----------------------------
#
# Bias is in the top row. Where it falls from above zero to below, small values are drawn up and
# large ones down: two tissues that differ look more alike than they are.

styles = {
    "color": ["#0072B2", "#56B4E9", "#009E73", "#CC79A7", "#D55E00", "black"],
    "linestyle": ["-", "--", "-.", (0, (5, 1)), "-", ":"],
}
plt.rc("axes", prop_cycle=plt.cycler(**styles))
curves = {
    name: [bias_curve(y_test, predicted, j, n_bins=6) for j in (1, 2, 3)]
    for name, predicted in predictions.items()
}
BiasVarianceDisplay(curves, model.parameters[1:]).plot()
plt.show()

# %%
# The network on MLE labels lies on the curve of the MLE, in bias and in noise, and the one on true
# labels on that of the posterior mean. The hybrid is between them. The self-supervised network
# sees no labels, and is not biased like the MLE: one function has to explain all signals, and does
# not follow single voxels onto the bounds. By default it has a weight decay besides. Its noise is
# nearer to that of true labels than to that of the MLE. The price is bias of f and D, here larger
# than that of the MLE.
#
# Limits
# ------
#
# One protocol, one SNR and one seed. The tissues are those of the training distribution; outside of
# it networks are biased otherwise. The MLE is not unbiased here: part of its D_star is on a bound.
# Nothing here says which bias and which noise a study can bear, and so which method it should use.
