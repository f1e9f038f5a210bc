"""The frontier of bias and variance in `benchmarks/paper.py`: its training, its rows, claim (h).

V + wB is the variance plus w times the squared bias of one parameter, averaged over the tissues of
the test grid. The best alpha of a parameter is chosen on these same tissues, which favours the
alpha path: the weight of the frontier is w, and nothing of it is chosen on them.
"""

import numpy as np
from paper_data import HYBRIDS, MODEL, PARAMETERS, Cell

from sklearn_qmri import BiasConstrainedNetRegressor
from sklearn_qmri.metrics import least_weighted, quadratic

WEIGHTS = (1, 4, 10, 30)
ROWS = [f"frontier_{weight}" for weight in WEIGHTS]


def train(run, snr, seed):
    """One training for all weights, and a row for each of them."""
    X, y = run.training(snr)
    net = BiasConstrainedNetRegressor(MODEL, sigma=1 / snr, random_state=seed).fit(X, y)
    X_test = run.test(snr)[0]
    for weight, row in zip(WEIGHTS, ROWS, strict=True):
        run.keep(("default", snr, row, seed), net.predict(X_test, bias_weight=weight))


def load(run, snr):
    """All cells that claim (h) needs, by method."""
    networks = ["groundtruth", *HYBRIDS.values(), "mle", *ROWS]
    cells = {name: Cell(run, "reference", snr, name) for name in ("mle_fit", "posterior_mean")}
    return cells | {name: Cell(run, "default", snr, name) for name in networks}


class Blends:
    """All blends of two methods: the quadratic forms of their squared bias and variance."""

    def __init__(self, run, block, snr, start, end):
        seeds = range(run.n_seeds) if block != "reference" else [0]
        files = [np.load(run.path(block, snr, "ends", seed)) for seed in seeds]
        self.covariance = np.stack([file["covariance"] for file in files])
        self.ends = start, end

    def forms(self, name):
        """Squared bias and variance of a parameter, (n_seeds, 2, 2) each."""
        start, end = self.ends
        j = PARAMETERS[name]
        covariance = self.covariance[..., j]
        # Means over n repeats share the noise of both ends, v_ab / n, as `product_decomposition`
        # has it.
        product = start.bias[..., j] * end.bias[..., j] - covariance / start.n_repeats
        (first_bias, first), (last_bias, last) = (cell.squares(name) for cell in self.ends)
        crossed = [values.mean(axis=1) for values in (product, covariance)]
        corners = (first_bias, crossed[0], last_bias), (first, crossed[1], last)
        return [np.array([[a, both], [both, b]]).transpose(2, 0, 1) for a, both, b in corners]

    def least(self, name, weight):
        """Least V + wB and its alpha, (n_seeds,) each."""
        rule = least_weighted(weight)
        found = []
        for bias, variance in zip(*self.forms(name), strict=True):
            alpha = rule.best_alpha(bias, variance)
            found.append((quadratic(variance + weight * bias, alpha), alpha))
        return np.array(found).T


def weighted(cell, name, weight):
    """V + wB of each seed."""
    bias, variance = cell.squares(name)
    return variance + weight * bias


def best_alpha(cells, blends, name, weight):
    """Least V + wB of blended predictions and of networks on blended labels, and its alpha."""
    least, alphas = blends.least(name, weight)
    for alpha, method in HYBRIDS.items():
        trained = weighted(cells[method], name, weight)
        alphas = np.where(trained < least, alpha, alphas)
        least = np.minimum(trained, least)
    return least, alphas


def _below(own, least, alphas):
    """Whether each seed is below, and the figures of one parameter."""
    gain = 100 * (1 - own / least)
    return bool((gain > 0).all()), (
        f"{own.mean():.4g} / {least.mean():.4g} at alpha {alphas.mean():.2f} "
        f"({gain.mean():.1f} %, least seed {gain.min():.1f} %)"
    )


def _line(found):
    """Verdicts and figures of all parameters."""
    return [held for held, _ in found.values()], "; ".join(
        f"{name} {text}" for name, (_, text) in found.items()
    )


def _beside_mle(cells, row, name):
    """Whether a row has less squared bias and less variance than the MLE, and the ratios."""
    own, likely = (np.mean(cells[m].squares(name), axis=1) for m in (row, "mle_fit"))
    bias, variance = own / likely
    return bool(max(bias, variance) < 1), f"{bias:.3g} and {variance:.3g}"


def claims(run, snr, cells):
    """Claim (h): text, whether each parameter holds it, figures."""
    path = Blends(run, "default", snr, cells["groundtruth"], cells["mle"])
    limit = Blends(run, "reference", snr, cells["posterior_mean"], cells["mle_fit"])
    lines, below = [], []
    for weight, row in zip(WEIGHTS, ROWS, strict=True):
        own = {name: weighted(cells[row], name, weight) for name in PARAMETERS}
        bests = {name: best_alpha(cells, path, name, weight) for name in PARAMETERS}
        found = {name: _below(own[name], *bests[name]) for name in PARAMETERS}
        below.append([held for held, _ in found.values()])
        lines.append((f"(h) w = {weight}: V + wB below the best alpha's", *_line(found)))
        found = {name: _below(own[name], *limit.least(name, weight)) for name in PARAMETERS}
        lines.append((f"(h) w = {weight}: ... of posterior mean and MLE", *_line(found)))
        found = {name: _beside_mle(cells, row, name) for name in PARAMETERS}
        text = f"(h) w = {weight}: squared bias and variance both below the MLE's (ratios)"
        lines.append((text, *_line(found)))
    share = np.mean(below, axis=0)
    yield (
        "(h) the frontier lies below the alpha path: at every w and seed",
        (share == 1).tolist(),
        ", ".join(f"{n} at {s:.0%} of w" for n, s in zip(PARAMETERS, share, strict=True)),
    )
    yield from lines
