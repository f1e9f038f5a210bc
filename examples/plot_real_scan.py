"""
Maps of a real scan, and what can be said of them
=================================================

A scan has no truth. What can be said of maps is whether methods agree, how they would repeat, where
an estimate sits on a bound, and where a network has left the domain that it was trained on. Four
methods map one slice of an in-vivo pelvis: maximum likelihood, networks on hybrid and on true
labels, and a self-supervised network that is trained on the slice itself.

The scan is the clinical one behind arXiv 2205.05587: one volunteer, ten b-values from 0 to 800
s/mm^2, magnitudes in the scanner's counts. ``fetch_pelvis_ivim`` looks for it in the folder
``SKLEARN_QMRI_DATA``, then in its cache, then on PyPI. **Where none of these has it, a simulated
phantom stands in for it: the first line of the output and the title of the maps say which.**

What to look for: methods agree on D more than on D_star; by maximum likelihood most voxels have a
parameter on a bound; the smooth f and D_star of true labels repeat best, which does not make them
true.
"""

# %%
# The scan
# --------

import warnings

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap

from sklearn_qmri import (
    HybridLabelNetRegressor,
    MLEEstimator,
    SelfSupervisedNetRegressor,
    Status,
)
from sklearn_qmri.datasets import fetch_pelvis_ivim, make_phantom, make_signals
from sklearn_qmri.image import apply_mask, axial_slice, read_volume, unmask
from sklearn_qmri.inspection import ParameterMapDisplay
from sklearn_qmri.metrics import repeatability
from sklearn_qmri.noise import Rician
from sklearn_qmri.signal_models import IVIM

try:
    scan = fetch_pelvis_ivim()
    model, title = IVIM(scan.b_values), "In-vivo pelvis, one axial slice"
    image, mask = (
        np.rot90(axial_slice(read_volume(volume), volume.affine))  # the header has it on its side
        for volume in (scan.dwi, scan.mask)
    )
except OSError:
    model, title = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800]), "SIMULATED PHANTOM, no scan"
    phantom = make_phantom(model, shape=(128, 128, 1), snr=20, random_state=0)
    image, mask = (np.swapaxes(v[:, :, 0], 0, 1) for v in (phantom.data, phantom.mask))
X = apply_mask(image, mask)
print(f"{title}: {len(X)} voxels")

# %%
# Four methods
# ------------
#
# The noise level is learnt by maximum likelihood. Simulated tissues cover the signal-to-noise
# ratios that it finds; the networks see each voxel divided by its root mean square, and the noise
# level relative to that.

bounds = {"f": (0.0, 0.5)}
mle = MLEEstimator(model, bounds=bounds).fit(X)
sigma = mle.sigma_
snr = np.percentile(mle.predict(X)[:, 0] / sigma, [0.2, 99.8]).clip(min=2)
print(f"sigma {sigma:.3g}; training at SNR {snr[0]:.0f} to {snr[1]:.0f}")
X_train, y_train, sigma_train = make_signals(
    model,
    30_000,
    snr=tuple(snr),
    prior={"f": (0.0, 0.5), "D": (0.02, 3.5), "D_star": (5.0, 200.0)},
    random_state=0,
    return_sigma=True,
)
settings = {"normalize": "rms", "sigma_input": True, "random_state": 0}
labeller = MLEEstimator(model, bounds=bounds)
methods = {
    "maximum likelihood": mle,
    "hybrid labels, 0.5": HybridLabelNetRegressor(
        model, alpha=0.5, label_estimator=labeller, **settings
    ).fit(X_train, y_train, sigma=sigma_train),
    "true labels": HybridLabelNetRegressor(model, alpha=0, **settings).fit(
        X_train, y_train, sigma=sigma_train
    ),
    "self-supervised": SelfSupervisedNetRegressor(
        model, sigma=sigma, bounds=bounds, normalize="rms", random_state=0
    ).fit(X),
}
with warnings.catch_warnings():
    warnings.filterwarnings("ignore", r"\d+ of \d+ rows are unlike")  # counted below
    found = {name: method.estimate(X, sigma=sigma) for name, method in methods.items()}

rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
body = np.ix_(rows, columns)
maps = {name: unmask(result.parameters, mask)[body] for name, result in found.items()}
ParameterMapDisplay(maps, model.parameters).plot(title=title)
plt.show()

# %%
# Status
# ------
#
# "On a bound" is of one parameter at least: the measurement would have it beyond. "Out of domain"
# is where a network's estimate does not explain the signal to within the noise, or is at the edge
# of what it was trained on. Networks warn where such voxels are many; here they are counted and
# shown instead. The self-supervised network was trained on this very slice, and can hardly find it
# unusual.

print(f"{'':20}{'on a bound':>12}{'out of domain':>15}{'residual / sigma':>18}")
for name, result in found.items():
    bound, out = (np.mean(result.status == s) for s in (Status.AT_BOUND, Status.OUT_OF_DOMAIN))
    print(f"{name:20}{bound:12.1%}{out:15.1%}{np.median(result.residual_rms) / sigma:18.2f}")
on_bound = found["maximum likelihood"].at_bound.mean(axis=0)
for name, share in zip(model.parameter_names, on_bound, strict=True):
    print(f"maximum likelihood of {name} on a bound: {share:.1%}")

kinds = {"neither": "#DDDDDD", "on a bound": "#0072B2", "out of domain": "#D55E00"}
fig, axes = plt.subplots(1, 4, figsize=(9.9, 2.2), layout="constrained")
for ax, (name, result) in zip(axes, found.items(), strict=True):
    kind = (result.status == Status.AT_BOUND) + 2.0 * (result.status == Status.OUT_OF_DOMAIN)
    shown = unmask(kind, mask)[body]
    ax.imshow(shown, cmap=ListedColormap(kinds.values()), vmin=0, vmax=2, interpolation="none")
    ax.set(title=name, xticks=[], yticks=[])
patches = [plt.Rectangle((0, 0), 1, 1, color=color) for color in kinds.values()]
fig.legend(patches, kinds, loc="outside lower center", ncols=3, frameon=False)
plt.show()

# %%
# In the pelvis, what the networks do not explain lies together, above all in the bladder; chance
# would have scattered it. Whether fluid moves there, or is only unlike the tissues of the training,
# a flag does not say.
#
# Agreement
# ---------
#
# Differences from maximum likelihood, voxel by voxel.

reference = found["maximum likelihood"].parameters
for j, parameter in enumerate(model.parameters[1:], start=1):
    for name, result in list(found.items())[1:]:
        values = result.parameters[:, j]
        low, median, high = np.percentile(values - reference[:, j], [2.5, 50, 97.5])
        correlation = np.corrcoef(values, reference[:, j])[0, 1]
        print(
            f"{parameter.name:7}{name:20} correlation {correlation:.2f}, median difference "
            f"{median:+.3g}, 95 % from {low:.3g} to {high:.3g} {parameter.unit}"
        )

# %%
# Repeatability at more noise
# ---------------------------
#
# The scan was not repeated. Noise can be added to it, though, and more than once: a magnitude with
# as much noise again is one with sqrt(2) times the noise, exactly. How far estimates scatter
# over such copies needs no truth.

rng = np.random.RandomState(0)
copies = [Rician().sample(X / sigma, rng) * sigma for _ in range(4)]
print("std over copies: " + ", ".join(f"{p.name} {p.unit}".rstrip() for p in model.parameters))
for name, method in methods.items():
    repeats = [method.predict(copy, sigma=np.sqrt(2) * sigma) for copy in copies]
    std = repeatability(repeats).within_subject_std
    print(f"{name:20}" + "".join(f"{value:10.3g}" for value in std))

# %%
# Limits
# ------
#
# One volunteer, one slice. A method that returned the same value everywhere would repeat perfectly
# and agree with nothing: none of the three says which map is closer to the tissue. Copies with
# added noise are noisier than the scan and share its own noise, motion and artefacts. Sigma is
# learnt from residuals, which hold some motion and misfit. Research use only.
