"""Settings of networks: one value object for the architecture, and one for the training."""

from numbers import Integral, Real

from sklearn.utils._param_validation import Interval, StrOptions, validate_parameter_constraints

from .._value import Value
from ._modules import ACTIVATIONS, Head

_AT_LEAST_1 = Interval(Integral, 1, None, closed="left")


class MLP(Value):
    """Architecture of a multilayer perceptron.

    Parameters
    ----------
    hidden_layer_sizes : tuple of int, default=(64, 64, 64)
        Number of units of each hidden layer, in order from the input.
    activation : {"silu", "gelu", "elu", "relu", "tanh"}, default="silu"
        Activation of the hidden units.
    output : {"auto", "sigmoid", "softplus", "abs", "identity"}, default="auto"
        Shape of the last layer. "auto": the estimator chooses one for each parameter.
    standardize : bool, default=True
        Whether inputs are whitened by the principal components of the training rows.
    parallel_subnets : bool, default=False
        Whether each parameter has a network of its own with these hidden layers, instead of one
        network for all parameters.
    dropout : float, default=0.0
        Share of the units dropped in training, after every hidden layer but the last.
    batch_norm : bool, default=False
        Whether each hidden layer is normalised over the batch before its activation.

    See Also
    --------
    Training : The settings of the training.

    Examples
    --------
    >>> from sklearn_qmri import MLP
    >>> MLP((32, 32), activation="elu").get_params()["activation"]
    'elu'
    """

    def __init__(
        self,
        hidden_layer_sizes=(64, 64, 64),
        *,
        activation="silu",
        output="auto",
        standardize=True,
        parallel_subnets=False,
        dropout=0.0,
        batch_norm=False,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output = output
        self.standardize = standardize
        self.parallel_subnets = parallel_subnets
        self.dropout = dropout
        self.batch_norm = batch_norm

    _constraints = {
        "hidden_layer_sizes": [tuple, list],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output": [StrOptions({"auto", *Head.SHAPES})],
        "standardize": ["boolean"],
        "parallel_subnets": ["boolean"],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
    }

    def validate(self):
        """Check the settings.

        Raises
        ------
        ValueError
            For the first setting that is out of range.
        """
        validate_parameter_constraints(self._constraints, self.get_params(), type(self).__name__)
        if not all(isinstance(n, Integral) and n >= 1 for n in self.hidden_layer_sizes):
            raise ValueError(
                f"hidden_layer_sizes expects positive integers, got {self.hidden_layer_sizes!r}."
            )


class Training(Value):
    """Settings of a network's training by Adam, except for its length.

    Parameters
    ----------
    lr : float, default=None
        Learning rate at its peak. None: 0.02, or 0.01 for training on bias and variance.
    batch_size : int, default=None
        Rows per step. None: 1000, or fewer if an epoch would otherwise have fewer than 20 steps,
        but at least 16.
    schedule : {"onecycle", "constant"}, default="onecycle"
        Schedule of the learning rate.
    weight_decay : float, default=None
        L2 penalty of all weights, as defined by Adam. None: 0 for training on labels; for training
        on signals alone it depends on the noise, see `SelfSupervisedNetRegressor`.
    patience : int, default=None
        Stop after this many epochs without a better validation loss. None: never.
    validation_fraction : float, default=0.2
        Share of the tissues (distinct rows of y) held out to choose the best epoch and network.
    n_init : int, default=1
        Number of networks trained together from different initial weights. The one with the least
        validation loss predicts.
    ensemble : bool, default=False
        Whether to predict the mean of all `n_init` networks instead.
    device : str, default="cpu"
        Device that torch trains on. A trained network predicts on the CPU.

    See Also
    --------
    MLP : The settings of the architecture.

    Examples
    --------
    >>> from sklearn_qmri import Training
    >>> Training(n_init=4, ensemble=True).lr is None
    True
    """

    def __init__(
        self,
        lr=None,
        *,
        batch_size=None,
        schedule="onecycle",
        weight_decay=None,
        patience=None,
        validation_fraction=0.2,
        n_init=1,
        ensemble=False,
        device="cpu",
    ):
        self.lr = lr
        self.batch_size = batch_size
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.n_init = n_init
        self.ensemble = ensemble
        self.device = device

    _constraints = {
        "lr": [Interval(Real, 0, None, closed="neither"), None],
        "batch_size": [_AT_LEAST_1, None],
        "schedule": [StrOptions({"onecycle", "constant"})],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "patience": [_AT_LEAST_1, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_init": [_AT_LEAST_1],
        "ensemble": ["boolean"],
        "device": [str],
    }

    def validate(self):
        """Check the settings.

        Raises
        ------
        ValueError
            For the first setting that is out of range.
        """
        validate_parameter_constraints(self._constraints, self.get_params(), type(self).__name__)

    def rows_per_step(self, n_rows):
        """Compute the batch size for a number of training rows.

        Parameters
        ----------
        n_rows : int
            Number of training rows.

        Returns
        -------
        int
            Batch size that is set, or the default for so many rows.
        """
        # Small sets get smaller batches, so that an epoch still has about 20 steps.
        return int(self.batch_size or min(max(n_rows // 20, 16), 1000))
