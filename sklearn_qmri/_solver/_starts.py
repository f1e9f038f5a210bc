"""Starting points: a simulated dictionary over the box, amplitudes eliminated."""

import numpy as np
import torch
from scipy.stats import qmc

_ATOMS = 512


def dictionary(model, lower, upper, n_cells):
    """Simulate the atoms among which the starts of every voxel are looked up.

    Atoms fill the box (the prior where a bound is infinite) by a Halton sequence, on a
    logarithmic axis where the model says so, and are sorted into cells by repeated median splits,
    so that the best atom of each cell makes a diverse set of starts.

    Parameters
    ----------
    model : SignalModel
    lower, upper : arrays of shape (n_parameters,)
    n_cells : int
        Power of 2.

    Returns
    -------
    atoms : tensor of shape (n_parameters, n_atoms)
    signals : tensor of shape (n_measurements, n_atoms)
    """
    unit = _median_cells(qmc.Halton(len(lower), scramble=False).random(_ATOMS + 1)[1:], n_cells)
    atoms = np.empty_like(unit)
    amplitudes = [j for j, p in enumerate(model.parameters) if p.amplitude]
    for j, parameter in enumerate(model.parameters):
        low = lower[j] if np.isfinite(lower[j]) else min(parameter.prior[0], upper[j])
        high = upper[j] if np.isfinite(upper[j]) else max(parameter.prior[1], lower[j])
        if j in amplitudes:  # the first is 1, others are searched for relative to it
            low, high = (1.0, 1.0) if j == amplitudes[0] else (min(np.sign(low), 0.0), 1.0)
        if parameter.log:
            atoms[:, j] = np.exp(np.log(low) + unit[:, j] * np.log(high / low))
        else:
            atoms[:, j] = low + unit[:, j] * (high - low)
    atoms = torch.as_tensor(np.ascontiguousarray(atoms.T))
    return atoms, model.signal(atoms)


def _median_cells(points, n_cells):
    """Sort points (n, d) so that n_cells equal runs of them are compact cells."""
    cells = [points]
    axis = 0
    while len(cells) < n_cells:
        axis = (axis + 1) % points.shape[1]
        halves = [np.array_split(c[np.argsort(c[:, axis], kind="stable")], 2) for c in cells]
        cells = [half for pair in halves for half in pair]
    return np.concatenate(cells)


def look_up(model, atoms, signals, x, precision, n_cells):
    """Best atom of each cell for each voxel, amplitudes fitted by least squares.

    Parameters
    ----------
    atoms, signals : tensors
        From `dictionary`.
    x : tensor of shape (n_measurements, n_voxels)
        Measurements in units of sigma.
    precision : tensor of shape (n_voxels,)
        1 / sigma.
    n_cells : int

    Returns
    -------
    tensor of shape (n_cells, n_parameters, n_voxels)
    """
    amplitudes = [j for j, p in enumerate(model.parameters) if p.amplitude]
    data = x / precision
    energy = (signals * signals).sum(0).clamp(min=torch.finfo(x.dtype).tiny)
    overlap = data.T @ signals
    # Gain in squared residual over none (up to a monotone function where amplitudes are free).
    score = overlap.clamp(min=0) * energy.rsqrt() if amplitudes else overlap - 0.5 * energy
    cells = score.reshape(len(score), n_cells, score.shape[1] // n_cells)
    best = _argmax(cells) + torch.arange(n_cells, device=x.device) * cells.shape[-1]
    starts = atoms[:, best]  # (n_parameters, n_voxels, n_cells)
    if amplitudes:
        fitted = overlap.gather(1, best).clamp(min=0) / energy[best]
        starts[amplitudes] *= fitted
    return starts.permute(2, 0, 1)


def _argmax(tensor):
    """Argmax along the last axis; NumPy's is several times faster than torch's on a CPU."""
    if tensor.device.type == "cpu":
        return torch.from_numpy(tensor.numpy().argmax(-1))
    return tensor.argmax(-1)
