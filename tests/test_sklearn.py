"""Drop-in: scikit-learn's own checks, none of them expected to fail."""

import warnings

import pytest
from sklearn.utils.estimator_checks import check_estimator

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator


@pytest.mark.parametrize(
    "estimator",
    [MLEEstimator(), *(HybridLabelNetRegressor(alpha=alpha) for alpha in (0, 0.5, 1))],
    ids=repr,
)
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # checks fit absurd data on purpose
        results = check_estimator(estimator)
    passed = [r["check_name"] for r in results if r["status"] == "passed"]
    skipped = {r["check_name"] for r in results if r["status"] == "skipped"}
    assert skipped <= {"check_array_api_input"}, "needs SCIPY_ARRAY_API in the environment"
    assert len(passed) >= 45
    assert len(passed) + len(skipped) == len(results)
