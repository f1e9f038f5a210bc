"""Self-supervised network with the Rician likelihood."""

from .._network import MLP, Training
from ..estimators import SelfSupervisedNetRegressor
from ..signal_models import IVIM

_PARKER_B = (0, 10, 20, 30, 50, 80, 100, 200, 400, 800)


def parker2025(b_values=_PARKER_B, *, sigma=None, random_state=None, verbose=0):
    """Self-supervised network of Parker et al., with the Rician likelihood as its loss.

    It is the network of `barbieri2019` with another loss. Settings are those of the authors'
    package (RicianLoss 0.0.1 on PyPI, which the paper names): three hidden layers as wide as there
    are b-values, ELU, absolute values as outputs, S0 as an output, Adam at 1e-3, batches of 256, at
    most 200 epochs, patience 15. Settings in the text of the paper: ?.

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2. Default: those of the simulations that come with the package.
    sigma : float, default=None
        Noise level of the likelihood (published: known, or from the background). None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    SelfSupervisedNetRegressor
        Network for ``IVIM(b_values)``. The package's simulations are a grid of 10 x 10 x 10 x 10
        tissues (S0 .8-1.2, f .1-.5, D .5-2, D_star 10-150 um^2/ms) x 20 repeats with sigma = 0.1.

    Notes
    -----
    Deviations: inputs are divided by their root mean square (published: by nothing). Outputs are in
    units of the loss scales (S0: in units of the rows' largest signals). The best state on
    validation voxels is kept, and patience counts their loss (published: the last state, and the
    training loss). The last, incomplete batch is used. The loss is a constant times the published
    one, without the terms that do not depend on the network.

    The authors' earlier walkthrough (github.com/csparker/deep_qmri, commit 1b352ae) differs: S0 is
    1, b = 0 is no input, batches have 128 signals, there are at most 1000 epochs with a patience of
    10, and the best state is kept.

    References
    ----------
    Parker et al., NMR Biomed 2025;38:e70136.

    Examples
    --------
    >>> from sklearn_qmri.published import parker2025
    >>> parker2025().noise
    'rician'
    """
    return SelfSupervisedNetRegressor(
        IVIM(b_values),
        noise="rician",
        sigma=sigma,
        normalize="rms",
        network=MLP((len(b_values),) * 3, activation="elu", output="abs", standardize=False),
        max_epochs=200,
        training=Training(1e-3, batch_size=256, schedule="constant", weight_decay=0.0, patience=15),
        random_state=random_state,
        verbose=verbose,
    )
