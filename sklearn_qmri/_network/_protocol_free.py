"""Networks for any protocol, noise model and noise level."""

import numpy as np
import torch

from .._torch import single_thread
from ..dictionary import N_KERNELS, mean_over_kernels, simulate_atoms
from ._losses import unit_of_correction
from ._modules import StackedMLP, make_head
from ._reading import blocks, read

_WITHOUT_MEAN = 4.0  # weight of the squared bias from which on the mean is not refined


class ProtocolFreeNetwork:
    """Trained network that sees a measurement through the posterior over fixed atoms alone.

    So the order of measurements, repeats, noise levels, noise models and missing measurements have
    no meaning to the network but the one in the likelihood.

    Parameters
    ----------
    atoms : Atoms
    coefs, intercepts : lists of ndarray
        Weights and biases of each layer, (n_in, n_out) and (n_out,). The last inputs are those of
        the weights of the squared bias.
    span : BiasWeights
        Weights that the network was trained for.
    activation : str
    about : dict
        What the network was trained on: see `pretrain`.
    """

    def __init__(self, atoms, coefs, intercepts, span, activation, about):
        self.atoms = atoms
        self.coefs = coefs
        self.intercepts = intercepts
        self.span = span
        self.activation = activation
        self.about = about

    def predict(self, signal_model, noise, X, sigma, bias_weight):
        """Parameters and misfit of rows of X.

        Parameters
        ----------
        signal_model : SignalModel
            The protocol of X.
        noise : NoiseModel
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)
            Noise levels; infinity where there is no measurement.
        bias_weight : ndarray of shape (n_parameters,)

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters)
        misfit : ndarray of shape (n_voxels,)
            Squared residuals near the best atom, in units of the variance, summed.
        """
        simulated = simulate_atoms(self.atoms, signal_model, noise)
        module = self._module()
        weight = torch.as_tensor(bias_weight, dtype=torch.float32)
        at = self.span.inputs(weight)
        exact = _share_of_mean(weight)
        n_kernels = N_KERNELS if (exact > 0).any() else 0
        parameters, misfit = np.empty((len(X), len(weight))), np.empty(len(X))
        with single_thread(), torch.no_grad():
            for rows, x, precision in blocks(X, sigma):
                seen = read(simulated, noise, x, precision, n_kernels)
                output = module(torch.cat([seen.inputs, at.expand(len(x), -1)], 1))[0]
                size = seen.posterior.size
                unit = unit_of_correction(seen.std, size, weight)
                estimate = seen.mean + unit * output
                if n_kernels:
                    found = seen.nearest, seen.posterior
                    mean = mean_over_kernels(simulated, signal_model, noise, *found)
                    unit = unit_of_correction(seen.std, size, torch.ones(()))
                    estimate += exact * (mean - seen.mean - unit * output)
                parameters[rows] = estimate[: len(X[rows])].numpy()
                misfit[rows] = seen.misfit[: len(X[rows])].numpy()
        return parameters, misfit

    def _module(self):
        """The network as a torch module."""
        coefs = [torch.from_numpy(c)[None] for c in self.coefs]
        intercepts = [torch.from_numpy(c)[None, None] for c in self.intercepts]
        n = len(self.intercepts[-1])
        head = make_head([(("identity",) * n, np.zeros(n), np.ones(n))])
        return StackedMLP(coefs, intercepts, head, activation=self.activation).eval()


def _share_of_mean(weight):
    """Share of the mean over kernels in the estimate at weights of the squared bias.

    At w = 1 the estimate is the mean of the posterior. The mean over kernels is more exact than
    that over atoms, but takes longer. For larger w its share falls, to 0 at `_WITHOUT_MEAN`.
    """
    return ((_WITHOUT_MEAN / weight - 1) / (_WITHOUT_MEAN - 1)).clamp(min=0)
