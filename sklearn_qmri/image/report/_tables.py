"""Tables of the page, as rows of text and numbers."""

import numpy as np

from ...metrics import roi_statistics
from ...status import Status, count_statuses
from .._protocols import acquisition_of
from ._finite import mean_of, median_of
from ._of_maps import bounds_of_error, shrinkage

_QUARTILES = (0.25, 0.5, 0.75)
_STANDS_OUT = 1.5  # residual of a volume over the median of all volumes


def number(value, digits=3):
    """A number as text, a dash where there is none."""
    if value is None or not np.isfinite(value):
        return "–"
    text = f"{value:.{digits}g}"
    return f"{value:,.0f}" if "e" in text and 1 <= abs(value) < 1e7 else text


def with_quartiles(values):
    """Median and quartiles as text."""
    values = np.asarray(values, dtype=np.float64)
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return "–"
    low, median, high = np.quantile(finite, _QUARTILES)
    return f"{number(median)} ({number(low)} to {number(high)})"


def of_estimates(run, evidence):
    """A row for each parameter: estimate, voxels on a bound, error, and share of the prior."""
    reference = evidence and evidence.reference
    bound = bounds_of_error(reference) if reference else None
    shares = shrinkage(reference) if reference else {}
    bits = run.maps.get("at_bound")
    rows = []
    for j, p in enumerate(run.signal_model.parameters):
        spread = run.maps.get(f"{p.name}_std")
        error = bound[:, j][np.isfinite(bound[:, j])] if reference else ()
        rows.append(
            {
                "name": p.name,
                "unit": p.unit,
                "estimate": with_quartiles(run.maps[p.name][run.inside]),
                "on_bound": None if bits is None else int(np.count_nonzero(bits & 2**j)),
                "std": None if spread is None else with_quartiles(spread[run.inside]),
                "bound": number(np.median(error)) if len(error) else "–",
                "share": number(100 * shares[p.name], 2) if p.name in shares else "–",
            }
        )
    return rows


def of_regions(run, labels):
    """A row for each region and parameter of a label image."""
    units = {p.name: p.unit for p in run.signal_model.parameters}
    maps = {name: run.maps[name] for name in units}
    return [
        {
            "label": row["label"],
            "parameter": row["parameter"],
            "unit": units[row["parameter"]],
            "n_voxels": row["n_voxels"],
            "n_failed": row["n_failed"],
            "estimate": f"{number(row['median'])} ({number(row['q25'])} to {number(row['q75'])})",
        }
        for row in roi_statistics(maps, np.where(run.inside, labels, 0))
    ]


def of_statuses(run):
    """Voxels of each status that occurs: name, text and number."""
    counts = count_statuses(run.status)
    return [(name, Status[name].text, n) for name, n in counts.items() if n]


def of_noise(run, evidence):
    """Noise level and signal-to-noise ratio, as pairs of a heading and a text."""
    story, rows = run.story, []
    sigma = run.sigma
    if sigma is not None:
        text = ", ".join(number(level) for level in np.ravel(sigma)[:8])
        error = story.get("SigmaStandardError")
        source = "learnt from the scan" if story.get("SigmaLearnt") else "given"
        rows.append(("Noise level sigma", f"{text} ({source})"))
        if error is not None:
            rows.append(("Standard error of sigma", number(error)))
    elif story.get("Sigma") is not None:
        rows.append(("Noise level sigma", f"map {story['Sigma']}"))
    if evidence:
        if evidence.air is not None:
            rows.append(("Noise level of the air", number(evidence.air)))
        ratio = signal_to_noise(evidence)
        rows.append(("Signal-to-noise ratio of the strongest signal", with_quartiles(ratio)))
        if evidence.reference:
            misfit = evidence.reference.misfit()
            rows.append(
                ("Squared residuals of maximum likelihood over those of noise", number(misfit))
            )
    return [("Noise model", story.get("Noise", "–")), *rows]


def signal_to_noise(evidence):
    """Strongest fitted signal over sigma, of each voxel; NaN where there is no estimate."""
    known = np.isfinite(evidence.parameters).all(axis=1)
    ratio = np.full(len(known), np.nan)
    signal = np.abs(evidence.signal_model.simulate(evidence.parameters[known]))
    ratio[known] = (signal / evidence.sigma[known]).max(axis=1)
    return ratio


def of_measurements(evidence):
    """A row for each measurement: its acquisition, and residuals in tissue."""
    n = evidence.X.shape[1]
    acquisition = {
        name: np.broadcast_to(values, n)
        for name, values in acquisition_of(evidence.signal_model).items()
    }
    tissue = evidence.residual[evidence.tissue]
    bias, size = mean_of(tissue, axis=0), np.sqrt(mean_of(tissue**2, axis=0))
    largest = max([2.0, *np.nan_to_num(size)])
    return list(acquisition), [
        {
            "number": k,
            "values": [number(values[k]) for values in acquisition.values()],
            "bias": number(bias[k], 2),
            "size": number(size[k], 2),
            "share": 0 if np.isnan(size[k]) else round(100 * size[k] / largest),
            "large": bool(size[k] > _STANDS_OUT * median_of(size)),
        }
        for k in range(n)
    ]


def of_prior(run):
    """A row for each parameter: range of the training, and quantiles of a learnt prior."""
    training = run.story.get("Training") or {}
    ranges, learnt = training.get("Prior") or {}, training.get("LearntPrior") or {}
    return [
        {
            "name": p.name,
            "unit": p.unit,
            "range": " to ".join(number(end) for end in ranges.get(p.name, p.prior)),
            "learnt": [number(value) for value in learnt.get(p.name, ())],
        }
        for p in run.signal_model.parameters
        if not p.amplitude  # which networks take relative to the scan
    ]
