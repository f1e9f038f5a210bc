"""
The frontier of bias and variance
=================================

Blending labels trades bias for variance, but it is not the best trade.
``BiasConstrainedNetRegressor`` is trained on the trade itself: on the variance of its predictions
over noise repeats, plus w times their squared bias. The weight w is an input of the network, so one
training gives predictions for every w from 1 to 30. In the plane of bias and noise they form a
curve, the frontier.

The mean over a region of n voxels of one tissue has the squared error ``bias^2 + variance / n``,
which is least at w = n. So w is the number of voxels that will be averaged.

The setting is the ten b-value protocol of arXiv 2205.05587 at SNR 15. All methods know sigma. There
are 20,000 tissues to train on, and 500 others with 60 noise repeats each to measure on.

What to look for: at its upper end the frontier has less bias than maximum likelihood, and less
noise too. In the second figure, small regions are best served by a small w and large ones by a
large w.
"""

# %%
# One training, all weights
# -------------------------
#
# ``loss_weight=None`` counts all tissues equally, same as the figures below. The default counts
# tissues less in which a parameter cannot be known.

import matplotlib.pyplot as plt
import numpy as np

from sklearn_qmri import (
    BiasConstrainedNetRegressor,
    HybridLabelNetRegressor,
    MLEEstimator,
)
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.inspection import TradeOffDisplay
from sklearn_qmri.metrics import cramer_rao_bound, noise_std, rms_bias, roi_mean_squared_error
from sklearn_qmri.signal_models import IVIM

snr = 15
settings = {"sigma": 1 / snr, "random_state": 0}
model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
X, y = make_signals(model, 20_000, snr=snr, random_state=0)
X_test, y_test = make_signals(model, 500, snr=snr, n_repeats=60, random_state=1)

net = BiasConstrainedNetRegressor(model, loss_weight=None, **settings).fit(X, y)
mle = MLEEstimator(model, sigma=1 / snr, bounds={"f": (0.01, 0.5)}).fit(X)

weights = np.array([1, 1.5, 2, 3, 4, 6, 8, 10, 13, 17, 23, 30])
at_weight = {w: net.predict(X_test, bias_weight=w) for w in weights}

# %%
# The alpha path needs two trainings, one for each label, as the best prediction is linear in alpha.

label_net = HybridLabelNetRegressor(model, label_estimator=mle, **settings)
truth, ml = (label_net.set_params(alpha=a).fit(X, y).predict(X_test) for a in (0, 1))
alphas = np.linspace(0, 1, 21)
blends = [(1 - a) * truth + a * ml for a in alphas]


def bias_and_noise(predictions):
    """RMS bias and noise of f, D and D_star, each (n_predictions, 3)."""
    measured = [[m(y_test, p)[1:] for p in predictions] for m in (rms_bias, noise_std)]
    return np.array(measured)


frontier_bias, frontier_std = bias_and_noise(at_weight.values())
ml_estimates = mle.predict(X_test)
bound = np.sqrt(np.mean(cramer_rao_bound(model, y_test, sigma=1 / snr)[:, 1:] ** 2, axis=0))

# %%
# The distance from the origin is the root mean squared error of one voxel. Numbers beside the
# curves are alphas and weights.

plt.style.use("seaborn-v0_8-colorblind")
paths = {
    "alpha": (alphas, *bias_and_noise(blends)),
    "bias weight": (weights, frontier_bias, frontier_std),
}
methods = {"MLE": bias_and_noise([ml_estimates])[:, 0]}
TradeOffDisplay(paths, methods, model.parameters[1:], bound=bound).plot()
plt.show()

# %%
# At w = 1 the network minimises the mean squared error, same as with true labels (alpha = 0): the
# two ends are about equally far from the origin. From there the frontier reaches biases that no
# alpha reaches. The alpha path ends at maximum likelihood, which is biased itself, as some of its
# estimates are on a bound. All are below the Cramer-Rao bound, which holds for estimators without
# any bias.
#
# The mean over a region
# ----------------------
#
# Lines are the root of ``roi_mean_squared_error``, that is of ``bias^2 + variance / n``. Dots are
# the errors of means over n noise repeats, without that formula.

compared = {f"w = {w}": at_weight[w] for w in (1, 10, 30)} | {"MLE": ml_estimates}
sizes = np.unique(np.geomspace(1, 60, 30).astype(int))
averaged = [1, 3, 10, 30, 60]  # divisors of the number of repeats

fig, axes = plt.subplots(1, 3, figsize=(9.9, 3.6), layout="constrained")
for j, (ax, parameter) in enumerate(zip(axes, model.parameters[1:], strict=True), start=1):
    for k, (name, predicted) in enumerate(compared.items()):
        squared = [roi_mean_squared_error(y_test, predicted, n_voxels=n)[j] for n in sizes]
        ax.plot(sizes, np.sqrt(squared), color=f"C{k}", label=name)
        # Noise repeats of a tissue are consecutive rows: (n_tissues, n_regions, n voxels).
        errors = (predicted - y_test)[:, j]
        means = [errors.reshape(len(y_test) // 60, -1, n).mean(axis=2) for n in averaged]
        ax.plot(averaged, [np.sqrt(np.mean(m**2)) for m in means], "o", color=f"C{k}", markersize=4)
    unit = f" ({parameter.unit})" if parameter.unit else ""
    ax.set(xscale="log", ylim=(0, None), xlabel="voxels in the region")
    ax.set_title(f"{parameter.name}{unit}")
    ax.set_xticks(averaged, [str(n) for n in averaged])
    ax.minorticks_off()
axes[0].set_ylabel("error of the mean over the region")
fig.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
plt.show()

# %%
# A single voxel is best estimated with w = 1, whose error hardly falls beyond 10 voxels: it is
# bias. The weights 10 and 30 are about level at 10 voxels, so w need not be exact. Another weight
# takes no training, ``net.set_params(bias_weight=20)``, and each parameter can have its own.
#
# Limits
# ------
#
# One protocol, one SNR and one seed. Bias and variance are averages over tissues like those of the
# training: at a single tissue, at the ends of the range above all, bias is larger, and outside of
# it nothing is promised. All voxels of a region here are of one tissue, with independent noise.
