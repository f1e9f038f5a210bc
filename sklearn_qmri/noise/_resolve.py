"""Noise models by their short names."""

from ._gaussian import Gaussian, MagnitudeGaussian
from ._rician import Rician

NAMED_NOISE = {"gaussian": Gaussian, "rician": Rician}


def resolve_noise(noise, signal_model, n_measurements=None):
    """Noise model of a short name; a noise model itself is returned as it is.

    Parameters
    ----------
    noise : {"auto", "gaussian", "rician"} or NoiseModel
        "auto": Rician where the signal model is one of magnitudes, else Gaussian.
    signal_model : SignalModel
    n_measurements : int, default=None
        Number of measurements, for the check of a noise model with a value for each.

    Returns
    -------
    NoiseModel

    Raises
    ------
    ValueError
        If `noise` is an unknown name, or is for another number of measurements.
    """
    if not isinstance(noise, str):
        if n_measurements is not None and noise.n_measurements not in (None, n_measurements):
            raise ValueError(
                f"noise expects {n_measurements} values, one per measurement, got {noise!r} with "
                f"{noise.n_measurements}."
            )
        return noise
    name = ("rician" if signal_model.magnitude else "gaussian") if noise == "auto" else noise
    if name not in NAMED_NOISE:
        expected = ", ".join(repr(known) for known in ("auto", *NAMED_NOISE))
        raise ValueError(f"noise expects {expected} or a noise model, got {noise!r}.")
    # Signals of one sign equal their magnitudes, and need no noise model that is even.
    if name == "gaussian" and signal_model.magnitude and signal_model.changes_sign():
        return MagnitudeGaussian()
    return NAMED_NOISE[name]()
