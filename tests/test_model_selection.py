import runpy
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from sklearn.base import clone

from sklearn_qmri.metrics import least_variance

EXAMPLE = Path(__file__).parents[1] / "examples" / "plot_choose_alpha.py"


@pytest.fixture(scope="module")
def example():
    with mpl.rc_context():
        mpl.use("Agg")
        yield runpy.run_path(str(EXAMPLE))
    mpl.pyplot.close("all")


def fit_again(example, **params):
    search = clone(example["search"]).set_params(**params)
    return search.fit(example["X"], example["y"], groups=example["groups"])


def test_grid_search_picks_an_alpha_between_the_ends(example):
    """The documented case; the same with two processes."""
    one, two = example["search"], fit_again(example, n_jobs=2)
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
        fit_again(example, refit=least_variance(max_bias=0.01))
