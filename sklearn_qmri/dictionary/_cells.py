"""Cells of grids along two axes: their centers, which of them matter, and draws from them."""

import torch

# A part is divided again while it has relevant cells in no more than this share of an axis.
_SPARSE = 0.5
_STEEPEST = 1.8  # largest slope of the density in a cell, as a share of its mean


def centers(box, shape):
    """Positions of the centers of cells along two axes, each (n_voxels, n_cells)."""
    grid = torch.meshgrid(*((torch.arange(n) + 0.5) / n for n in shape), indexing="ij")
    return [
        torch.addcmul(low[:, None], (high - low)[:, None], unit.flatten())
        for (low, high), unit in zip(box, grid, strict=True)
    ]


def relevant(log_mass, shape, box, depth):
    """Part of a box (2, 2, n_voxels) around its relevant cells, and whether they are few.

    A cell is relevant if it may have a likelihood that is less than the largest by no more than
    `depth` nats, (n_voxels, 1) or a number. The likelihood is known at the centers of cells.
    """
    largest, best = log_mass.max(1, keepdim=True)
    least = largest - depth - _between(log_mass, best, shape)
    cells = log_mass.unflatten(1, shape)
    narrower, sparse = torch.empty(box.shape), torch.zeros(len(log_mass), dtype=torch.bool)
    for i, n in enumerate(shape):
        relevant = cells.amax(2 - i) >= least
        index = torch.arange(n)
        first = torch.where(relevant, index, n).amin(1)
        last = torch.where(relevant, index, -1).amax(1)
        if n > 1:
            sparse |= last - first + 1 <= _SPARSE * n
        # The cell beside a relevant one may have likelihood at its end.
        low, width = box[i, 0], (box[i, 1] - box[i, 0]) / n
        narrower[i, 0] = low + width * (first - 1).clamp(min=0)
        narrower[i, 1] = low + width * (last + 2).clamp(max=n)
    return narrower, sparse


def _between(log_mass, best, shape):
    """How much larger the likelihood of a cell may be than at its center, in nats, (n_voxels, 1).

    A narrow ridge passes cells at up to half a cell from their centers along either axis. With the
    second differences a and b at the best cell, that costs at most ``(sqrt(a) + sqrt(b))^2 / 8``,
    which a ridge along a diagonal reaches.
    """
    index, root = (best // shape[1], best % shape[1]), 0.0
    for axis, n in enumerate(shape):
        if n > 2:
            step = shape[1] if axis == 0 else 1
            inner = best + (index[axis].clamp(1, n - 2) - index[axis]) * step
            below, here, above = (log_mass.gather(1, inner + k * step) for k in (-1, 0, 1))
            root = root + (2 * here - below - above).clamp_(min=0).sqrt_()
    return 0.125 * root * root


def slopes(table, shape):
    """Changes per cell along both axes, by central differences, each (n_voxels, n_cells)."""
    grid = table.unflatten(1, shape)
    found = []
    for axis, n in enumerate(shape, 1):
        slope = torch.zeros_like(grid)
        if n > 2:
            # Cells at an end take the difference to their only neighbour.
            first, last = slope.narrow(axis, 0, 1), slope.narrow(axis, n - 1, 1)
            below, above = grid.narrow(axis, 0, n - 2), grid.narrow(axis, 2, n - 2)
            torch.sub(above, below, out=slope.narrow(axis, 1, n - 2)).mul_(0.5)
            torch.sub(grid.narrow(axis, 1, 1), grid.narrow(axis, 0, 1), out=first)
            torch.sub(grid.narrow(axis, n - 1, 1), grid.narrow(axis, n - 2, 1), out=last)
        found.append(slope.flatten(1))
    return found


def systematic(mass, n_points):
    """Cells (n_voxels, n_points) of points that are even in cumulative mass (n_voxels, n_cells)."""
    upper = mass.cumsum(1)
    # Point i is at (i + 1/2) / n. The number of points below the end of each cell but the last one
    # is where the next cell begins.
    begin = (upper[:, :-1] / upper[:, -1:] * n_points + 0.5).long().clamp_(0, n_points)
    steps = torch.zeros(len(mass), n_points + 1, dtype=torch.long)
    steps.scatter_add_(1, begin, torch.ones_like(begin))
    return steps[:, :-1].cumsum(1)


def draw_tilted(unit, slope):
    """Draws from 0 to 1 with the density ``1 + g (t - 1/2)``, and that density.

    The cumulative density ``(1 - g / 2) t + g t^2 / 2`` is u at ``t = 2 u / (1 - g / 2 + root)``,
    where the root of ``(1 - g / 2)^2 + 2 g u`` is the density there.
    """
    slope = slope.clamp(-_STEEPEST, _STEEPEST)
    start = 1 - 0.5 * slope
    density = (start * start).addcmul_(slope, unit, value=2).sqrt_()
    return 2 * unit / start.add_(density), density
