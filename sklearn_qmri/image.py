"""Images: NIfTI files, b-value files, and the way between volumes and rows of voxels."""

import zlib
from pathlib import Path

import numpy as np

from ._files import replacing

_INSTALL = "NIfTI images need nibabel: pip install 'sklearn-qmri[image]'."


def _nibabel():
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    return nibabel


def load_nifti(path):
    """Open a NIfTI image; its data are read when asked for.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    nibabel image

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If it is not an image that nibabel can read.
    """
    nibabel = _nibabel()
    try:
        return nibabel.load(path)
    except nibabel.filebasedimages.ImageFileError as error:
        raise ValueError(f"{path} is not a NIfTI image: {error}") from error
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{path} is damaged: {error}") from error


def read_volume(image):
    """All data of a NIfTI image as an array, in the type in which they are stored.

    Parameters
    ----------
    image : nibabel image

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        return np.asanyarray(image.dataobj)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{image.get_filename()} is damaged: {error}") from error


def write_nifti(path, data, affine):
    """Write a NIfTI image under a temporary name and rename it, so that no half file is left.

    Parameters
    ----------
    path : path-like
        Ends in ``.nii.gz`` or ``.nii``.
    data : ndarray
    affine : ndarray of shape (4, 4)
    """
    nibabel = _nibabel()
    with replacing(path) as scratch:
        nibabel.save(nibabel.Nifti1Image(data, affine), scratch)


def read_b_values(path):
    """b-values of an FSL ``.bval`` file, in s/mm^2.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    ndarray of shape (n_measurements,)

    Raises
    ------
    ValueError
        If the file holds anything but numbers.
    """
    text = Path(path).read_text()
    try:
        return np.array(text.replace(",", " ").split(), dtype=np.float64)
    except ValueError as error:
        raise ValueError(f"{path} is not a list of b-values: {error}") from error


def axial_slice(volume, affine, index=None):
    """One axial slice of a volume as people look at it: front up, patient's right to the left.

    Parameters
    ----------
    volume : ndarray of shape (n_x, n_y, n_z, ...)
    affine : ndarray of shape (4, 4)
    index : int, default=None
        None: the middle slice.

    Returns
    -------
    ndarray of shape (n_rows, n_columns, ...)
    """
    nibabel = _nibabel()
    canonical = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume, affine))
    volume = np.asanyarray(canonical.dataobj)
    index = volume.shape[2] // 2 if index is None else index
    return np.swapaxes(volume[::-1, ::-1, index], 0, 1)


def apply_mask(volumes, mask):
    """Rows of the voxels in a mask.

    Parameters
    ----------
    volumes : array-like of shape (..., n_measurements)
    mask : array-like of shape (...)
        Nonzero inside.

    Returns
    -------
    ndarray of shape (n_voxels, n_measurements), float64

    Raises
    ------
    ValueError
        If the shapes disagree or the mask is empty.
    """
    volumes, mask = np.asarray(volumes), np.asarray(mask) != 0
    if mask.shape != volumes.shape[:-1]:
        raise ValueError(f"mask has shape {mask.shape}, but the volumes {volumes.shape[:-1]}.")
    if not mask.any():
        raise ValueError(f"mask of shape {mask.shape} has no voxel in it.")
    return volumes[mask].astype(np.float64)


def unmask(values, mask, fill=np.nan):
    """Put the values of the voxels in a mask back into a volume.

    Parameters
    ----------
    values : array-like of shape (n_voxels, ...)
    mask : array-like
        Nonzero inside.
    fill : float, default=nan
        Value outside.

    Returns
    -------
    ndarray of shape (*mask.shape, ...)
    """
    values, mask = np.asarray(values), np.asarray(mask) != 0
    if len(values) != np.count_nonzero(mask):
        raise ValueError(f"{len(values)} values for {np.count_nonzero(mask)} voxels in the mask.")
    if np.isnan(fill) and not np.issubdtype(values.dtype, np.floating):
        raise ValueError(f"NaN cannot be stored outside the mask as {values.dtype}: give a fill.")
    volume = np.full((*mask.shape, *values.shape[1:]), fill, dtype=values.dtype)
    volume[mask] = values
    return volume
