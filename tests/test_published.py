"""Published methods, trained small: what each is known for."""

import numpy as np
import pytest

from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.published import barbieri2019, epstein2022, kaandorp2021

SCALE = np.array([1.0, 0.3, 1.7, 80.0])


@pytest.mark.parametrize("method", [barbieri2019, kaandorp2021])
def test_self_supervised_methods_learn_from_signals_alone(method):
    net = method(sigma=1 / 40, random_state=0)
    settings = {"lr": 1e-3, "max_epochs": 25} if method is kaandorp2021 else {"max_epochs": 80}
    X, y = make_signals(net.signal_model, 10_000, snr=40, random_state=0)
    found = net.set_params(**settings).fit(X).estimate(X)
    assert np.median(found.residual_rms) < 1.1 / 40
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(found.parameters.T, y.T, strict=True)]
    assert min(correlation[:3]) > 0.7


def test_barbieri_has_no_upper_bounds_and_no_negative_values():
    net = barbieri2019(sigma=1 / 40, random_state=0).set_params(max_epochs=5)
    X, _ = make_signals(net.signal_model, 2000, snr=40, random_state=0)
    assert (net.fit(X).predict(X * [1, 1, 1, 3, 0.1, 1, 1, 1]) >= 0).all()


def test_kaandorp_stays_in_the_widened_ranges():
    net = kaandorp2021(sigma=1 / 40, random_state=0).set_params(max_epochs=3, lr=1e-2)
    X, _ = make_signals(net.signal_model, 2000, snr=40, random_state=0)
    found = net.fit(X).predict(np.random.RandomState(0).uniform(0, 3, size=(500, 11)))
    assert (found[:, 1:] >= [-0.21, -1.5, 0.1]).all()
    assert (found[:, 1:] <= [0.91, 6.5, 258.5]).all()
    assert net.coefs_[0].shape == (4, 11, 11), "one network per parameter"


def test_epstein_labels_trade_variance_for_bias():
    parts = []
    for alpha in (0, 1):
        net = epstein2022(alpha=alpha, sigma=1 / 30, n_init=2, random_state=0)
        X, y = make_signals(net.signal_model, 20_000, snr=30, random_state=0)
        X_test, y_test = make_signals(net.signal_model, 100, snr=30, n_repeats=30, random_state=1)
        net.set_params(max_epochs=40).fit(X, y)
        parts.append(bias_variance_decomposition(y_test, net.predict(X_test), scale=SCALE))
    true, mle = parts
    assert (true.variance[1:] < mle.variance[1:]).all()
    assert true.squared_bias[2:].sum() > mle.squared_bias[2:].sum()
