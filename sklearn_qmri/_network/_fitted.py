"""Trained networks: values that predict."""

import numpy as np
import torch
from torch import nn

from .._torch import single_thread
from ._modules import StackedMLP, make_head

# Rows are predicted in blocks of just this many: how a matrix product rounds depends on its
# shape, and a row's prediction must not depend on the rows around it.
_ROWS = 2048


class FittedNetwork:
    """A trained network, or several that are averaged, with all that a prediction depends on.

    Parameters
    ----------
    coefs, intercepts : lists of ndarray
        Weights of each layer, (n_networks, n_in, n_out) and (n_networks, 1, n_out): one network;
        those of an ensemble; or for each of these one per parameter. Networks with the same kind
        of label follow each other.
    heads : list of tuple
        Shape, offset and width of the last layer, for each kind of label; see `Head`.
    mix : ndarray of shape (n_labels, n_parameters)
        Weights with which the predictions for each kind of label are added.
    inputs : NetworkInputs
    domain : Domain or None
        None: unknown, before training rows have been predicted.
    activation : str
    n_subnets : int
        Networks that make one member.
    n_shared : int
        Kinds of label that each network has outputs for.
    history : dict of {str: ndarray of shape (n_epochs, n_members)}
        "train_loss" and "valid_loss".
    best_init : int
        Member with the least validation loss.
    """

    def __init__(
        self,
        coefs,
        intercepts,
        heads,
        mix,
        inputs,
        *,
        activation,
        n_subnets,
        n_shared,
        history,
        best_init,
        domain=None,
    ):
        self.coefs = coefs
        self.intercepts = intercepts
        self.heads = heads
        self.mix = mix
        self.inputs = inputs
        self.activation = activation
        self.n_subnets = n_subnets
        self.n_shared = n_shared
        self.history = history
        self.best_init = best_init
        self.domain = domain

    @property
    def n_members(self):
        """Number of networks whose predictions are averaged."""
        n_networks = len(self.coefs[0]) // self.n_subnets
        return n_networks * self.n_shared // len(self.mix)

    @property
    def n_epochs(self):
        """Epochs that were trained."""
        return len(self.history["train_loss"])

    def with_domain(self, domain):
        """The same network that knows its domain.

        Parameters
        ----------
        domain : Domain

        Returns
        -------
        FittedNetwork
        """
        return FittedNetwork(**{**vars(self), "domain": domain})

    def per_label(self, X, sigma):
        """Predictions for each kind of label by each member, at once.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)

        Returns
        -------
        ndarray of shape (n_labels, n_members, n_voxels, n_parameters)
        """
        module = self._module()
        x = torch.from_numpy(self.inputs.transform(X, sigma))
        padded = nn.functional.pad(x, (0, 0, 0, -len(x) % _ROWS))
        with single_thread():
            blocks = [module(block) for block in padded.split(_ROWS)]
        outputs = torch.cat(blocks, 1)[:, : len(x)].numpy().astype(np.float64)
        outputs *= self.inputs.parameter_scale(X)
        n_members = len(outputs) // len(self.mix)
        return outputs.reshape(len(self.mix), n_members, *outputs.shape[1:])

    def members(self, X, sigma):
        """Predictions of each member, for as many rows as fit into memory at once.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)

        Returns
        -------
        ndarray of shape (n_members, n_voxels, n_parameters)
        """
        outputs = self.per_label(X, sigma)
        if len(self.mix) == 1:  # with a weight of 1
            return outputs[0]
        return np.einsum("lp,lmvp->mvp", self.mix, outputs)

    def predict(self, X, sigma):
        """Mean prediction of the members.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters)
        """
        return self.members(X, sigma).mean(axis=0)

    def covers(self, X, sigma, expected, predicted):
        """Whether rows resemble the training rows.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)
        expected : ndarray of shape (n_voxels, n_measurements)
            Measurements to be expected of the predicted tissues.
        predicted : ndarray of shape (n_voxels, n_parameters)

        Returns
        -------
        bool ndarray of shape (n_voxels,)
        """
        return self.domain.contains(X, sigma, expected, predicted)

    def _module(self):
        layers = ([torch.from_numpy(a) for a in group] for group in (self.coefs, self.intercepts))
        module = StackedMLP(
            *layers,
            make_head(self.heads),
            activation=self.activation,
            n_subnets=self.n_subnets,
            n_labels=self.n_shared,
        )
        return module.requires_grad_(False).eval()
