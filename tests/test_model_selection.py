import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "plot_choose_alpha.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


def test_grid_search_picks_an_alpha_between_the_ends(example):
    """The documented case; the same with two processes."""
    one, two = example["search"](), example["search"](n_jobs=2)
    assert 0 < one.best_params_["net__alpha"] < 1
    assert one.best_params_ == two.best_params_
    for key, value in one.cv_results_.items():
        if "test" in key:
            np.testing.assert_array_equal(value, two.cv_results_[key])
    X = example["X"]
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    std = np.sqrt(-one.cv_results_["mean_test_neg_variance"])
    assert (np.diff(std) > 0).all(), "variance grows along alpha"


def test_grid_search_says_when_no_alpha_will_do(example):
    with pytest.raises(ValueError, match=r"RMS bias of at most 0.01; the smallest is 0\.\d+"):
        example["search"](max_bias=0.01)
