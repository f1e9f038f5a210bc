"""
The whole alpha path for one training per fold
==============================================

A hybrid-label network is trained on ``alpha * MLE label + (1 - alpha) * true label``. Which alpha?
Under squared error the best prediction is linear in alpha, so one network with outputs for both
labels holds the whole path: signed bias is affine in alpha, variance a quadratic, and the best
alpha has a closed form. ``HybridLabelNetRegressorCV`` measures both ends on held-out tissues, and
chooses.

The setting is the ten b-value protocol of arXiv 2205.05587 at SNR 30, where hybrid labels were
proposed. 1000 tissues with 16 noise repeats each, 3 folds of whole tissues.

What to look for: noise grows with alpha for every parameter, bias does not fall all the way for
every parameter, and the parameters do not agree on an alpha.
"""

# %%
# One alpha for each parameter
# ----------------------------
#
# The rule is the least ``variance + 4 * bias^2``: a unit of squared bias costs as much as four
# of variance. The weight is for the user to choose; the data cannot tell it. A weight of 1 would
# be the mean squared error, for which true labels (alpha = 0) win by construction.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.base import clone

from sklearn_qmri import HybridLabelNetRegressor, HybridLabelNetRegressorCV, MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.inspection import AlphaPathDisplay
from sklearn_qmri.metrics import least_weighted, noise_std, rms_bias
from sklearn_qmri.signal_models import IVIM

model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
X, y = make_signals(model, 1000, snr=30, n_repeats=16, random_state=0)
X_test, y_test = make_signals(model, 1000, snr=30, n_repeats=16, random_state=1)

mle = MLEEstimator(model, sigma=1 / 30, bounds={"f": (0.01, 0.5)}).fit(X)
net = HybridLabelNetRegressor(model, sigma=1 / 30, label_estimator=mle, random_state=0)
search = HybridLabelNetRegressorCV(net, per_parameter=True, rule=least_weighted(4))
search.fit(X, y)
for name, alpha in zip(model.parameter_names, search.alpha_, strict=True):
    print(f"alpha of {name}: {alpha:.2f}")

# %%
# The vertical lines are the chosen alphas. The grey line is the noise of the MLE itself, on fresh
# tissues.

plt.style.use("seaborn-v0_8-colorblind")
limits = {"noise std of the MLE": noise_std(y_test, mle.predict(X_test))}
AlphaPathDisplay.from_estimator(search, limits=limits)
plt.show()

# %%
# Is the path right?
# ------------------
#
# An interpolation of two outputs stands for networks that were never trained. So train some, each
# at an alpha of its own, and measure them on tissues that none has seen.

alphas = [0.0, 0.25, 0.5, 0.75, 1.0]
labels = mle.predict(X)
trained = np.array(
    [
        clone(net).set_params(alpha=alpha).fit(X, y, mle_labels=labels).predict(X_test)
        for alpha in alphas
    ]
)
path = [search.bias_path_, search.std_path_]
path = [np.sqrt(np.mean(folds**2, axis=1)) for folds in path]

fig, axes = plt.subplots(2, 3, figsize=(9.9, 5.5), sharex=True, layout="constrained")
measures = {"RMS bias": rms_bias, "noise std": noise_std}
for row, (measure, function), values in zip(axes, measures.items(), path, strict=True):
    found = np.array([function(y_test, predicted) for predicted in trained])
    for j, ax in enumerate(row, start=1):
        parameter = model.parameters[j]
        ax.plot(search.alphas_, values[:, j], label="path, held-out tissues")
        ax.plot(alphas, found[:, j], "o", label="a network per alpha, fresh tissues")
        unit = f" ({parameter.unit})" if parameter.unit else ""
        ax.set(ylabel=f"{measure} of {parameter.name}{unit}", ylim=(0, 1.1 * found[:, j].max()))
for ax in axes[1]:
    ax.set_xlabel("alpha (0: truth, 1: MLE labels)")
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %%
# Predictions blend each parameter by its own alpha.

predicted = search.predict(X_test)
for j, parameter in enumerate(model.parameters):
    b, s = rms_bias(y_test, predicted)[j], noise_std(y_test, predicted)[j]
    print(f"{parameter.name}: RMS bias {b:.3g}, noise std {s:.3g} {parameter.unit}")

# %%
# Limits
# ------
#
# Bias and variance are averages over tissues like those of the training: at a single tissue,
# another alpha may be best. 1000 tissues leave a network short of its best: part of its bias is too
# little training, and the dots scatter about the path for that reason too. Another weight, SNR or
# protocol gives other alphas.
