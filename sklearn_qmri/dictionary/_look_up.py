"""Best atoms of a `Dictionary` for voxels, with linear parameters fitted by least squares."""

import torch

from .._torch import LANES, take

_SCORES = 2**19  # voxels times atoms looked up at once: their scores fit into a processor's cache


def look_up(dictionary, data, precision):
    """Best atom of each cell for each voxel, linear parameters fitted by least squares.

    Parameters
    ----------
    dictionary : Dictionary
    data : tensor of shape (n_measurements, n_voxels)
    precision : tensor of shape (n_voxels,) or (n_measurements, n_voxels)
        1 / sigma; 0 where there is no measurement.

    Returns
    -------
    best : tensor of shape (n_voxels, n_cells)
        Indices of atoms.
    gain : tensor of shape (n_voxels, n_cells)
        Decrease of half the squared residual, in units of sigma, over no signal at all.
    """
    rows = (data * precision).T
    precision = precision if precision.ndim == 1 else precision.T
    size = max(LANES, _SCORES // dictionary.atoms.shape[1] // LANES * LANES)
    look = _look_up if precision.ndim == 1 else _look_up_weighted
    found = [
        _best_of_cells(dictionary, look(dictionary, r, p))
        for r, p in zip(rows.split(size), precision.split(size), strict=True)
    ]
    best, gain = (torch.cat(field) for field in zip(*found, strict=True))
    return best, gain


def _look_up(dictionary, rows, precision):
    """Score of each atom for each voxel, which is its gain, or twice that if it is linear."""
    if not dictionary.linear:
        columns = dictionary.columns[0]
        score = rows @ columns * precision[:, None]
        score -= 0.5 * (columns * columns).sum(0) * (precision**2)[:, None]
    else:
        # Twice the gain is the squared length of the projection (p, q) of the data on the columns.
        first = (rows @ dictionary.tests[0]).clamp_(min=0)
        score = first * first
        if len(dictionary.linear) == 2:
            # A column with a negative coefficient is excluded: the second where q < 0, the first
            # where p is on the far side of the second, at a distance p * sine - q * cosine < 0.
            cosine, sine = dictionary.second
            beyond = rows @ dictionary.tests[1]
            missing = first.mul_(sine).addcmul_(beyond, cosine, value=-1).clamp_(max=0)
            beyond.clamp_(min=0)
            score.addcmul_(beyond, beyond).addcmul_(missing, missing, value=-1)
    return score


def _look_up_weighted(dictionary, rows, precision):
    """Same as `_look_up`, with a precision (n_voxels, n_measurements) per measurement."""
    # Relative to the largest precision of a voxel: fourth powers would leave single precision.
    unit = precision.amax(1, keepdim=True)
    score = _score_in_units(dictionary, rows / unit, precision / unit)
    return score * unit.square()


def _score_in_units(dictionary, rows, precision):
    weight, pull = precision.square(), rows * precision
    columns = dictionary.columns
    if not dictionary.linear:
        return pull @ columns[0] - 0.5 * (weight @ columns[0].square())
    # With the sums p of pull * c, and q of weight * c^2, twice the gain of a column c is p^2 / q.
    along = (pull @ columns[0]).clamp(min=0)
    size = (weight @ columns[0].square()).clamp(min=1e-30)
    score = along.square() / size
    if len(dictionary.linear) == 2:
        # Of two columns it is p^T Q^-1 p, by Cramer's rule, where both coefficients are positive;
        # else the larger one of the two columns alone.
        first, second = pull @ columns[0], pull @ columns[1]
        other = (weight @ columns[1].square()).clamp(min=1e-30)
        both = weight @ (columns[0] * columns[1])
        determinant = (size * other - both.square()).clamp(min=1e-30)
        a, b = other * first - both * second, size * second - both * first
        score = torch.maximum(score, second.clamp(min=0).square() / other)
        score = torch.where((a > 0) & (b > 0), (a * first + b * second) / determinant, score)
    return score


def _best_of_cells(dictionary, score):
    """Best atom of each cell and its gain, from the scores of all atoms."""
    cells = score.view(len(score), dictionary.n_cells, score.shape[1] // dictionary.n_cells)
    best = _argmax(cells)
    gain = cells.gather(2, best[..., None])[..., 0]
    best += torch.arange(dictionary.n_cells, device=best.device) * cells.shape[-1]
    return best, 0.5 * gain if dictionary.linear else gain


def fit_linear(dictionary, data, precision, index):
    """Parameters of chosen atoms, one per start, with the linear ones fitted to the data.

    Parameters
    ----------
    dictionary : Dictionary
    data : tensor of shape (n_measurements, n_starts)
    precision : tensor of shape (n_starts,) or (n_measurements, n_starts)
        1 / sigma; 0 where there is no measurement.
    index : tensor of shape (n_starts,)

    Returns
    -------
    tensor of shape (n_parameters, n_starts)
    """
    theta = take(dictionary.atoms, index)
    if not dictionary.linear:
        return theta
    first, second = take(dictionary.columns, index)
    if precision.ndim == 2:
        relative = precision / precision.amax(0)
        first, second, data = (part * relative for part in (first, second, data))
    # Least squares by Cramer's rule. Where one coefficient is negative, the other column is alone.
    size, both, other = (first * first).sum(0), (first * second).sum(0), (second * second).sum(0)
    on_first, on_second = (data * first).sum(0), (data * second).sum(0)
    determinant = (size * other - both * both).clamp(min=1e-30)
    a = (other * on_first - both * on_second) / determinant
    b = (size * on_second - both * on_first) / determinant
    alone = (on_first / size.clamp(min=1e-30)).clamp(min=0)
    a, b = torch.where(b <= 0, alone, a), b.clamp(min=0)
    b = torch.where(a <= 0, (on_second / other.clamp(min=1e-30)).clamp(min=0), b)
    a = a.clamp(min=0)
    amplitude, *rest = dictionary.linear
    if not rest:
        theta[amplitude] = a
    elif dictionary.reach == 0:
        theta[amplitude], theta[rest[0]] = a, b
    else:
        theta[amplitude] = a + b
        theta[rest[0]] += dictionary.reach * b / (a + b).clamp(min=1e-30)
    return theta


def _argmax(tensor):
    """Argmax along the last axis; NumPy's is several times faster than torch's on a CPU."""
    if tensor.device.type == "cpu":
        return torch.from_numpy(tensor.numpy().argmax(-1))
    return tensor.argmax(-1)
