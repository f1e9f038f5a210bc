"""Published methods, trained small: what each is known for."""

import numpy as np
import pytest

from sklearn_qmri.datasets import make_signals
from sklearn_qmri.metrics import bias_variance_decomposition, shrinkage_slope
from sklearn_qmri.published import (
    barbieri2019,
    bertleff2017,
    epstein2022,
    grussu2021,
    gyori2022,
    gyori2022_prior,
    kaandorp2021,
)

SCALE = np.array([1.0, 0.3, 1.7, 80.0])


@pytest.mark.parametrize("method", [barbieri2019, kaandorp2021])
def test_self_supervised_methods_learn_from_signals_alone(method):
    net = method(sigma=1 / 40, random_state=0)
    settings = {"max_epochs": 80}
    if method is kaandorp2021:
        settings = {"training__lr": 1e-3, "max_epochs": 25}
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
    net = kaandorp2021(sigma=1 / 40, random_state=0).set_params(max_epochs=3, training__lr=1e-2)
    X, _ = make_signals(net.signal_model, 2000, snr=40, random_state=0)
    found = net.fit(X).predict(np.random.RandomState(0).uniform(0, 3, size=(500, 11)))
    assert (found[:, 1:] >= [-0.21, -1.5, 0.1]).all()
    assert (found[:, 1:] <= [0.91, 6.5, 258.5]).all()
    assert net.network_.coefs[0].shape == (4, 11, 11), "one network per parameter"


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


def test_epstein_hands_its_training_to_other_networks_without_a_weight_decay():
    # None would be 0 for labels, but not for the self-supervised network of `benchmarks/paper.py`.
    assert epstein2022().training.weight_decay == 0


def test_bertleff_finds_what_the_protocol_shows():
    net = bertleff2017([0, 20, 50, 100, 200, 400, 700, 1000, 1500, 2000], sigma=1 / 60)
    net.set_params(random_state=0)
    X, y = make_signals(net.signal_model, 20_000, snr=60, random_state=0)
    X_test, y_test = make_signals(net.signal_model, 2000, snr=60, random_state=1)
    slope = shrinkage_slope(y_test, net.fit(X, y).predict(X_test))
    assert slope[2] > 0.9
    assert slope[4] > 0.5


@pytest.mark.parametrize("method", ["network", "forest"])
def test_gyori_training_tissues_move_the_estimates(method):
    """Tissue unlike any in the brain is drawn to the brain's by training on that."""
    estimator = gyori2022(method, sigma=1 / 30, random_state=0)
    if method == "network":
        estimator.set_params(network__hidden_layer_sizes=(64,) * 3, max_epochs=20)
    else:
        estimator.set_params(n_estimators=20)
    model, lesion = gyori2022().signal_model, np.array([[1.0, 0.15, 2.6]])
    X_test, y_test = make_signals(
        model, 1, snr=30, prior=lambda n, rng: lesion, n_repeats=400, random_state=1
    )
    bias = {}
    for name in ("uniform", "brain"):
        X, y = make_signals(model, 10_000, snr=30, prior=gyori2022_prior(name), random_state=0)
        bias[name] = (estimator.fit(X, y).predict(X_test) - y_test).mean(axis=0)
    assert abs(bias["uniform"][2]) < 0.35
    assert bias["brain"][2] < bias["uniform"][2] - 0.2


@pytest.mark.parametrize("method", ["parameters", "signals"])
def test_grussu_networks_learn(method):
    b, inversion, delay = (g.ravel() for g in np.meshgrid([0, 1000, 2000], [150, 600, 2000], [500]))
    net = grussu2021(method, b, inversion, delay, sigma=1 / 50, random_state=0)
    X, y = make_signals(net.signal_model, 10_000, snr=50, random_state=0)
    X_test, y_test = make_signals(net.signal_model, 2000, snr=50, random_state=1)
    found = net.set_params(max_epochs=50).fit(X, y).predict(X_test)
    for parameter in (1, 3):  # the diffusivity along fibres, and T1
        assert np.corrcoef(found[:, parameter], y_test[:, parameter])[0, 1] > 0.7


@pytest.mark.parametrize(
    "make",
    [
        lambda: gyori2022("tree"),
        lambda: gyori2022_prior("tumour"),
        lambda: grussu2021("both", [0, 1], [10, 20], [30, 40]),
    ],
)
def test_unknown_variants_are_refused(make):
    with pytest.raises(ValueError, match="expects '"):
        make()
