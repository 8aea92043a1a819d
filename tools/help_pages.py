"""Write the options of every command into its page: `python tools/help_pages.py` (`make docs`).

A list is made from the command itself, not from what `--help` prints. Only what lies between the
two marks of a command is replaced; the rest is written by hand. Options that only `--help-all`
shows are named, as are those that another page explains in the same words (`SHARED`). The choices
of an option stand in place of its value.
"""

import argparse
import re
import sys
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import typer

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = {
    "detect": ("detect", "doctor"),
    "serve": ("serve",),
    "scale": ("collect",),
    "extract": ("extract",),
    "forge": ("forge",),
    "train": ("train",),
    "distill": ("distill",),
    "compress": ("prune", "quantize", "export"),
    "evaluate": ("evaluate",),
    "benchmark": ("benchmark",),
}
"""Page of docs/ -> the commands whose options it lists."""
START, END = "<!-- options of {} -->", "<!-- /options of {} -->"
KINDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "FILE"}
SHARED = {
    "distill": "train", "prune": "train",
    "benchmark": "detect", "extract": "detect", "serve": "detect",
}  # fmt: skip
"""Command -> the command whose page explains the options that both have."""
CHOICES = re.compile(r" One of: ([^ ]+(?:, [^ ]+)*)\.(?= \[default|$)")
"""How the help of an option lists what it takes."""


@cache
def commands() -> Mapping[str, Any]:
    """Every command of deepkd by its name."""
    import deepkd.cli.app

    group: Any = typer.main.get_command(deepkd.cli.app.app)
    return group.commands


def options(command: str) -> str:
    """The arguments and options of a command, with their help where no other page has it."""
    other = SHARED.get(command)
    explained = set(entries(other).values()) if other else set()
    own = {name: text for name, text in entries(command).items() if text not in explained}
    lines = list(own.values())
    if shared := [name for name in entries(command) if name not in own]:
        lines.append(f"The same as in [{other}]({other}.md#options): {list_options(shared)}")
    if rare := rare_names(command):
        known = set(rare_names(other)) if other else set()
        named = [name for name in rare if name not in known]
        beside = f", and some of those of [{other}]({other}.md#options)"
        lines.append(
            f"More options, which `deepkd {command} --help-all` explains: {list_options(named)}"
            f"{beside if len(named) < len(rare) else ''}"
        )
    return "\n\n".join(lines)


def rare_names(command: str) -> list[str]:
    """The options that only `--help-all` shows."""
    return [name for item in commands()[command].params if is_rare(item) for name in item.opts]


def entries(command: str) -> dict[str, str]:
    """Name of each argument and option that `--help` shows -> its entry in the list."""
    hints = typing.get_type_hints(commands()[command].callback)
    shown = [item for item in commands()[command].params if not is_rare(item)]
    return {name_of(item): "\n".join(entry(item, hints)) for item in shown}


def is_rare(item: Any) -> bool:
    """Whether only `--help-all` shows an option."""
    return bool(getattr(item, "hidden", False))


def list_options(names: Iterable[str]) -> str:
    """Names of options in one line."""
    return ", ".join(f"`{name}`" for name in names)


def name_of(item: Any) -> str:
    """What a reader calls an argument or option: `SOURCE...` or `--data`."""
    return str(item.opts[0] if item.param_type_name == "option" else format_argument(item))


def format_argument(item: Any) -> str:
    """An argument as the usage line has it."""
    return str(item.metavar or item.name.upper())


def entry(item: Any, hints: dict[str, Any]) -> Iterator[str]:
    """One argument or option, with its help."""
    names = (
        [*item.opts, *item.secondary_opts]
        if item.param_type_name == "option"
        else [format_argument(item)]
    )
    choices, text = split_choices(item)
    takes = (
        ""
        if item.param_type_name == "argument" or is_flag(hints.get(item.name))
        else f" {choices}"
        if choices
        else value_name(item, hints)
    )
    yield f"{', '.join(f'`{name}{takes}`' for name in names)}  "
    yield text


def split_choices(item: Any) -> tuple[str, str]:
    """The choices of an option, such as `cpu|cuda`, or nothing; and its help without them."""
    text = str(item.help).replace("\\[", "[")
    found = CHOICES.search(text)
    if not found:
        return "", text
    return found[1].replace(", ", "|"), text.replace(found[0], "")


def is_flag(hint: Any) -> bool:
    """Whether an option takes no value."""
    return hint is bool or bool in typing.get_args(hint)


def value_name(item: Any, hints: dict[str, Any]) -> str:
    """What follows the option: ` NUMBER`."""
    hint = hints.get(item.name, str)
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return f" {item.metavar or next((KINDS[kind] for kind in kinds if kind in KINDS), 'TEXT')}"


def renew(page: str, command: str) -> str:
    """The page with the list of options of a command made anew.

    Raises:
        SystemExit: the page lacks the marks of the command.
    """
    start, end = START.format(command), END.format(command)
    if page.count(start) != 1 or page.count(end) != 1:
        raise SystemExit(f"the page needs each of the marks {start} and {end} once")
    before, _, rest = page.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}\n{options(command)}\n{end}{after}"


def main() -> None:
    """Write the pages, or with `--check` say which one is out of date."""
    parser = argparse.ArgumentParser(description="Write the options of commands into docs/.")
    parser.add_argument("--check", action="store_true", help="only fail if a page is out of date")
    args = parser.parse_args()
    for name, listed in PAGES.items():
        path = DOCS / f"{name}.md"
        old = new = path.read_text()
        for command in listed:
            new = renew(new, command)
        if args.check and new != old:
            sys.exit(f"{path.name} is out of date; run tools/help_pages.py")
        if not args.check:
            path.write_text(new)


if __name__ == "__main__":
    main()
