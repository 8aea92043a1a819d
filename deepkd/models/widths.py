"""Widths: the channels of a network's layers, to build a pruned network again."""

from torch import nn

from deepkd.errors import ModelError

Widths = dict[str, tuple[int, int]]
"""Module name -> channels (out, in) of each convolution and linear layer, and (channels, channels)
of each norm."""


def widths_of(module: nn.Module) -> Widths:
    """The widths of every layer that has some."""
    found = {name: _width(layer) for name, layer in module.named_modules()}
    return {name: width for name, width in found.items() if width}


def as_lists(widths: Widths) -> dict[str, list[int]]:
    """The widths as JSON has them."""
    return {name: list(width) for name, width in widths.items()}


def _width(layer: nn.Module) -> tuple[int, int] | None:
    """By its tensors: attributes may say what a layer had."""
    if isinstance(layer, nn.Conv2d):
        return layer.weight.shape[0], layer.weight.shape[1] * layer.groups
    if isinstance(layer, nn.Linear):
        return layer.weight.shape[0], layer.weight.shape[1]
    if isinstance(layer, nn.BatchNorm2d):
        channels = len(layer.weight) if layer.affine else layer.num_features
        return channels, channels
    return None


def can_shrink(layer: nn.Conv2d) -> bool:
    """Whether a convolution can have other widths: it is plain or depthwise."""
    return layer.groups == 1 or layer.groups == layer.in_channels == layer.out_channels


def resize(module: nn.Module, widths: Widths) -> None:
    """Give the layers of an untrained network other widths, in place; what they held is lost.

    A convolution with as many groups as channels (depthwise) stays one.

    Raises:
        ModelError: a layer is not there, or has other groups.
    """
    layers = dict(module.named_modules())
    for name, (out, into) in widths.items():
        layer = layers.get(name)
        if layer is None or _width(layer) is None:
            raise ModelError(
                f"widths of a layer '{name}', which this architecture lacks; it is of another model"
            )
        if _width(layer) == (out, into):
            continue
        if isinstance(layer, nn.Conv2d):
            _resize_convolution(name, layer, out, into)
        elif isinstance(layer, nn.Linear):
            layer.out_features, layer.in_features = out, into
            layer.weight = nn.Parameter(layer.weight.new_zeros(out, into))
            layer.bias = None if layer.bias is None else nn.Parameter(layer.bias.new_zeros(out))
        elif isinstance(layer, nn.BatchNorm2d):
            _resize_norm(layer, out)


def _resize_convolution(name: str, layer: nn.Conv2d, out: int, into: int) -> None:
    if not can_shrink(layer):
        raise ModelError(
            f"layer '{name}' has {layer.groups} groups; only plain and depthwise convolutions can"
            " shrink"
        )
    layer.groups = 1 if layer.groups == 1 else into
    layer.out_channels, layer.in_channels = out, into
    layer.weight = nn.Parameter(
        layer.weight.new_zeros(out, into // layer.groups, *layer.kernel_size)
    )
    layer.bias = None if layer.bias is None else nn.Parameter(layer.bias.new_zeros(out))


def _resize_norm(layer: nn.BatchNorm2d, channels: int) -> None:
    layer.num_features = channels
    layer.weight = nn.Parameter(layer.weight.new_ones(channels))
    layer.bias = nn.Parameter(layer.bias.new_zeros(channels))
    for name, value in (("running_mean", 0.0), ("running_var", 1.0)):
        setattr(layer, name, layer.weight.detach().new_full((channels,), value))
