"""Write the options of `deepkd detect` into its page: `python tools/help_pages.py` (or `make docs`).

The list is made from the command itself, not from what `--help` prints, so it depends on no
terminal. The rest of the page is written by hand; only what lies between the two markers is
replaced.
"""

import argparse
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

PAGE = Path(__file__).resolve().parents[1] / "docs" / "detect.md"
START, END = "<!-- options: made by tools/help_pages.py -->", "<!-- /options -->"
KINDS = {int: "NUMBER", float: "NUMBER", str: "TEXT", Path: "FILE"}


def options(command: str) -> str:
    """Every argument and option of a command as a Markdown list, from its own declaration."""
    import deepkd.cli.app

    group: Any = typer.main.get_command(deepkd.cli.app.app)
    hints = typing.get_type_hints(group.commands[command].callback)
    return "\n".join(line for item in group.commands[command].params for line in entry(item, hints))


def entry(item: Any, hints: dict[str, Any]) -> Iterator[str]:
    """One argument or option, with its help."""
    names = (
        [*item.opts, *item.secondary_opts] if item.param_type_name == "option" else [item.metavar]
    )
    takes = (
        ""
        if item.param_type_name == "argument" or is_flag(hints.get(item.name))
        else value_name(item, hints)
    )
    yield f"- {', '.join(f'`{name}{takes}`' for name in names)}  "
    yield f"  {item.help}".replace("\\[", "[")


def is_flag(hint: Any) -> bool:
    """Whether an option takes no value."""
    return hint is bool or bool in typing.get_args(hint)


def value_name(item: Any, hints: dict[str, Any]) -> str:
    """What follows the option: ` NUMBER`."""
    hint = hints.get(item.name, str)
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    return f" {item.metavar or next((KINDS[kind] for kind in kinds if kind in KINDS), 'TEXT')}"


def renewed(page: str) -> str:
    """The page with its list of options made anew."""
    before, _, rest = page.partition(START)
    _, _, after = rest.partition(END)
    return f"{before}{START}\n{options('detect')}\n{END}{after}"


def main() -> None:
    """Write the page, or with `--check` say whether it is current."""
    parser = argparse.ArgumentParser(
        description="Write the options of `deepkd detect` into docs/detect.md."
    )
    parser.add_argument(
        "--check", action="store_true", help="only fail where the page is not current"
    )
    args = parser.parse_args()
    page = PAGE.read_text()
    if args.check and renewed(page) != page:
        sys.exit(f"{PAGE.name} is not current; run tools/help_pages.py")
    if not args.check:
        PAGE.write_text(renewed(page))


if __name__ == "__main__":
    main()
