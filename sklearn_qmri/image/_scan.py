"""A scan on disk as rows of voxels: what belongs together, and reading it slab by slab."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ._nifti import read_volume

_BYTES = 2**27  # of an image, as float64, that is read at once


@dataclass(frozen=True, eq=False)
class Scan:
    """An opened scan: its images, the voxels that count, and the noise level; nothing read yet.

    Made by `open_scan`. Every function that takes an image takes a scan too, with its mask.

    Parameters
    ----------
    images : list of nibabel images
        One of four dimensions, or one of three for each measurement.
    inside : ndarray of bool of shape (n_x, n_y, n_z)
        Voxels that count.
    sigma : None, float or ndarray of shape (n_x, n_y, n_z), default=None
        Noise level: unknown, one for all, or one for each voxel.

    Examples
    --------
    >>> import nibabel
    >>> import numpy as np
    >>> from sklearn_qmri.image import open_scan, sample_voxels
    >>> scan = open_scan(nibabel.Nifti1Image(np.ones((4, 3, 2, 10)), np.eye(4)))
    >>> scan.n_measurements, scan.n_voxels, sample_voxels(scan, n_voxels=5).shape
    (10, 24, (5, 10))
    """

    images: list
    inside: np.ndarray
    sigma: object = None

    @property
    def n_measurements(self):
        """Number of measurements of each voxel."""
        return self.images[0].shape[3] if len(self.images) == 1 else len(self.images)

    @property
    def paths(self):
        """Files of the images; ValueError if one is in memory only."""
        names = [image.get_filename() for image in self.images]
        if None in names:
            raise ValueError("A scan that is in memory only has no files beside it.")
        return [Path(name) for name in names]

    @property
    def n_voxels(self):
        """Number of voxels inside."""
        return int(np.count_nonzero(self.inside))

    def slabs(self, chunk_size):
        """Runs of slices along the third axis with about `chunk_size` voxels inside each.

        Slices without any at both ends belong to none.

        Parameters
        ----------
        chunk_size : int
            Voxels that a run should have.

        Returns
        -------
        list of slice
            From the first slice with voxels inside to the last.
        """
        counts = np.count_nonzero(self.inside, axis=(0, 1))
        first, last = np.flatnonzero(counts)[[0, -1]].tolist()
        slabs, start, total = [], first, 0
        for z in range(first, last + 1):
            if counts[z] and total and total + counts[z] > chunk_size:
                slabs.append(slice(start, z))
                start, total = z, 0
            total += counts[z]
        return [*slabs, slice(start, last + 1)]

    def read(self, slab):
        """Signals of the voxels inside a slab, in the type of the file, and their noise levels.

        Parameters
        ----------
        slab : slice
            Of the third axis.

        Returns
        -------
        signals : ndarray of shape (n_voxels, n_measurements)
            A row for each voxel inside.
        sigma : None, float or ndarray of shape (n_voxels,)
            As it was given, of these voxels.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        here = self.inside[:, :, slab]
        place = np.empty(here.shape, dtype=np.intp)
        place[here] = np.arange(np.count_nonzero(here))
        signals = None
        for part in self._parts(slab):
            there = self.inside[:, :, part]
            if there.any():
                values = self._load(part)[there]
                if signals is None:
                    signals = np.empty((np.count_nonzero(here), values.shape[1]), values.dtype)
                within = slice(part.start - slab.start, part.stop - slab.start)
                signals[place[:, :, within][there]] = values
        return signals, self.sigma[:, :, slab][here] if np.ndim(self.sigma) else self.sigma

    def mean(self):
        """Mean magnitude of each voxel, inside or not.

        Returns
        -------
        ndarray of shape (n_x, n_y, n_z)
            In the units of the images.

        Raises
        ------
        ValueError
            If a file is damaged, or a volume has no finite number in it.
        """
        mean = np.empty(self.inside.shape)
        seen = np.zeros(self.n_measurements, dtype=bool)  # volumes with any finite number
        for part in self._parts(slice(0, self.inside.shape[2])):
            signals = self._load(part).astype(np.float64)
            seen |= np.isfinite(signals).any(axis=(0, 1, 2))
            mean[:, :, part] = np.abs(signals, out=signals).mean(axis=-1)
        if not seen.all():
            raise ValueError(
                f"Volumes {np.flatnonzero(~seen).tolist()} of the image (the first is 0) hold no "
                "finite number, only NaN or infinity: leave them and their measurements out."
            )
        return mean

    def sample(self, n_voxels, rng):
        """Signals of voxels drawn from those inside.

        Parameters
        ----------
        n_voxels : int
            At most.
        rng : numpy.random.RandomState
            Draws them.

        Returns
        -------
        ndarray of shape (n_voxels, n_measurements), float64
            In the order of the slices.
        """
        places = np.flatnonzero(self.inside)
        if len(places) > n_voxels:
            places = rng.choice(places, n_voxels, replace=False)
        drawn = np.zeros_like(self.inside)
        drawn.flat[places] = True
        signals, _ = replace(self, inside=drawn, sigma=None).read(slice(0, drawn.shape[2]))
        return signals.astype(np.float64)

    def _parts(self, slab):
        """Runs of slices of a slab that are small enough to be read at once."""
        n_x, n_y, _ = self.inside.shape
        n_slices = max(1, _BYTES // (8 * n_x * n_y * self.n_measurements))
        for z in range(slab.start, slab.stop, n_slices):
            yield slice(z, min(z + n_slices, slab.stop))

    def _load(self, part):
        """All measurements of some slices."""
        if len(self.images) == 1:
            return read_volume(self.images[0], part)
        return np.stack([read_volume(image, part) for image in self.images], axis=-1)
