"""A scan on disk as rows of voxels: what belongs together, and reading it slab by slab."""

import os
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path

import numpy as np

from .._arrays import as_floats
from .._warnings import warn
from ._nifti import is_nifti, load_nifti, read_volume, stored_type

_DUST = 1e-6  # of a mask's largest value: what interpolation leaves where there was 0
_BYTES = 2**27  # of an image, as float64, that is read at once


@dataclass(frozen=True, eq=False)
class Scan:
    """An opened scan: its images, the voxels that count, and the noise level; nothing read yet.

    Made by `open_scan`. Every function that takes an image takes a scan too, with its mask.

    Parameters
    ----------
    images : list of nibabel images
        One of four dimensions, or one of three for each measurement.
    inside : ndarray of bool of shape (n_x, n_y, n_z)
        Voxels that count.
    sigma : None, float or ndarray of shape (n_x, n_y, n_z), default=None
        Noise level: unknown, one for all, or one for each voxel.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import open_scan, sample_voxels
    >>> scan = open_scan(nibabel.Nifti1Image(np.ones((4, 3, 2, 10)), np.eye(4)))
    >>> scan.n_measurements, scan.n_voxels, sample_voxels(scan, n_voxels=5).shape
    (10, 24, (5, 10))
    """

    images: list
    inside: np.ndarray
    sigma: object = None

    @property
    def n_measurements(self):
        """Number of measurements of each voxel."""
        return n_measurements(self.images)

    @property
    def paths(self):
        """Files of the images; ValueError if one is in memory only."""
        names = [image.get_filename() for image in self.images]
        if None in names:
            raise ValueError("A scan that is in memory only has no files beside it.")
        return [Path(name) for name in names]

    @property
    def n_voxels(self):
        """Number of voxels inside."""
        return int(np.count_nonzero(self.inside))

    def slabs(self, chunk_size):
        """Runs of slices along the third axis with about `chunk_size` voxels inside each.

        Slices without any at both ends belong to none.

        Parameters
        ----------
        chunk_size : int
            Voxels that a run should have.

        Returns
        -------
        list of slice
            From the first slice with voxels inside to the last.
        """
        counts = np.count_nonzero(self.inside, axis=(0, 1))
        first, last = np.flatnonzero(counts)[[0, -1]].tolist()
        slabs, start, total = [], first, 0
        for z in range(first, last + 1):
            if counts[z] and total and total + counts[z] > chunk_size:
                slabs.append(slice(start, z))
                start, total = z, 0
            total += counts[z]
        return [*slabs, slice(start, last + 1)]

    def read(self, slab):
        """Signals of the voxels inside a slab, in the type of the file, and their noise levels.

        Parameters
        ----------
        slab : slice
            Of the third axis.

        Returns
        -------
        signals : ndarray of shape (n_voxels, n_measurements)
            A row for each voxel inside.
        sigma : None, float or ndarray of shape (n_voxels,)
            As it was given, of these voxels.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        here = self.inside[:, :, slab]
        place = np.empty(here.shape, dtype=np.intp)
        place[here] = np.arange(np.count_nonzero(here))
        signals = None
        for part in self._parts(slab):
            there = self.inside[:, :, part]
            if there.any():
                values = self._load(part)[there]
                if signals is None:
                    signals = np.empty((np.count_nonzero(here), values.shape[1]), values.dtype)
                within = slice(part.start - slab.start, part.stop - slab.start)
                signals[place[:, :, within][there]] = values
        return signals, self.sigma[:, :, slab][here] if np.ndim(self.sigma) else self.sigma

    def mean(self):
        """Mean magnitude of each voxel, inside or not.

        Returns
        -------
        ndarray of shape (n_x, n_y, n_z)
            In the units of the images.

        Raises
        ------
        ValueError
            If a file is damaged, or a volume has no finite number in it.
        """
        mean = np.empty(self.inside.shape)
        seen = np.zeros(self.n_measurements, dtype=bool)  # volumes with any finite number
        for part in self._parts(slice(0, self.inside.shape[2])):
            signals = self._load(part).astype(np.float64)
            seen |= np.isfinite(signals).any(axis=(0, 1, 2))
            mean[:, :, part] = np.abs(signals, out=signals).mean(axis=-1)
        if not seen.all():
            raise ValueError(
                f"Volumes {np.flatnonzero(~seen).tolist()} of the image (the first is 0) hold no "
                "finite number, only NaN or infinity: leave them and their measurements out."
            )
        return mean

    def sample(self, n_voxels, rng):
        """Signals of voxels drawn from those inside.

        Parameters
        ----------
        n_voxels : int
            At most.
        rng : numpy.random.RandomState
            Draws them.

        Returns
        -------
        ndarray of shape (n_voxels, n_measurements), float64
            In the order of the slices.
        """
        places = np.flatnonzero(self.inside)
        if len(places) > n_voxels:
            places = rng.choice(places, n_voxels, replace=False)
        drawn = np.zeros_like(self.inside)
        drawn.flat[places] = True
        signals, _ = replace(self, inside=drawn, sigma=None).read(slice(0, drawn.shape[2]))
        return signals.astype(np.float64)

    def _parts(self, slab):
        """Runs of slices of a slab that are small enough to be read at once."""
        n_x, n_y, _ = self.inside.shape
        n_slices = max(1, _BYTES // (8 * n_x * n_y * self.n_measurements))
        for z in range(slab.start, slab.stop, n_slices):
            yield slice(z, min(z + n_slices, slab.stop))

    def _load(self, part):
        """All measurements of some slices."""
        if len(self.images) == 1:
            return read_volume(self.images[0], part)
        return np.stack([read_volume(image, part) for image in self.images], axis=-1)


def open_scan(image, mask=None, sigma=None, *, n_expected=None):
    """Open a scan, and check that its parts fit together.

    Parameters
    ----------
    image : path-like, nibabel image, list of them, or Scan
        One image of four dimensions, or one of three for each measurement. A scan that is open
        already keeps its mask and sigma unless others are given.
    mask : path-like, nibabel image or array-like, default=None
        Nonzero inside. None: all voxels. Of a mask of fractions (a probability map, a resampled
        mask) voxels of at least 0.5 are inside, and a warning says so.
    sigma : float, path-like, nibabel image or array-like, default=None
        Noise level, or a map of it, in the units of the image.
    n_expected : int, default=None
        Number of measurements that the image must have.

    Returns
    -------
    Scan
        Opened; no data are read yet.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If a file is damaged, or shapes, geometries or numbers of measurements disagree.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import open_scan
    >>> image = nibabel.Nifti1Image(np.ones((4, 3, 2, 10)), np.eye(4))
    >>> open_scan(image, np.arange(24).reshape(4, 3, 2) > 3).n_voxels
    20
    """
    opened = image if isinstance(image, Scan) else Scan(open_images(image), None)
    first, inside = opened.images[0], opened.inside
    if n_expected not in (None, opened.n_measurements):
        raise ValueError(
            f"The image has {opened.n_measurements} volumes, but {n_expected} measurements per "
            "voxel are expected."
        )
    if mask is not None:
        inside = is_inside(_fitting(mask, first, "mask"))
    elif inside is None:
        inside = np.full(first.shape[:3], True)
    if not inside.any():
        raise ValueError(f"mask of shape {inside.shape} has no voxel in it.")
    if sigma is None:
        sigma = opened.sigma
    elif not isinstance(sigma, Real):
        sigma = as_floats(_fitting(sigma, first, "sigma"))
    return Scan(opened.images, inside, sigma)


def open_images(image):
    """One image of four dimensions, or several of three that are alike, as a list."""
    if isinstance(image, Scan):
        return image.images
    given = image if isinstance(image, (list, tuple)) else [image]
    if not given:
        raise ValueError("image expects at least one image, got an empty list.")
    images = [load_nifti(each) for each in given]
    n_dimensions = 4 if len(images) == 1 else 3
    for each in images:
        if not is_nifti(each):
            raise ValueError(f"The image expects NIfTI, got {type(each).__name__}{_name(each)}.")
        if len(each.shape) != n_dimensions:
            raise ValueError(
                f"The image expects {n_dimensions} dimensions, got shape {each.shape}"
                f"{_name(each)}; a scan is one image of 4 dimensions, or one of 3 dimensions for "
                "each measurement."
            )
        if stored_type(each).kind not in "iuf":
            raise ValueError(
                f"The image expects real numbers, got {stored_type(each)}{_name(each)}."
            )
        _check_geometry(each, images[0], f"image{_name(each)}")
    return images


def n_measurements(images):
    """Number of measurements of a scan's images."""
    return images[0].shape[3] if len(images) == 1 else len(images)


def is_inside(mask):
    """Where a mask is neither 0 nor NaN, which maps have outside, nor masked.

    Fractions (a probability map, a resampled mask with its dust of 1e-8) are inside from a half on.
    Any other values are, as those of an image with air set to 0, but for dust beside the largest.
    """
    mask = np.asanyarray(mask)
    if mask.dtype.kind != "f" and not isinstance(mask, np.ma.MaskedArray):
        return mask != 0
    size = np.abs(np.nan_to_num(as_floats(mask), nan=0.0))
    largest = size.max(initial=0.0)
    nonzero = size > 0
    whole = size == np.round(size)
    fractions = largest <= 1 + _DUST and not whole.all()
    inside = size >= 0.5 if fractions else size > _DUST * largest
    n_nonzero, n_inside = np.count_nonzero(nonzero), np.count_nonzero(inside)
    if n_inside < n_nonzero:
        limit = "at least 0.5" if fractions else f"more than {_DUST * largest:.2g}"
        warn(
            f"The mask is not 0 in {n_nonzero:,} voxels, of which {n_inside:,} are inside: those "
            f"of {limit}. Pass mask > 0, an array, to count all."
        )
    return inside


def _fitting(values, image, name):
    """Array of a mask or noise map that fits the image."""
    if hasattr(values, "dataobj") or isinstance(values, (str, os.PathLike)):
        values = load_nifti(values)
        _check_geometry(values, image, name)
        return read_volume(values)
    values = np.asarray(values)
    if values.shape != image.shape[:3]:
        raise ValueError(f"{name} has shape {values.shape}, but the image {image.shape[:3]}.")
    return values


def _check_geometry(other, image, name):
    if other.shape[:3] != image.shape[:3] or (other is not image and len(other.shape) != 3):
        raise ValueError(f"{name} has shape {other.shape}, but the image {image.shape[:3]}.")
    if other.affine is None or image.affine is None:
        raise ValueError(
            f"{name} has no affine: make it with one, nibabel.Nifti1Image(data, affine)."
        )
    if not np.allclose(other.affine, image.affine, atol=1e-3):
        raise ValueError(f"The affine of {name} is not that of the image: resample it.")


def _name(image):
    name = image.get_filename()
    return f" of {name}" if name else ""
