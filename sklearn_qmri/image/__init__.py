"""Images: NIfTI files, masks, and estimates of whole volumes."""

from ._derivatives import write_maps
from ._masks import apply_mask, unmask
from ._nifti import axial_slice, load_nifti, read_b_values, read_volume, write_nifti
from ._predict import predict_image

__all__ = [
    "apply_mask",
    "axial_slice",
    "load_nifti",
    "predict_image",
    "read_b_values",
    "read_volume",
    "unmask",
    "write_maps",
    "write_nifti",
]
