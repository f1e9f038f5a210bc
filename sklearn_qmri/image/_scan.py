"""Scans: images with their mask and noise level, read slab by slab as rows of voxels."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ._nifti import read_volume

_BYTES = 2**27  # size, as float64, of the part of an image that is read at once


@dataclass(frozen=True, eq=False)
class Scan:
    """Opened scan: its images, the voxels inside, and the noise level. Signals are not read yet.

    `open_scan` makes it. Every function that takes an image also takes a scan, with its mask.

    Parameters
    ----------
    images : list of nibabel images
        One image of four dimensions, or one image of three dimensions for each measurement.
    inside : ndarray of bool of shape (n_x, n_y, n_z)
        True for the voxels inside the mask.
    sigma : None, float or ndarray, default=None
        Noise level: unknown, one for all, one for each voxel, (n_x, n_y, n_z), for each measurement
        of each voxel, (n_x, n_y, n_z, n_measurements), or for each, (1, n_measurements).
    fixed : dict of {str: float or ndarray of shape (n_x, n_y, n_z)}, default=None
        Known parameters by name.

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
    fixed: dict | None = None

    @property
    def n_measurements(self):
        """Number of measurements of each voxel."""
        return self.images[0].shape[3] if len(self.images) == 1 else len(self.images)

    @property
    def paths(self):
        """Files of the images; raises ValueError if an image is in memory only."""
        names = [image.get_filename() for image in self.images]
        if None in names:
            raise ValueError("A scan that is in memory only has no files beside it.")
        return [Path(name) for name in names]

    @property
    def n_voxels(self):
        """Number of voxels inside."""
        return int(np.count_nonzero(self.inside))

    def everywhere(self):
        """The same images without mask, noise level and known parameters.

        Returns
        -------
        Scan
            All voxels are inside.
        """
        return Scan(self.images, np.full(self.images[0].shape[:3], True))

    def slabs(self, chunk_size):
        """Runs of slices along the third axis with about `chunk_size` voxels inside each.

        Slices without voxels inside, at both ends of the scan, belong to no run.

        Parameters
        ----------
        chunk_size : int
            Number of voxels that a run should have.

        Returns
        -------
        list of slice
            Runs from the first slice with voxels inside to the last.
        """
        counts = np.count_nonzero(self.inside, axis=(0, 1))
        first, last = np.flatnonzero(counts)[[0, -1]].tolist()
        slabs, start, total = [], first, 0
        for z in range(first, last + 1):
            # A slice is never split, because files are read by slices: a full one may exceed the
            # size. Empty slices join the run that is open.
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
            Part of the third axis.

        Returns
        -------
        signals : ndarray of shape (n_voxels, n_measurements)
            One row for each voxel inside.
        sigma : None, float or ndarray
            Noise level of these voxels, (n_voxels,) or (n_voxels, n_measurements); as it is if the
            scan has no map of it.

        Raises
        ------
        ValueError
            If a file is damaged.
        """
        # Rows are in the order of the whole slab, so that they do not depend on how large the parts
        # are in which it is read.
        here = self.inside[:, :, slab]
        place = np.empty(here.shape, dtype=np.intp)
        place[here] = np.arange(np.count_nonzero(here))
        signals = None
        for part in self._parts(slab):
            there = self.inside[:, :, part]
            if there.any():  # parts without voxels inside are never read
                values = self._load(part)[there]
                if signals is None:
                    signals = np.empty((np.count_nonzero(here), values.shape[1]), values.dtype)
                within = slice(part.start - slab.start, part.stop - slab.start)
                signals[place[:, :, within][there]] = values
        of_voxels = np.ndim(self.sigma) >= here.ndim
        return signals, self.sigma[:, :, slab][here] if of_voxels else self.sigma

    def known(self, slab):
        """Known parameters of the voxels inside a slab.

        Parameters
        ----------
        slab : slice
            Part of the third axis.

        Returns
        -------
        dict of {str: float or ndarray of shape (n_voxels,)}
            Values by name, in the order of the rows of `read`.
        """
        here = self.inside[:, :, slab]
        return {
            name: value[:, :, slab][here] if np.ndim(value) else value
            for name, value in (self.fixed or {}).items()
        }

    def mean(self):
        """Mean magnitude of each voxel, inside or not.

        Returns
        -------
        ndarray of shape (n_x, n_y, n_z)
            Mean of each voxel, in the units of the images.

        Raises
        ------
        ValueError
            If a file is damaged, or a volume has no finite value.
        """
        mean = np.empty(self.inside.shape)
        # A volume without any finite value would spoil the means of all voxels.
        seen = np.zeros(self.n_measurements, dtype=bool)
        for part in self._parts(slice(0, self.inside.shape[2])):
            signals = self._load(part).astype(np.float64)
            seen |= np.isfinite(signals).any(axis=(0, 1, 2))
            mean[:, :, part] = np.abs(signals, out=signals).mean(axis=-1)
        if not seen.all():
            raise ValueError(
                f"Volumes {np.flatnonzero(~seen).tolist()} of the image (the first is 0) hold no "
                "finite number, only NaN or infinity: exclude them and their measurements."
            )
        return mean

    def sample(self, n_voxels, rng):
        """Signals of voxels that are drawn from those inside.

        Parameters
        ----------
        n_voxels : int
            Largest number of voxels to draw. If fewer are inside, all of them are taken.
        rng : numpy.random.RandomState
            Generator for the draw.

        Returns
        -------
        ndarray of shape (n_voxels, n_measurements), float64
            Signals of the drawn voxels, in their order in the scan.
        """
        places = np.flatnonzero(self.inside)
        if len(places) > n_voxels:
            places = rng.choice(places, n_voxels, replace=False)
        # The drawn voxels become the mask of a scan, which is read part by part like any other.
        drawn = np.zeros_like(self.inside)
        drawn.flat[places] = True
        signals, _ = replace(self, inside=drawn, sigma=None, fixed=None).read(
            slice(0, drawn.shape[2])
        )
        return signals.astype(np.float64)

    def _parts(self, slab):
        """Runs of slices of a slab, each small enough to be read at once."""
        n_x, n_y, _ = self.inside.shape
        # 8 bytes per value, whatever the file has: reading scaled integers makes float64 of them.
        n_slices = max(1, _BYTES // (8 * n_x * n_y * self.n_measurements))
        for z in range(slab.start, slab.stop, n_slices):
            yield slice(z, min(z + n_slices, slab.stop))

    def _load(self, part):
        """All measurements of some slices."""
        if len(self.images) == 1:
            return read_volume(self.images[0], part)
        return np.stack([read_volume(image, part) for image in self.images], axis=-1)
