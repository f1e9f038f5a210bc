"""Maps of an image, drawn side by side."""

import numpy as np

from ..inspection import ParameterMapDisplay
from ._nifti import axial_slice, read_volume


def plot_maps(maps, parameters, *, index=None, title=None):
    """Draw one axial slice of the maps that `predict_image` returns.

    For all slices, with marks and figures, see `write_report`.

    Parameters
    ----------
    maps : dict of {str: nibabel image}
        Result of `predict_image`.
    parameters : sequence of Parameter
        Parameters to draw, with their units: ``signal_model.parameters`` or some of them.
    index : int, default=None
        Number of the slice, counted from the feet. None: the middle slice.
    title : str, default=None
        Title above all maps.

    Returns
    -------
    ParameterMapDisplay
        Display with `figure_` and `axes_`.

    Raises
    ------
    ValueError
        If a parameter has no map.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> import nibabel, numpy
    >>> from sklearn_qmri import MLEEstimator
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.image import plot_maps, predict_image
    >>> from sklearn_qmri.signal_models import ADC
    >>> model = ADC([0, 500, 1000])
    >>> phantom = make_phantom(model, shape=(16, 16, 2), snr=30, random_state=0)
    >>> scan = nibabel.Nifti1Image(phantom.data, numpy.eye(4))
    >>> mle = MLEEstimator(model, sigma=1 / 30).fit(phantom.data[phantom.mask])
    >>> plot_maps(predict_image(mle, scan, phantom.mask), model.parameters).axes_.shape
    (1, 2)
    """
    missing = [p.name for p in parameters if p.name not in maps]
    if missing:
        raise ValueError(f"maps has {list(maps)}, but not {missing}.")
    slices = [
        axial_slice(read_volume(maps[p.name]), maps[p.name].affine, index) for p in parameters
    ]
    return ParameterMapDisplay({"": np.stack(slices, axis=-1)}, parameters).plot(title=title)
