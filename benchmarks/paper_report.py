"""Tables, figures and claims from the kept rows of `benchmarks/paper.py`."""

import json

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
import paper_frontier
from paper_data import HYBRIDS, PARAMETERS, Cell

from sklearn_qmri.inspection import AlphaPathDisplay

# Its mean |bias| (uncorrected) and std of D, of an independent run: 200 repeats, one seed.
INDEPENDENT = {
    "groundtruth": {15: (0.197, 0.240), 30: (0.113, 0.162)},
    "mle": {15: (0.117, 0.460), 30: (0.048, 0.252)},
    "mle_gaussian": {15: (0.203, 0.417), 30: (0.050, 0.245)},
    "self_gaussian": {15: (0.139, 0.402), 30: (0.055, 0.219)},
    "hybrid_0.5": {15: (0.133, 0.334), 30: (0.066, 0.200)},
}


def load(run, snr, block):
    """All cells of a block at an SNR, by method."""
    networks = [
        "groundtruth", "hybrid_0.25", "hybrid_0.5", "hybrid_0.75", "mle", "mle_published",
        "mle_gaussian", "weighted", "self_gaussian", "self_rician",
    ]  # fmt: skip
    if block == "default":
        networks += paper_frontier.ROWS
    cells = {name: Cell(run, "reference", snr, name) for name in ("mle_fit", "posterior_mean")}
    return cells | {name: Cell(run, block, snr, name) for name in networks}


def table(run, snr, block, cells):
    """One record per method and parameter."""
    records = []
    for method, cell in cells.items():
        for name in PARAMETERS:
            record = {"block": block, "snr": snr, "method": method, "parameter": name}
            for measure, values in cell.measures(name).items():
                record[measure] = float(values.mean())
                spread = values.std(ddof=1) if len(values) > 1 else np.nan
                record[f"{measure}_spread"] = float(spread)
            records.append(record)
    bound = np.load(run.path("reference", snr, "cramer_rao", 0))["std"]
    for name, j in PARAMETERS.items():
        record = {"block": block, "snr": snr, "method": "cramer_rao", "parameter": name}
        records.append(record | {"std": float(bound[:, j].mean())})
    return records


def show(records):
    frame = pd.DataFrame(records)
    for (block, snr), part in frame.groupby(["block", "snr"], sort=False):
        print(f"\n{block} recipe, SNR {snr}: mean |bias|, RMS bias, std, RMSE, slope (spread)")
        for method, rows in part.groupby("method", sort=False):
            cells = []
            for _, row in rows.iterrows():
                figures = " ".join(
                    f"{row[m]:.3g}({row[f'{m}_spread']:.1g})" if row[m] == row[m] else "-"
                    for m in ("mean_abs_bias", "rms_bias", "std", "rmse", "slope")
                )
                cells.append(f"{row['parameter']} {figures}")
            print(f"  {method:15s} " + " | ".join(cells).replace("(nan)", ""))


def _each(cells, left, right, measure):
    """Whether left is below right for each parameter, with the figures."""
    found = {
        name: (cells[left].value(measure, name), cells[right].value(measure, name))
        for name in PARAMETERS
    }
    text = ", ".join(f"{name} {a:.3g} / {b:.3g}" for name, (a, b) in found.items())
    return [a <= b for a, b in found.values()], text


def _lowest(cells, measure):
    rivals = [
        "mle", "mle_published", "mle_gaussian", "self_gaussian", "self_rician", "mle_fit"
    ]  # fmt: skip
    held, parts = [], []
    for name in PARAMETERS:
        own = cells["groundtruth"].value(measure, name)
        least = min(cells[rival].value(measure, name) for rival in rivals)
        held.append(own < least)
        parts.append(f"{name} {own:.3g} / {least:.3g}")
    return held, ", ".join(parts)


def _distance(cells, method, name):
    """Root mean square, over tissues, from the MLE's mean estimate, of the seeds' average."""
    j = PARAMETERS[name]
    mean = cells[method].bias[..., j] - cells["mle_fit"].bias[0, :, j]
    return float(np.sqrt(np.mean(mean**2, axis=1)).mean())


def claims(snr, cells):
    """The claims (a) to (g): text, whether each parameter holds it, figures."""
    for measure in ("std", "rmse"):
        yield (
            f"(a) groundtruth labels: lowest {measure} (own / least other)",
            *_lowest(cells, measure),
        )
    held, text = _each(cells, "mle", "groundtruth", "mean_abs_bias")
    yield "(a) ... and higher bias than MLE labels (MLE labels / groundtruth)", held, text
    near = {n: [_distance(cells, m, n) for m in ("mle", "groundtruth")] for n in PARAMETERS}
    yield (
        "(b) MLE labels' mean predictions near the MLE's: under a quarter of groundtruth labels'",
        [a < b / 4 for a, b in near.values()],
        ", ".join(f"{n} {a:.3g} / {b:.3g}" for n, (a, b) in near.items()),
    )
    for rival in ("self_gaussian", "self_rician"):
        held, text = _each(cells, "mle", rival, "mean_abs_bias")
        yield f"(c) MLE labels' mean |bias| at or below that of {rival}", held, text
    yield from _alpha_claims(cells)
    if snr == 15:
        for right, wrong in (("mle", "mle_gaussian"), ("self_rician", "self_gaussian")):
            a, b = (cells[m].value("mean_abs_bias", "D") for m in (right, wrong))
            yield f"(e) D bias: {right} below {wrong}", [a < b], f"{a:.3g} / {b:.3g}"
    near = {n: [_distance(cells, m, n) for m in ("weighted", "mle")] for n in PARAMETERS}
    yield (
        "(f) weighting the loss to a parameter brings its mean prediction nearer to the MLE's",
        [a < b for a, b in near.values()],
        ", ".join(f"{n} {a:.3g} / {b:.3g}" for n, (a, b) in near.items()),
    )


def _alpha_claims(cells):
    ends = cells["groundtruth"], cells["mle"]
    affine, convex, between, monotone, texts = [], [], [], [], ([], [], [], [])
    for name, j in PARAMETERS.items():
        start, end = (cell.bias[..., j] for cell in ends)
        miss = [
            np.sqrt(np.mean((cells[m].bias[..., j] - (1 - a) * start - a * end) ** 2))
            for a, m in HYBRIDS.items()
        ]
        span = np.sqrt(np.mean((end - start) ** 2))
        affine.append(max(miss) < 0.1 * span)
        texts[0].append(f"{name} {max(miss):.3g} of {span:.3g}")
        path = [ends[0], *(cells[m] for m in HYBRIDS.values()), ends[1]]
        variance = [float(np.mean(cell.std[..., j] ** 2)) for cell in path]
        convex.append(bool((np.diff(variance, 2) > 0).all()))
        texts[1].append(f"{name} " + " ".join(f"{v:.3g}" for v in variance))
        inside = []
        for measure in ("std", "rmse"):
            values = [cell.value(measure, name) for cell in path]
            inside.append(min(values[0], values[-1]) <= min(values) and max(values) <= max(
                values[0], values[-1]
            ))  # fmt: skip
            if measure == "rmse":
                texts[2].append(f"{name} " + " ".join(f"{v:.3g}" for v in values))
        between.append(all(inside))
        size = [cell.value("mean_abs_bias", name) for cell in path]
        steps = np.sign(np.diff(size))
        monotone.append(bool((steps == steps[0]).all()))
        texts[3].append(f"{name} " + " ".join(f"{v:.3g}" for v in size))
    yield "(d) signed bias affine in alpha: off by under a tenth of the way", affine, texts[0]
    yield "(d) variance convex in alpha", convex, texts[1]
    yield "(d) std and RMSE of hybrids between the ends (RMSE shown)", between, texts[2]
    yield "(d) mean |bias| not monotone, for some parameter", [not all(monotone)], texts[3]


def seed_leak(run, snr, cells):
    """(g) what labels that never left their groundtruth seed change."""
    _, y = run.training(snr)
    labels = run.labels(snr)
    unmoved = np.mean(np.abs(labels["published"] - y) < 1e-4 * np.abs(y), axis=0)
    rmse = {k: np.sqrt(np.mean((labels[k] - y) ** 2, axis=0)) for k in ("published", "mle")}
    lines = [
        f"(g) SNR {snr}: share of published labels still at the truth: "
        + ", ".join(f"{n} {unmoved[j]:.1%}" for n, j in PARAMETERS.items()),
        "    RMSE of labels, published / converged: "
        + ", ".join(
            f"{n} {rmse['published'][j]:.3g} / {rmse['mle'][j]:.3g}" for n, j in PARAMETERS.items()
        ),
    ]
    for measure in ("mean_abs_bias", "std", "rmse"):
        text = _each(cells, "mle_published", "mle", measure)[1]
        lines.append(f"    networks' {measure}, published / converged labels: {text}")
    return lines


def independent(snr, cells):
    """Beside an independent run, mean |bias| and std of D."""
    for method, expected in INDEPENDENT.items():
        own = [cells[method].value(measure, "D") for measure in ("mean_abs_bias", "std")]
        theirs = expected[snr]
        yield f"    {method:14s} {own[0]:.3f} / {theirs[0]:.3f}   {own[1]:.3f} / {theirs[1]:.3f}"


def draw(run, snr, block, cells, parameters):
    path = {0.0: "groundtruth", **HYBRIDS, 1.0: "mle"}
    columns = list(PARAMETERS)

    def stack(measure):
        return np.array([[cells[m].value(measure, n) for n in columns] for m in path.values()])

    display = AlphaPathDisplay(
        np.array(list(path)),
        stack("rms_bias"),
        stack("rms_std"),
        stack("rmse"),
        [p for p in parameters if p.name in columns],
        limits={
            f"{label} RMSE": [cells[method].value(measure, n) for n in columns]
            for label, method, measure in (
                ("MLE", "mle_fit", "rmse"),
                ("posterior mean", "posterior_mean", "rmse"),
            )
        },
    ).plot()
    display.figure_.savefig(run.folder / f"alpha_path_{block}_snr{snr}.png", dpi=120)


def verdicts(claims):
    """A line per claim: whether all parameters hold it, some, or none."""
    for text, held, figures in claims:
        verdict = "HOLDS" if all(held) else "PARTLY" if any(held) else "DOES NOT HOLD"
        figures = figures if isinstance(figures, str) else "; ".join(figures)
        yield f"{verdict:13s} {text}: {figures}"


def write_frontier(run, snrs):
    """Print the rows and the claim of the frontier alone; write the claim."""
    records, lines = [], []
    for snr in snrs:
        cells = paper_frontier.load(run, snr)
        records += table(run, snr, "default", cells)
        lines.append(f"\ndefault recipe, SNR {snr}")
        lines += verdicts(paper_frontier.claims(run, snr, cells))
    show(records)
    print("\n".join(lines))
    (run.folder / "claim_h.json").write_text(json.dumps(lines, indent=1))


def write(run, model, snrs, blocks):
    """Print everything; write table, claims and figures."""
    records, lines = [], []
    for block in blocks:
        for snr in snrs:
            cells = load(run, snr, block)
            records += table(run, snr, block, cells)
            lines.append(f"\n{block} recipe, SNR {snr}")
            lines += verdicts(claims(snr, cells))
            lines += seed_leak(run, snr, cells)
            if block == "default":
                lines += verdicts(paper_frontier.claims(run, snr, cells))
            lines.append("    D beside an independent run: mean |bias| / theirs   std / theirs")
            lines += independent(snr, cells)
            draw(run, snr, block, cells, model.parameters)
    show(records)
    print("\n".join(lines))
    pd.DataFrame(records).to_csv(run.folder / "table.csv", index=False)
    (run.folder / "claims.json").write_text(json.dumps(lines, indent=1))
