"""
Your own signal model
=====================

The package has no model of T1rho: the decay under a spin-lock pulse of duration TSL before the
readout (Sepponen et al., J Comput Assist Tomogr 1985;9:1007). How much is to be written until
maximum likelihood, networks, simulations and bounds work with it?

The setting is made up for this page: TSL from 0 to 80 ms at SNR 30, tissues with T1rho between 20
and 150 ms.

What to look for: a formula and its parameters are all of it. In what is measured then, the label of
a network matters little up to 80 ms; beyond, where the longest pulse leaves little decay to see, it
does.
"""

# %%
# The model
# ---------
#
# Parameters have a unit, bounds for estimates and a prior for simulations. Derivatives come from
# automatic differentiation.

import matplotlib.pyplot as plt
import numpy as np
import torch

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import bias_curve, cramer_rao_bound, mean_bias, noise_std
from sklearn_qmri.signal_models import Parameter, SignalModel, amplitude


# model-start
class T1Rho(SignalModel):
    parameters = (amplitude("S0"), Parameter("T1rho", "ms", (1.0, 500.0), (20.0, 150.0), log=True))

    def __init__(self, spin_lock_times):
        self.spin_lock_times = spin_lock_times

    def signal(self, theta):
        S0, T1rho = theta
        return S0 * torch.exp(-self.acquisition("spin_lock_times", theta) / T1rho)


# model-end

# %%
# All the rest works
# ------------------
#
# Simulate with noise, which is Rician, as for all magnitudes; fit; train.

model = T1Rho([0, 10, 20, 40, 80])
X, y = make_signals(model, 20_000, snr=30, random_state=0)
X_test, y_test = make_signals(model, 300, snr=30, n_repeats=50, random_state=1)
estimators = {
    "maximum likelihood": MLEEstimator(model, sigma=1 / 30),
    "hybrid labels, alpha 0.5": HybridLabelNetRegressor(model, sigma=1 / 30, random_state=0),
    "true labels": HybridLabelNetRegressor(model, alpha=0, sigma=1 / 30, random_state=0),
}
curves = {}
for name, estimator in estimators.items():
    predicted = estimator.fit(X, y).predict(X_test)
    bias, std = mean_bias(y_test, predicted), noise_std(y_test, predicted)
    print(f"{name:25} T1rho: mean bias {bias[1]:+.2f} ms, noise std {std[1]:.2f} ms")
    curves[name] = bias_curve(y_test, predicted, 1)

# %%
# The Cramer-Rao bound comes from the same derivatives. Unbiased estimators cannot have less noise;
# what is below it has paid with bias.

T1rho = np.linspace(20, 150, 50)
bound = cramer_rao_bound(model, np.column_stack([np.ones(50), T1rho]), sigma=1 / 30)[:, 1]
colors = ("#0072B2", "#CC79A7", "#D55E00")
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for (name, curve), color, marker in zip(curves.items(), colors, "o^s", strict=True):
    left.plot(curve.center, curve.bias, marker=marker, color=color, label=name)
    right.plot(curve.center, curve["std"], marker=marker, color=color)
left.axhline(0, color="black", linewidth=0.8)
left.set(xlabel="true T1rho (ms)", ylabel="bias (ms)")
right.plot(T1rho, bound, "--", color="gray", label="Cramer-Rao bound (unbiased)")
right.set(xlabel="true T1rho (ms)", ylabel="noise std (ms)", ylim=(0, None))
fig.legend(loc="outside lower center", ncols=4, frameon=False)
plt.show()

# %%
# Limits
# ------
#
# Simulations and fits share the formula, so nothing here tests it: a wrong one would look as good.
# Derivatives by hand would be faster, see ``docs/add_signal_model.md``. T1rho in tissue depends on
# the spin-lock amplitude and can be bi-exponential, which this model leaves out.
