"""Freezing: parts of a network that a training leaves as they are."""

import difflib
from fnmatch import fnmatchcase

from torch import nn

from deepkd.errors import ConfigError


def freeze(network: nn.Module, names: str) -> list[nn.Module]:
    """The modules of these names, which take no gradient from now on; in eval mode their statistics stay, too.

    Args:
        network: that they are part of.
        names: of modules, as `named_modules` has them, with commas between; `*` stands for anything.

    Raises:
        ConfigError: no module has such a name, or nothing is left to train.
    """
    modules = {name: module for name, module in network.named_modules() if name}
    found = []
    for pattern in filter(None, map(str.strip, names.split(","))):
        matching = [module for name, module in modules.items() if fnmatchcase(name, pattern)]
        if not matching:
            close = difflib.get_close_matches(pattern, modules, n=8, cutoff=0.3) or list(modules)[:8]
            raise ConfigError(f"freeze={pattern}: no such module; it has {', '.join(close)}, ...")
        found += matching
    for module in found:
        module.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ConfigError(f"freeze={names}: leaves nothing to train; name fewer modules")
    return found
