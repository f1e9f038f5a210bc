"""Signal models whose formula and first derivatives are one method."""

from abc import abstractmethod

import torch

from ._base import SignalModel


class ClosedFormModel(SignalModel):
    """Base class of signal models with derivatives by hand, which share parts of the signal.

    A subclass implements `evaluate`; `signal` and `jacobian` both are it. This is how kernels
    of Gaussian processes in scikit-learn give a value and its gradient.
    """

    @abstractmethod
    def evaluate(self, theta, derivatives=False):
        """Noise-free signal and, where asked for, its first derivatives.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Tissue parameters in their own units.
        derivatives : bool, default=False
            Whether derivatives are returned too.

        Returns
        -------
        signal : tensor of shape (n_measurements, n_voxels)
            In the units of the amplitudes.
        columns : tensor of shape (n_parameters, n_measurements, n_voxels) or list of tensor
            Derivatives with respect to each parameter, stacked or as a list of tensors of shape
            (n_measurements, n_voxels). Only where `derivatives` is true.
        """

    def signal(self, theta):
        return self.evaluate(theta)

    def jacobian(self, theta):
        signal, columns = self.evaluate(theta, derivatives=True)
        return signal, columns if isinstance(columns, torch.Tensor) else torch.stack(columns)
