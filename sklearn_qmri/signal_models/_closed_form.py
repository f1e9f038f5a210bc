"""Signal models whose formula and first derivatives are one method."""

from abc import abstractmethod

import torch

from ._base import SignalModel


class ClosedFormModel(SignalModel):
    """Base class of signal models with derivatives by hand, which share parts of the signal.

    A subclass implements `evaluate`, which `signal` and `jacobian` call. Kernels of Gaussian
    processes in scikit-learn return a value and its gradient in the same way.
    """

    @abstractmethod
    def evaluate(self, theta, derivatives=False):
        """Noise-free signal and, if requested, its first derivatives.

        Parameters
        ----------
        theta : tensor of shape (n_parameters, n_voxels)
            Tissue parameters in their own units.
        derivatives : bool, default=False
            Whether derivatives are returned too.

        Returns
        -------
        signal : tensor of shape (n_measurements, n_voxels)
            Signals in the units of the amplitudes.
        columns : tensor of shape (n_parameters, n_measurements, n_voxels) or list of tensor
            Derivatives with respect to each parameter, stacked or as a list of tensors of shape
            (n_measurements, n_voxels). Only if `derivatives` is true.
        """

    def signal(self, theta):
        return self.evaluate(theta)

    def jacobian(self, theta):
        signal, columns = self.evaluate(theta, derivatives=True)
        return signal, columns if isinstance(columns, torch.Tensor) else torch.stack(columns)
