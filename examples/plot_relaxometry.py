"""
T2 and T1: the noise floor, and what a protocol determines
==========================================================

Relaxometry has fewer parameters than intravoxel incoherent motion, and the same two questions.
Magnitudes of late echoes do not decay to zero but to a floor of noise: does it matter that a fit
knows? And what does a network on true labels make of tissue that the protocol hardly determines?

The protocols are a spin echo with TE 10 to 250 ms and an inversion recovery with TI 50 to 4000 ms
and TR 15 s. Truth comes from a phantom and from simulated tissues, at SNR 20. Two scans of a brain
by these protocols follow where ``SKLEARN_QMRI_DATA`` names a folder with ``relaxometry/`` in it;
they are not part of the package.

What to look for: least squares overestimates short T2, the Rician likelihood hardly does. Long T1,
which these inversion times hardly determine, is better by a network on true labels, also in bias;
but that is knowledge of the inversion pulse, which can be told to maximum likelihood as well.
"""

# %%
# T2: the noise floor
# -------------------
#
# The same estimator under two noise models. With Gaussian noise it is least squares.

import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator, Status
from sklearn_qmri.datasets import make_phantom, make_signals
from sklearn_qmri.image import apply_mask, unmask
from sklearn_qmri.inspection import BiasVarianceDisplay
from sklearn_qmri.metrics import bias_curve, mean_bias
from sklearn_qmri.signal_models import InversionRecovery, T2Decay

t2_model = T2Decay([10, 25, 50, 90, 150, 250])
phantom = make_phantom(t2_model, shape=(96, 96, 3), snr=20, random_state=1)
X_phantom = apply_mask(phantom.data, phantom.mask)
true_T2 = apply_mask(phantom.truth, phantom.mask)[:, 1]
T2 = {}
for noise in ("gaussian", "rician"):
    mle = MLEEstimator(t2_model, noise=noise, sigma=phantom.sigma)
    T2[noise] = mle.fit(X_phantom).predict(X_phantom)[:, 1]

# %%
# The error is small beside the noise of a voxel, and remains in the mean over a region. Bars are
# two standard errors of that.

tissues = np.unique(true_T2)
volume = unmask(T2["rician"], phantom.mask)[:, :, 1].T
fig, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
shown = left.imshow(volume, vmin=0, vmax=350, interpolation="none")
left.set(title="T2 by Rician likelihood (ms)", xticks=[], yticks=[])
fig.colorbar(shown, ax=left, location="bottom", shrink=0.8)
for noise, color in (("gaussian", "#D55E00"), ("rician", "#0072B2")):
    error = [T2[noise][true_T2 == value] - value for value in tissues]
    mean = [e.mean() for e in error]
    two_errors = [2 * e.std() / np.sqrt(len(e)) for e in error]
    right.errorbar(tissues, mean, two_errors, fmt="o", color=color, label=noise, capsize=2)
    print(f"{noise}: mean error {mean[0]:+.2f} ms at the shortest T2 of {tissues[0]:.0f} ms")
right.axhline(0, color="black", linewidth=0.8)
right.set(xlabel="true T2 of a region (ms)", ylabel="mean error (ms)", ylim=(-2, 14))
right.legend(title="noise model", frameon=False)
plt.show()

# %%
# What is left at long T2 is no noise floor: there the longest echo leaves too little decay, and
# estimates of little decay are skewed, by either likelihood.
#
# T1: what one has to know
# ------------------------
#
# Signed signals, so Gaussian noise. There is no inversion time between 500 and 2000 ms and none
# beyond 4000; a long T1 with one inversion efficiency eta explains the signal about as well as
# another T1 with another. The simulated tissues have eta between 0.8 and 1. The network learns that
# from its tissues; maximum likelihood can be told by bounds.

t1_model = InversionRecovery([50, 100, 200, 500, 2000, 4000], repetition_time=15000)
X, y = make_signals(t1_model, 20_000, snr=20, random_state=0)
estimators = {
    "MLE, eta 0.5 to 1": MLEEstimator(t1_model, sigma=1 / 20),
    "MLE, eta 0.8 to 1": MLEEstimator(t1_model, sigma=1 / 20, bounds={"eta": (0.8, 1.0)}),
    "network, true labels": HybridLabelNetRegressor(
        t1_model, alpha=0, sigma=1 / 20, random_state=0
    ),
}
X_test, y_test = make_signals(t1_model, 400, snr=20, n_repeats=50, random_state=1)
curves = {
    name: [bias_curve(y_test, e.fit(X, y).predict(X_test), 1)] for name, e in estimators.items()
}
styles = {"color": ["#0072B2", "#009E73", "#D55E00"], "linestyle": ["-", "--", "-."]}
plt.rc("axes", prop_cycle=plt.cycler(**styles))
_, axes = plt.subplots(3, 1, figsize=(6, 7.5), sharex=True, layout="constrained")
BiasVarianceDisplay(curves, t1_model.parameters[1:2]).plot(axes=axes[:, None])
plt.show()

# %%
# Knowing eta takes most of the bias off the MLE. The network is less noisy still, and draws the
# longest T1 down. What it knows is right here by construction. Where the pulse inverts worse than
# it has ever seen, it is not, and neither are the narrow bounds:

X_worse, y_worse = make_signals(
    t1_model, 400, snr=20, prior={"eta": (0.7, 0.7)}, n_repeats=50, random_state=2
)
print(f"eta 0.7, mean T1 {y_worse[:, 1].mean():.0f} ms")
for name, estimator in estimators.items():
    bias = mean_bias(y_worse, estimator.predict(X_worse))[1]
    print(f"  {name:21} mean error of T1 {bias:+.0f} ms")

# %%
# A brain
# -------
#
# Two real scans, without a truth. The network is trained over the range of signal-to-noise ratios
# that maximum likelihood finds in the scan, and sees each row divided by its root mean square. T2
# is fitted from 5 ms on: far below the first echo time only one echo has any signal, which S0 and
# T2 explain in many ways.

folder = Path(os.environ.get("SKLEARN_QMRI_DATA", "")) / "relaxometry"
if folder.is_dir():
    images = {name: np.load(folder / f"{name}dataset.npy").astype(float) for name in ("t1", "t2")}
    largest = {name: np.abs(image).max(axis=-1) for name, image in images.items()}
    masks = {name: v > 0.2 * np.percentile(v, 99) for name, v in largest.items()}  # not air
    rows = {name: apply_mask(image, masks[name]) for name, image in images.items()}

    mle = MLEEstimator(t1_model).fit(rows["t1"])
    found = {"T1, MLE": mle.estimate(rows["t1"])}
    snr = np.percentile(found["T1, MLE"].parameters[:, 0] / mle.sigma_, [2.5, 97.5])
    print(f"SNR of 95 % of the voxels: {snr[0]:.0f} to {snr[1]:.0f}")
    X, y, sigma = make_signals(t1_model, 20_000, snr=snr, random_state=0, return_sigma=True)
    net = HybridLabelNetRegressor(
        t1_model, alpha=0, normalize="rms", sigma_input=True, random_state=0
    ).fit(X, y, sigma=sigma)
    found["T1, network"] = net.estimate(rows["t1"], sigma=mle.sigma_)
    for noise in ("rician", "gaussian"):
        mle = MLEEstimator(t2_model, noise=noise, bounds={"T2": (5.0, 3000.0)}).fit(rows["t2"])
        found[f"T2, {noise}"] = mle.estimate(rows["t2"])

    times = {name: result.parameters[:, 1] for name, result in found.items()}
    for name, result in found.items():
        print(
            f"{name:13} quartiles {np.percentile(times[name], [25, 50, 75]).round(0)} ms; on a "
            f"bound {np.mean(result.status == Status.AT_BOUND):.1%}, out of domain "
            f"{np.mean(result.status == Status.OUT_OF_DOMAIN):.1%}"
        )
    times["T2, gaussian - rician"] = times.pop("T2, gaussian") - times["T2, rician"]
    shown = {
        "T1, MLE": {"vmin": 0, "vmax": 3000},
        "T1, network": {"vmin": 0, "vmax": 3000},
        "T2, rician": {"vmin": 0, "vmax": 200},
        "T2, gaussian - rician": {"vmin": -3, "vmax": 3, "cmap": "RdBu_r"},
    }
    fig, axes = plt.subplots(1, 4, figsize=(9.9, 4), layout="constrained")
    for ax, (name, scale) in zip(axes, shown.items(), strict=True):
        volume = unmask(times[name], masks[name[:2].lower()])
        image = ax.imshow(volume, interpolation="none", **scale)
        ax.set(title=f"{name} (ms)", xticks=[], yticks=[])
        fig.colorbar(image, ax=ax, location="bottom", shrink=0.8)
    plt.show()
else:
    print("No relaxometry/ under SKLEARN_QMRI_DATA: the maps of the brain are left out.")

# %%
# Where the scans are at hand, the two maps of T1 look alike, though the methods differ by hundreds
# of ms in the simulations above: those are at SNR 20, and most brain has a T1 that these
# inversion times determine. Least squares gives a longer T2 than the Rician likelihood nearly
# everywhere. Which of two maps is right, they do not tell.
#
# Limits
# ------
#
# One SNR, two protocols. The noise level of the brain is learnt from residuals: motion and misfit
# (several T2 in a voxel, stimulated echoes) count as noise then. There is no repeated scan to
# compare with. Parameters of the simulated tissues are independent of each other and wide in range,
# which those of an organ are not.
