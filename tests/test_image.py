import gzip
import warnings

import nibabel
import numpy as np
import pytest

from sklearn_qmri.image import (
    apply_mask,
    axial_slice,
    load_nifti,
    read_b_values,
    read_volume,
    unmask,
    write_nifti,
)


def test_mask_there_and_back(rng):
    volumes = rng.randint(0, 9, (4, 3, 2, 5)).astype(np.int16)
    mask = rng.uniform(size=(4, 3, 2)) > 0.4
    rows = apply_mask(volumes, mask)
    assert rows.dtype == np.float64
    assert rows.shape == (mask.sum(), 5)
    back = unmask(rows, mask)
    np.testing.assert_array_equal(back[mask], volumes[mask])
    assert np.isnan(back[~mask]).all()
    assert (unmask(rows[:, 0], mask, fill=-1)[~mask] == -1).all()


def test_masks_that_do_not_fit():
    with pytest.raises(ValueError, match=r"shape \(2, 2\), but the volumes \(2, 3\)"):
        apply_mask(np.zeros((2, 3, 5)), np.ones((2, 2)))
    with pytest.raises(ValueError, match="no voxel in it"):
        apply_mask(np.zeros((2, 3, 5)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="3 values for 4 voxels"):
        unmask(np.zeros(3), np.ones((2, 2)))
    with pytest.raises(ValueError, match="NaN cannot be stored outside the mask as int8"):
        unmask(np.zeros(4, np.int8), np.ones((2, 2)))


def test_nifti_there_and_back(tmp_path):
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    data = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    write_nifti(tmp_path / "map.nii.gz", data, affine)
    image = load_nifti(tmp_path / "map.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), data)
    np.testing.assert_array_equal(image.affine, affine)
    assert [p.name for p in tmp_path.iterdir()] == ["map.nii.gz"]


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(TypeError, match="expects real numbers, got an array of <U4"):
        write_nifti(tmp_path / "map.nii.gz", np.array(["text"]), np.eye(4))
    with pytest.raises(ValueError, match="shape"):
        write_nifti(tmp_path / "map.nii.gz", np.ones((2, 2, 2)), np.eye(3))
    assert list(tmp_path.iterdir()) == []


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "a.nii.gz").write_text("not an image")
    with pytest.raises(ValueError, match="is not a NIfTI image, or damaged"):
        load_nifti(tmp_path / "a.nii.gz")
    with pytest.raises(OSError, match=r"b\.nii"):
        load_nifti(tmp_path / "b.nii")
    (tmp_path / "dwi.bval").write_text("0 ten 20")
    with pytest.raises(ValueError, match="is not a list of b-values"):
        read_b_values(tmp_path / "dwi.bval")


@pytest.mark.parametrize("text", ["0 10 800\n", "0,10, 800", "0\n10\n800\n"])
def test_b_value_files(tmp_path, text):
    (tmp_path / "dwi.bval").write_text(text)
    assert read_b_values(tmp_path / "dwi.bval").tolist() == [0, 10, 800]


def test_axial_slice_is_radiological():
    """Rows run from front to back, columns from the patient's right to the left."""
    volume = np.zeros((3, 4, 1))
    volume[0, 3, 0] = 1  # in RAS+: left, front
    assert axial_slice(volume, np.eye(4))[0, 2] == 1
    flipped = volume[::-1]
    assert axial_slice(flipped, np.diag([-1.0, 1, 1, 1]))[0, 2] == 1


def test_masks_and_counts_are_written(tmp_path):
    for data in (np.ones((2, 3, 4), bool), np.full((2, 3, 4), 7)):
        write_nifti(tmp_path / "map.nii.gz", data, np.eye(4))
        np.testing.assert_array_equal(load_nifti(tmp_path / "map.nii.gz").get_fdata(), data)
        assert axial_slice(data, np.eye(4)).shape == (3, 2)


def test_integers_that_do_not_fit_are_refused(tmp_path):
    for values in ([2**31, 5], [-(2**40), 5]):
        with pytest.raises(ValueError, match="do not fit into int32"):
            write_nifti(tmp_path / "x.nii", np.array([[values]]), np.eye(4))
    write_nifti(tmp_path / "x.nii", np.array([[[2**31 - 1, -(2**31)]]]), np.eye(4))
    assert load_nifti(tmp_path / "x.nii").get_fdata().ravel().tolist() == [2**31 - 1, -(2**31)]


def test_a_flipped_bit_is_found_by_the_checksum(tmp_path, rng):
    """Wherever it is, and whichever slab is read."""
    path = tmp_path / "scan.nii.gz"
    write_nifti(path, rng.randint(0, 900, (12, 12, 8)).astype(np.int16), np.eye(4))
    good = path.read_bytes()
    read_volume(load_nifti(path), slice(0, 1))
    for place in rng.randint(500, len(good), 12):
        bad = bytearray(good)
        bad[place] ^= 1 << rng.randint(8)
        path.write_bytes(bad)
        with pytest.raises(ValueError, match="damaged"):
            read_volume(load_nifti(path), slice(0, 1))


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
def test_a_header_that_claims_more_than_the_file_has(tmp_path, ending):
    header = bytearray(nibabel.Nifti1Image(np.zeros((1, 1, 1, 4)), np.eye(4)).to_bytes()[:352])
    header[42:50] = np.array([3000, 3000, 300, 4], "<i2").tobytes()
    path = tmp_path / f"scan{ending}"
    path.write_bytes(gzip.compress(header) if ending == ".nii.gz" else header)
    with pytest.raises(
        ValueError, match=r"header claims an image of 86,400,000,352 bytes, the fil"
    ):
        load_nifti(path)


def test_a_stream_that_does_not_end_is_refused(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    content = nibabel.Nifti1Image(np.zeros((4, 4, 4)), np.eye(4)).to_bytes()
    path.write_bytes(gzip.compress(content + bytes(2**24)))
    with pytest.raises(ValueError, match="holds more than the"):
        read_volume(load_nifti(path))


def test_a_name_that_is_not_utf8(tmp_path):
    """A reader of compressed files would crash at it."""
    with pytest.raises(ValueError, match=r"expects UTF-8, got '.*bad.udcff.nii.gz'"):
        load_nifti(f"{tmp_path}/bad\udcff.nii.gz")


def test_masked_arrays_are_nan_where_masked(tmp_path):
    hot = np.ma.masked_greater(np.arange(8.0).reshape(2, 2, 2), 6)
    image = nibabel.Nifti1Image(hot, np.eye(4))
    for values in (
        read_volume(image).ravel(),
        apply_mask(hot, np.ones((2, 2))).ravel(),
        unmask(hot[1, 1], [1, 1]),
    ):
        assert np.isnan(values).sum() == 1
    write_nifti(tmp_path / "x.nii", hot.astype(int), np.eye(4))
    assert np.isnan(load_nifti(tmp_path / "x.nii").get_fdata()).sum() == 1
    inside = np.ma.masked_array([[True, True]], [[True, False]])
    assert apply_mask(np.ones((1, 2, 3)), inside).shape == (1, 3)


@pytest.mark.parametrize(
    ("mask", "inside", "limit"),
    [
        ([1 + 1e-8, 1e-8, 1e-8, 1], 2, "at least 0.5"),
        ([0.9, 0.5, 0.49, 0], 2, "at least 0.5"),
        ([800.0, 3.5, 1e-5, 0], 2, "more than 0.0008"),
    ],
)
def test_dust_and_fractions_of_masks_are_told(mask, inside, limit):
    with pytest.warns(UserWarning, match=rf"in \d voxels, of which {inside} are inside.*{limit}"):
        assert len(apply_mask(np.ones((4, 3)), mask)) == inside


def test_masks_and_labels_are_taken_as_they_are():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for mask in (
            [1.0, 0, 1, 1],
            [3.0, 0, 1, 2],
            [True, False, True, True],
            [-1.0, np.nan, 1, 1],
        ):
            assert len(apply_mask(np.ones((4, 3)), mask)) == 3
