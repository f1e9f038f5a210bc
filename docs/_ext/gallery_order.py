"""Order of the gallery: first the question, then choices, then what may go wrong."""

from pathlib import Path

ORDER = (
    "bias_variance",
    "alpha_path",
    "choose_alpha",
    "frontier",
    "real_scan",
    "own_signal_model",
    "relaxometry",
    "training_distribution",
    "unconverged_labels",
    "random_forest",
)


def position(path):
    """Place of an example; one that is not listed stops the build."""
    return ORDER.index(Path(path).stem.removeprefix("plot_"))
