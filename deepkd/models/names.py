"""Modules of a network by name."""

import difflib

from torch import nn

from deepkd.errors import ConfigError


def no_such_module(network: nn.Module, name: str, what: str) -> ConfigError:
    """The error for a module that a network lacks, with the closest names; `what` names it."""
    names = [name for name, _ in network.named_modules() if name]
    close = difflib.get_close_matches(name, names, n=8, cutoff=0.3) or names[:8]
    return ConfigError(f"{what}: no such module; it has {', '.join(close)}, ...")
