"""Trained networks, which predict."""

import numpy as np
import torch
from torch import nn

from .._torch import single_thread
from ._modules import StackedMLP, make_head

# Rows are predicted in blocks of exactly this many. The rounding of a matrix product depends on its
# shape, and the prediction of a row must not depend on the number of rows around it.
_ROWS = 2048


class FittedNetwork:
    """Trained network, or several that are averaged, with everything that predictions depend on.

    Parameters
    ----------
    coefs, intercepts : lists of ndarray
        Weights and biases of each layer, (n_networks, n_in, n_out) and (n_networks, 1, n_out).
        There is one network, or one per member of an ensemble. With one subnetwork per parameter
        there are as many for each of these. Networks with the same kind of label are consecutive.
    heads : list of tuple
        Shape, offset and width of the last layer, for each kind of label; see `Head`.
    mix : ndarray of shape (n_labels, n_parameters)
        Weights of the predictions for each kind of label in their sum.
    inputs : NetworkInputs
    domain : Domain or None
        Domain of the training rows. None: unknown, as they have not been predicted yet.
    activation : str
    n_subnets : int
        Number of networks that form one member.
    n_shared : int
        Number of kinds of label that each network has outputs for.
    history : dict of {str: ndarray of shape (n_epochs, n_members)}
        Losses under "train_loss" and "valid_loss".
    best_init : int
        Index of the member with the least validation loss. Where each kind of label has members of
        its own, the best one for the first kind.
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
        # A member has len(mix) kinds of label: either all from one network (n_shared of them), or
        # each from a network of its own (n_shared is 1).
        return n_networks * self.n_shared // len(self.mix)

    @property
    def n_parameters(self):
        """Number of parameters that are predicted."""
        return self.mix.shape[1]

    @property
    def n_epochs(self):
        """Number of epochs that were trained."""
        return len(self.history["train_loss"])

    @property
    def about(self):
        """Facts about the training by name: "rows", "prior" and "snr", as far as they are known."""
        return {} if self.domain is None else self.domain.training_

    def with_domain(self, domain):
        """Copy of this network with its domain.

        Parameters
        ----------
        domain : Domain

        Returns
        -------
        FittedNetwork
        """
        return FittedNetwork(**{**vars(self), "domain": domain})

    def at(self, values):
        """Network with its last inputs fixed, which are then no inputs any more.

        Parameters
        ----------
        values : ndarray of shape (n_fixed,)
            Values of the last inputs.

        Returns
        -------
        FittedNetwork
        """
        n_fixed, first = len(values), self.coefs[0]
        # The first layer is x W + b. Its fixed part is the same for all rows and belongs to b.
        offset = values.astype(np.float32) @ first[:, -n_fixed:]
        coefs = [np.ascontiguousarray(first[:, :-n_fixed]), *self.coefs[1:]]
        intercepts = [self.intercepts[0] + offset[:, None], *self.intercepts[1:]]
        return FittedNetwork(**{**vars(self), "coefs": coefs, "intercepts": intercepts})

    def per_label(self, X, sigma):
        """Predictions of each member for each kind of label.

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
        # Rows of zeros complete the last block; their outputs are dropped below.
        padded = nn.functional.pad(x, (0, 0, 0, -len(x) % _ROWS))
        with single_thread():
            blocks = [module(block) for block in padded.split(_ROWS)]
        outputs = torch.cat(blocks, 1)[:, : len(x)].numpy().astype(np.float64)
        # Rescaled in double precision, so that the scale adds no rounding to single precision.
        outputs *= self.inputs.parameter_scale(X)
        # The module's members are (n_labels * n_members), with kinds of label as the slower axis.
        n_members = len(outputs) // len(self.mix)
        return outputs.reshape(len(self.mix), n_members, *outputs.shape[1:])

    def members(self, X, sigma):
        """Predictions of each member, for rows that fit into memory together.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,)

        Returns
        -------
        ndarray of shape (n_members, n_voxels, n_parameters)
        """
        outputs = self.per_label(X, sigma)
        # A single kind of label always has a weight of 1.
        if len(self.mix) == 1:
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
            Measurements expected for the predicted tissues.
        predicted : ndarray of shape (n_voxels, n_parameters)

        Returns
        -------
        bool ndarray of shape (n_voxels,)
        """
        return self.domain.contains(X, sigma, expected, predicted)

    def _module(self):
        """The network as a torch module, without batch normalisation, which is folded in."""
        layers = ([torch.from_numpy(a) for a in group] for group in (self.coefs, self.intercepts))
        module = StackedMLP(
            *layers,
            make_head(self.heads),
            activation=self.activation,
            n_subnets=self.n_subnets,
            n_labels=self.n_shared,
        )
        return module.requires_grad_(False).eval()
