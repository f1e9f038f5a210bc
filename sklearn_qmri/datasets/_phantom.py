"""A simulated scan, for use without a real one."""

import numpy as np
from sklearn.utils import Bunch, check_random_state

from ._signals import make_signals

# Radii of the body and of an insert, as shares of half the field of view.
_BODY = 0.9
_INSERT = 0.16


def make_phantom(signal_model, *, shape=(96, 96, 3), n_inserts=8, snr=30, random_state=None):
    """Simulate a scan: an elliptic body with a ring of round inserts, each of another tissue.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    shape : tuple of 3 int, default=(96, 96, 3)
        Size of the image in voxels.
    n_inserts : int, default=8
        Number of inserts. The body and each insert have a tissue drawn from the prior of the signal
        model.
    snr : float, default=30
        Signal-to-noise ratio at an amplitude of its loss scale.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.

    Returns
    -------
    Bunch
        Scan with `data` (ndarray of shape ``(*shape, n_measurements)``, 0 outside the mask), `mask`
        (bool, of `shape`), `truth` (ndarray of shape ``(*shape, n_parameters)``, NaN outside the
        mask) and `sigma` (float, in the units of the data).

    Raises
    ------
    ValueError
        If a value is out of range.

    Examples
    --------
    >>> from sklearn_qmri.datasets import make_phantom
    >>> from sklearn_qmri.signal_models import IVIM
    >>> make_phantom(IVIM([0, 50, 800]), shape=(16, 16, 1), random_state=0).data.shape
    (16, 16, 1, 3)
    """
    rng = check_random_state(random_state)
    x, y, _ = np.meshgrid(
        *(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij"
    )
    # Number of the tissue of each voxel: -1 is air, 0 the body, 1 and up the inserts.
    tissue = np.where((x / _BODY) ** 2 + (y / (0.8 * _BODY)) ** 2 <= 1, 0, -1)
    for k in range(n_inserts):
        angle = 2 * np.pi * k / n_inserts
        inside = np.hypot(x - 0.55 * np.cos(angle), y - 0.45 * np.sin(angle)) <= _INSERT
        tissue[inside] = k + 1
    # One tissue per number, and sigma from the SNR; the signals are drawn again for every voxel.
    _, tissues, sigmas = make_signals(
        signal_model, n_inserts + 1, snr=snr, random_state=rng, return_sigma=True
    )
    mask = tissue >= 0
    sigma = float(sigmas[0])
    signals, _ = make_signals(
        signal_model,
        np.count_nonzero(mask),
        sigma=sigma,
        prior=lambda n, _: tissues[tissue[mask]],
        random_state=rng,
    )
    truth = np.full((*shape, tissues.shape[1]), np.nan)
    truth[mask] = tissues[tissue[mask]]
    data = np.zeros((*shape, signals.shape[1]))
    data[mask] = signals
    return Bunch(data=data, mask=mask, truth=truth, sigma=sigma)
