"""What the signals of a scan say about its maps: residuals, a reference fit, noise and air."""

from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import chi2

from ..._warnings import quiet
from ...estimators import MLEEstimator
from ...noise import NoiseModel, columns_of, expected_measurement
from ...signal_models import SignalModel
from .._air import sigma_of_air
from .._predict import marked
from ._finite import median_of

_VALUES = 8_000_000  # most measurements that are held, as whole slices
_REFERENCE, _FEW = 2_000, 300  # voxels of the reference fit, and of fits that are many
_SIGNAL = 4.0  # least fitted signal of tissue, in units of sigma
_IMAGES = 3  # slices that are kept whole
_SEED = 0


class Reference(NamedTuple):
    """Maximum-likelihood fit of some voxels of tissue, whatever the maps were made with.

    Attributes
    ----------
    estimator : MLEEstimator
    X, sigma : ndarray of shape (n_voxels, n_measurements)
        Signals and noise levels.
    fixed : dict of {str: ndarray}
        Known parameters.
    parameters : ndarray of shape (n_voxels, n_parameters)
    residual : ndarray of shape (n_voxels, n_measurements)
        See `residuals`.
    """

    estimator: MLEEstimator
    X: np.ndarray
    sigma: np.ndarray
    fixed: dict
    parameters: np.ndarray
    residual: np.ndarray

    @classmethod
    def of(cls, estimator, X, sigma, fixed):
        """Fit voxels."""
        with quiet():
            parameters = estimator.estimate(X, sigma=sigma, fixed=fixed or None).parameters
        residual = residuals(estimator.signal_model, estimator.noise_, X, sigma, parameters)
        return cls(estimator, X, sigma, fixed, parameters, residual)

    def again(self, X=None, sigma=None):
        """Fit of the same voxels with other signals or noise levels."""
        X = self.X if X is None else X
        return Reference.of(self.estimator, X, self.sigma if sigma is None else sigma, self.fixed)

    def some(self):
        """The first of the voxels, for many fits."""
        few = slice(_FEW)
        fixed = {name: values[few] for name, values in self.fixed.items()}
        parts = self.X[few], self.sigma[few], fixed, self.parameters[few], self.residual[few]
        return Reference(self.estimator, *parts)

    @property
    def n_free(self):
        """Number of parameters that are estimated."""
        return self.parameters.shape[1] - len(self.fixed)

    @property
    def n_spare(self):
        """Number of measurements beyond the number of parameters."""
        return self.X.shape[1] - self.n_free

    def misfit(self):
        """Sum of squared residuals over that of noise, a median over voxels; 1 for noise.

        The sum has a chi-squared distribution with as many degrees of freedom as there are
        measurements beyond the parameters. With few of them its median is far below its mean.
        """
        spare = np.maximum(np.isfinite(self.residual).sum(axis=1) - self.n_free, 1)
        sums = np.nansum(self.residual**2, axis=1)
        return float(median_of(sums / chi2.median(spare)))


class Evidence(NamedTuple):
    """Voxels of whole slices of a scan, with their signals and maps.

    Attributes
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    slices : ndarray of int of shape (n_slices,)
        Slices that were read, along the third axis.
    inside : bool ndarray of shape (n_slices, n_x, n_y)
        Voxels inside the mask. Rows of the other arrays are in this order, slice by slice.
    X : ndarray of shape (n_voxels, n_measurements)
        Signals of the voxels inside, NaN where there is no measurement.
    sigma : ndarray of shape (n_voxels, n_measurements)
        Noise levels; infinity where there is no measurement.
    parameters : ndarray of shape (n_voxels, n_parameters)
    status : ndarray of shape (n_voxels,)
    residual : ndarray of shape (n_voxels, n_measurements)
        Residuals of the maps, see `residuals`.
    tissue : bool ndarray of shape (n_voxels,)
        Voxels whose fitted signal exceeds the noise.
    reference : Reference or None
        None if there is no tissue, or fewer measurements than parameters.
    air : float or None
        Noise level of the air in the scan.
    whole : ndarray of int
        Indices of a few of the slices, whose `images` are kept.
    images : ndarray of shape (n_images, n_x, n_y, n_measurements)
        All of their voxels, inside the mask or not; NaN where there is no number.
    """

    signal_model: SignalModel
    noise: NoiseModel
    slices: np.ndarray
    inside: np.ndarray
    X: np.ndarray
    sigma: np.ndarray
    parameters: np.ndarray
    status: np.ndarray
    residual: np.ndarray
    tissue: np.ndarray
    reference: Reference | None
    air: float | None
    whole: np.ndarray
    images: np.ndarray

    def volume(self, values):
        """Values of the voxels as a volume of the slices, NaN outside."""
        volume = np.full((*self.inside.shape, *values.shape[1:]), np.nan)
        volume[self.inside] = values
        return volume

    def slice_of_voxel(self):
        """Slice of each voxel, as an index of `slices`."""
        return np.nonzero(self.inside)[0]


def residuals(signal_model, noise, X, sigma, parameters):
    """Measurement less its expectation, over its standard deviation; NaN where there is none.

    The standard deviation is sigma times that of the noise model, which for a magnitude without
    signal is .66.
    """
    level = np.where(np.isinf(sigma), np.nan, sigma)
    signal = torch.as_tensor(signal_model.simulate(parameters) / level)
    deviation = noise.variance(signal).sqrt().numpy() * level
    return (X - expected_measurement(signal_model, noise, parameters, sigma)) / deviation


def gather(scan, signal_model, noise, maps, sigma):
    """Evidence of a scan.

    Parameters
    ----------
    scan : Scan
    signal_model : SignalModel
    noise : NoiseModel
    maps : dict of {str: ndarray of shape (n_x, n_y, n_z)}
        Maps of parameters and of the status, in the units of the package.
    sigma : float, ndarray or None
        Noise level where the scan has none. None: learnt.

    Returns
    -------
    Evidence
    """
    slices = _some_slices(scan)
    inside = np.moveaxis(scan.inside[:, :, slices], 2, 0)
    columns = [
        np.moveaxis(maps[name][:, :, slices], 2, 0)[inside].astype(np.float64)
        for name in (*signal_model.parameter_names, "status")
        if name in maps
    ]
    n = len(signal_model.parameters)
    parameters, status = np.stack(columns[:n], axis=1), columns[n:] or [np.zeros(len(columns[0]))]
    X, level, fixed = _signals(scan, slices, sigma)
    estimated = np.isfinite(parameters).all(axis=1)
    if level is None:
        known = {name: values[estimated] for name, values in fixed.items()}
        level = _learnt(signal_model, noise, X[estimated], known)
    X, level = marked(X, level)
    level = np.array(np.broadcast_to(columns_of(level), X.shape))
    level[np.isnan(X)] = np.inf
    residual, tissue = np.full(X.shape, np.nan), estimated.copy()
    some = X[estimated], level[estimated], parameters[estimated]
    residual[estimated] = residuals(signal_model, noise, *some)
    strongest = np.abs(signal_model.simulate(some[2]) / some[1]).max(axis=1)
    tissue[estimated] = strongest > _SIGNAL
    reference = _reference(signal_model, noise, X, level, fixed, tissue)
    air = sigma_of_air(scan, np.random.RandomState(_SEED)) if signal_model.magnitude else None
    return Evidence(
        signal_model, noise, slices, inside, X, level, parameters, status[0], residual, tissue,
        reference, air, *_images(scan, slices),
    )  # fmt: skip


def _some_slices(scan):
    """Slices with voxels inside, evenly chosen if all would be too many values."""
    counts = np.count_nonzero(scan.inside, axis=(0, 1))
    slices = np.flatnonzero(counts)
    step = -(-int(counts.sum()) * scan.n_measurements // _VALUES)
    return slices[(step - 1) // 2 :: step]


def _images(scan, slices):
    """Indices and images of the slices with most voxels inside."""
    counts = np.count_nonzero(scan.inside[:, :, slices], axis=(0, 1))
    shape = *scan.inside.shape[:2], scan.n_measurements
    whole = scan.everywhere()
    chosen = np.sort(np.argsort(-counts, kind="stable")[:_IMAGES])
    parts = (whole.read(slice(int(z), int(z) + 1))[0] for z in slices[chosen])
    images = np.stack([np.asarray(part, dtype=np.float64).reshape(shape) for part in parts])
    return chosen, np.where(np.isfinite(images), images, np.nan)


def _signals(scan, slices, sigma):
    """Signals of the voxels inside, their noise level, and their known parameters."""
    slabs = [slice(int(z), int(z) + 1) for z in slices]
    parts = [(*scan.read(slab), scan.known(slab)) for slab in slabs]
    X = np.concatenate([part[0] for part in parts]).astype(np.float64)
    X[np.isinf(X)] = np.nan
    fixed = {
        name: np.concatenate([np.broadcast_to(part[2][name], len(part[0])) for part in parts])
        for name in scan.fixed or {}
    }
    if np.ndim(scan.sigma) > 2:  # a map
        return X, np.concatenate([part[1] for part in parts]), fixed
    level = sigma if scan.sigma is None else scan.sigma
    return X, None if level is None else np.asarray(level, dtype=np.float64), fixed


def _learnt(signal_model, noise, X, fixed):
    """Noise level of an estimator that needs none, from the residuals of a fit."""
    with quiet():
        some = slice(None, None, max(1, len(X) // _REFERENCE))
        values = {name: float(np.median(known)) for name, known in fixed.items()}
        mle = MLEEstimator(signal_model, noise=noise, fixed=values or None).fit(X[some])
    return np.asarray(mle.sigma_)


def _reference(signal_model, noise, X, sigma, fixed, tissue):
    n_free = len(signal_model.parameters) - len(fixed)
    n_present = np.isfinite(sigma).sum(axis=1)
    usable = np.flatnonzero(tissue & (n_present > n_free))
    if len(usable) == 0:
        return None
    rng = np.random.RandomState(_SEED)
    rows = rng.permutation(usable)[:_REFERENCE]
    middle = np.array([[p.loss_scale for p in signal_model.parameters]])
    with quiet():
        # The fit learns nothing: each voxel has its own noise level.
        mle = MLEEstimator(signal_model, noise=noise, sigma=1.0)
        signals = signal_model.simulate(middle)
        mle.fit(np.abs(signals) if signal_model.magnitude else signals)
    return Reference.of(mle, X[rows], sigma[rows], {n: v[rows] for n, v in fixed.items()})
