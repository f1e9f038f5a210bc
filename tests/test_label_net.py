import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression

from sklearn_qmri import HybridLabelNetRegressor, MLEEstimator, Status
from sklearn_qmri._network._modules import StackedMLP
from sklearn_qmri._network._training import initial_weights
from sklearn_qmri.datasets import make_signals

SCALE = np.array([1.0, 0.3, 1.7, 80.0])
SMALL = {"max_epochs": 4, "hidden_layer_sizes": (16, 16), "random_state": 0}


class Unusable(RegressorMixin, BaseEstimator):
    """A label estimator that must not be called."""

    def fit(self, X, y):
        raise AssertionError("labels were computed")


def test_alpha_0_computes_no_labels(model, signals):
    net = HybridLabelNetRegressor(
        model, alpha=0, sigma=0.025, label_estimator=Unusable(), **SMALL
    ).fit(*signals)
    assert net.label_estimator_ is None
    with pytest.raises(AssertionError, match="labels were computed"):
        net.set_params(alpha=[0, 0, 0.1, 0]).fit(*signals)


def test_labels_are_blended_per_parameter(model, signals):
    """Training on given labels at alpha is training on the blend at alpha = 0."""
    X, y = signals
    alpha = np.array([0.0, 0.25, 1.0, 0.5])
    labels = y + np.random.RandomState(0).normal(size=y.shape) * 0.1
    options = {"sigma": 0.025, "output": "identity", **SMALL}
    hybrid = HybridLabelNetRegressor(model, alpha=alpha, **options).fit(X, y, mle_labels=labels)
    blend = alpha * labels + (1 - alpha) * y
    direct = HybridLabelNetRegressor(model, alpha=1, **options).fit(X, y, mle_labels=blend)
    np.testing.assert_allclose(hybrid.predict(X), direct.predict(X), rtol=1e-6)


def test_default_labels_are_maximum_likelihood(model, signals):
    X, y = signals
    options = {"sigma": 0.025, **SMALL}
    default = HybridLabelNetRegressor(model, alpha=1, **options).fit(X, y)
    labels = MLEEstimator(model, sigma=0.025).fit(X).predict(X)
    given = HybridLabelNetRegressor(model, alpha=1, **options).fit(X, y, mle_labels=labels)
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
        net = HybridLabelNetRegressor(model, sigma=0.025, label_estimator=labeller, **SMALL)
        expected = clone(labeller).fit(X, y).predict(X)
        given = clone(net).fit(X, y, mle_labels=expected).predict(X)
        np.testing.assert_array_equal(net.fit(X, y).predict(X), given)


def test_labels_of_the_wrong_shape(model, signals):
    X, y = signals
    one = HybridLabelNetRegressor(model, label_estimator=OneColumn(), sigma=0.025, **SMALL)
    with pytest.raises(ValueError, match=r"labels of shape \(180, 1\), expected \(180, 4\)"):
        one.fit(X, y)
    with pytest.raises(ValueError, match="3 parameters"):
        HybridLabelNetRegressor(model, **SMALL).fit(X, y, mle_labels=y[:, :3])


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
        net = HybridLabelNetRegressor(model, label_estimator=labeller, **SMALL)
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
    net = HybridLabelNetRegressor(model, sigma=0.025, **SMALL)
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
        HybridLabelNetRegressor(model, **{**SMALL, **params}).fit(*signals)


def test_normalize_needs_amplitudes(signals):
    with pytest.raises(ValueError, match="needs a signal_model"):
        HybridLabelNetRegressor(normalize="rms").fit(*signals)


def test_diverging_training_stops(model, signals):
    net = HybridLabelNetRegressor(model, alpha=0, output="abs", lr=1e30, random_state=0)
    with pytest.raises(RuntimeError, match="diverged in epoch .*: lower lr"):
        net.fit(*signals)


def test_interrupt_leaves_nothing_fitted(model, signals, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    threads = torch.get_num_threads()
    net = HybridLabelNetRegressor(model, alpha=0, **SMALL)
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
    one, two = (HybridLabelNetRegressor(model, n_init=2, **SMALL).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.predict(X), two.predict(X))
    other = HybridLabelNetRegressor(model, **{**SMALL, "random_state": 1}).fit(X, y)
    assert not np.array_equal(one.predict(X), other.predict(X))
    assert torch.equal(before[0], torch.get_rng_state())
    assert np.random.uniform() == expected  # noqa: NPY002
    assert before[1] == torch.get_num_threads()


def test_members_are_independent(model, signals):
    """The best of several is at least as good, and the first does not notice the others."""
    X, y = signals
    alone = HybridLabelNetRegressor(model, n_init=1, **SMALL).fit(X, y)
    several = HybridLabelNetRegressor(model, n_init=4, **SMALL).fit(X, y)
    assert several.validation_loss_.shape == (4, 4)
    best = several.validation_loss_.min(axis=0)
    assert several.best_init_ == best.argmin()
    assert np.isfinite(alone.loss_curve_).all()
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
    first = HybridLabelNetRegressor(model, alpha=0.5, **options).fit(X, y)
    entries = len(list(tmp_path.rglob("output.pkl")))
    second = HybridLabelNetRegressor(model, alpha=0.25, **options).fit(X, y)
    assert entries == len(list(tmp_path.rglob("output.pkl"))) == 1
    assert isinstance(second.label_estimator_, MLEEstimator)
    fresh = HybridLabelNetRegressor(model, alpha=0.25, sigma=0.025, **SMALL).fit(X, y)
    np.testing.assert_array_equal(second.predict(X), fresh.predict(X))
    assert not np.array_equal(first.predict(X), second.predict(X))


def test_validation_holds_out_whole_tissues(signals):
    from sklearn_qmri._net_regressor import hold_out_tissues

    _, y = signals
    valid = hold_out_tissues(y, 0.2, np.random.RandomState(0))
    assert valid.sum() == 36
    assert not set(map(tuple, y[valid])) & set(map(tuple, y[~valid]))


@pytest.mark.parametrize("output", ["auto", "sigmoid", "softplus", "abs", "identity"])
def test_outputs(model, signals, output):
    X, y = signals
    net = HybridLabelNetRegressor(model, alpha=0, sigma=0.025, output=output, **SMALL).fit(X, y)
    predicted = net.predict(X * 3)
    if output in ("auto", "sigmoid"):
        assert (predicted >= y.min(axis=0) - 1e-5).all()
        assert (predicted <= y.max(axis=0) + 1e-5).all()
    if output in ("softplus", "abs"):
        assert (predicted >= 0).all()


def test_domain(model):
    X, y, sigma = make_signals(model, 5000, snr=(20, 40), random_state=0, return_sigma=True)
    net = HybridLabelNetRegressor(
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
        net = HybridLabelNetRegressor(model, alpha=alpha, sigma=1 / 30, random_state=0)
        error = (net.fit(X, y).predict(X_test) - y_test).reshape(300, 50, 4) / SCALE
        bias.append(np.sqrt(np.mean(error.mean(axis=1) ** 2, axis=0)))
        std.append(error.std(axis=1).mean(axis=0))
    assert (std[0] < 0.9 * std[1])[1:].all()
    assert bias[0][2] > 1.1 * bias[1][2]


def test_accuracy_at_alpha_0(model):
    """Scaled risk within 4 % of .0279, the posterior mean's, which no estimator can beat."""
    X, y = make_signals(model, 80000, snr=30, random_state=0)
    X_test, y_test = make_signals(model, 20000, snr=30, random_state=1)
    net = HybridLabelNetRegressor(model, alpha=0, sigma=1 / 30, random_state=0).fit(X, y)
    assert np.mean(((net.predict(X_test) - y_test) / SCALE) ** 2) < 0.0279 * 1.04


def test_training_in_other_units(model):
    """With normalize="rms", a thousandfold scanner trains the same network."""
    options = {"alpha": 0, "normalize": "rms", "max_epochs": 10, "random_state": 0}
    X, y, sigma = make_signals(model, 3000, snr=30, random_state=0, return_sigma=True)
    X_test, y_test = make_signals(model, 1000, snr=30, random_state=1)
    rmse = []
    for unit in (1.0, 1000.0):
        net = HybridLabelNetRegressor(model, **options)
        net.fit(X * unit, y * [unit, 1, 1, 1], sigma=sigma * unit)
        predicted = net.predict(X_test * unit, sigma=unit / 30)
        rmse.append(np.sqrt(np.mean((predicted / [unit, 1, 1, 1] - y_test) ** 2, axis=0)))
    np.testing.assert_allclose(*rmse, rtol=0.02)


def test_whitening_does_not_blow_up(model, signals):
    X, y = signals
    clean = model.signal(torch.tensor(y.T)).numpy().T
    net = HybridLabelNetRegressor(model, alpha=0, sigma=0.025, output="identity", **SMALL)
    assert np.abs(net.fit(clean, y).predict(X)).max() < 1e5
