"""Maps as small pictures, a strip of slices for each, that fit into one page."""

import base64
import io
from typing import NamedTuple

import numpy as np

from ...status import Status
from ._render import optional

_BUDGET = 3_600_000  # bytes of all pictures, base64 included
# Ways to store a picture, the best first: reduction of its size, and quality; 100 is lossless.
_WAYS = ((1, 100), (1, 80), (1, 50), (2, 80), (2, 50), (3, 50), (4, 40))
LOWEST = 24  # first grey value that stands for a number; 0 is none, with room for lossy coding
_THUMBNAIL = 96  # pixels along the longer side
_PERCENTILES = (1, 99)  # of the values inside, which are the ends of the colour scale


class Layer(NamedTuple):
    """A map to show.

    Attributes
    ----------
    title : str
    unit : str
    values : ndarray of shape (n_x, n_y, n_z)
        NaN where there is none.
    """

    title: str
    unit: str
    values: np.ndarray


def pictures(layers, flags, affine, inside):
    """Pictures of maps, ready for the page.

    Parameters
    ----------
    layers : dict of {str: Layer}
    flags : ndarray of shape (n_x, n_y, n_z, 3), uint8
        Status and bounds of each voxel, see `flags_of`.
    affine : ndarray of shape (4, 4)
    inside : bool ndarray of shape (n_x, n_y, n_z)

    Returns
    -------
    dict
        Ready for JSON: `slices`, the numbers of the slices; `width` and `height` of a slice in mm;
        `layers`, with `title`, `unit`, `low`, `high` and `images` of each; `flags`, images.
    """
    box = _box(inside)
    slices = np.arange(box[2].start, box[2].stop)
    strips, ends = {}, {}
    for name, layer in layers.items():
        values = layer.values[box]
        finite = values[np.isfinite(values) & (inside[box] if name != "anatomy" else True)]
        low, high = np.percentile(finite, _PERCENTILES) if len(finite) else (0.0, 1.0)
        ends[name] = (float(low), float(high))
        strips[name] = _upright(_grey(values, low, high), affine)
    marks = _upright(flags[box], affine)
    for reduction, quality in _WAYS:
        images = {name: _encode(strip, reduction, quality) for name, strip in strips.items()}
        stored = _encode(marks, reduction, 100)
        if sum(map(len, (*sum(images.values(), []), *stored))) < _BUDGET:
            break
    width, height = _size(marks.shape[1:3], affine)
    return {
        "slices": slices.tolist(), "width": width, "height": height, "flags": stored,
        "layers": {
            name: {"title": layer.title, "unit": layer.unit, "low": ends[name][0],
                   "high": ends[name][1], "images": images[name]}
            for name, layer in layers.items()
        },
    }  # fmt: skip


def thumbnail(values, affine, inside):
    """Data address of a small picture in colour of the middle slice of a map."""
    matplotlib = optional("matplotlib")
    box = _box(inside)
    shown = np.where(inside, values, np.nan)[box]
    middle = _upright(shown[:, :, shown.shape[2] // 2 :][:, :, :1], affine)
    finite = shown[np.isfinite(shown)]
    low, high = np.percentile(finite, _PERCENTILES) if len(finite) else (0.0, 1.0)
    step = -(-max(middle.shape[1:]) // _THUMBNAIL)
    share = np.clip((middle[:, ::step, ::step] - low) / max(high - low, 1e-30), 0, 1)
    colors = matplotlib.colormaps["viridis"].with_extremes(bad="black")
    return _encode(colors(np.ma.masked_invalid(share), bytes=True)[..., :3], 1, 80)[0]


def flags_of(status, at_bound, parameters):
    """Status and bounds of each voxel as three bytes: status + 1, and the bits of the bounds.

    The first is 0 outside the mask and where a parameter is NaN.
    """
    flags = np.zeros((*status.shape, 3), dtype=np.uint8)
    known = np.isfinite(parameters).all(axis=0) | (status == Status.BAD_INPUT)
    flags[..., 0] = np.where(known & (status >= 0), status + 1, 0)
    flags[..., 1], flags[..., 2] = at_bound & 255, at_bound >> 8
    return flags


def _box(inside):
    """Slices of a volume around its voxels inside."""
    ends = []
    for axis in range(3):
        others = tuple(i for i in range(3) if i != axis)
        here = np.flatnonzero(inside.any(axis=others))
        ends.append(slice(int(here[0]), int(here[-1]) + 1))
    return tuple(ends)


def _grey(values, low, high):
    """Values as grey, 0 where there is none."""
    share = np.clip((values - low) / max(high - low, 1e-30), 0, 1)
    grey = LOWEST + share * (255 - LOWEST)
    return np.where(np.isfinite(values), np.round(grey), 0).astype(np.uint8)


def _in_plane(affine):
    """World axis and direction of the first two axes of an image; the rows' axis is the later."""
    import nibabel

    return nibabel.io_orientation(affine)[:2]


def _upright(volume, affine):
    """Slices (n_slices, n_rows, n_columns, ...) in radiological display.

    The front or the head is at the top, the patient's right or front at the left.
    """
    axes = _in_plane(affine)
    for axis, (_, direction) in enumerate(axes):
        if direction > 0:  # index 0 is the end in the positive direction
            volume = np.flip(volume, axis)
    rows = int(np.argmax(axes[:, 0]))
    return np.moveaxis(volume, (2, rows, 1 - rows), (0, 1, 2))


def _size(shape, affine):
    """Width and height of a slice in millimetres."""
    sizes = np.linalg.norm(affine[:3, :2], axis=0)
    rows = int(np.argmax(_in_plane(affine)[:, 0]))
    return float(shape[1] * sizes[1 - rows]), float(shape[0] * sizes[rows])


def _encode(strip, reduction, quality):
    """Data addresses of the slices."""
    Image = optional("PIL.Image")
    addresses = []
    for picture in strip[:, ::reduction, ::reduction]:
        buffer = io.BytesIO()
        image = Image.fromarray(np.ascontiguousarray(picture)).convert("RGB")
        image.save(buffer, "WEBP", lossless=quality == 100, quality=quality, method=4)
        text = base64.b64encode(buffer.getvalue()).decode("ascii")
        addresses.append(f"data:image/webp;base64,{text}")
    return addresses
