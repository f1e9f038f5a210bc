"""Masks, and the conversion between volumes and rows of voxels."""

import numpy as np
from scipy import ndimage
from sklearn.utils import check_random_state

from .._arrays import as_floats
from ._open import is_inside, open_scan

_INSTALL = "Automatic masks need scikit-image: pip install 'sklearn-qmri[image]'."


def apply_mask(volumes, mask):
    """Rows of the voxels in a mask.

    Parameters
    ----------
    volumes : array-like of shape (..., n_measurements)
        All measurements of each voxel.
    mask : array-like of shape (...)
        Nonzero where voxels are inside.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64
        A row for each voxel inside.

    Raises
    ------
    ValueError
        If the shapes disagree or the mask is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.image import apply_mask
    >>> apply_mask(np.ones((4, 3, 2, 10)), np.ones((4, 3, 2))).shape
    (24, 10)
    """
    volumes, mask = np.asanyarray(volumes), is_inside(mask)
    if mask.shape != volumes.shape[:-1]:
        raise ValueError(f"mask has shape {mask.shape}, but the volumes {volumes.shape[:-1]}.")
    if not mask.any():
        raise ValueError(f"mask of shape {mask.shape} has no voxel in it.")
    return as_floats(volumes[mask])


def unmask(values, mask, fill=np.nan):
    """Put the values of the voxels in a mask back into a volume.

    Parameters
    ----------
    values : array-like of shape (n_voxels, ...)
        One or more values for each voxel inside, in the order of `apply_mask`.
    mask : array-like
        Nonzero where voxels are inside.
    fill : float, default=nan
        Value of the voxels outside.

    Returns
    -------
    ndarray of shape mask.shape + (...)
        The values in place.

    Raises
    ------
    ValueError
        If the numbers of values and of voxels in the mask differ, or `fill` is NaN and the values
        are integers.

    Examples
    --------
    >>> from sklearn_qmri.image import unmask
    >>> unmask([0.5, 0.7], [[1, 0], [0, 1]])
    array([[0.5, nan],
           [nan, 0.7]])
    """
    # Plain asarray would drop the mask of a masked array and keep the hidden values.
    if isinstance(values, np.ma.MaskedArray):
        values = as_floats(values)
    values, mask = np.asarray(values), is_inside(mask)
    if len(values) != np.count_nonzero(mask):
        raise ValueError(f"{len(values)} values for {np.count_nonzero(mask)} voxels in the mask.")
    # NumPy would convert NaN to an arbitrary integer without an error.
    if np.isnan(fill) and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"NaN cannot be stored outside the mask as {values.dtype}: give a fill.")
    volume = np.full((*mask.shape, *values.shape[1:]), fill, dtype=values.dtype)
    volume[mask] = values
    return volume


def mean_signal(image):
    """Mean magnitude over all measurements, read slab by slab.

    Parameters
    ----------
    image : path-like, nibabel image, list of them, or Scan
        Same as `image` of `predict_image`.

    Returns
    -------
    ndarray of shape (n_x, n_y, n_z)
        Mean of each voxel, in the units of the image.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import mean_signal
    >>> mean_signal(nibabel.Nifti1Image(np.full((4, 3, 2, 10), 7.0), np.eye(4))).max()
    np.float64(7.0)
    """
    return open_scan(image).mean()


def compute_mask(image):
    """Mask of everything but air: the body or the head, not the brain alone.

    The mean signal is compared with the triangle threshold, which suits images whose histogram
    has one high peak of background. The largest connected part is kept, and its holes are filled
    slice by slice. Look at the result: a mask by threshold is only a first guess.

    Parameters
    ----------
    image : path-like, nibabel image, list of them, or Scan
        Same as `image` of `predict_image`.

    Returns
    -------
    ndarray of bool of shape (n_x, n_y, n_z)
        True inside.

    Raises
    ------
    ValueError
        If all voxels have the same mean signal.
    ImportError
        If scikit-image is not installed.

    References
    ----------
    Zack GW, Rogers WE, Latt SA (1977), Automatic measurement of sister chromatid exchange
    frequency, J Histochem Cytochem 25:741.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.image import compute_mask
    >>> from sklearn_qmri.signal_models import ADC
    >>> phantom = make_phantom(ADC([0, 500, 1000]), shape=(32, 32, 2), snr=30, random_state=0)
    >>> mask = compute_mask(nibabel.Nifti1Image(phantom.data, np.eye(4)))
    >>> bool(np.mean(mask == phantom.mask) > 0.98)
    True
    """
    try:
        from skimage.filters import threshold_triangle
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    # Voxels without a finite mean are outside, and would spoil the histogram.
    mean = np.nan_to_num(mean_signal(image), nan=0.0, posinf=0.0)
    if mean.min() == mean.max():
        raise ValueError(f"All voxels have a mean signal of {mean.max():g}: nothing to mask.")
    parts, _ = ndimage.label(mean > threshold_triangle(mean))
    # Label 0 is the background, however large; the parts begin at 1.
    largest = parts == np.argmax(np.bincount(parts.ravel())[1:]) + 1
    # In three dimensions a cavity that reaches the first or last slice is no hole. Within slices it
    # is one, so that gas in the body counts as inside.
    slices = [ndimage.binary_fill_holes(each) for each in np.moveaxis(largest, 2, 0)]
    return np.stack(slices, axis=2)


def sample_voxels(image, mask=None, n_voxels=50_000, *, random_state=None):
    """Signals of randomly drawn voxels, read without the whole scan in memory.

    They serve to learn a noise level, or to train a self-supervised network.

    Parameters
    ----------
    image : path-like, nibabel image, list of them, or Scan
        Same as `image` of `predict_image`.
    mask : path-like, nibabel image or array-like, default=None
        Same as `mask` of `open_scan`.
    n_voxels : int, default=50000
        Largest number of voxels to draw.
    random_state : int, RandomState instance or None, default=None
        Seed of the draw.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64
        Signals of the drawn voxels, in their order in the scan.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import sample_voxels
    >>> image = nibabel.Nifti1Image(np.ones((4, 3, 2, 10)), np.eye(4))
    >>> sample_voxels(image, n_voxels=5, random_state=0).shape
    (5, 10)
    """
    return open_scan(image, mask).sample(n_voxels, check_random_state(random_state))
