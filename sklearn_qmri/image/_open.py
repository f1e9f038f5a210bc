"""Opening of a scan: images, mask and noise map, and the checks that they fit together."""

import os
from numbers import Real

import numpy as np

from .._arrays import as_floats
from .._warnings import warn
from ._nifti import is_nifti, load_nifti, read_volume, stored_type
from ._scan import Scan

# Largest value, as a share of the mask's maximum, that counts as rounding of an interpolated 0.
_DUST = 1e-6


def open_scan(image, mask=None, sigma=None, *, fixed=None, n_expected=None):
    """Open a scan, and check that its parts fit together.

    Parameters
    ----------
    image : path-like, nibabel image, list of them, or Scan
        One image of four dimensions, or one image of three dimensions for each measurement. A scan
        that is open already keeps its mask, sigma and known parameters unless others are given.
    mask : path-like, nibabel image or array-like, default=None
        Nonzero where voxels are inside. None: all voxels. In a mask of fractions (a probability
        map, a resampled mask) voxels of at least 0.5 are inside, and a warning says so.
    sigma : float, path-like, nibabel image or array-like, default=None
        Noise level, or a map of it, in the units of the image. With one more dimension than the
        mask, the map has a level for each measurement; an array of shape (1, n_measurements) has
        one for each, the same in all voxels.
    fixed : dict of {str: float, path-like, nibabel image or array-like}, default=None
        Known parameters by name, numbers or maps.
    n_expected : int, default=None
        Number of measurements that the image must have.

    Returns
    -------
    Scan
        Opened scan. The signals are not read yet.

    Raises
    ------
    OSError
        If a file does not exist.
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
        inside = is_inside(fitting(mask, first, "mask"))
    elif inside is None:
        inside = np.full(first.shape[:3], True)
    if not inside.any():
        raise ValueError(f"mask of shape {inside.shape} has no voxel in it.")
    if sigma is None:
        sigma = opened.sigma
    elif not isinstance(sigma, Real):
        sigma = as_floats(fitting(sigma, first, "sigma", opened.n_measurements))
    fixed = opened.fixed if fixed is None else _known(fixed, first)
    return Scan(opened.images, inside, sigma, fixed)


def _known(fixed, image):
    """Known parameters by name: numbers as they are, maps as arrays that fit the image."""
    return {
        name: value
        if isinstance(value, Real)
        else as_floats(fitting(value, image, f"fixed[{name!r}]"))
        for name, value in fixed.items()
    }


def open_images(image):
    """List of one image of four dimensions, or of several of three with the same geometry."""
    if isinstance(image, Scan):
        return image.images
    sources = image if isinstance(image, (list, tuple)) else [image]
    if not sources:
        raise ValueError("image expects at least one image, got an empty list.")
    images = [load_nifti(each) for each in sources]
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
        # Complex and RGB voxels are no magnitudes.
        if stored_type(each).kind not in "iuf":
            raise ValueError(
                f"The image expects real numbers, got {stored_type(each)}{_name(each)}."
            )
        check_geometry(each, images[0], f"image{_name(each)}")
    return images


def is_inside(mask):
    """Bool array of the voxels inside a mask: neither 0, nor NaN, nor masked.

    Fractions (a probability map, or a resampled mask with rounding errors of 1e-8) are inside from
    0.5 on. Any other values (such as those of an image with air set to 0) are inside unless they
    are tiny beside the largest.
    """
    mask = np.asanyarray(mask)
    # Integers and bools have neither fractions nor NaN.
    if mask.dtype.kind != "f" and not isinstance(mask, np.ma.MaskedArray):
        return mask != 0
    size = np.abs(np.nan_to_num(as_floats(mask), nan=0.0))
    largest = size.max(initial=0.0)
    nonzero = size > 0
    # Values of 0 and 1 only are a plain mask, not fractions, even if they are stored as floats.
    whole = size == np.round(size)
    fractions = largest <= 1 + _DUST and not whole.all()
    inside = size >= 0.5 if fractions else size > _DUST * largest
    n_nonzero, n_inside = np.count_nonzero(nonzero), np.count_nonzero(inside)
    if n_inside < n_nonzero:
        limit = "at least 0.5" if fractions else f"more than {_DUST * largest:.2g}"
        warn(
            f"The mask is not 0 in {n_nonzero:,} voxels, of which {n_inside:,} are inside: those "
            f"with values of {limit}. Pass the array mask > 0 to include all."
        )
    return inside


def fitting(values, image, name, n_measurements=None):
    """Array of a mask or noise map, after a check that it fits the image.

    With `n_measurements`, there may be a value for each of them.
    """
    if hasattr(values, "dataobj") or isinstance(values, (str, os.PathLike)):
        values = load_nifti(values)
        check_geometry(values, image, name + _name(values), n_measurements)
        return read_volume(values)
    values = np.asanyarray(values)  # masked arrays stay masked
    if values.shape != (1, n_measurements):
        _check_shape(values, image, name, n_measurements)
    return values


def _check_shape(values, image, name, n_measurements):
    if values.shape not in (image.shape[:3], (*image.shape[:3], n_measurements)):
        raise ValueError(
            f"{name} has shape {values.shape}, but the image{_name(image)} {image.shape[:3]}."
        )


def check_geometry(other, image, name, n_measurements=None):
    """Raise ValueError unless an image has the geometry of another one."""
    if other is not image:
        _check_shape(other, image, name, n_measurements)
    if other.affine is None or image.affine is None:
        raise ValueError(
            f"{name} has no affine: make it with one, nibabel.Nifti1Image(data, affine)."
        )
    # Programs store affines in single precision, or as a quaternion: they differ by rounding.
    if not np.allclose(other.affine, image.affine, atol=1e-3):
        raise ValueError(
            f"The affine of {name} is not that of the image{_name(image)}: resample it."
        )


def _name(image):
    name = image.get_filename()
    return f" of {name}" if name else ""
