"""Command-line options whose help, default and choices come from the settings they set."""

import copy
import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from deepkd.config import Config
from deepkd.errors import UsageError

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        help="Settings: a TOML file, or the .config.json beside a result.",
    ),
]


def make_option(kind: type[Config], name: str, *flags: str) -> Any:
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
        hidden=item.metadata["rare"],
        show_default=False,
        autocompletion=(lambda: list(choices)) if choices else None,
    )


def _list_options(kind: type[Config]) -> list[inspect.Parameter]:
    """One parameter per setting of `kind`; its own come before those that it inherits."""
    hints = typing.get_type_hints(kind)
    settings = [item for item in dataclasses.fields(kind) if not item.metadata["table"]]
    settings.sort(key=lambda item: item.name not in kind.__annotations__)
    return [
        inspect.Parameter(
            item.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[hints[item.name] | None, make_option(kind, item.name)],
        )
        for item in settings
    ]


def takes_settings(kind: type[Config]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command one option per setting of `kind`, in place of its `**settings`."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        options = _list_options(kind)
        signature = inspect.signature(command, eval_str=True)
        own = [
            p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD
        ]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            command(**values)

        run.__signature__ = signature.replace(parameters=[*own, *options])  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in [*own, *options]}
        return run

    return decorate


def check_format(format: str, known: Iterable[str]) -> None:
    """Refuse an unknown output format.

    Raises:
        UsageError: it is none of `known`.
    """
    if format not in known:
        raise UsageError(f"unknown format '{format}'; choose from {', '.join(known)}")


class Command(TyperCommand):
    """A command whose `--help` leaves out hidden options; its `--help-all` shows all of them."""

    def __init__(self, name: str | None, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._help_all = TyperOption(
            param_decls=["--help-all"],
            help="Show every option and exit.",
            is_flag=True,
            is_eager=True,
            expose_value=False,
            hidden=True,
            callback=self._print_all,
        )
        if count := sum(option.hidden for option in self.params if isinstance(option, TyperOption)):
            self.epilog = f"{count} more options: deepkd {name} --help-all"

    def get_params(self, ctx: Any) -> list[Any]:
        """The options of the command, then `--help-all`."""
        return [*super().get_params(ctx), self._help_all]

    def _print_all(self, ctx: Any, option: Any, asked: bool) -> None:
        """Print the help with the hidden options, and exit."""
        if not asked:
            return
        whole = copy.copy(self)
        whole.epilog = None
        whole.params = [_show(option) for option in self.params]
        whole._help_all = _show(self._help_all)
        typer.echo(whole.get_help(ctx))
        raise typer.Exit


def _show(option: Any) -> Any:
    """A copy of an argument or option that help shows."""
    shown = copy.copy(option)
    shown.hidden = False
    return shown
