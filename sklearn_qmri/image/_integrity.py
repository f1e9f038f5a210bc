"""Damage that reading part of a file does not show: sizes that a header claims, checksums."""

import gzip
import os
from functools import lru_cache

_BLOCK = 2**20  # bytes of a stream at once
_DEFLATE = 1032  # a compressed byte stands for at most so many (RFC 1951: 258 bytes in 2 bits)
_SLACK = 2**16  # bytes beyond the image that are padding


def check_size(image):
    """Refuse an image whose file cannot hold what its header claims, before anything is allocated.

    Parameters
    ----------
    image : nibabel image
        Just opened; images in memory pass.

    Raises
    ------
    ValueError
        With both sizes.
    """
    path = _file_of(image)
    if path is None or not path.endswith((".nii", ".img", ".gz")):
        return
    held = os.stat(path).st_size
    compressed = path.endswith(".gz")
    claimed = _claimed(image)
    if claimed > (held * _DEFLATE + _SLACK if compressed else held):
        kind = " of compressed data, which is too few" if compressed else ""
        raise ValueError(
            f"{path} is damaged: its header claims an image of {claimed:,} bytes, the file has "
            f"{held:,}{kind}."
        )


def check_stream(image):
    """Read the whole of a gzip file once, which compares it with its checksum.

    Readers that seek, or stop at the last voxel, never look at the checksum. A file is not read
    again as long as it is the same one.

    Parameters
    ----------
    image : nibabel image
        Images that are not from a gzip file pass.

    Raises
    ------
    OSError, EOFError, zlib.error
        If the stream is damaged, same as `gzip`.
    ValueError
        If it is longer than the image.
    """
    path = _file_of(image)
    if path is not None and path.endswith(".gz"):
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
            if length > limit:  # a bomb, or another image's data
                raise ValueError(f"it holds more than the {limit:,} bytes that its header claims")


def _file_of(image):
    """File of the voxels; None where they are in memory or in a file that somebody opened."""
    path = getattr(image.dataobj, "file_like", None)  # of an ArrayProxy only
    return os.fspath(path) if isinstance(path, (str, os.PathLike)) else None


def _claimed(image):
    """Bytes of the file before compression, as the header has it."""
    data = image.dataobj
    n_voxels = 1
    for n in data.shape:  # Python's integers do not overflow
        n_voxels *= int(n)
    return data.offset + n_voxels * data.dtype.itemsize
