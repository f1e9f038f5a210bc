"""Networks for any protocol: exact posteriors, equivariance, bias and variance, bad input."""

import json
from importlib import resources

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold

from sklearn_qmri import (
    MLP,
    MLEEstimator,
    PosteriorMeanEstimator,
    PretrainedNetRegressor,
    Status,
    pretrain,
    read_weights,
    write_weights,
)
from sklearn_qmri._network._reading import read
from sklearn_qmri._network._skorch import Checkpoint
from sklearn_qmri.datasets import make_signals
from sklearn_qmri.dictionary import (
    find_posterior,
    make_atoms,
    place,
    simulate_atoms,
)
from sklearn_qmri.metrics import bias_variance_decomposition
from sklearn_qmri.noise import Gaussian, Rician
from sklearn_qmri.signal_models import (
    ADC,
    IVIM,
    BiexponentialT2,
    InversionRecovery,
    Kurtosis,
    R2StarDecay,
    StretchedExponential,
    T2Decay,
)

B = [0, 10, 20, 40, 80, 120, 200, 400, 600, 800]
# In neither training nor tuning: protocols of a clinical kind.
PROTOCOLS = {
    "seven": [0, 15, 45, 90, 250, 500, 750],
    "twelve": [0, 0, 5, 12, 25, 45, 70, 110, 190, 350, 550, 900],
}
SCALE = np.array([1.0, 0.3, 1.7, 80.0])


def wide(n, rng):
    """Tissues of the training: D_star is uniform on a logarithmic axis."""
    unit = rng.uniform(size=(n, 4))
    star = 3 * 100 ** unit[:, 3]
    return np.column_stack([0.8 + 0.4 * unit[:, 0], 0.7 * unit[:, 1], 0.1 + 3.4 * unit[:, 2], star])


def draw_adc(rng):
    return ADC(np.append(0.0, rng.uniform(100, 1000, size=rng.randint(2, 6))))


@pytest.fixture(scope="module")
def small():
    """A network that has hardly been trained."""

    def make(seed):
        network = MLP((16, 16))
        return pretrain(draw_adc, n_atoms=128, network=network, n_epochs=1, random_state=seed)

    return make


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
def test_profile_is_that_of_the_likelihood(noise):
    """Against the largest likelihood over a fine grid of amplitudes, near the best atom."""
    model = T2Decay([10, 30, 60, 100, 150])
    atoms = make_atoms(model, np.array([[1.0, 10.0], [1.0, 400.0]]), 64, 8)
    rng, sigma = np.random.RandomState(0), 0.04
    x = noise.sample(model.simulate([[1.3, 70.0]] * 20) / sigma, rng)
    simulated = simulate_atoms(atoms, model, noise)
    data = torch.tensor(x * sigma).float(), torch.full(x.shape, 1 / sigma)
    _, found = find_posterior(noise, *data, simulated, n_likeliest=64)
    likelihoods = torch.empty_like(found.likelihood).scatter(-1, found.index, found.likelihood)
    columns = simulated.columns
    grid = torch.linspace(0.5, 3, 2001).double()[:, None, None] / sigma
    for row, likelihood in zip(x, likelihoods, strict=True):
        loss = noise.derivatives(torch.tensor(row), grid * columns.double())[0].sum(-1)
        exact = loss.amin() - loss.amin(0)
        near = exact > -6
        error = (likelihood.log() - exact)[near].abs()
        assert error.max() < (1e-3 if isinstance(noise, Gaussian) else 0.35)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("snr", [15, 30])
def test_weight_one_is_the_posterior_mean(protocol, snr):
    """The mean squared error exceeds that of the posterior mean by under 5 %, noise included."""
    model = IVIM(PROTOCOLS[protocol])
    X, y = make_signals(model, 1500, snr=snr, prior=wide, random_state=3)
    settings = {"sigma": 1 / snr, "random_state": 0, "n_atoms": 2**15}
    reference = PosteriorMeanEstimator(model, prior=wide, **settings).fit(X).predict(X)
    found = PretrainedNetRegressor(model, sigma=1 / snr, bias_weight=1).fit(X).predict(X)
    error = [np.mean((p - y) ** 2, axis=0)[1:] for p in (found, reference)]
    assert (error[0] < 1.05 * error[1]).all()


@pytest.mark.parametrize(
    ("b_values", "snr", "limit"),
    [([0, 0, 500, 1000], 30, 1.05), ([0, 0, 500, 1000], 10, 1.2), ([0, 0, 0, 1750], 30, 1.3)],
)
def test_signals_at_the_noise_floor(b_values, snr, limit):
    """Large b-values, at which fast diffusion leaves noise only, still tell D.

    The likelihood of a magnitude there is no parabola, which costs most where one measurement
    alone tells D.
    """
    model = ADC(b_values)
    prior = {"S0": (0.5, 2.0), "D": (0.05, 4.0)}
    X, y = make_signals(model, 1500, snr=snr, prior=prior | {"S0": (0.9, 1.1)}, random_state=4)
    settings = {"sigma": 1 / snr, "random_state": 0, "n_atoms": 2**14}
    reference = PosteriorMeanEstimator(model, prior=prior, **settings).fit(X).predict(X)
    found = PretrainedNetRegressor(model, sigma=1 / snr, bias_weight=1).fit(X).predict(X)
    error = [np.mean((p - y) ** 2, axis=0)[1] for p in (found, reference)]
    assert error[0] < limit * error[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_less_bias_and_less_variance_than_maximum_likelihood(protocol):
    model, snr = IVIM(PROTOCOLS[protocol]), 20
    X, y = make_signals(model, 200, snr=snr, n_repeats=40, random_state=5)
    net = PretrainedNetRegressor(model, sigma=1 / snr).fit(X)
    mle = MLEEstimator(model, sigma=1 / snr).fit(X[:1])
    likely = bias_variance_decomposition(y, mle.predict(X), scale=SCALE)
    parts = [
        bias_variance_decomposition(y, net.predict(X, bias_weight=w), scale=SCALE)
        for w in (1, 4, 30)
    ]
    assert (parts[1].squared_bias[1:] < 0.5 * likely.squared_bias[1:]).all()
    assert (parts[1].variance[1:] < 0.8 * likely.variance[1:]).all()
    # Along the weight, variance grows and bias falls, as far as it can be told from zero. The bias
    # of D_star does so on the tissues of the training only, which are wider than these.
    for less, more in zip(parts[:-1], parts[1:], strict=True):
        assert (more.variance > less.variance)[1:].all()
        assert (more.squared_bias < 1.1 * less.squared_bias)[1:3].all()
    assert (parts[2].squared_bias < parts[0].squared_bias)[1:].all()


@pytest.fixture(scope="module")
def scan():
    model = IVIM(B)
    X, _ = make_signals(model, 300, snr=30, random_state=0)
    return model, X, PretrainedNetRegressor(model, sigma=1 / 30).fit(X)


def test_order_of_measurements_does_not_matter(scan):
    model, X, net = scan
    order = np.random.RandomState(0).permutation(len(B))
    other = PretrainedNetRegressor(IVIM(np.array(B)[order]), sigma=1 / 30).fit(X[:, order])
    assert_near(other.predict(X[:, order]), net.predict(X), 1e-3)


def test_units_of_the_signal_do_not_matter(scan):
    model, X, net = scan
    found = clone(net).set_params(sigma=1000 / 30).fit(1000 * X).predict(1000 * X)
    assert_near(found / [1000, 1, 1, 1], net.predict(X), 1e-3)


def test_repeats_are_like_their_average():
    """Under Gaussian noise, for which an average has the same noise model."""
    model = IVIM(B[:1] * 2 + B[1:])
    X, _ = make_signals(model, 300, snr=30, noise="gaussian", random_state=0)
    sigma = np.full(model.n_measurements - 1, 1 / 30)
    sigma[0] /= np.sqrt(2)
    net = PretrainedNetRegressor(model, noise="gaussian", sigma=1 / 30).fit(X)
    averaged = np.column_stack([X[:, :2].mean(axis=1), X[:, 2:]])
    weight, sigma = np.full(4, 10.0), np.tile(sigma, (300, 1))
    found, _ = net.network_.predict(IVIM(B), Gaussian(), averaged, sigma, weight)
    assert_near(found, net.predict(X), 0.01)


@pytest.mark.parametrize("noise", [Gaussian(), Rician()])
def test_missing_measurement_is_like_a_protocol_without_it(scan, noise):
    model, X, net = scan
    sigma = np.full(X.shape, 1 / 30)
    sigma[:, 4] = np.inf
    weight = np.full(4, 10.0)
    found, _ = net.network_.predict(model, noise, X, sigma, weight)
    rest = np.delete(np.arange(len(B)), 4)
    expected, _ = net.network_.predict(
        IVIM(np.array(B)[rest]), noise, X[:, rest], sigma[:, rest], weight
    )
    assert_near(found, expected, 1e-3)


def assert_near(found, expected, tolerance):
    """Differences are within a share of the scale of each parameter."""
    np.testing.assert_allclose(found / SCALE, expected / SCALE, atol=tolerance, rtol=tolerance)


def test_estimates_of_absurd_rows_are_finite():
    """Rows thousands of sigma from any tissue, in which single precision rounds, at any w."""
    rng, model = np.random.default_rng(0), IVIM(B)
    X = np.abs(rng.normal(size=(1000, len(B)))) * 10.0 ** rng.uniform(-3, 3, size=(1000, 1))
    sigma = 10.0 ** rng.uniform(-5, 3, size=1000)
    net = PretrainedNetRegressor(model).fit(X, sigma=sigma)
    for weight in (1, 2, 30):
        with pytest.warns(UserWarning, match="rows are unlike"):
            found = net.estimate(X, sigma=sigma, bias_weight=weight)
        assert np.isfinite(found.parameters).all()


def test_rows_do_not_depend_on_others(scan):
    _, X, net = scan
    np.testing.assert_array_equal(net.predict(X)[17:23], net.predict(X[17:23]))


def test_faults_are_out_of_domain(scan):
    model, _, net = scan
    X, _ = make_signals(model, 2000, snr=30, random_state=8)
    flagged = {}
    dropped = X * np.where(np.arange(len(B)) == 4, 0.6, 1)
    for name, rows, options in (
        ("clean", X, {}), ("dropped", dropped, {}), ("sigma", X, {"sigma": 1.0}),
    ):  # fmt: skip
        flagged[name] = np.mean(net.estimate(rows, **options).status == Status.OUT_OF_DOMAIN)
    assert flagged["clean"] < 0.01
    assert flagged["dropped"] > 0.9
    assert flagged["sigma"] == 1


def test_pretraining_is_reproducible_and_files_keep_it(small, tmp_path):
    model = ADC([0, 300, 800])
    X, _ = make_signals(model, 50, snr=20, random_state=0)
    settings = {"sigma": 0.05, "bias_weight": 20}
    first, second = small(0), small(0)
    write_weights(first, tmp_path / "adc.npz")
    predictions = [
        PretrainedNetRegressor(model, weights=weights, **settings).fit(X).predict(X)
        for weights in (first, second, tmp_path / "adc.npz", str(tmp_path / "adc.npz"), small(1))
    ]
    for other in predictions[1:4]:
        np.testing.assert_array_equal(other, predictions[0])
    assert (predictions[4] != predictions[0]).any()
    assert first.about["parameters"] == ["S0", "D"]


def test_training_is_taken_up(small, tmp_path, monkeypatch):
    """After an interruption the result is that of a training without one, to the last bit."""

    def train(checkpoint=None, **changed):
        settings = {"n_atoms": 128, "network": MLP((16, 16)), "n_epochs": 3, "random_state": 0}
        return pretrain(draw_adc, checkpoint=checkpoint, **(settings | changed))

    def interrupted(self, net, **kwargs):
        write(self, net, **kwargs)
        if len(net.history) == 2:
            raise KeyboardInterrupt

    path, whole = tmp_path / "adc.unfinished", train()
    write = Checkpoint.on_epoch_end
    monkeypatch.setattr(Checkpoint, "on_epoch_end", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(path)
    monkeypatch.undo()
    taken_up = train(path)
    for one, other in zip(whole.coefs, taken_up.coefs, strict=True):
        np.testing.assert_array_equal(one, other)
    assert taken_up.about == whole.about
    with pytest.raises(ValueError, match="training with other settings"):
        train(path, n_epochs=4)
    path.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is no state of a training"):
        train(path)
    with pytest.raises(ValueError, match="integer as random_state, got random_state=None"):
        train(path, random_state=None)


SHIPPED = {
    "ADC": ADC([0, 200, 500, 900]),
    "IVIM-convention=additive": IVIM(B),
    "IVIM-convention=total": IVIM(B, "total"),
    "InversionRecovery-magnitude=False": InversionRecovery([50, 200, 500, 1000, 2500]),
    "InversionRecovery-magnitude=True": InversionRecovery([50, 200, 500, 1000, 2500], None, True),
    "Kurtosis": Kurtosis([0, 500, 1000, 1500, 2000]),
    "R2StarDecay": R2StarDecay([2, 5, 8, 12, 20]),
    "StretchedExponential": StretchedExponential([0, 200, 500, 900, 1500]),
    "T2Decay-offset=False": T2Decay([10, 30, 60, 90, 150]),
}


def test_networks_of_the_package():
    folder = resources.files("sklearn_qmri") / "weights"
    assert sorted(path.name.removesuffix(".npz") for path in folder.iterdir()) == sorted(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_each_network_has_its_story_and_beats_the_fit(name):
    """On the tissues of its training the error of a voxel is below that of maximum likelihood."""
    path, model = resources.files("sklearn_qmri") / "weights" / f"{name}.npz", SHIPPED[name]
    assert path.stat().st_size < 1.5e6
    network = read_weights(path)
    about, ranges = network.about, network.atoms.ranges.copy()
    log = network.atoms.log & (np.arange(ranges.shape[1]) != network.atoms.amplitude)
    ranges[:, network.atoms.amplitude] = 0.9, 1.1

    def tissues(n, rng):
        return place(rng.uniform(size=(n, len(log))), ranges, log)

    X, y = make_signals(model, 1500, snr=20, prior=tissues, random_state=0)
    net = PretrainedNetRegressor(model, sigma=1 / 20, bias_weight=1).fit(X)
    assert {"script", "commit", "seed", "libraries", "prior", "snr", "noises", "protocols"} < set(
        about
    )
    assert len(about["commit"]) == 40
    assert "w = 10, B over the MLE's" in " ".join(about["quality"])
    found = net.estimate(X)
    assert np.mean(found.status == Status.OK) > 0.97
    likely = MLEEstimator(model, sigma=1 / 20).fit(X[:1]).predict(X)
    scale = [p.loss_scale for p in model.parameters]
    error = [np.mean(((p - y) / scale) ** 2, axis=0)[1:] for p in (found.parameters, likely)]
    assert (error[0] < error[1]).all()


def test_grid_search_over_the_weight():
    model = IVIM(B)
    X, y = make_signals(model, 60, snr=20, n_repeats=4, random_state=0)
    groups = np.repeat(np.arange(60), 4)
    search = GridSearchCV(
        PretrainedNetRegressor(model, sigma=1 / 20),
        {"bias_weight": [1.0, 30.0]},
        cv=GroupKFold(3),
    )
    # The mean squared error of a voxel is least at 1.
    assert search.fit(X, y, groups=groups).best_params_ == {"bias_weight": 1.0}


def test_bad_weights(small, tmp_path):
    X = np.ones((4, 3))
    adc, path = ADC([0, 300, 800]), tmp_path / "adc.npz"
    network = PretrainedNetRegressor(IVIM(B), sigma=1).fit(np.ones((2, 10))).network_
    with pytest.raises(ValueError, match="expects a network for ADC, got one for IVIM"):
        PretrainedNetRegressor(adc, sigma=1, weights=network).fit(X)
    with pytest.raises(ValueError, match="No network comes with the package for BiexponentialT2"):
        PretrainedNetRegressor(BiexponentialT2([10, 30, 60]), sigma=1).fit(X)
    write_weights(small(0), path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="no file with the weights|damaged"):
        read_weights(path)
    path.write_bytes(b"not a file with weights")
    with pytest.raises(ValueError, match="no file with the weights"):
        read_weights(path)
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "missing.npz")


def test_tampered_arrays_and_other_formats(small, tmp_path):
    path = tmp_path / "adc.npz"
    write_weights(small(0), path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "coef_0": arrays["coef_0"] + 1})
    with pytest.raises(ValueError, match="is damaged: its arrays"):
        read_weights(path)
    text = json.loads(str(arrays["text"]))
    np.savez(path, **{**arrays, "text": np.array(json.dumps({**text, "format": 99}))})
    with pytest.raises(ValueError, match="has the format 99, expected 3"):
        read_weights(path)


@pytest.mark.parametrize(
    ("b_values", "message"),
    [
        (np.linspace(0, 800, 200), r"number of measurements (.|\n)* is 200, outside"),
        ([0, 50, 100, 150, 200, 4000], "largest of b_values .* is 4000, outside"),
        ([0, 200, 400], "number of measurements .* is 3"),
    ],
)
def test_protocols_outside_the_training(b_values, message):
    net = PretrainedNetRegressor(IVIM(b_values), sigma=0.1)
    with pytest.raises(ValueError, match=message):
        net.fit(np.ones((2, len(b_values))))


def test_bad_parameters(scan):
    model, X, net = scan
    with pytest.raises(ValueError, match="expects a signal_model, got None"):
        PretrainedNetRegressor().fit(X)
    with pytest.raises(ValueError, match=r"values in \[1, 30\]"):
        clone(net).set_params(bias_weight=31).fit(X)
    with pytest.raises(ValueError, match="one per parameter"):
        net.predict(X, bias_weight=[1, 2])
    with pytest.raises(ValueError, match="Expected a signal model with one amplitude"):
        pretrain(lambda rng: T2Decay([10, 30, 60, 90], offset=True), n_epochs=1)


def test_noise_level_is_learnt(scan):
    model, X, _ = scan
    assert PretrainedNetRegressor(model).fit(X).sigma_ == pytest.approx(1 / 30, rel=0.1)


def test_moments_of_atoms_are_those_of_the_posterior():
    """Without information, each atom is as likely, and moments are those of the prior."""
    model = ADC([0.0, 500.0])
    atoms = make_atoms(model, np.array([[1.0, 0.3], [1.0, 3.0]]), 256, 16)
    simulated = simulate_atoms(atoms, model, Gaussian())
    x, precision = torch.tensor([[1.0, 0.0]]), torch.tensor([[100.0, 0.0]])
    _, moments = find_posterior(Gaussian(), x, precision, simulated)
    assert moments.mean[0, 1].item() == pytest.approx(atoms.tissues[:, 1].mean(), rel=1e-3)
    assert moments.variance[0, 1].item() == pytest.approx(atoms.tissues[:, 1].var(), rel=1e-2)
    assert moments.size.item() == pytest.approx(256, rel=1e-3)
    assert read(simulated, Gaussian(), x, precision).misfit.item() == pytest.approx(0, abs=1e-3)
