"""Stacked networks and their losses: several members of one shape are computed together."""

import torch
from torch import nn
from torch.nn import functional

ACTIVATIONS = {
    "silu": functional.silu,
    "gelu": functional.gelu,
    "elu": functional.elu,
    "relu": torch.relu,
    "tanh": torch.tanh,
}


class Head(nn.Module):
    """Map from the last layer's outputs to parameters, ``low + width * shape(output)``.

    Parameters
    ----------
    shapes : sequence of {"sigmoid", "softplus", "abs", "identity"}
        One shape per parameter. A sigmoid keeps the parameter between low and low + width.
    low, width : array-like of shape (n_parameters,)
    """

    SHAPES = {
        "sigmoid": torch.sigmoid,
        "softplus": functional.softplus,
        "abs": torch.abs,
        "identity": lambda z: z,
    }

    def __init__(self, shapes, low, width):
        super().__init__()
        self.shapes = tuple(shapes)
        self.register_buffer("low", torch.as_tensor(low, dtype=torch.float32))
        self.register_buffer("width", torch.as_tensor(width, dtype=torch.float32))

    def forward(self, z):
        """Map outputs (..., n_parameters) to parameters of the same shape."""
        kinds = set(self.shapes)
        # One call for the whole tensor is faster than one per column.
        if len(kinds) == 1:
            shaped = self.SHAPES[kinds.pop()](z)
        else:
            columns = zip(self.shapes, z.unbind(-1), strict=True)
            shaped = torch.stack([self.SHAPES[kind](column) for kind, column in columns], -1)
        return torch.addcmul(self.low, self.width, shaped)


class HeadPerLabel(nn.Module):
    """Heads of networks trained on different labels, each for an equal number of members."""

    def __init__(self, heads):
        super().__init__()
        self.heads = nn.ModuleList(heads)

    def forward(self, z):
        """Map outputs (n_members, n_rows, n_parameters) to parameters."""
        # Members are ordered by kind of label, as many for each.
        runs = z.chunk(len(self.heads))
        return torch.cat([head(run) for head, run in zip(self.heads, runs, strict=True)])


def make_head(heads):
    """Head from the shape, offset and width of each kind of label."""
    layers = [Head(*head) for head in heads]
    return layers[0] if len(layers) == 1 else HeadPerLabel(layers)


class StackedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the units of each network separately."""

    def __init__(self, n_networks, width):
        super().__init__(n_networks * width)
        self.shape = n_networks, width

    def forward(self, x):
        """Normalise x (n_networks, n_rows, width)."""
        # Units of all networks are channels of one call, (n_rows, n_networks * width).
        flat = super().forward(x.transpose(0, 1).flatten(1))
        return flat.unflatten(1, self.shape).transpose(0, 1)

    def fold(self):
        """Factor and offset (n_networks, 1, width) that are equivalent to it after training."""
        # weight * (x - mean) / sqrt(var + eps) + bias = x * factor + (bias - mean * factor)
        factor = self.weight * (self.running_var + self.eps).rsqrt()
        offset = self.bias - self.running_mean * factor
        return factor.view(self.shape)[:, None], offset.view(self.shape)[:, None]


class StackedMLP(nn.Module):
    """Several multilayer perceptrons of one shape, stacked along a leading axis.

    Parameters
    ----------
    coefs : sequence of tensors of shape (n_networks, n_in, n_out)
    intercepts : sequence of tensors of shape (n_networks, 1, n_out)
    head : Module
    activation : {"silu", "gelu", "elu", "relu", "tanh"}
    n_subnets : int, default=1
        Number of consecutive networks that form one member, each with one parameter as output.
    n_labels : int, default=1
        Number of kinds of label that each network has outputs for.
    batch_norm : bool, default=False
        Whether batch normalisation precedes each activation.
    dropout : float, default=0
        Share of the units dropped in training, after every hidden layer but the last.
    generator : torch.Generator, default=None
        Source of the random choice of dropped units.
    """

    def __init__(
        self,
        coefs,
        intercepts,
        head,
        *,
        activation,
        n_subnets=1,
        n_labels=1,
        batch_norm=False,
        dropout=0.0,
        generator=None,
    ):
        super().__init__()
        self.coefs = nn.ParameterList(coefs)
        self.intercepts = nn.ParameterList(intercepts)
        self.head = head
        self.activation = ACTIVATIONS[activation]
        self.n_subnets = n_subnets
        self.n_labels = n_labels
        self.dropout = dropout
        self.generator = generator
        hidden = coefs[:-1] if batch_norm else []
        self.norms = nn.ModuleList(StackedBatchNorm(len(c), c.shape[2]) for c in hidden)

    def forward(self, x):
        """Map inputs to parameters (n_labels * n_members, n_rows, n_parameters).

        Inputs are (n_rows, n_inputs), the same for all networks, or (n_runs, n_rows, n_inputs),
        each for an equal number of consecutive networks.
        """
        n_networks, last = len(self.coefs[0]), len(self.coefs) - 1
        if x.ndim == 3:
            x = x.repeat_interleave(n_networks // len(x), 0)
        else:
            x = x.expand(n_networks, *x.shape)
        for layer, (coef, intercept) in enumerate(zip(self.coefs, self.intercepts, strict=True)):
            x = torch.baddbmm(intercept, x, coef)
            if layer < last:
                x = self.activation(self.norms[layer](x) if self.norms else x)
                if self.dropout and self.training and layer < last - 1:
                    x = self._drop(x)
        # From (members * subnets, rows, labels * outputs) to (members, subnets, rows, labels,
        # outputs), then to (labels, members, rows, subnets, outputs). The last two axes together
        # are the parameters: either 1 network with all outputs, or one network per parameter.
        x = x.unflatten(0, (-1, self.n_subnets)).unflatten(-1, (self.n_labels, -1))
        return self.head(x.permute(3, 0, 2, 1, 4).flatten(3).flatten(0, 1))

    def _drop(self, x):
        """Drop units at random; the division keeps the expected value of each unit the same."""
        # Drawn where the generator is, on the CPU, so that all devices drop the same units.
        kept = torch.rand(x.shape, generator=self.generator).to(x.device) >= self.dropout
        return x * kept / (1 - self.dropout)

    def weights(self):
        """Coefs and intercepts of each layer, with batch normalisation folded in."""
        coefs = [p.detach().clone() for p in self.coefs]
        intercepts = [p.detach().clone() for p in self.intercepts]
        for layer, norm in enumerate(self.norms):
            # (x @ W + c) * factor + offset = x @ (W * factor) + (c * factor + offset)
            factor, offset = (t.detach() for t in norm.fold())
            coefs[layer] *= factor
            intercepts[layer] = intercepts[layer] * factor + offset
        return coefs, intercepts
