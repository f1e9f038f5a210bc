"""The contract of noise models: likelihood, derivatives, moments, sampling.

Functions are elementwise and in units of sigma: `x` is a measurement and `a` the noise-free signal,
both divided by the standard deviation of the Gaussian noise per channel.
"""

from abc import ABC, abstractmethod

import numpy as np

from .._value import Value

# Rows of X checked at once. Masks of all rows would need memory in proportion to X.
_ROWS = 65536


class NoiseModel(Value, ABC):
    """Base class of noise models.

    A subclass stores its constructor arguments, if it has any, and computes the methods below. Two
    noise models of one class with the same arguments are equal.

    Attributes
    ----------
    even : bool
        True where the likelihood is even in the signal, as that of a magnitude is.
    estimates_need_sigma : bool
        False where maximum-likelihood estimates do not depend on the noise level.
    n_measurements : int or None
        Number of measurements, if an argument has a value for each; None: any number.

    Examples
    --------
    >>> from sklearn_qmri.noise import Gaussian, NoiseModel, Rician
    >>> [(isinstance(noise, NoiseModel), noise.even) for noise in (Gaussian(), Rician())]
    [(True, False), (True, True)]
    """

    even = False
    estimates_need_sigma = True
    n_measurements = None

    @abstractmethod
    def derivatives(self, x, a):
        """Negative log-likelihood without `normalizer`, and its two derivatives by `a`.

        Parameters
        ----------
        x, a : tensor
            Measurement and noise-free signal in units of sigma; broadcast against each other.

        Returns
        -------
        loss, first, second : tensor
            Loss in nats, of the shape that x and a have together.
        """

    def along(self, axis):
        """The noise model for arrays whose measurements are along an axis.

        Only models with an argument per measurement need to know. Everywhere else measurements are
        along the last axis.

        Parameters
        ----------
        axis : int
            Axis of the measurements.

        Returns
        -------
        NoiseModel
            The model itself, unless it has an argument per measurement.
        """
        return self

    @abstractmethod
    def normalizer(self, x):
        """Part of the negative log-likelihood that `derivatives` excludes.

        Parameters
        ----------
        x : tensor
            Measurement in units of sigma.

        Returns
        -------
        tensor
            Values in nats, for a density in units of sigma. They are finite: where the density of a
            possible measurement is 0 for every signal, its infinite part is excluded.
        """

    @abstractmethod
    def without_bias(self, x):
        """Remove the bias that noise adds to measurements, for least squares.

        Parameters
        ----------
        x : tensor
            Measurement in units of sigma.

        Returns
        -------
        tensor
            Measurements without most of their bias, if they have any.
        """

    @abstractmethod
    def mean(self, a):
        """Expected measurement.

        Parameters
        ----------
        a : tensor
            Noise-free signal in units of sigma.

        Returns
        -------
        tensor
            Mean in units of sigma.
        """

    @abstractmethod
    def variance(self, a):
        """Variance of the measurement.

        Parameters
        ----------
        a : tensor
            Noise-free signal in units of sigma.

        Returns
        -------
        tensor
            Variance in units of sigma^2.
        """

    @abstractmethod
    def information(self, a):
        """Fisher information of one measurement on the noise-free signal.

        Parameters
        ----------
        a : ndarray
            Noise-free signal in units of sigma.

        Returns
        -------
        ndarray
            Information in units of 1 / sigma^2.
        """

    @abstractmethod
    def sample(self, a, rng):
        """Draw one measurement for each noise-free signal.

        Parameters
        ----------
        a : ndarray
            Noise-free signals in units of sigma.
        rng : numpy.random.RandomState
            Generator, which is advanced.

        Returns
        -------
        ndarray
            Measurements in units of sigma.
        """

    def is_valid(self, X):
        """Whether each row is a possible measurement.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
            Measurements in any units.

        Returns
        -------
        bool ndarray of shape (n_voxels,)
            False for rows with NaN or infinity, or values that this noise cannot give.
        """
        valid = np.empty(len(X), dtype=bool)
        for i in range(0, len(X), _ROWS):
            valid[i : i + _ROWS] = self._is_valid(X[i : i + _ROWS])
        return valid

    @abstractmethod
    def _is_valid(self, X):
        """`is_valid` for a block of rows."""
