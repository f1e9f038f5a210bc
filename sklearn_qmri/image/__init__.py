"""Images: NIfTI files, masks, acquisitions, and estimates of whole volumes and cohorts."""

from ._acquisition import read_acquisition, read_b_values
from ._averages import average_repeats
from ._choice import predict_model_probabilities
from ._cohort import predict_cohort
from ._derivatives import read_map, write_maps
from ._fit import FittedToScan, fit_to_scan
from ._masks import apply_mask, compute_mask, mean_signal, sample_voxels, unmask
from ._names import derivative_prefix
from ._nifti import axial_slice, load_nifti, read_volume, write_nifti
from ._open import open_scan
from ._plot import plot_maps
from ._predict import predict_image
from ._scan import Scan
from ._train import train_for_snr
from .report import write_report

__all__ = [
    "FittedToScan",
    "Scan",
    "apply_mask",
    "average_repeats",
    "axial_slice",
    "compute_mask",
    "derivative_prefix",
    "fit_to_scan",
    "load_nifti",
    "mean_signal",
    "open_scan",
    "plot_maps",
    "predict_cohort",
    "predict_image",
    "predict_model_probabilities",
    "read_acquisition",
    "read_b_values",
    "read_map",
    "read_volume",
    "sample_voxels",
    "train_for_snr",
    "unmask",
    "write_maps",
    "write_nifti",
    "write_report",
]
