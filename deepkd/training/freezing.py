"""Freezing: parts of a network that a training does not change."""

from fnmatch import fnmatchcase

from torch import nn

from deepkd.errors import ConfigError
from deepkd.models.names import no_such_module


def freeze(network: nn.Module, names: str) -> list[nn.Module]:
    """Stop the gradients of the modules of these names; in eval mode their statistics stay, too.

    Args:
        network: that they are part of.
        names: of modules, as `named_modules` has them, with commas between; `*` stands for
            anything.

    Raises:
        ConfigError: no module has such a name, or nothing is left to train.
    """
    found = []
    for pattern in filter(None, map(str.strip, names.split(","))):
        matching = [
            module
            for name, module in network.named_modules()
            if name and fnmatchcase(name, pattern)
        ]
        if not matching:
            raise no_such_module(network, pattern, f"freeze={pattern}")
        found += matching
    for module in found:
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"freeze={names}: leaves nothing to train; name fewer modules")
    return found
