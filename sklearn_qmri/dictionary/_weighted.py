"""Posteriors as weighted tissues: moments, quantiles, samples and the evidence."""

import math
from typing import NamedTuple

import torch


class WeightedTissues(NamedTuple):
    """Tissues with weights for each voxel.

    Attributes
    ----------
    tissues : tensor of shape (n_parameters, n_voxels, n_points) or (n_parameters, n_points)
        In the second case, all voxels have the same tissues.
    log_weights : tensor of shape (n_voxels, n_points)
        Logarithms of likelihood times prior over the density that the tissues were drawn from, less
        `offset`, in single precision. NaN and infinity stand for no weight.
    offset : tensor of shape (n_voxels,)
        In double precision.
    """

    tissues: torch.Tensor
    log_weights: torch.Tensor
    offset: torch.Tensor

    def take(self, index):
        """Some of the voxels."""
        shared = self.tissues.ndim == 2
        tissues = self.tissues if shared else self.tissues[:, index]
        return WeightedTissues(tissues, self.log_weights[index], self.offset[index])

    def mixed_with(self, other, share, other_share):
        """Posterior under a mixture of two priors, from those under each.

        Parameters
        ----------
        other : WeightedTissues
            With the same number of tissues for each voxel.
        share, other_share : float
            Shares of both priors.

        Returns
        -------
        WeightedTissues
        """
        # The mean over twice as many tissues has half the weight of each mean.
        offset = torch.maximum(self.offset, other.offset)
        parts = [
            part.log_weights + (part.offset - offset + math.log(2 * s))[:, None].float()
            for part, s in ((self, max(share, 1e-30)), (other, other_share))
        ]
        tissues = torch.cat([self.tissues, other.tissues], 2)
        return WeightedTissues(tissues, torch.cat(parts, 1), offset)

    def shares(self):
        """Weights that add up to 1 for each voxel, or to 0 where no tissue has any."""
        largest, clean = self._largest()
        weights = (clean - largest).exp_()
        return weights.div_(weights.sum(1, keepdim=True).clamp_(min=1e-30))

    def _largest(self):
        clean = self.log_weights.nan_to_num(nan=-torch.inf, posinf=-torch.inf, neginf=-torch.inf)
        lowest = torch.finfo(clean.dtype).min
        return clean.amax(1, keepdim=True).clamp_(min=lowest), clean

    def effective_size(self):
        """Effective sample size, ``(sum w)^2 / sum w^2``; 0 where no tissue has a weight."""
        return _size(self.shares())

    def moments(self):
        """Mean and standard deviation of each parameter, and the effective sample size.

        Returns
        -------
        mean, std : ndarray of shape (n_voxels, n_parameters)
        size : ndarray of shape (n_voxels,)
        """
        shares = self.shares()
        # Means of offsets in units of the width: squares of values would lose their digits.
        low, high = self.tissues.amin(-1), self.tissues.amax(-1)
        center, scale = 0.5 * (low + high), (high - low).clamp_(min=1e-30)
        offset = (self.tissues - center[..., None]) / scale[..., None]
        if offset.ndim == 2:
            # Voxels share tissues, so that sums over them are products of matrices.
            columns = torch.cat([offset, offset.square()])
            mean, square = (shares @ columns.T).T.double().chunk(2)
            center, scale = center[:, None], scale[:, None]
        else:
            mean, square = ((part * shares).sum(2).double() for part in (offset, offset.square()))
        std = (square - mean.square()).clamp_(min=0).sqrt_() * scale
        return (center + scale * mean).T.numpy(), std.T.numpy(), _size(shares).double().numpy()

    def log_evidence(self):
        """Logarithm of the mean weight, (n_voxels,); -inf where no tissue has a weight."""
        largest, clean = self._largest()
        mean = (clean - largest).exp_().mean(1).double()
        return (self.offset + largest[:, 0].double() + mean.log()).numpy()

    def quantiles(self, levels):
        """Quantiles of each parameter.

        Between two tissues, quantiles are interpolated by their cumulative weights. A tissue stands
        for half of its weight on either side.

        Parameters
        ----------
        levels : ndarray of shape (n_levels,)

        Returns
        -------
        ndarray of shape (n_voxels, n_parameters, n_levels)
        """
        shares = self.shares()
        wanted = torch.as_tensor(levels, dtype=shares.dtype).expand(len(shares), -1).contiguous()
        found = torch.empty(len(shares), len(self.tissues), wanted.shape[1], dtype=torch.float64)
        for j, values in enumerate(self.tissues):
            values, order = values.sort(-1)
            own = shares.gather(1, order.expand_as(shares))
            if own.shape[1] == 1:  # a single tissue is every quantile
                found[:, j] = values.expand_as(own).double()
                continue
            middle = own.cumsum(1).sub_(0.5 * own)
            above = torch.searchsorted(middle, wanted).clamp_(1, middle.shape[1] - 1)
            left, right = (middle.gather(1, i) for i in (above - 1, above))
            position = ((wanted - left) / (right - left).clamp_(min=1e-30)).clamp_(0, 1).double()
            values = values.expand_as(shares)
            left, right = (values.gather(1, i).double() for i in (above - 1, above))
            found[:, j] = left + position * (right - left)
        return found.numpy()

    def sample(self, unit):
        """Tissues drawn by their weights.

        Parameters
        ----------
        unit : ndarray of shape (n_voxels, n_samples)
            Independent numbers in [0, 1).

        Returns
        -------
        ndarray of shape (n_voxels, n_samples, n_parameters)
        """
        upper = self.shares().double().cumsum(1)
        drawn = torch.searchsorted(upper, torch.as_tensor(unit) * upper[:, -1:], right=True)
        drawn.clamp_(max=upper.shape[1] - 1)
        found = [values.expand_as(upper).gather(1, drawn).double() for values in self.tissues]
        return torch.stack(found, -1).numpy()


def _size(shares):
    # One over sum w^2 of weights that add up to 1; without any weight, 0.
    return shares.sum(1).square() / shares.square().sum(1).clamp(min=1e-30)
