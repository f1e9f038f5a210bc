"""Points that fill a cube evenly, in compact cells."""

import numpy as np
from scipy.stats import qmc


def fill_cube(n_axes, n_cells, n_atoms):
    """Points of a Halton sequence in the unit cube, sorted into n_cells equal compact runs."""
    # Without the first point, the origin. Cells stay compact by halving them along axes in turn.
    cells = [qmc.Halton(n_axes, scramble=False).random(n_atoms + 1)[1:]]
    axis = 0
    while len(cells) < n_cells:
        axis = (axis + 1) % n_axes
        halves = [np.array_split(c[np.argsort(c[:, axis], kind="stable")], 2) for c in cells]
        cells = [half for pair in halves for half in pair]
    return np.concatenate(cells)
