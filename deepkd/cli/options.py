"""Command-line options whose help, default and choices come from the settings they set."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.config import Config

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="TOML file with these settings, or the .config.json that lies beside a result.",
    ),
]


def setting_option(kind: type[Config], name: str, *flags: str) -> Any:
    """A typer option for the field `name` of `kind`; its default None means not given.

    The flag is the name without its unit: `timeout_s` is set by `--timeout`.
    """
    item = next(item for item in dataclasses.fields(kind) if item.name == name)
    choices = item.metadata["choices"]
    help = item.metadata["help"]
    if choices and len(choices) < 12:
        help += f" One of: {', '.join(choices)}."
    if item.default not in (None, (), "") and item.default is not False:
        help += f" \\[default: {item.default}]"
    return typer.Option(
        *(flags or (f"--{name.removesuffix('_s').replace('_', '-')}",)),
        help=help,
        show_default=False,
        autocompletion=(lambda: list(choices)) if choices else None,
    )


def takes_settings(kind: type[Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per setting of `kind`, in place of its `**settings`.

    Its own settings come before those that it shares with other commands.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = typing.get_type_hints(kind)
        options = [
            inspect.Parameter(
                item.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[hints[item.name] | None, setting_option(kind, item.name)],
            )
            for item in sorted(
                dataclasses.fields(kind), key=lambda item: item.name not in kind.__annotations__
            )
            if not item.metadata["table"]
        ]
        signature = inspect.signature(command, eval_str=True)
        own = [
            p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]

        @functools.wraps(command)
        def wrapped(**values: Any) -> None:
            command(**values)

        wrapped.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
        return wrapped

    return decorate
