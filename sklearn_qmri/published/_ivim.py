"""Networks for intravoxel incoherent motion."""

from .._network import MLP, Training
from ..estimators import HybridLabelNetRegressor, MLEEstimator, SelfSupervisedNetRegressor
from ..signal_models import IVIM, IVIMKurtosis

_BARBIERI_B = (0, 10, 20, 60, 150, 300, 500, 1000)
_KAANDORP_B = (0, 5, 10, 20, 30, 40, 60, 150, 300, 500, 700)
_EPSTEIN_B = (0, 10, 20, 30, 50, 80, 100, 200, 400, 800)


def barbieri2019(b_values=_BARBIERI_B, *, sigma=None, random_state=None, verbose=0):
    """Self-supervised network of Barbieri et al., the first for IVIM.

    Settings are those of the authors' code (github.com/sebbarb/deep_ivim, commit 4aa19e7): three
    hidden layers as wide as there are nonzero b-values, ELU, absolute values as outputs, squared
    error of the signal, Adam at 1e-3, batches of 128, at most 1000 epochs, patience 10.

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2. Default: those of the published simulations.
    sigma : float, default=None
        Noise level. It has no effect on training, and only decides later which voxels are out of
        domain.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    SelfSupervisedNetRegressor
        Network for ``IVIM(b_values, convention="total")``.

    Notes
    -----
    Deviations: S0 is a fourth output (published: 1, with signals divided by the one at b = 0, which
    is then no input). Inputs are divided by their root mean square. Outputs are in units of the
    loss scales (S0: in units of the rows' largest signals). The best state on validation voxels is
    kept, and patience counts their loss (published: the last state, and the training loss). The
    last, incomplete batch is used. D and D_star are not swapped afterwards where their means are in
    the wrong order.

    References
    ----------
    Barbieri et al., Magn Reson Med 2020;83:312.

    Examples
    --------
    >>> from sklearn_qmri.published import barbieri2019
    >>> barbieri2019().network.hidden_layer_sizes
    (7, 7, 7)
    """
    # As wide as the published network, whose inputs exclude b = 0.
    width = sum(b > 0 for b in b_values)
    return SelfSupervisedNetRegressor(
        IVIM(b_values, convention="total"),
        noise="gaussian",
        sigma=sigma,
        normalize="rms",
        network=MLP((width,) * 3, activation="elu", output="abs", standardize=False),
        max_epochs=1000,
        training=Training(1e-3, batch_size=128, schedule="constant", weight_decay=0.0, patience=10),
        random_state=random_state,
        verbose=verbose,
    )


def kaandorp2021(b_values=_KAANDORP_B, *, sigma=None, random_state=None, verbose=0):
    """IVIM-NEToptim, the self-supervised network of Kaandorp et al.

    Settings are those of the authors' code (github.com/oliverchampion/IVIMNET, commit dfb5d75,
    "optim"): one network per parameter, each of two hidden layers as wide as there are b-values
    with batch normalisation and ELU, dropout of 0.1 between them, outputs squashed into ranges
    that are wider than plausible by 30 % on both sides, squared error of the signal, Adam at 3e-5
    with weight decay 1e-4, batches of 128, validation on 10 % of the voxels, patience 10.

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2. Default: those of the published simulations.
    sigma : float, default=None
        Noise level. It has no effect on training, and only decides later which voxels are out of
        domain.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    SelfSupervisedNetRegressor
        Network for ``IVIM(b_values, convention="total")``.

    Notes
    -----
    Deviations: outputs are S0 and f (published: the signals of both compartments). The range of f
    is that of the published perfusion signal, the range of S0 is 0 to 5 root mean squares. D_star
    has a lower bound of 0.1 um^2/ms (published: a negative value). Inputs are divided by their root
    mean square (published: by the mean at the lowest b-value). An epoch is all voxels (published:
    at most 500 batches). The best state on validation voxels is kept (published: the last).
    Predictions of the signal are not clipped.

    References
    ----------
    Kaandorp et al., Magn Reson Med 2021;86:2250.

    Examples
    --------
    >>> from sklearn_qmri.published import kaandorp2021
    >>> kaandorp2021().network.parallel_subnets
    True
    """
    return SelfSupervisedNetRegressor(
        IVIM(b_values, convention="total"),
        noise="gaussian",
        sigma=sigma,
        # f from 0 to 0.7, D from 0 to 5 and D_star up to 200, widened by 30 % of their ranges.
        bounds={"S0": (0, 5), "f": (-0.21, 0.91), "D": (-1.5, 6.5), "D_star": (0.1, 258.5)},
        normalize="rms",
        network=MLP(
            (len(b_values),) * 2,
            activation="elu",
            output="sigmoid",
            standardize=False,
            parallel_subnets=True,
            dropout=0.1,
            batch_norm=True,
        ),
        max_epochs=1000,
        training=Training(
            3e-5,
            batch_size=128,
            schedule="constant",
            weight_decay=1e-4,
            patience=10,
            validation_fraction=0.1,
        ),
        random_state=random_state,
        verbose=verbose,
    )


def epstein2022(
    b_values=_EPSTEIN_B, *, alpha=1.0, sigma=None, n_init=16, random_state=None, verbose=0
):
    """Supervised network of Epstein et al., on true, maximum-likelihood or blended labels.

    Settings are those of the authors' code (github.com/seancepstein/training_labels, commit
    e8bf443): three hidden layers as wide as there are b-values, ELU, absolute values as outputs,
    squared errors in units of 1, 0.3, 1.7 and 80 for S0, f, D and D_star, Adam at 1e-3, batches of
    100, at most 187 epochs, patience 37, f between 0.01 and 0.5 in the labels, the best of 16
    initial weights.

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2. Default: the published protocol.
    alpha : float or array-like of shape (4,), default=1.0
        0: true parameters as labels; 1: maximum-likelihood estimates; between: the hybrid loss.
    sigma : float, default=None
        Noise level with which the labels are estimated (published: known). None: learnt.
    n_init : int, default=16
        Number of networks trained side by side. The one with the best validation loss predicts.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    HybridLabelNetRegressor
        Network for ``IVIM(b_values)``. The published training set is 100,000 tissues of its prior
        at an SNR of 15 or 30.

    Notes
    -----
    Deviations: labels are global optima (published: a local search from the true parameters,
    stopped early; to have those, pass ``mle_labels`` to `fit`). The best state on validation
    tissues is kept and chooses among the initial weights, which follows the paper (the published
    code: the last state, and a fixed choice). Patience counts the validation loss (published: the
    training loss). Outputs are in units of the loss scales.

    References
    ----------
    Epstein et al., arXiv 2205.05587; MELBA 2024:002.

    Examples
    --------
    >>> from sklearn_qmri.published import epstein2022
    >>> epstein2022(alpha=0).network.hidden_layer_sizes
    (10, 10, 10)
    """
    model = IVIM(b_values)
    bounds = {"f": (0.01, 0.5)}
    return HybridLabelNetRegressor(
        model,
        alpha=alpha,
        sigma=sigma,
        label_estimator=MLEEstimator(model, sigma=sigma, bounds=bounds, verbose=verbose),
        param_scale=(1.0, 0.3, 1.7, 80.0),
        network=MLP((len(b_values),) * 3, activation="elu", output="abs", standardize=False),
        max_epochs=187,
        training=Training(
            1e-3,
            batch_size=100,
            schedule="constant",
            weight_decay=0.0,
            patience=37,
            n_init=n_init,
        ),
        resample_noise=False,
        random_state=random_state,
        verbose=verbose,
    )


def bertleff2017(b_values, *, sigma=None, random_state=None, verbose=0):
    """Supervised network of Bertleff et al. for the combined IVIM and kurtosis model.

    The labels are true parameters. Network, training and protocol are this package's defaults,
    because only the abstract was available, which does not describe them.

    Parameters
    ----------
    b_values : array-like of shape (n_measurements,)
        s/mm^2; some must be 1000 or more, for the kurtosis.
    sigma : float, default=None
        Noise level. None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    HybridLabelNetRegressor
        Network for ``IVIMKurtosis(b_values)``, with alpha = 0.

    References
    ----------
    Bertleff et al., NMR Biomed 2017;30:e3833.

    Examples
    --------
    >>> from sklearn_qmri.published import bertleff2017
    >>> bertleff2017([0, 20, 50, 100, 400, 1000, 1500, 2000]).alpha
    0.0
    """
    return HybridLabelNetRegressor(
        IVIMKurtosis(b_values),
        alpha=0.0,
        sigma=sigma,
        resample_noise=True,
        random_state=random_state,
        verbose=verbose,
    )
