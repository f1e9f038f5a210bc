"""NIfTI images: opening, reading, writing."""

import os
import zlib

import numpy as np

from .._arrays import as_floats
from .._files import replacing
from ._integrity import check_size, check_stream

_INSTALL = "NIfTI images need nibabel: pip install 'sklearn-qmri[image]'."
# Errors that nibabel and gzip raise when the data of a file are damaged.
_DAMAGE = (EOFError, OSError, ValueError, zlib.error)


def _nibabel():
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(_INSTALL) from error
    return nibabel


def load_nifti(path):
    """Open a NIfTI image; its data are read only when they are used.

    Parameters
    ----------
    path : path-like or nibabel image
        File of the image. An image is returned unchanged.

    Returns
    -------
    nibabel image
        Opened image, with its data still on disk.

    Raises
    ------
    OSError
        If there is no such file.
    ValueError
        If nibabel cannot read the file, the file is too small for the image that its header claims,
        or its name is not UTF-8.
    TypeError
        If `path` is neither a path nor an image.
    ImportError
        If nibabel is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from sklearn_qmri.image import load_nifti, write_nifti
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "map.nii.gz"
    ...     write_nifti(path, np.zeros((4, 3, 2), np.float32), np.eye(4))
    ...     load_nifti(path).shape
    (4, 3, 2)
    """
    nibabel = _nibabel()
    if isinstance(path, nibabel.spatialimages.SpatialImage):
        return path
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"An image expects a path or a nibabel image, got {type(path).__name__}.")
    _check_name(os.fspath(path))
    try:
        image = nibabel.load(path)
    except (
        nibabel.filebasedimages.ImageFileError,
        nibabel.spatialimages.HeaderDataError,
        EOFError,
        zlib.error,
    ) as error:
        raise ValueError(f"{path} is not a NIfTI image, or damaged: {error}") from error
    check_size(image)
    return image


def _check_name(path):
    """Raise ValueError for a name that is not UTF-8, at which readers of compressed files crash."""
    try:
        path.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"The name of a file expects UTF-8, got {path!a}: rename it.") from error


def stem_of(path):
    """Name of an image's file without ``.nii``, ``.nii.gz`` or the endings of a pair."""
    # Path.stem would leave the ".nii" of ".nii.gz".
    name = path.name.removesuffix(".gz")
    return name.removesuffix(".nii").removesuffix(".img").removesuffix(".hdr")


def is_nifti(image):
    """Whether an image is NIfTI, of either version, in one file or two."""
    return isinstance(image, _nibabel().Nifti1Pair)


def like(image, values):
    """Image of values with the geometry of another image."""
    nibabel = _nibabel()
    kind = nibabel.Nifti2Image if isinstance(image, nibabel.Nifti2Image) else nibabel.Nifti1Image
    header = image.header.copy()
    header.set_data_dtype(values.dtype)
    result = kind(values, image.affine, header)
    # The copied header has the scaling and the display window of the scan's values. A window from 0
    # to 0 means none in NIfTI.
    result.header.set_slope_inter(1, 0)
    result.header["cal_min"] = result.header["cal_max"] = 0
    return result


def read_volume(image, slab=slice(None)):
    """Data of a NIfTI image as an array; integers without scaling stay integers.

    The first time that a gzip file is read, the whole file is compared with its checksum. Masked
    entries of a masked array in memory become NaN.

    Parameters
    ----------
    image : nibabel image
        Image of three or more dimensions.
    slab : slice, default=slice(None)
        Part of the third axis to read.

    Returns
    -------
    ndarray
        Values in the shape of the image, with the third axis limited to the slab.

    Raises
    ------
    ValueError
        If the file is damaged.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import read_volume
    >>> image = nibabel.Nifti1Image(np.ones((4, 3, 6), np.int16), np.eye(4))
    >>> read_volume(image, slice(2, 4)).shape
    (4, 3, 2)
    """
    try:
        check_stream(image)
        # Slicing the proxy reads and scales only this part; get_fdata would read all as float64.
        values = np.asanyarray(image.dataobj[:, :, slab])
    except _DAMAGE as error:
        raise ValueError(f"{image.get_filename()} is damaged: {error}") from error
    return as_floats(values) if isinstance(values, np.ma.MaskedArray) else values


def stored_type(image):
    """Data type of the voxels of an image."""
    # An image made with one of nibabel's names for a type ("compat") returns the name.
    kind = image.get_data_dtype()
    return image.dataobj.dtype if isinstance(kind, str) else kind


def write_nifti(path, data, affine):
    """Write a NIfTI image under a temporary name and rename it, so that no partial file is left.

    Parameters
    ----------
    path : path-like
        File to write, ending in ``.nii.gz`` or ``.nii``.
    data : ndarray
        Voxels, stored in the same type, except that bool is stored as bytes and 64-bit integers as
        32-bit integers. Masked entries of a masked array become NaN.
    affine : ndarray of shape (4, 4)
        Matrix from voxels to millimetres.

    Raises
    ------
    OSError
        If the file cannot be written; no part of it is left.
    ValueError
        If integers do not fit into 32 bits.
    TypeError
        If the voxels are not real numbers.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from sklearn_qmri.image import write_nifti
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nifti(pathlib.Path(folder) / "map.nii.gz", np.zeros((4, 3, 2)), np.eye(4))
    """
    nibabel = _nibabel()
    if isinstance(data, np.ma.MaskedArray):
        data = as_floats(data)
    if data.dtype.kind not in "biuf":
        raise TypeError(f"write_nifti expects real numbers, got an array of {data.dtype}.")
    if data.dtype == bool:  # no data type that nibabel can write
        data = data.astype(np.uint8)
    elif data.dtype.kind in "iu" and data.dtype.itemsize == 8:
        data = _in_32_bits(data)
    with replacing(path) as scratch:
        nibabel.save(nibabel.Nifti1Image(data, affine), scratch)


def _in_32_bits(data):
    """The same integers in 32 bits, because few programs read NIfTI with 64-bit integers."""
    limits = np.iinfo({"i": np.int32, "u": np.uint32}[data.dtype.kind])
    if data.size and (data.min() < limits.min or data.max() > limits.max):
        raise ValueError(
            f"Integers from {data.min()} to {data.max()} do not fit into {limits.dtype}: write "
            "them as floats."
        )
    return data.astype(limits.dtype)


def axial_slice(volume, affine, index=None):
    """One axial slice in radiological display: front at the top, patient's right at the left.

    Parameters
    ----------
    volume : ndarray of shape (n_x, n_y, n_z, ...)
        Voxels in the order of the file.
    affine : ndarray of shape (4, 4)
        Matrix from voxels to millimetres.
    index : int, default=None
        Number of the slice, counted from the feet. None: the middle slice.

    Returns
    -------
    ndarray of shape (n_rows, n_columns, ...)
        Slice to show with `matplotlib.pyplot.imshow`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_qmri.image import axial_slice
    >>> axial_slice(np.zeros((4, 3, 2)), np.eye(4)).shape
    (3, 4)
    """
    nibabel = _nibabel()
    # To axes that run to the right, to the front and to the head (RAS+), whatever the file has.
    volume = nibabel.apply_orientation(volume, nibabel.io_orientation(affine))
    index = volume.shape[2] // 2 if index is None else index
    # Reversed axes put the right side and the front at index 0; the swap makes y the rows.
    return np.swapaxes(volume[::-1, ::-1, index], 0, 1)
