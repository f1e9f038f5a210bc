"""Opening of a scan: images, mask and noise map, and the checks that they fit together."""

import os
from numbers import Real

import numpy as np

from .._arrays import as_floats
from .._warnings import warn
from ._nifti import is_nifti, load_nifti, read_volume, stored_type
from ._scan import Scan

# Share of the largest value of a mask that interpolation leaves where there was 0.
_DUST = 1e-6


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
