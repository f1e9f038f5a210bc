"""A real in-vivo scan: diffusion-weighted images of a pelvis."""

import hashlib
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from sklearn.datasets import get_data_home
from sklearn.utils import Bunch

_FILES = ("dwi.nii.gz", "mask.nii.gz", "dwi.bval")

# The scan is public as a file inside this package on PyPI (MIT licence), which is derived from the
# data of github.com/seancepstein/training_labels.
_REQUIREMENT = "ricianloss==0.0.1"
_SHA256 = "868d606a5965f4ba3fe889915c91e1e3fc281d98aea8d7097e931ba757db2066"
_MEMBER = "RicianLoss/data/real_data.pkl"

# In that file the scanner's integer counts are divided by _COUNTS (recovered from the spacing of
# the values), and b-values are in ms/um^2. The geometry is that of the NIfTI header that the
# package quotes.
_COUNTS = 884.0148
_B_UNIT = 1e-3
_AFFINE = np.array(
    [[-1.5625, 0, 0, 183.525], [0, 1.5625, 0, -190.473], [0, 0, 8, -32.0889], [0, 0, 0, 1]]
)


def fetch_pelvis_ivim(*, data_home=None, download_if_missing=True):
    """Load the in-vivo pelvis scan of one volunteer, the clinical scan of arXiv 2205.05587.

    It has 224 x 224 x 5 voxels and 10 b-values, as magnitude images in the scanner's counts. The
    places are ``$SKLEARN_QMRI_DATA/pelvis_ivim``, then the cache, then PyPI (a download of 16 MB).

    Parameters
    ----------
    data_home : str or path-like, default=None
        Folder of the cache. None: ``sklearn_qmri`` in that of scikit-learn,
        `sklearn.datasets.get_data_home`.
    download_if_missing : bool, default=True
        False: raise an error instead of a download.

    Returns
    -------
    Bunch
        Scan with `dwi` (nibabel image, 4-D), `mask` (nibabel image of the body, 3-D), `b_values`
        (ndarray of shape (10,), s/mm^2) and `source` (str, folder of the files).

    Raises
    ------
    OSError
        If the scan is missing, and may not or cannot be downloaded.
    ValueError
        If the download is not the expected file; nothing of it is kept.
    ImportError
        If nibabel is not installed.

    References
    ----------
    Epstein et al., arXiv 2205.05587. Public in the package ricianloss 0.0.1 on PyPI (MIT licence).

    Examples
    --------
    >>> from sklearn_qmri.datasets import fetch_pelvis_ivim
    >>> fetch_pelvis_ivim().dwi.shape  # doctest: +SKIP
    (224, 224, 5, 10)
    """
    user_folder = os.environ.get("SKLEARN_QMRI_DATA")
    folder = Path(user_folder or "") / "pelvis_ivim"
    if not user_folder or not _complete(folder):
        home = Path(data_home) if data_home is not None else Path(get_data_home()) / "sklearn_qmri"
        folder = home / "pelvis_ivim"
        if not _complete(folder):
            if not download_if_missing:
                raise OSError(f"The pelvis scan is not in {folder} and was not to be downloaded.")
            _install(folder)
    nibabel = _nibabel()
    return Bunch(
        dwi=nibabel.load(folder / "dwi.nii.gz"),
        mask=nibabel.load(folder / "mask.nii.gz"),
        b_values=np.loadtxt(folder / "dwi.bval"),
        source=str(folder),
    )


def _nibabel():
    try:
        import nibabel
    except ImportError as error:
        raise ImportError(
            "The pelvis scan needs nibabel: pip install 'sklearn-qmri[image]'."
        ) from error
    return nibabel


def _complete(folder):
    return all((folder / name).is_file() for name in _FILES)


def _install(folder):
    """Download the scan and put it into `folder`, completely or not at all.

    Processes that do so at the same time work in separate folders; the first to finish wins.
    """
    nibabel = _nibabel()
    folder.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, and so on the same file system: only there a move is all or nothing.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".pelvis_ivim-") as scratch:
        wheel = _download(Path(scratch) / "download")
        _check_sha256(wheel)
        staged = Path(scratch) / "staged"
        staged.mkdir()
        with zipfile.ZipFile(wheel) as archive, archive.open(_MEMBER) as stream:
            dwi, mask, b_values = _ArrayUnpickler(stream).load()[:3]
        # Multiplied by the divisor, values are the scanner's integers but for rounding errors.
        counts = np.rint(dwi * _COUNTS).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(counts, _AFFINE), staged / "dwi.nii.gz")
        inside = mask.astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(inside, _AFFINE), staged / "mask.nii.gz")
        b_values = np.rint(b_values / _B_UNIT).astype(int)
        (staged / "dwi.bval").write_text(" ".join(map(str, b_values)) + "\n")
        # The rest of an interrupted installation is removed, because a folder is not moved onto it.
        if folder.exists() and not _complete(folder):
            shutil.rmtree(folder)
        try:
            os.replace(staged, folder)
        except OSError:
            # Another process may have put its own folder there, which serves as well.
            if not _complete(folder):
                raise


def _download(folder):
    """Fetch the wheel with pip, which knows the user's proxies and mirrors.

    Only a wheel with the known checksum is accepted. pip would run the setup script of a source
    archive, whoever made it, before this package could compare a checksum.
    """
    folder.mkdir()
    required = folder / "requirements.txt"
    required.write_text(f"{_REQUIREMENT} --hash=sha256:{_SHA256}\n")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
        "--require-hashes", "--dest", str(folder), "--requirement", str(required),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise OSError(
            f"pip could not download {_REQUIREMENT} ({reason}). By hand: run "
            f"'pip download --no-deps --only-binary=:all: {_REQUIREMENT}' on a machine that can, "
            "or point SKLEARN_QMRI_DATA to a folder with pelvis_ivim/ in it."
        )
    return wheels[0]


def _check_sha256(path):
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != _SHA256:
        raise ValueError(
            f"{path.name} is damaged or not the expected file: SHA-256 {digest}, "
            f"expected {_SHA256}. Nothing was kept."
        )


class _Ignored:
    """Replacement for the SimpleITK images in the pickle, which keeps nothing and runs nothing."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickler of NumPy arrays, which refuses anything else, because that could run code."""

    # NumPy 2 renamed `numpy.core`; a pickle may have either name.
    _ARRAYS = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        ("SimpleITK.SimpleITK", "Image"): _Ignored,
    }

    def find_class(self, module, name):
        try:
            return self._ARRAYS[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a NumPy array.") from None
