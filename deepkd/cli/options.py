"""Command-line options whose help, default and choices come from the settings they set."""

import dataclasses
from typing import Any

import typer

from deepkd.config import Config


def setting_option(kind: type[Config], name: str, *flags: str) -> Any:
    """A typer option for the field `name` of `kind`; its default is None, so that a config file shows through."""
    item = next(item for item in dataclasses.fields(kind) if item.name == name)
    choices = item.metadata["choices"]
    help = item.metadata["help"]
    if choices and len(choices) < 12:
        help += f" One of: {', '.join(choices)}."
    default = item.default
    shown = (
        False
        if default is None or default == ()
        else str(default).lower()
        if isinstance(default, bool)
        else str(default)
    )
    return typer.Option(*(flags or (f"--{name.replace('_', '-')}",)), help=help, show_default=shown)
