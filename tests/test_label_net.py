import numpy as np
import pytest
import sklearn
import torch
from conftest import hybrid_net
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from sklearn_qmri import MLEEstimator, Status
from sklearn_qmri._network import (
    MLP,
    FittedNetwork,
    Head,
    LabelTask,
    NetworkInputs,
    ScaledSquaredError,
    Training,
    train,
)
from sklearn_qmri._network._modules import StackedMLP
from sklearn_qmri._network._training import initial_weights
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.estimators._net import learn_domain
from sklearn_qmri.signal_models import T2Decay

SCALE = np.array([1.0, 0.3, 1.7, 80.0])
SMALL = {"max_epochs": 4, "hidden_layer_sizes": (16, 16), "random_state": 0}


class Unusable(RegressorMixin, BaseEstimator):
    """A label estimator that must not be called."""

    def fit(self, X, y):
        raise AssertionError("labels were computed")


def test_alpha_0_computes_no_labels(model, signals):
    net = hybrid_net(model, alpha=0, sigma=0.025, label_estimator=Unusable(), **SMALL).fit(*signals)
    assert net.label_estimator_ is None
    with pytest.raises(AssertionError, match="labels were computed"):
        net.set_params(alpha=[0, 0, 0.1, 0]).fit(*signals)


def test_labels_are_blended_per_parameter(model, signals):
    """Training on given labels at alpha is training on the blend at alpha = 0."""
    X, y = signals
    alpha = np.array([0.0, 0.25, 1.0, 0.5])
    labels = y + np.random.RandomState(0).normal(size=y.shape) * 0.1
    options = {"sigma": 0.025, "output": "identity", **SMALL}
    hybrid = hybrid_net(model, alpha=alpha, **options).fit(X, y, mle_labels=labels)
    blend = alpha * labels + (1 - alpha) * y
    direct = hybrid_net(model, alpha=1, **options).fit(X, y, mle_labels=blend)
    np.testing.assert_allclose(hybrid.predict(X), direct.predict(X), rtol=1e-6)


def test_default_labels_are_maximum_likelihood(model, signals):
    X, y = signals
    options = {"sigma": 0.025, **SMALL}
    default = hybrid_net(model, alpha=1, **options).fit(X, y)
    labels = MLEEstimator(model, sigma=0.025).fit(X).predict(X)
    given = hybrid_net(model, alpha=1, **options).fit(X, y, mle_labels=labels)
    np.testing.assert_array_equal(default.predict(X), given.predict(X))
    assert isinstance(default.label_estimator_, MLEEstimator)
    assert given.label_estimator_ is None


def test_any_regressor_gives_labels(model, signals):
    X, y = signals
    for labeller in (
        MLEEstimator(model, noise="gaussian"),
        RandomForestRegressor(5, random_state=0),
        LinearRegression(),
    ):
        net = hybrid_net(model, sigma=0.025, label_estimator=labeller, **SMALL)
        expected = clone(labeller).fit(X, y).predict(X)
        given = clone(net).fit(X, y, mle_labels=expected).predict(X)
        np.testing.assert_array_equal(net.fit(X, y).predict(X), given)


def test_labels_of_the_wrong_shape(model, signals):
    X, y = signals
    one = hybrid_net(model, label_estimator=OneColumn(), sigma=0.025, **SMALL)
    with pytest.raises(ValueError, match=r"labels of shape \(180, 1\), expected \(180, 4\)"):
        one.fit(X, y)
    with pytest.raises(ValueError, match="3 parameters"):
        hybrid_net(model, **SMALL).fit(X, y, mle_labels=y[:, :3])


class OneColumn(RegressorMixin, BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


class WantsSigma(RegressorMixin, BaseEstimator):
    """Remembers the sigma that it was given."""

    def fit(self, X, y, sigma=None):
        self.fit_sigma_ = sigma
        self.y_ = y
        return self

    def predict(self, X, sigma=None):
        self.predict_sigma_ = sigma
        return self.y_


@pytest.mark.parametrize("routing", [False, True])
def test_sigma_reaches_the_label_estimator(model, signals, routing):
    X, y = signals
    sigma = np.linspace(0.02, 0.03, len(X))
    with sklearn.config_context(enable_metadata_routing=routing):
        labeller = WantsSigma()
        if routing:
            labeller.set_fit_request(sigma=True).set_predict_request(sigma=True)
        net = hybrid_net(model, label_estimator=labeller, **SMALL)
        net.fit(X, y, sigma=sigma)
        np.testing.assert_array_equal(net.label_estimator_.fit_sigma_, sigma)
        np.testing.assert_array_equal(net.label_estimator_.predict_sigma_, sigma)
        if routing:
            refuses = WantsSigma().set_fit_request(sigma=False).set_predict_request(sigma=False)
            net.set_params(label_estimator=refuses).fit(X, y, sigma=sigma)
            assert net.label_estimator_.fit_sigma_ is None
            unsaid = net.set_params(label_estimator=WantsSigma())
            with pytest.raises(ValueError, match="sigma"):
                unsaid.fit(X, y, sigma=sigma)


def test_rows_without_a_label_are_left_out(model, signals):
    X, y = signals
    labels = y.copy()
    labels[:6, 2] = np.nan
    net = hybrid_net(model, sigma=0.025, **SMALL)
    with pytest.warns(UserWarning, match="6 of 180"):
        net.fit(X, y, mle_labels=labels)
    with pytest.raises(ValueError, match="None of the 180"):
        net.fit(X, y, mle_labels=np.full_like(y, np.nan))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"alpha": 1.5}, r"\[0, 1\], got 1.5"),
        ({"alpha": -0.1}, "got -0.1"),
        ({"alpha": np.nan}, "got nan"),
        ({"alpha": [0.5, 0.5]}, r"one per parameter \(4\)"),
        ({"normalize": "l2"}, "Got 'l2'"),
        ({"alpha": "0.5"}, "got '0.5'"),
        ({"hidden_layer_sizes": 8}, "Got 8"),
        ({"hidden_layer_sizes": (8.0,)}, "positive integers"),
        ({"hidden_layer_sizes": (8, 0)}, "positive integers"),
        ({"lr": 0.0}, "Got 0.0"),
        ({"noise": None}, "Got None"),
        ({"output": "tanh"}, "Got 'tanh'"),
        ({"param_scale": [1, 1, 1]}, "4 positive numbers"),
        ({"param_scale": [1, 1, 0, 1]}, "4 positive numbers"),
        ({"validation_fraction": 0}, r"range \(0.0, 1.0\)"),
        ({"validation_fraction": 0.999}, "nothing to train on"),
        ({"n_init": 0}, "range .1, inf.. Got 0"),
        ({"max_epochs": 0}, "range .1, inf.. Got 0"),
    ],
)
def test_bad_parameters(model, signals, params, message):
    with pytest.raises(ValueError, match=message):
        hybrid_net(model, **{**SMALL, **params}).fit(*signals)


def test_normalize_needs_amplitudes(signals):
    with pytest.raises(ValueError, match="needs a signal_model"):
        hybrid_net(normalize="rms").fit(*signals)


def test_diverging_training_stops(model, signals):
    net = hybrid_net(model, alpha=0, output="abs", lr=1e30, random_state=0)
    with pytest.raises(RuntimeError, match="diverged in epoch .*: lower lr"):
        net.fit(*signals)


def test_interrupt_leaves_nothing_fitted(model, signals, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    net = hybrid_net(model, alpha=0, **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            net.fit(*signals)
    assert torch.get_num_threads() == threads
    with pytest.raises(sklearn.exceptions.NotFittedError):
        net.predict(signals[0])


def test_same_seed_same_bits_and_no_global_state(model, signals):
    X, y = signals
    before = torch.get_rng_state(), torch.get_num_threads()
    np.random.seed(0)  # noqa: NPY002
    expected = np.random.uniform()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    one, two = (hybrid_net(model, n_init=2, **SMALL).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    other = hybrid_net(model, **{**SMALL, "random_state": 1}).fit(X, y)
    assert not np.array_equal(one.predict(X), other.predict(X))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.random.uniform() == expected  # noqa: NPY002
    assert before[1] == torch.get_num_threads()


def test_members_are_independent(model, signals):
    """The best of several predicts, and in a stack each is what it would be alone."""
    X, y = signals
    several = hybrid_net(model, n_init=4, **SMALL).fit(X, y).network_
    assert several.history["valid_loss"].shape == (4, 4)
    best = several.history["valid_loss"].min(axis=0)
    assert several.best_init == best.argmin()
    ensemble = hybrid_net(model, n_init=4, ensemble=True, **SMALL).fit(X, y).network_
    for stacked, own in zip(ensemble.coefs, several.coefs, strict=True):
        np.testing.assert_array_equal(stacked[several.best_init], own[0])
    coefs, intercepts = initial_weights([3, 5, 2], seeds=[1, 2])
    x = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    both = StackedMLP(coefs, intercepts, torch.nn.Identity(), activation="silu")(x)
    for k in (0, 1):
        own = StackedMLP(
            [c[[k]] for c in coefs],
            [b[[k]] for b in intercepts],
            torch.nn.Identity(),
            activation="silu",
        )
        torch.testing.assert_close(own(x)[0], both[k])


def test_labels_are_cached(model, signals, tmp_path):
    X, y = signals
    options = {"sigma": 0.025, "memory": str(tmp_path), **SMALL}
    first = hybrid_net(model, alpha=0.5, **options).fit(X, y)
    entries = len(list(tmp_path.rglob("output.pkl")))
    second = hybrid_net(model, alpha=0.25, **options).fit(X, y)
    assert entries == len(list(tmp_path.rglob("output.pkl"))) == 1
    assert isinstance(second.label_estimator_, MLEEstimator)
    fresh = hybrid_net(model, alpha=0.25, sigma=0.025, **SMALL).fit(X, y)
    np.testing.assert_array_equal(second.predict(X), fresh.predict(X))
    assert not np.array_equal(first.predict(X), second.predict(X))


def test_validation_holds_out_whole_tissues(signals):
    from sklearn_qmri.estimators._net import hold_out_tissues

    _, y = signals
    valid = hold_out_tissues(y, 0.2, np.random.RandomState(0))
    assert valid.sum() == 36
    assert not set(map(tuple, y[valid])) & set(map(tuple, y[~valid]))


@pytest.mark.parametrize("output", ["auto", "sigmoid", "softplus", "abs", "identity"])
def test_outputs(model, signals, output):
    X, y = signals
    net = hybrid_net(model, alpha=0, sigma=0.025, output=output, **SMALL).fit(X, y)
    predicted = net.predict(X * 3)
    if output in ("auto", "sigmoid"):
        assert (predicted >= y.min(axis=0) - 1e-5).all()
        assert (predicted <= y.max(axis=0) + 1e-5).all()
    if output in ("softplus", "abs"):
        assert (predicted >= 0).all()
    if output == "identity":  # is free to leave any range, and does for signals this large
        assert (predicted > y.max(axis=0)).any() or (predicted < y.min(axis=0)).any()


def test_domain(model):
    X, y, sigma = make_signals(model, 5000, snr=(20, 40), random_state=0, return_sigma=True)
    net = hybrid_net(
        model, alpha=0, normalize="rms", sigma_input=True, max_epochs=15, random_state=0
    ).fit(X, y, sigma=sigma)
    X, _, sigma = make_signals(model, 2000, snr=(20, 40), random_state=1, return_sigma=True)

    def share_outside(X, sigma):
        return np.mean(net.estimate(X, sigma=sigma).status == Status.OUT_OF_DOMAIN)

    assert share_outside(X, sigma) < 0.03
    assert share_outside(X * 700, sigma * 700) < 0.03, "the scale must not matter"
    with pytest.warns(UserWarning, match="unlike what the network was trained on"):
        assert share_outside(X[:, ::-1].copy(), sigma) > 0.9
    with pytest.warns(UserWarning, match="2000 of 2000"):
        assert share_outside(X, sigma * 5) == 1


def test_label_axis(model):
    """What the package is for: labels trade variance for bias."""
    X, y = make_signals(model, 20000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 300, snr=30, n_repeats=50, random_state=1)
    bias, std = [], []
    for alpha in (0, 1):
        net = hybrid_net(model, alpha=alpha, sigma=1 / 30, random_state=0)
        error = (net.fit(X, y).predict(X_test) - y_test).reshape(300, 50, 4) / SCALE
        bias.append(np.sqrt(np.mean(error.mean(axis=1) ** 2, axis=0)))
        std.append(error.std(axis=1).mean(axis=0))
    assert (std[0] < 0.9 * std[1])[1:].all()
    assert bias[0][2] > 1.1 * bias[1][2]


def test_accuracy_at_alpha_0(model):
    """Scaled risk within 4 % of .0279, the posterior mean's, which no estimator can beat."""
    X, y = make_signals(model, 80000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 20000, snr=30, random_state=1)
    net = hybrid_net(model, alpha=0, sigma=1 / 30, random_state=0).fit(X, y)
    assert np.mean(((net.predict(X_test) - y_test) / SCALE) ** 2) < 0.0279 * 1.04


def test_training_in_other_units(model):
    """With normalize="rms", a thousandfold scanner trains the same network."""
    options = {"alpha": 0, "normalize": "rms", "max_epochs": 10, "random_state": 0}
    X, y, sigma = make_signals(model, 3000, snr=30, random_state=0, return_sigma=True)
    X_test, y_test = make_signals(model, 1000, snr=30, random_state=1)
    rmse = []
    for unit in (1.0, 1000.0):
        net = hybrid_net(model, **options)
        net.fit(X * unit, y * [unit, 1, 1, 1], sigma=sigma * unit)
        predicted = net.predict(X_test * unit, sigma=unit / 30)
        rmse.append(np.sqrt(np.mean((predicted / [unit, 1, 1, 1] - y_test) ** 2, axis=0)))
    np.testing.assert_allclose(*rmse, rtol=0.02)


def test_whitening_does_not_blow_up(model, signals):
    X, y = signals
    clean = model.signal(torch.tensor(y.T)).numpy().T
    net = hybrid_net(model, alpha=0, sigma=0.025, output="identity", **SMALL)
    assert np.abs(net.fit(clean, y).predict(X)).max() < 1e5


def test_sub_networks_are_independent(model, signals):
    """A parameter's own network does not notice what the others are trained on."""
    X, y = signals
    y, labels = y.copy(), y.copy()
    labels[:, 1:] = labels[::-1, 1:]  # other labels for all but the first parameter
    options = {"alpha": 0, "sigma": 0.025, "parallel_subnets": True, "output": "identity", **SMALL}
    options["validation_fraction"] = 0.1
    options["alpha"] = 1
    own, other = (
        hybrid_net(model, **options).fit(X, y, mle_labels=targets) for targets in (y, labels)
    )
    assert own.network_.coefs[0].shape == (4, 10, 16)
    assert own.network_.coefs[-1].shape == (4, 16, 1)
    last = [net.network_.history["train_loss"][-1, 0] for net in (own, other)]
    assert last[0] != last[1]
    # The best epoch is chosen for all parameters together, so the first epoch is what is compared.
    options["max_epochs"] = 1
    own, other = (
        hybrid_net(model, **options).fit(X, y, mle_labels=targets) for targets in (y, labels)
    )
    np.testing.assert_array_equal(own.predict(X)[:, 0], other.predict(X)[:, 0])
    assert (own.predict(X)[:, 1:] != other.predict(X)[:, 1:]).all(axis=1).mean() > 0.9


@pytest.mark.parametrize(
    "options",
    [
        {"batch_norm": True},
        {"batch_norm": True, "parallel_subnets": True, "n_init": 3, "ensemble": True},
        {"dropout": 0.2},
        {"schedule": "constant", "lr": 1e-3, "weight_decay": 1e-3},
        {"activation": "relu"},
        {"activation": "gelu"},
        {"activation": "elu", "standardize": False},
    ],
    ids=str,
)
def test_network_options(model, options):
    """What predicts is what was validated: batch norm folded in, dropout off."""
    X, y = make_signals(model, 3000, snr=30, random_state=0)
    settings = {"alpha": 0, "sigma": 1 / 30, "max_epochs": 10, "random_state": 0}
    net = hybrid_net(model, resample_noise=False, **settings, **options).fit(X, y)
    valid = net.network_.history["valid_loss"]
    assert valid[-1].min() < 0.9 * valid[0].max()
    risk = np.mean(((net.predict(X) - y) / SCALE) ** 2)
    assert risk < 1.3 * valid.min()
    assert net.network_.n_epochs == len(valid) == 10
    again = clone(net).fit(X, y)
    np.testing.assert_array_equal(again.predict(X), net.predict(X))


def test_folded_batch_norm_is_the_module():
    coefs, intercepts = initial_weights([3, 5, 4, 1], seeds=[1, 2], n_subnets=2)
    identity = torch.nn.Identity()
    module = StackedMLP(coefs, intercepts, identity, activation="elu", n_subnets=2, batch_norm=True)
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    module.train()
    module(x)
    module.eval()
    folded = StackedMLP(*module.weights(), identity, activation="elu", n_subnets=2)
    torch.testing.assert_close(folded(x), module(x))
    assert module(x).shape == (2, 50, 2)


def test_weight_decay_shrinks(model, signals):
    sizes = []
    for decay in (0, 1.0):
        net = hybrid_net(model, alpha=0, sigma=0.025, weight_decay=decay, **SMALL)
        sizes.append(np.abs(net.fit(*signals).network_.coefs[0]).mean())
    assert sizes[1] < sizes[0]


def test_fresh_noise_needs_no_more_data(model):
    """With fresh noise each epoch, few tissues overfit less."""
    X, y = make_signals(model, 4000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 10_000, snr=30, random_state=1)
    risk = []
    for fresh in (False, True):
        net = hybrid_net(
            model, alpha=0, sigma=1 / 30, resample_noise=fresh, max_epochs=60, random_state=0
        )
        risk.append(np.mean(((net.fit(X, y).predict(X_test) - y_test) / SCALE) ** 2))
    assert risk[1] < 0.97 * risk[0]


def test_fresh_noise_leaves_maximum_likelihood_labels_alone(model, signals):
    """Both kinds of label have their own network, and alpha blends what they predict."""
    X, y = signals
    options = {"sigma": 0.025, "resample_noise": True, **SMALL}
    at = {a: hybrid_net(model, alpha=a, **options).fit(X, y) for a in (0.3, 0.6, 1)}
    low, high, one = (at[a].predict(X) for a in (0.3, 0.6, 1))
    np.testing.assert_allclose(one - high, (high - low) * 4 / 3, atol=1e-4)
    with pytest.raises(ValueError, match="needs a signal_model"):
        hybrid_net(resample_noise=True).fit(X, y)


def test_ensemble(model, signals):
    X, y = signals
    options = {"alpha": 0, "sigma": 0.025, "n_init": 3, **SMALL}
    ensemble = hybrid_net(model, ensemble=True, **options).fit(X, y)
    mean, std = ensemble.predict(X, return_std=True)
    members = ensemble.network_.members(X, np.full(len(X), 0.025))
    assert members.shape == (3, 180, 4)
    np.testing.assert_allclose(mean, members.mean(axis=0))
    np.testing.assert_allclose(std, members.std(axis=0, ddof=1))
    np.testing.assert_array_equal(ensemble.estimate(X, return_std=True).std, std)
    best = hybrid_net(model, **options).fit(X, y)
    np.testing.assert_allclose(best.predict(X), members[best.network_.best_init])
    with pytest.raises(ValueError, match="needs an ensemble"):
        best.predict(X, return_std=True)


def test_a_member_trained_alone(model):
    """As in a stack, to 1e-5 after 10 steps and within 2 % at the end."""
    X, y = make_signals(model, 2000, snr=30, random_state=0)
    head = (("identity",) * 4, np.zeros(4), np.ones(4))
    valid, criterion = np.arange(2000) % 5 == 0, ScaledSquaredError(np.ones(4))
    targets = (y / SCALE)[None]
    task = LabelTask(X.astype(np.float32), targets, valid, [head], np.ones((1, 4)), criterion)
    inputs = NetworkInputs(model, None, False, False)

    class Seeds:
        """Initial weights of member k of a stack of 3."""

        def __init__(self, members):
            self.members = members

        def randint(self, high, size):
            return np.array([7, *np.array([11, 12, 13])[self.members]])

    def fit(members, epochs):
        training = Training(5e-3, batch_size=160, n_init=len(members), ensemble=True)
        network, seeds = MLP((16, 16)), Seeds(members)
        return train(task, inputs, network, training, max_epochs=epochs, lr=1.0, rng=seeds)

    stacked, alone = fit([0, 1, 2], 1), fit([1], 1)
    for a, b in zip(
        [*stacked.coefs, *stacked.intercepts], [*alone.coefs, *alone.intercepts], strict=True
    ):
        np.testing.assert_allclose(a[1], b[0], atol=1e-5)
    stacked, alone = (fit(m, 30).history["valid_loss"].min(axis=0) for m in ([0, 1, 2], [1]))
    assert alone[0] == pytest.approx(stacked[1], rel=0.02)


def test_predictions_in_single_precision_are_good_to_1e_5(model):
    X, y = make_signals(model, 2000, snr=30, random_state=0)
    net = hybrid_net(model, alpha=0, sigma=1 / 30, max_epochs=10, random_state=0)
    found = net.fit(X, y).predict(X)
    network = net.network_
    x = torch.tensor(network.inputs.whitening_.transform(X))
    layers = [(torch.tensor(c[0]).double(), torch.tensor(b[0]).double())
              for c, b in zip(network.coefs, network.intercepts, strict=True)]  # fmt: skip
    for coef, intercept in layers[:-1]:
        x = torch.nn.functional.silu(x @ coef + intercept)
    z = x @ layers[-1][0] + layers[-1][1]
    exact = Head(*network.heads[0]).double()(z).numpy()
    assert np.abs((found - exact) / SCALE).max() < 1e-5


def test_batch_norm_meets_a_last_batch_of_one_row(model):
    X, y = make_signals(model, 131, snr=30, random_state=0)
    options = {"batch_norm": True, "batch_size": 26, "validation_fraction": 0.2, **SMALL}
    net = hybrid_net(model, alpha=0, sigma=1 / 30, **options).fit(X, y)
    assert np.isfinite(net.predict(X)).all()


def test_one_step_is_a_step(model, signals):
    options = {"alpha": 0, "sigma": 0.025, "batch_size": 1000, **SMALL, "max_epochs": 1}
    one = hybrid_net(model, **options).fit(*signals)
    other = hybrid_net(model, **{**options, "schedule": "constant"}).fit(*signals)
    np.testing.assert_array_equal(one.network_.coefs[0], other.network_.coefs[0])


@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_labels_without_limit_do_not_rule_the_training(alpha):
    """Where the first echo comes late, a T2 of 1 ms with any S0 explains mere noise best."""
    model = T2Decay([12, 30, 60, 90, 150, 200])
    X, y, sigma = make_signals(model, 5000, snr=(8, 60), random_state=0, return_sigma=True)
    mle = MLEEstimator(model, sigma=1 / 30)
    labels = mle.fit(X, sigma=sigma).predict(X, sigma=sigma)
    labels[:3] = [4e4, 1.0]  # three of 50,000 at these settings, made certain here
    net = hybrid_net(model, alpha=alpha, normalize="rms", sigma_input=True, random_state=0).fit(
        X, y, sigma=sigma, mle_labels=labels
    )
    tissue = np.repeat([[1000.0, 80.0]], 300, axis=0)
    signals = net.noise_.sample(model.simulate(tissue) / 20, np.random.RandomState(0)) * 20
    found = net.estimate(signals, sigma=20.0)
    np.testing.assert_allclose(np.median(found.parameters, axis=0), [1000, 80], rtol=0.06)
    assert np.mean(found.status == Status.OUT_OF_DOMAIN) < 0.05


class PredictsNegativeT2(FittedNetwork):
    """A network whose first predictions are no possible tissues: exp(-TE / T2) overflows."""

    def predict(self, X, sigma):
        parameters = super().predict(X, sigma)
        parameters[:5, 1] = -0.01
        return parameters


def test_domain_despite_impossible_predictions():
    model = T2Decay([10, 25, 50, 90, 150, 250])
    X, y = make_signals(model, 1000, snr=30, random_state=0)
    net = hybrid_net(model, alpha=0, sigma=1 / 30, **SMALL).fit(X, y)
    sigma = np.full(len(X), 1 / 30)
    network = PredictsNegativeT2(**vars(net.network_))
    domain = learn_domain(network, model, net.noise_, X, sigma).domain
    assert np.isfinite(domain.misfit_)
    net.network_ = net.network_.with_domain(domain)
    assert np.mean(net.estimate(X).status == Status.OK) > 0.95
