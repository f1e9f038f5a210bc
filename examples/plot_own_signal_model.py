"""
Your own signal model
=====================

T1rho: a spin-lock pulse of duration TSL before the readout. A formula and its parameters are all
that maximum likelihood and networks need.
"""

import torch

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import mean_bias, noise_std
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

model = T1Rho([0, 10, 20, 40, 80])
X, y = make_signals(model, 20_000, snr=30, random_state=0)
X_test, y_test = make_signals(model, 200, snr=30, n_repeats=50, random_state=1)
for estimator in (MLEEstimator(model), HybridLabelNetRegressor(model, alpha=0.5, random_state=0)):
    y_pred = estimator.fit(X, y).predict(X_test)
    bias, std = mean_bias(y_test, y_pred), noise_std(y_test, y_pred)
    print(f"{type(estimator).__name__}: T1rho bias {bias[1]:.2f} ms, std {std[1]:.2f} ms")
