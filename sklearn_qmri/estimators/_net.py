"""What network regressors have in common, whatever they are trained on."""

from abc import ABCMeta, abstractmethod
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions

from .._network import ACTIVATIONS, Head, evaluate, train
from .._warnings import warn
from ..noise import expected_measurement
from ..signal_models import SignalModel
from ..status import Status
from ..tissues import number_tissues
from ._door import (
    NOISE,
    SIGMA,
    TissueRegressorMixin,
    check_estimate,
    predicted,
    refuse,
    scatter_results,
)

_MANY = 0.1  # share of rows out of domain that is worth a warning
_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


def hold_out_tissues(y, fraction, rng):
    """Rows of a validation set that shares no tissue (distinct row of y) with the rest."""
    tissue = number_tissues(y)
    n_tissues = tissue.max() + 1
    n_valid = max(1, round(fraction * n_tissues))
    if n_valid >= n_tissues:
        raise ValueError(
            f"validation_fraction={fraction} leaves nothing to train on: y has {n_tissues} "
            f"distinct tissue(s) in n_samples={len(y)} rows."
        )
    return np.isin(tissue, rng.permutation(n_tissues)[:n_valid])


class NetRegressor(TissueRegressorMixin, BaseEstimator, metaclass=ABCMeta):
    """Shell of a regressor that is a network, or the mean of an ensemble of them.

    A subclass trains in `fit`: it sets `signal_model_`, `noise_`, `sigma_`, `_inputs_`,
    `_heads_` and `_domain_`, and calls `_train`.
    """

    _parameter_constraints: ClassVar = {
        "signal_model": [SignalModel],
        "noise": NOISE,
        "sigma": SIGMA,
        "normalize": [StrOptions({"rms"}), None],
        "sigma_input": ["boolean"],
        "standardize": ["boolean"],
        "hidden_layer_sizes": [tuple, list],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output": [StrOptions({"auto", *Head.SHAPES})],
        "parallel_subnets": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "n_init": [_AT_LEAST_1],
        "ensemble": ["boolean"],
        "max_epochs": [_AT_LEAST_1],
        "batch_size": [_AT_LEAST_1, None],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "schedule": [StrOptions({"onecycle", "constant"})],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "patience": [_AT_LEAST_1, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    @abstractmethod
    def __init__(
        self,
        signal_model,
        noise,
        sigma,
        normalize,
        sigma_input,
        standardize,
        hidden_layer_sizes,
        activation,
        output,
        parallel_subnets,
        dropout,
        batch_norm,
        n_init,
        ensemble,
        max_epochs,
        batch_size,
        lr,
        schedule,
        weight_decay,
        patience,
        validation_fraction,
        device,
        random_state,
        verbose,
    ):
        self.signal_model = signal_model
        self.noise = noise
        self.sigma = sigma
        self.normalize = normalize
        self.sigma_input = sigma_input
        self.standardize = standardize
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output = output
        self.parallel_subnets = parallel_subnets
        self.dropout = dropout
        self.batch_norm = batch_norm
        self.n_init = n_init
        self.ensemble = ensemble
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.lr = lr
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def _validate_params(self):
        super()._validate_params()
        if not all(isinstance(n, Integral) and n >= 1 for n in self.hidden_layer_sizes):
            raise ValueError(
                f"hidden_layer_sizes expects positive integers, got {self.hidden_layer_sizes!r}."
            )

    def _train(self, x, target, valid, head, criterion, rng, n_labels=1, refresh=None):
        """Train all members; keep those that are to predict."""
        n_train = np.count_nonzero(~valid)
        weights, losses, history = train(
            x,
            target,
            valid,
            head=head,
            criterion=criterion,
            rng=rng,
            n_labels=n_labels,
            shared=refresh is None,  # fresh noise is for some labels only: their inputs differ
            refresh=refresh,
            n_outputs=len(self.signal_model_.parameters),
            hidden_layer_sizes=self.hidden_layer_sizes,
            n_init=self.n_init,
            activation=self.activation,
            parallel_subnets=self.parallel_subnets,
            dropout=self.dropout,
            batch_norm=self.batch_norm,
            weight_decay=self.weight_decay,
            schedule=self.schedule,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size or int(np.clip(n_train // 20, 16, 1000)),
            lr=self.lr,
            patience=self.patience,
            device=self.device,
            verbose=self.verbose,
        )
        losses = losses.reshape(-1, self.n_init)
        self._n_shared_ = n_labels // len(losses)  # labels that each network has outputs for
        best = losses.argmin(axis=1)
        kept = [
            weights[run * self.n_init + init]
            for run in range(len(losses))
            for init in (range(self.n_init) if self.ensemble else [best[run]])
        ]
        self.best_init_ = int(best[0])
        self.coefs_, self.intercepts_ = (
            [np.concatenate(layer) for layer in zip(*group, strict=True)]
            for group in zip(*kept, strict=True)
        )
        self.loss_curve_ = np.array(history[:, "train_loss"])
        self.validation_loss_ = np.array(history[:, "valid_loss"])
        self.n_epochs_ = len(self.loss_curve_)

    def _members(self, X, sigma):
        """Predictions of each member for usable rows, (n_members, n_voxels, n_parameters)."""
        found = evaluate(
            self._inputs_.transform(X, sigma),
            self.coefs_,
            self.intercepts_,
            self._head(),
            self.activation,
            len(self.signal_model_.parameters) if self.parallel_subnets else 1,
            self._n_shared_,
        )
        return found * self._inputs_.parameter_scale(X)

    def _head(self):
        """The last layer, from what is stored of it."""
        return Head(*self._heads_[0])

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predictions with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            None: the one of `fit`.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            Also return `std`, the spread of the members of an ensemble.

        Returns
        -------
        Bunch
            Arrays with one row per voxel: `parameters` (n_voxels, n_parameters), `status` (see
            `Status`; out of domain where the residual, the noise level or the prediction is
            beyond what training saw), `at_bound` (n_voxels, n_parameters), False throughout,
            `residual_rms` (units of X), and with `return_std` also `std`. NaN for rows that are
            not possible measurements.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X or sigma do not fit what was trained on, or no noise level is known for these rows.
        """
        refuse(self, fixed=fixed)
        rows = check_estimate(self, X, sigma=sigma)
        members = self._members(rows.X, rows.sigma)
        if return_std and len(members) < 2:
            raise ValueError(
                "return_std=True needs ensemble=True and n_init of at least 2, "
                f"got ensemble={self.ensemble} and n_init={self.n_init}."
            )
        parameters = members.mean(axis=0)
        inside = self._domain_.contains(rows.X, parameters, rows.sigma)
        if np.count_nonzero(~inside) > _MANY * len(inside):
            warn(
                f"{np.count_nonzero(~inside)} of {len(inside)} rows are unlike what the network "
                "was trained on; their status says so."
            )
        expected = expected_measurement(self.signal_model_, self.noise_, parameters, rows.sigma)
        found = {
            "parameters": parameters,
            "status": np.where(inside, Status.OK, Status.OUT_OF_DOMAIN).astype(np.int8),
            "at_bound": np.zeros(parameters.shape, dtype=bool),
            "residual_rms": np.sqrt(np.mean((rows.X - expected) ** 2, axis=1)),
        }
        if return_std:
            found["std"] = members.std(axis=0, ddof=1)
        return scatter_results(rows.usable, **found)

    def predict(self, X, *, sigma=None, fixed=None, return_std=False):
        """Predict tissue parameters.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,), default=None
            None: the one of `fit`.
        fixed : None
            Refused, see `estimate`.
        return_std : bool, default=False
            With ``ensemble=True``, also return the spread of its members: how far networks that
            differ in their initial weights disagree. It says nothing of the noise in X, nor of
            the bias that all members share.

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            As of `estimate`, or if `return_std` is asked of fewer than two members.
        """
        found = self.estimate(X, sigma=sigma, fixed=fixed, return_std=return_std)
        return predicted(self, found, return_std)
