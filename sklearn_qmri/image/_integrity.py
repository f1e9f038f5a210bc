"""Checks of files for damage that a partial read does not show: claimed sizes and checksums."""

import gzip
import os
from functools import lru_cache

_BLOCK = 2**20  # bytes of a stream that are read at once
_DEFLATE = 1032  # most bytes that a compressed byte stands for (RFC 1951: 258 bytes in 2 bits)
_SLACK = 2**16  # bytes after the last voxel that are tolerated as padding


def check_size(image):
    """Refuse an image whose file is too small for its header, before anything is allocated.

    Parameters
    ----------
    image : nibabel image
        Opened image. Images in memory pass.

    Raises
    ------
    ValueError
        If the file is too small; the message has both sizes.
    """
    path = _file_of(image)
    if path is None or not path.endswith((".nii", ".img", ".gz")):
        return
    held = os.stat(path).st_size
    compressed = path.endswith(".gz")
    claimed = _claimed(image)
    # A forged or damaged header may claim terabytes in a small file: reading the image would
    # exhaust the memory before the end of the file shows the damage.
    if claimed > (held * _DEFLATE + _SLACK if compressed else held):
        kind = " of compressed data, which is too few" if compressed else ""
        raise ValueError(
            f"{path} is damaged: its header claims an image of {claimed:,} bytes, the file has "
            f"{held:,}{kind}."
        )


def check_stream(image):
    """Read the whole of a gzip file once, which compares it with its checksum.

    Readers that seek, or that stop at the last voxel, never reach the checksum. A file that has not
    changed is not read again.

    Parameters
    ----------
    image : nibabel image
        Opened image. Images that are not from a gzip file pass.

    Raises
    ------
    OSError, EOFError, zlib.error
        If the stream is damaged, same as `gzip`.
    ValueError
        If the stream is longer than the image.
    """
    path = _file_of(image)
    if path is not None and path.endswith(".gz"):
        # A file that is written anew under the same name has another inode, time or size.
        stat = os.stat(path)
        identity = stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size
        _read_through(path, identity, _claimed(image) + _SLACK)


@lru_cache(maxsize=4096)
def _read_through(path, identity, limit):
    """Read a gzip file to its end; `identity` is part of the key of the cache only."""
    length = 0
    with gzip.open(path) as stream:
        while block := stream.read(_BLOCK):
            length += len(block)
            # The limit bounds the time that a decompression bomb can take.
            if length > limit:
                raise ValueError(f"it holds more than the {limit:,} bytes that its header claims")


def _file_of(image):
    """Path of the file of the voxels; None if they are in memory or in an open file object."""
    # Only the lazy array of an image on disk (ArrayProxy) has the attribute.
    path = getattr(image.dataobj, "file_like", None)
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else None


def _claimed(image):
    """Bytes of the uncompressed file, according to its header."""
    data = image.dataobj
    n_voxels = 1
    for n in data.shape:  # Python's integers do not overflow, NumPy's would
        n_voxels *= int(n)
    return data.offset + n_voxels * data.dtype.itemsize
