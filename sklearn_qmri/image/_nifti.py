"""NIfTI images and b-value files."""

import zlib
from pathlib import Path

import numpy as np

from .._files import replacing

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
