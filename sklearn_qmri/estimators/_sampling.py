"""Samplers of posteriors: rows of measurements in, weighted tissues out."""

import numpy as np
import torch
from scipy.stats import qmc

from ..dictionary import (
    Interpolation,
    LocalDraws,
    LossAlong,
    ShapeDraws,
    WeightedTissues,
    amplitude_of,
    can_draw,
)
from ..noise import columns_of
from ._refine import Refinement

# Effective sample size below which a voxel gets more tissues, or tissues of its own.
ENOUGH = 200
# Rows are computed in multiples of this many: the rounding of a product of matrices of few rows
# depends on their number, and no result must depend on the rows beside it.
WHOLE_ROWS = 8
_LANES = 64  # the number of points of a voxel is a multiple, so that no kernel has a remainder
_BLOCK = 81_920  # points of a block, which fit a processor's cache
_MORE = 2  # times as many points in each further round
_MOST_ROUNDS = 5
_ATOMS = 2**20  # values of a table of atoms, which fit a processor's cache
_NEGLIGIBLE = 1e-4  # share of the tissues of a prior that are dropped, the rarest ones
_WEIGHTS = 2**22  # weights of atoms that are held at once


def constants_of(noise, X, sigma):
    """Part of each row's log-likelihood that is the same for all tissues, (n_voxels,).

    With it, the logarithm of the likelihood is that of `MLEEstimator`: a density in the units of X,
    without the part that measurements of 0 would make infinite, see `NoiseModel.normalizer`.
    """
    level = np.broadcast_to(columns_of(sigma), X.shape)
    x = torch.as_tensor(X / level)
    constant = noise.normalizer(x).numpy() + np.log(level)
    return -np.where(np.isinf(level), 0.0, constant).sum(axis=1)


class _Rebuilt:
    """Base of samplers that are pickled as their arguments, and computed again from these."""

    def __getstate__(self):
        """State to pickle."""
        return {"arguments": self.arguments}

    def __setstate__(self, state):
        """Restore a sampler."""
        self.__init__(*state["arguments"])


class RangeSampler(_Rebuilt):
    """Tissues drawn for each voxel, under a prior of ranges.

    Parameters
    ----------
    signal_model : SignalModel
        Model for which `can_draw` is True.
    noise : NoiseModel
    ranges : ndarray of shape (2, n_parameters)
    n_points : int
        Tissues per voxel. Where their effective number is less than `ENOUGH`, they are drawn again
        from a finer grid, 2 to 16 times as many.
    seed : int
        Seed of the points, which all voxels have in common.
    """

    def __init__(self, signal_model, noise, ranges, n_points, seed):
        self.arguments = [signal_model, noise, ranges, n_points, seed]
        self.signal_model, self.noise = signal_model, noise
        self.draws, self.loss = LocalDraws(signal_model, noise, ranges), LossAlong(noise)
        self.n_points = n_points + -n_points % _LANES
        largest = self.n_points * _MORE ** (_MOST_ROUNDS - 1)
        sequence = qmc.Sobol(4, rng=seed)
        unit = sequence.random_base2((largest - 1).bit_length())[:largest].clip(1e-6, 1 - 1e-6)
        self.unit = torch.as_tensor(unit.T.copy(), dtype=torch.float32)
        self.rows = max(WHOLE_ROWS, _BLOCK // self.n_points // WHOLE_ROWS * WHOLE_ROWS)

    def __call__(self, X, sigma):
        """Weighted tissues of a block of rows.

        Parameters
        ----------
        X : ndarray of shape (n_voxels, n_measurements)
        sigma : ndarray of shape (n_voxels,) or (n_voxels, n_measurements)

        Yields
        ------
        index : int ndarray
            Rows of the block.
        WeightedTissues
        """
        x, precision = in_single(X, sigma)
        rest = torch.arange(len(X))
        for i in range(_MOST_ROUNDS):
            more, last, again = _MORE**i, i == _MOST_ROUNDS - 1, []
            for rows in rest.split(max(WHOLE_ROWS, self.rows // more)):
                weighted = self.once(x[rows], precision[rows], more)
                enough = weighted.effective_size() >= (0 if last else ENOUGH)
                if enough.any():
                    yield rows[enough].numpy(), weighted.take(enough)
                again.append(rows[~enough])
            rest = torch.cat(again)
            if len(rest) == 0:
                return

    def once(self, x, precision, more=1):
        """Weighted tissues of a block of rows, from `more` times as many cells and tissues."""
        cells = self.draws.cells(x, precision, finer=more)
        drawn = self.draws.draw(cells, self.unit[:, : more * self.n_points])
        return self.weigh(drawn, x, precision)

    def weigh(self, drawn, x, precision):
        """Multiply the weights of tissues by their likelihoods."""
        tissues, log_weights = drawn
        signal = self.signal_model.signal(tissues.flatten(1)).unflatten(1, log_weights.shape)
        signal = signal.abs_() if self.noise.even else signal
        x, precision = (part.T[:, :, None] for part in (x, precision))
        loss, middle = self.loss(x * precision, signal.mul_(precision))
        return WeightedTissues(tissues, log_weights.sub_(loss), -middle[:, 0])


class MixedSampler(_Rebuilt):
    """Tissues of a `WeightedPrior`: its own ones, and such of the wide prior that is in it.

    Parameters
    ----------
    signal_model : SignalModel
        Model for which `can_draw` is True.
    noise : NoiseModel
    prior : WeightedPrior
    n_points : int
        Tissues per voxel of either kind.
    seed : int
    """

    def __init__(self, signal_model, noise, prior, n_points, seed):
        self.arguments = [signal_model, noise, prior, n_points, seed]
        tissues, weights, wide = prior.checked(signal_model)
        self.ranges = RangeSampler(signal_model, noise, wide, n_points, seed)
        # Most tissues have next to no weight after learning. They would cost time only.
        order = np.argsort(-weights)
        kept = order[: 1 + np.searchsorted(np.cumsum(weights[order]), 1 - _NEGLIGIBLE)]
        amplitude = amplitude_of(signal_model)
        self.shapes = ShapeDraws(
            signal_model, noise, tissues[kept], amplitude, *wide[:, amplitude].tolist()
        )
        self.log_prior = torch.as_tensor(np.log(weights[kept]), dtype=torch.float32)
        self.shares = 1 - prior.floor, prior.floor
        self.rows = max(WHOLE_ROWS, min(self.ranges.rows, _ATOMS // len(kept)))
        self.rows -= self.rows % WHOLE_ROWS

    def __call__(self, X, sigma):
        """Same as `RangeSampler.__call__`."""
        x, precision = in_single(X, sigma)
        unit = self.ranges.unit[3, : self.ranges.n_points]
        drawn = self.shapes.draw(x, precision, self.log_prior, unit)
        own = self.ranges.weigh(drawn, x, precision)
        if self.shares[1] > 0:
            own = own.mixed_with(self.ranges.once(x, precision), *self.shares)
        yield np.arange(len(X)), own


def in_single(X, sigma):
    """Measurements and 1 / sigma of each, in single precision."""
    precision = np.broadcast_to(1 / columns_of(sigma), X.shape)
    return tuple(torch.tensor(part, dtype=torch.float32) for part in (X, precision))


class AtomSampler(_Rebuilt):
    """The same tissues for all voxels, from any prior.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    atoms : ndarray of shape (n_atoms, n_parameters)
    weights : ndarray of shape (n_atoms,)
        Shares of the prior, which add up to 1.
    sigma : float
        Least noise level of the data.
    """

    def __init__(self, signal_model, noise, atoms, weights, sigma):
        self.arguments = [signal_model, noise, atoms, weights, sigma]
        signals = signal_model.simulate(atoms)
        self.interpolation = Interpolation(noise, signals, sigma)
        self.features = torch.from_numpy(self.interpolation.of_atoms(signals))
        # The mean over atoms of these weights is the sum over atoms by their shares.
        with np.errstate(divide="ignore"):
            log_weights = np.log(weights * len(weights)).astype(np.float32)
        self.log_weights = torch.from_numpy(log_weights)
        self.tissues = torch.as_tensor(atoms.T.copy(), dtype=torch.float32)
        self.rows = max(WHOLE_ROWS, _WEIGHTS // len(atoms) // WHOLE_ROWS * WHOLE_ROWS)

    def __call__(self, X, sigma):
        """Same as `RangeSampler.__call__`."""
        yield np.arange(len(X)), self.weigh(X, sigma)

    def weigh(self, X, sigma):
        """Weighted tissues of a block of rows."""
        factors = torch.from_numpy(self.interpolation.of_data(X, sigma))
        log_weights = factors @ self.features
        log_weights += self.log_weights
        constant = torch.as_tensor(self.interpolation.constant(X, sigma))
        return WeightedTissues(self.tissues, log_weights, constant)


class RefinedSampler:
    """Atoms, and tissues of their own for voxels that resemble few atoms, under ranges.

    It takes any signal model, and more time than `RangeSampler`.

    Parameters
    ----------
    atoms : AtomSampler
        Atoms that fill the ranges evenly.
    refinement : Refinement
    """

    def __init__(self, atoms, refinement):
        self.atoms, self.refinement = atoms, refinement
        self.rows = atoms.rows

    def __call__(self, X, sigma):
        """Same as `RangeSampler.__call__`."""
        weighted = self.atoms.weigh(X, sigma)
        size = weighted.effective_size()
        few = (size < ENOUGH).nonzero()[:, 0]
        if len(few):
            index = few.numpy()
            refined = self.refinement(X[index], sigma[index], weighted.take(few))
            better = refined.effective_size() > size[few]
            if better.any():
                yield index[better.numpy()], refined.take(better)
            few = few[better]
        others = torch.ones(len(X), dtype=torch.bool)
        others[few] = False
        if others.any():
            yield others.nonzero()[:, 0].numpy(), weighted.take(others)


def sampler_of_ranges(signal_model, noise, ranges, atoms, sigma, n_points, rng):
    """The sampler for a prior of ranges.

    Parameters
    ----------
    signal_model : SignalModel
    noise : NoiseModel
    ranges : ndarray of shape (2, n_parameters)
    atoms : ndarray of shape (n_atoms, n_parameters)
        Tissues that fill the ranges, for signal models that `RangeSampler` cannot take.
    sigma : float
        Least noise level of the data.
    n_points : int
    rng : numpy.random.RandomState

    Returns
    -------
    RangeSampler or RefinedSampler
    """
    if can_draw(signal_model, noise):
        seed = int(rng.randint(np.iinfo(np.int32).max))
        return RangeSampler(signal_model, noise, ranges, n_points, seed)
    share = np.full(len(atoms), 1 / len(atoms))
    shared = AtomSampler(signal_model, noise, atoms, share, sigma)
    return RefinedSampler(shared, Refinement(signal_model, noise, ranges, max(1024, n_points), rng))
