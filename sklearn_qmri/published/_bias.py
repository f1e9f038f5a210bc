"""Networks trained on bias and variance, or on errors over the Cramer-Rao bound."""

from .._network import MLP, Training
from ..estimators import BiasConstrainedNetRegressor

# Hidden layers around the one as wide as the inputs.
_MAO_LAYERS = (256, 512, 1024, 768, 512, 384, 256, 128), (32,)
_ZHANG_LAYERS = (128, 256, 512, 1024, 768, 640, 512, 384, 256, 192, 128), (10, 6)


def diskin2023(
    signal_model, *, lambda_=1000.0, n_repeats=100, sigma=None, random_state=None, verbose=0
):
    """Bias-constrained network of Diskin, Eldar and Wiesel, for one penalty of the bias.

    The loss is the mean squared error plus lambda times the squared bias over M noise repeats of
    each tissue. With variance v and bias b it is ``v + (1 + lambda) b^2``: the weight of the
    squared bias is 1 + lambda.

    Settings are those of the authors' code for their estimator of signal-to-noise ratios
    (github.com/tzvid/BCE, commit 6f1ac79, SNR_estimation): one hidden layer of 50, ReLU, linear
    output, Adam at 2e-5, 10 tissues with M = 100 repeats in each of 300,000 steps, errors in the
    same units for all tissues, 0.001 for the mean squared error and 1 for the squared bias (lambda
    = 1000), inputs divided by their root mean square. There is no published network for MRI.
    Settings in the text of the paper: ?.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    lambda_ : float, default=1000.0
        Penalty of the squared bias.
    n_repeats : int, default=100
        Noise repeats M of each tissue in a step. A step has 10 tissues.
    sigma : float, default=None
        Noise level. None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    BiasConstrainedNetRegressor
        Network for `signal_model`, with ``bias_weight = 1 + lambda_``. With 125,000 tissues, a
        fifth of which are held out, its 30 epochs are the published 300,000 steps.

    Notes
    -----
    Deviations: the squared bias has an unbiased estimate. The published one is the squared mean of
    M errors, whose expectation is ``b^2 + v / M``. The expected published loss is thus ``(1 +
    lambda / M) v + (1 + lambda) b^2``, with a weight of ``(1 + lambda) / (1 + lambda / M)``: 91
    with the published settings, and never more than about M. To have that, pass ``lambda_=90``.

    The learning rate is constant (published: a tenth after 40,000 steps). The tissues are those of
    y (published: fresh ones in each step). The state with the best loss on held-out tissues is kept
    (published: the last). Inputs are the signals (published: six of their moments). Parameters are
    made comparable by the mean of their information bounds (published: one parameter).

    References
    ----------
    Diskin, Eldar, Wiesel, IEEE Trans Signal Process 2023;71:2162 (arXiv 2110.12403).

    Examples
    --------
    >>> from sklearn_qmri.published import diskin2023
    >>> from sklearn_qmri.signal_models import IVIM
    >>> diskin2023(IVIM([0, 10, 50, 100, 400, 800]), lambda_=9).bias_weight
    10
    """
    return BiasConstrainedNetRegressor(
        signal_model,
        bias_weight=1 + lambda_,
        max_bias_weight=None,
        n_repeats=n_repeats,
        loss_weight=None,
        sigma=sigma,
        normalize="rms",
        network=MLP((50,), activation="relu", standardize=False),
        max_epochs=30,
        training=Training(2e-5, batch_size=10 * n_repeats, schedule="constant"),
        random_state=random_state,
        verbose=verbose,
    )


def mao2024(signal_model, *, sigma=None, random_state=None, verbose=0):
    """Bias-reduced network of Mao, Flassbeck and Asslander.

    The loss is the squared bias plus lambda times the variance beyond delta, both over the
    Cramer-Rao bound of the tissue: ``b^2 + lambda max(v - delta, 0)``. With delta = 1 a variance up
    to the bound costs nothing.

    Settings are those of the authors' code (github.com/andrewwmao/BiasReducedNetworks, commit
    e4c7d3d, train.sh): lambda = delta = 1, 200 noise repeats, 256 tissues in a step, learning rate
    of 1e-3, 500 epochs, a fifth of the tissues held out, ten hidden layers with ReLU and batch
    normalisation (256, 512, 1024, 768, 512, 384, 256, 128, as many as inputs, 32). Settings in the
    text of the paper: ?.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    sigma : float, default=None
        Noise level. None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    BiasConstrainedNetRegressor
        Network for `signal_model`, with ``loss_weight="cramer_rao"``, ``free_variance=1`` (delta)
        and ``bias_weight=1`` (1 / lambda). Published: 184,320 tissues, each with a signal-to-noise
        ratio between 10 and 50, which `fit` takes as one sigma per row.

    Notes
    -----
    Deviations: the squared bias has an unbiased estimate (published: with 1 / 200 of the variance
    in it), and the sum of squares in the variance is divided by 199 (published: by 200). All
    parameters have a share in the loss, amplitudes too (published: 6 of 8, no amplitude). Tissues
    in which a parameter is not identified do not count for it.

    There are no skip connections (published: around three groups of layers). The output is linear
    (published: clipped to wide ranges). Inputs are divided by their root mean square (published:
    complex coefficients, divided by the first). The optimiser is Adam (published: rectified Adam).
    Training starts from random weights (published: from a network trained for 500 epochs on the
    squared error over the bound). Noise is fresh in each epoch (published: drawn with the same seed
    in each). The state with the best loss on held-out tissues is kept (published: the last).

    References
    ----------
    Mao, Flassbeck, Asslander, Magn Reson Med 2024 (arXiv 2312.11468).

    Examples
    --------
    >>> from sklearn_qmri.published import mao2024
    >>> from sklearn_qmri.signal_models import IVIM
    >>> mao2024(IVIM([0, 10, 50, 100, 400, 800])).free_variance
    1.0
    """
    return BiasConstrainedNetRegressor(
        signal_model,
        bias_weight=1.0,
        max_bias_weight=None,
        n_repeats=200,
        loss_weight="cramer_rao",
        free_variance=1.0,
        sigma=sigma,
        normalize="rms",
        network=_deep_network(signal_model, _MAO_LAYERS),
        max_epochs=500,
        training=Training(1e-3, batch_size=256 * 200, schedule="constant", validation_fraction=0.2),
        random_state=random_state,
        verbose=verbose,
    )


def zhang2022(signal_model, *, sigma=None, random_state=None, verbose=0):
    """Network of Zhang et al., trained on squared errors over the Cramer-Rao bound.

    Settings are those of the authors' code (github.com/quentin-duchemin/MRF-CRBLoss, commit
    c949b1d, settings and model "CRB-paper"): Adam, learning rate of 0.01 that falls to 1e-5,
    batches of 1024, 800 epochs, 14 hidden layers with ReLU and batch normalisation (128, 256, 512,
    1024, 768, 640, 512, 384, 256, 192, 128, as many as inputs, 10, 6), linear output. Number of
    training tissues, and settings in the text of the paper: ?.

    Parameters
    ----------
    signal_model : SignalModel
        Signals of tissues without noise.
    sigma : float, default=None
        Noise level. None: learnt.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Returns
    -------
    BiasConstrainedNetRegressor
        Network for `signal_model`, with ``loss_weight="cramer_rao"`` and ``bias_weight=1``, for
        which variance and squared bias add up to the mean squared error. Published: noise of 0.01
        where amplitudes are between 0.1 and 1.

    Notes
    -----
    Deviations: a step has 512 tissues with two noise repeats (published: 1024 with one). The
    learning rate rises first, and then falls smoothly (published: half as much after every 40
    epochs). All parameters have a share in the loss, amplitudes too (published: a pool size, T1 and
    T2). Tissues in which a parameter is not identified do not count for it. There are no skip
    connections (published: around four groups of layers). Inputs are divided by their root mean
    square (published: 13 complex coefficients, normalised together). The state with the best loss
    on held-out tissues is kept (published: the last).

    References
    ----------
    Zhang et al., Magn Reson Med 2022;88:436 (arXiv 2109.10535).

    Examples
    --------
    >>> from sklearn_qmri.published import zhang2022
    >>> from sklearn_qmri.signal_models import IVIM
    >>> zhang2022(IVIM([0, 10, 50, 100, 400, 800])).loss_weight
    'cramer_rao'
    """
    return BiasConstrainedNetRegressor(
        signal_model,
        bias_weight=1.0,
        max_bias_weight=None,
        n_repeats=2,
        loss_weight="cramer_rao",
        sigma=sigma,
        normalize="rms",
        network=_deep_network(signal_model, _ZHANG_LAYERS),
        max_epochs=800,
        training=Training(1e-2, batch_size=1024),
        random_state=random_state,
        verbose=verbose,
    )


def _deep_network(signal_model, layers):
    """Network with batch normalisation, one hidden layer of which is as wide as the inputs."""
    before, after = layers
    sizes = (*before, signal_model.n_measurements, *after)
    return MLP(sizes, activation="relu", standardize=False, batch_norm=True)
