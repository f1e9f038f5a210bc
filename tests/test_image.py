import numpy as np
import pytest

from sklearn_qmri.image import (
    apply_mask,
    axial_slice,
    load_nifti,
    read_b_values,
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
    with pytest.raises((TypeError, ValueError), match="."):
        write_nifti(tmp_path / "map.nii.gz", np.array(["text"]), np.eye(4))
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
