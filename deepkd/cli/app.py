"""The `deepkd` program: its commands, and each DeepKDError as one line and an exit code."""

import errno
import importlib
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from deepkd import __version__
from deepkd.cli.options import Command
from deepkd.environment import explain_failure
from deepkd.errors import DeepKDError, Interrupted
from deepkd.text import visible

PANELS = {
    "Judge clips": ("detect", "serve", "collect", "doctor"),
    "Make a model": ("extract", "forge", "train", "distill", "prune", "quantize", "export"),
    "Measure it": ("evaluate", "benchmark"),
}
"""Heading in `deepkd --help` -> its commands."""
COMMANDS = {name: panel for panel, names in PANELS.items() for name in names}


UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}
"""What the system answers where standard output takes no more, or is closed."""


class _Group(TyperGroup):
    """The one door where errors become messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except DeepKDError as error:
            _print_error(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as interrupt:
            stop = Interrupted.from_signal(interrupt)
            with suppress(OSError):  # the terminal may be gone
                print(stop, file=sys.stderr)
            raise typer.Exit(stop.exit_code) from None
        except BrokenPipeError:
            _drop_output()  # its reader has gone (`| head`): stop quietly
            raise typer.Exit(1) from None
        except OSError as error:
            _print_error(_describe_os_error(error))
            raise typer.Exit(1) from error
        except Exception as error:
            if not (failure := explain_failure(error)):
                raise
            _print_error(failure)
            raise typer.Exit(1) from error


def _describe_os_error(error: OSError) -> str:
    """What the system refused, or which library does not load."""
    if error.errno is None and (described := explain_failure(error)):
        return described  # what a library says that fails to load another one
    if error.filename is not None:
        return f"{error.filename}: cannot be used ({error.strerror})"
    if error.errno in UNWRITABLE:
        _drop_output()
        return f"standard output cannot be written ({error.strerror})"
    return f"the system refused what this needs ({error.strerror})"


def _drop_output() -> None:
    """Discard what is left for standard output, so that Python ends without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_error(message: str) -> None:
    from rich.console import Console  # slow to import, and most runs print no error
    from rich.markup import escape

    Console(stderr=True, soft_wrap=True).print(
        f"[bold red]error:[/] {escape(visible(message))}", emoji=False
    )


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"deepkd {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Judge whether the faces in a video are forged; train and compress models that do."""


def build(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with these commands; fewer commands start faster."""
    program = typer.Typer(
        cls=_Group,
        name="deepkd",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback()(_root)
    for name in names:
        command = getattr(importlib.import_module(f"deepkd.cli.{name}"), name)
        program.command(
            name,
            cls=Command,
            help=_unwrap(command.__doc__ or ""),
            rich_help_panel=COMMANDS[name],
        )(command)
    return program


def _unwrap(text: str) -> str:
    """A docstring with one line for each paragraph; the terminal wraps lines itself."""
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


@cache
def _whole() -> typer.Typer:
    return build()


def __getattr__(name: str) -> typer.Typer:
    """`app`: the program with all of its commands, made when first asked for."""
    if name == "app":
        return _whole()
    raise AttributeError(name)


def main() -> None:
    """Run the command line."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by who started us
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    asked = sys.argv[1:2]
    (build(asked) if asked and asked[0] in COMMANDS else _whole())()


if __name__ == "__main__":
    main()
