"""The findings of `deepkd doctor` as one table."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from deepkd.tables.table import print_table

GOOD, BROKEN, ABSENT = "[green]ok[/]", "[bold red]FAILED[/]", "[yellow]absent[/]"


def doctor_table(document: Mapping[str, Any]) -> Table:
    """A line per check; what fails is FAILED where detection needs it, else absent."""
    table = Table(title="deepkd doctor", title_justify="left")
    for column in ("", "what", "state", "detail"):
        table.add_column(column, overflow="fold")
    group = ""
    for check in document["checks"]:
        if check["group"] != group:
            table.add_section()
        state = GOOD if check["ok"] else BROKEN if check["needed"] else ABSENT
        shown = check["group"] if check["group"] != group else ""
        table.add_row(shown, escape(check["name"]), state, escape(check["detail"]))
        group = check["group"]
    return table


def print_checks(document: Mapping[str, Any]) -> None:
    """The table and a sentence, to standard output."""
    print_table(doctor_table(document), piped=120)
    failed = [check["name"] for check in document["checks"] if check["needed"] and not check["ok"]]
    problem = f"`deepkd detect` cannot work: {', '.join(failed)}."
    Console().print(
        "`deepkd detect` can work here." if document["usable"] else problem,
        markup=False,
        soft_wrap=True,
    )
