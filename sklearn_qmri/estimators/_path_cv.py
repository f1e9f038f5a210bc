"""Cross-validation along a path of settings: folds of whole tissues, the rule, bias and spread."""

from collections.abc import Iterable
from numbers import Integral

import numpy as np
from sklearn.model_selection import GroupKFold, check_cv
from sklearn.utils._param_validation import HasMethods, Interval

from ..metrics import BiasVarianceRule
from ..tissues import number_tissues

# Constraints of the parameters that such estimators have in common.
PATH = {
    "rule": [BiasVarianceRule, None],
    "cv": [Interval(Integral, 2, None, closed="left"), HasMethods("split"), Iterable],
}


def check_rule(rule, names):
    """Refuse a rule with arguments out of range, or that names no parameter of the model.

    Raises
    ------
    ValueError
        For such a rule.
    """
    rule.check()
    if rule.parameter is not None and rule.parameter not in names:
        raise ValueError(f"{rule!r} names no parameter of {list(names)}.")


def split_tissues(cv, n_rows, rows, y):
    """Training and test rows of each fold, as places among the kept rows; whole tissues.

    Parameters
    ----------
    cv : int, splitter or iterable
        An integer is that of `GroupKFold`. A splitter gets all rows, since it may hold indices that
        the user has computed for them, and tissues as groups.
    n_rows : int
        Number of all rows.
    rows : int ndarray of shape (n_kept,)
        Places of the kept rows among all.
    y : ndarray of shape (n_kept, n_parameters)

    Yields
    ------
    train, held_out : int ndarrays

    Raises
    ------
    ValueError
        If a split has rows of one tissue on both sides.
    """
    # Excluded rows have tissue -1, and no place: they are dropped from every fold below.
    tissues = np.full(n_rows, -1)
    tissues[rows] = number_tissues(y)
    place = np.full(n_rows, -1)
    place[rows] = np.arange(len(rows))
    splitter = GroupKFold(cv) if isinstance(cv, Integral) else check_cv(cv)
    for train, held_out in splitter.split(np.empty((n_rows, 1)), None, tissues):
        train, held_out = (place[index][place[index] >= 0] for index in (train, held_out))
        if np.isin(tissues[rows[held_out]], tissues[rows[train]]).any():
            raise ValueError(f"cv={cv!r} puts noise repeats of a tissue on both sides.")
        yield train, held_out


def set_paths(estimator, squared_bias, variance):
    """Set ``bias_path_``, ``std_path_`` and ``rmse_path_`` (n_settings, n_folds, n_parameters)."""
    # An unbiased estimate of a squared bias may be negative.
    estimator.bias_path_ = np.sqrt(np.maximum(squared_bias, 0.0))
    estimator.std_path_ = np.sqrt(variance)
    estimator.rmse_path_ = np.sqrt(np.maximum(squared_bias + variance, 0.0))
