"""The network on bias and variance."""

from numbers import Integral, Real
from typing import ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._bias_constrained_training import check_bias_weight, network_at, train_on_bias
from ._net import NETWORK, NetworkRegressorMixin, check_training, estimate_by, predict_by
from ._regressor import all_or_nothing


class BiasConstrainedMixin(NetworkRegressorMixin):
    """`estimate` and `predict` with a weight of the squared bias, which is chosen after `fit`."""

    def estimate(self, X, *, sigma=None, fixed=None, return_std=False, bias_weight=None):
        """Predictions with what is known about each of them.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level. None: the one of `fit`.
        fixed : None
            Known parameters are refused; `MLEEstimator` takes them.
        return_std : bool, default=False
            Whether to return `std` too, the standard deviation over the members of an ensemble.
        bias_weight : float or array-like of shape (n_parameters,), default=None
            Weight of the squared bias. None: the parameter of the same name.

        Returns
        -------
        Bunch
            Same as that of `HybridLabelNetRegressor.estimate`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        ValueError
            If X, sigma or the weight do not fit the training, no noise level is known for these
            rows, `fixed` is given, or `return_std` is True without an ensemble.
        """
        return estimate_by(self, self._network_at(bias_weight), X, sigma, fixed, return_std)

    def predict(self, X, *, sigma=None, fixed=None, return_std=False, bias_weight=None):
        """Predict tissue parameters.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Noise level. None: the one of `fit`.
        fixed : None
            Refused, see `estimate`.
        return_std : bool, default=False
            Whether to return the standard deviation of an ensemble too, see `estimate`.
        bias_weight : float or array-like of shape (n_parameters,), default=None
            Weight of the squared bias. None: the parameter of the same name.

        Returns
        -------
        parameters : ndarray of shape (n_voxels, n_parameters) or (n_voxels,)
            NaN for rows that are not possible measurements.
        std : ndarray of the same shape
            Only with `return_std`.

        Raises
        ------
        NotFittedError, ValueError
            Same as `estimate`.
        """
        return predict_by(self, self._network_at(bias_weight), X, sigma, fixed, return_std)

    def _network_at(self, bias_weight):
        """The network at given weights, or at those of the estimator."""
        check_is_fitted(self)
        weight = self._usual_weight if bias_weight is None else bias_weight
        largest = self.max_bias_weight_
        weight = check_bias_weight(weight, self.network_.n_parameters, largest)
        if largest is not None:
            return network_at(self.network_, weight, largest)
        if (weight != self.trained_bias_weight_).any():
            raise ValueError(
                f"bias_weight expects {self.trained_bias_weight_.tolist()}, for which alone the "
                f"network was trained (max_bias_weight=None), got {weight.tolist()}."
            )
        return self.network_


class BiasConstrainedNetRegressor(BiasConstrainedMixin, BaseEstimator):
    """Network with the least variance + w * squared bias, for any weight w after one training.

    The mean over a region of n voxels of the same tissue has the squared error ``bias^2 +
    variance / n``. It is least at w = n: choose w as the number of voxels that will be averaged.
    At w = 1 and ``loss_weight=None`` the network predicts the mean of the posterior. The larger w
    is, the less predictions are drawn towards the training tissues.

    Bias and variance are those over noise repeats of each training tissue. With a signal model,
    fresh repeats of the tissues in y are simulated in every step of the training. Without one, y
    needs repeats. The weight is an input of the network: after `fit`, ``set_params(bias_weight=w)``
    or ``predict(X, bias_weight=w)`` change the predictions without a training.

    Parameters
    ----------
    signal_model : SignalModel, default=None
        None: signals linear in the parameters with Gaussian noise, estimated from X and y; y then
        needs noise repeats.
    bias_weight : float or array-like of shape (n_parameters,), default=10.0
        Weight w of the squared bias, in [1, max_bias_weight]: about the number of voxels that are
        averaged.
    max_bias_weight : float, default=30.0
        Largest weight that the network is trained for. None: it is trained for `bias_weight` alone.
    n_repeats : int, default=None
        Noise repeats of each tissue in a step of the training. Without a signal model, at most as
        many as each tissue in y has. None: 2 with a signal model, where a control variate tells the
        bias from few (see the notes), else 4.
    loss_weight : float in [0, 1], {"information", "cramer_rao"} or None, default=0.1
        Weight of a tissue in the loss. "information": the squared errors of each parameter are
        divided by the variance that the tissue's Fisher information allows, together with the
        spread of the training tissues. Tissues in which a parameter cannot be known then do not
        rule the training. None: all tissues have the same weight, so that the average error over
        the training tissues is minimised. A number is a power of that variance: 0 is the same as
        None, and 1 as "information". The default is nearly as good as None on a narrow range of
        tissues, and as larger powers on a wide one.
        "cramer_rao": the same as "information" without the spread of the training tissues.
    free_variance : float, default=0.0
        Part of the variance that costs nothing, in units of the variance that errors are divided by
        (`loss_weight`). 1 with "cramer_rao": variances up to the Cramer-Rao bound. It needs many
        repeats, as estimated variances exceed the limit by chance.
    noise : {"auto", "gaussian", "rician"} or NoiseModel, default="auto"
        "auto" is the signal model's own: Rician for magnitude data, else Gaussian.
    sigma : float or array-like of shape (1, n_measurements), default=None
        Standard deviation of the Gaussian noise per channel, in the units of X. None: learnt in
        `fit`, from X and the noise-free signals of y.
    normalize : {None, "rms"}, default=None
        "rms": the network sees each row divided by its root mean square, and amplitudes are scaled
        back, same as in `HybridLabelNetRegressor`.
    sigma_input : bool, default=False
        Whether log(sigma / root mean square of the row) is one more input of the network.
    network : MLP, default=None
        Architecture. None: ``MLP()``. Its ``output="auto"`` is linear: predictions may leave the
        range of possible values, without which they could not be unbiased near its ends. Clipping
        them brings bias back.
    max_epochs : int, default=160
        Length of the training, in passes over the tissues.
    training : Training, default=None
        Settings of the training. None: ``Training()``.
    random_state : int, RandomState instance or None, default=None
        An integer gives the same result every time.
    verbose : int, default=0
        Positive: show progress.

    Attributes
    ----------
    signal_model_ : SignalModel
    noise_ : NoiseModel
    sigma_ : float or None
        Noise level: as given, or as learnt; None if `fit` got one per row.
    max_bias_weight_ : float or None
        Largest weight that the network has been trained for; None if for one alone.
    trained_bias_weight_ : ndarray of shape (n_parameters,) or None
        That one.
    network_ : FittedNetwork
        The trained network: its weights `coefs` and `intercepts`, and `history`, the training and
        validation losses of each epoch and member. Its last inputs are the weights of the bias.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Set if X has column names.

    See Also
    --------
    BiasConstrainedNetRegressorCV : Chooses the weight of each parameter by a rule.
    HybridLabelNetRegressor : Trades variance for bias by the label that it is trained on.

    Notes
    -----
    With r repeats of a tissue, the variance v of its predictions has the unbiased estimate s^2,
    and its squared bias the unbiased estimate m^2 - s^2 / r, with m the mean error. The loss is
    the mean of ``s^2 + w * (m^2 - s^2 / r)`` over tissues and parameters, over sqrt(w). In each
    step, w is drawn for every tissue and parameter, uniformly on a logarithmic axis from 1/2 to
    twice `max_bias_weight`: networks are worse at the ends of their range.

    In m, errors are reduced by a control variate that is 0 on average, the inverse information of
    the tissue times the score of the noise repeat, so that few repeats tell the bias.

    The trade of bias for variance is the best on average over the training tissues, not for each of
    them. Bias is larger near the ends of their range, and nothing is promised beyond.

    References
    ----------
    Diskin, Eldar, Wiesel, IEEE Trans Signal Process 2023;71:2162, train for one weight of the bias.
    Mao, Flassbeck, Asslander, arXiv 2312.11468, divide errors by the Cramer-Rao bound.

    Examples
    --------
    >>> from sklearn_qmri import BiasConstrainedNetRegressor
    >>> from sklearn_qmri.datasets import make_signals
    >>> from sklearn_qmri.signal_models import IVIM
    >>> model = IVIM([0, 10, 20, 30, 50, 80, 100, 200, 400, 800])
    >>> X, y = make_signals(model, 1000, snr=30, random_state=0)
    >>> net = BiasConstrainedNetRegressor(model, sigma=1 / 30, max_epochs=5, random_state=0)
    >>> net.fit(X, y).predict(X, bias_weight=30).shape
    (1000, 4)
    """

    _parameter_constraints: ClassVar = {
        **NETWORK,
        "max_bias_weight": [Interval(Real, 1, None, closed="neither"), None],
        "n_repeats": [Interval(Integral, 2, None, closed="left"), None],
        "loss_weight": [
            StrOptions({"information", "cramer_rao"}),
            Interval(Real, 0, 1, closed="both"),
            None,
        ],  # fmt: skip
        "free_variance": [Interval(Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        signal_model=None,
        *,
        bias_weight=10.0,
        max_bias_weight=30.0,
        n_repeats=None,
        loss_weight=0.1,
        free_variance=0.0,
        noise="auto",
        sigma=None,
        normalize=None,
        sigma_input=False,
        network=None,
        max_epochs=160,
        training=None,
        random_state=None,
        verbose=0,
    ):
        self.signal_model = signal_model
        self.bias_weight = bias_weight
        self.max_bias_weight = max_bias_weight
        self.n_repeats = n_repeats
        self.loss_weight = loss_weight
        self.free_variance = free_variance
        self.noise = noise
        self.sigma = sigma
        self.normalize = normalize
        self.sigma_input = sigma_input
        self.network = network
        self.max_epochs = max_epochs
        self.training = training
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    def fit(self, X, y=None, *, sigma=None):
        """Train on tissues, at all weights of the bias at once.

        Parameters
        ----------
        X : array-like of shape (n_voxels, n_measurements)
            Signals, a voxel per row.
        y : array-like of shape (n_voxels, n_parameters) or (n_voxels,)
            True parameters. Rows with identical values are noise repeats of one tissue.
        sigma : float or array-like of shape (n_voxels,) or (1 or n_voxels, n_measurements)
            Takes precedence over the parameter of the same name. Repeats of one tissue have one
            noise level.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If an argument or parameter is out of range, no row is usable, or y has no repeats and
            there is no signal model.
        RuntimeError
            If the training diverges.
        """
        rows = check_training(self, self, X, y, sigma)
        weight = check_bias_weight(self.bias_weight, rows.y.shape[1], self.max_bias_weight)
        self.network_ = train_on_bias(self, self.signal_model_, self.noise_, rows)
        self.max_bias_weight_ = self.max_bias_weight
        self.trained_bias_weight_ = weight if self.max_bias_weight is None else None
        return self

    @property
    def _usual_weight(self):
        """Weight of predictions for which no other is given."""
        return self.bias_weight
