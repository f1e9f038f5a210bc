"""The domain of networks: faults are found as well as the likelihood allows, whatever the bias."""

import warnings

import numpy as np
import pytest

from sklearn_qmri import BiasConstrainedNetRegressor, HybridLabelNetRegressor, Status
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.signal_models import IVIM, T2Decay

B_VALUES = [0, 10, 20, 30, 50, 80, 100, 200, 400, 800]
MODEL = IVIM(B_VALUES)
SNR = 30
SETTINGS = {"sigma": 1 / SNR, "max_epochs": 10, "random_state": 0}


@pytest.fixture(scope="module")
def scan():
    return make_signals(MODEL, 2000, snr=SNR, random_state=1)[0]


@pytest.fixture(scope="module")
def networks():
    X, y = make_signals(MODEL, 10_000, snr=SNR, random_state=0)
    fitted = [
        (HybridLabelNetRegressor(MODEL, alpha=alpha, **SETTINGS).fit(X, y), {})
        for alpha in (0, 0.5, 1)
    ]
    net = BiasConstrainedNetRegressor(MODEL, **SETTINGS).fit(X, y)
    return [*fitted, *((net, {"bias_weight": w}) for w in (1, 30))]


def share(net, X, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.mean(net.estimate(X, **options).status == Status.OUT_OF_DOMAIN)


def lowered(X, volume, factor=0.7):
    return X * np.where(np.arange(X.shape[1]) == volume, factor, 1.0)


def test_false_alarms(networks, scan):
    for net, options in networks:
        assert share(net, scan, options) < 0.015


@pytest.mark.parametrize("volume", [2, 3])
def test_lost_signal_is_found_at_every_bias(networks, scan, volume):
    """In these volumes a loss of 30 % is many sigma, and no tissue has such signals."""
    for net, options in networks:
        assert share(net, lowered(scan, volume), options) > 0.9


def test_as_many_alarms_as_the_likelihood_allows(networks):
    """The residual of the best of many tissues, which needs no network, finds as many.

    The loss is in a volume where the best tissue follows most of it.
    """
    X, _ = make_signals(MODEL, 1000, snr=SNR, random_state=2)
    _, tissues = make_signals(MODEL, 20_000, snr=SNR, random_state=3)
    tissues[:, 0] = 1.0
    signals = MODEL.simulate(tissues)

    def residual(X):
        return (X**2).sum(axis=1) - ((X @ signals.T) ** 2 / (signals**2).sum(axis=1)).max(axis=1)

    faulty = lowered(X, 7)
    for net, options in networks:
        false = share(net, X, options)
        expected = np.mean(residual(faulty) > np.quantile(residual(X), 1 - false))
        assert share(net, faulty, options) == pytest.approx(expected, abs=0.12)


def test_predict_warns_too(networks, scan):
    for net, options in networks:
        with pytest.warns(UserWarning, match="2000 rows are unlike what the network was trained"):
            net.predict(lowered(scan, 2), **options)
    many = np.tile(lowered(scan, 2), (2, 1))
    with pytest.warns(UserWarning, match=r"of 2048 rows that were checked \(of 4000\) are unlike"):
        networks[0][0].predict(many)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        networks[0][0].predict(scan)


def test_alarms_of_a_row_do_not_depend_on_others(networks, scan):
    for net, options in networks:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            whole = net.estimate(lowered(scan, 4), **options).status
            part = net.estimate(lowered(scan, 4)[700:960], **options).status
        np.testing.assert_array_equal(part, whole[700:960])


def test_signal_models_with_two_amplitudes():
    """The prediction's own residual is the misfit where there are no atoms."""
    model = T2Decay([10, 25, 50, 90, 150, 250], offset=True)
    X, y = make_signals(model, 3000, snr=50, random_state=0)
    net = HybridLabelNetRegressor(model, alpha=0, sigma=1 / 50, max_epochs=10, random_state=0)
    net.fit(X, y)
    assert share(net, X, {}) < 0.02
    assert share(net, lowered(X, 1, 0.5), {}) > 0.9
