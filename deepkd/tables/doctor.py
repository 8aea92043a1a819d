"""The findings of `deepkd doctor` as one table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from deepkd.tables.table import Column, Table, print_table

if TYPE_CHECKING:
    from deepkd.doctor import Check

GOOD, BROKEN, ABSENT = "[green]ok[/]", "[bold red]FAILED[/]", "[yellow]absent[/]"


def doctor_table(checks: "Sequence[Check]") -> Table:
    """A line per check; what fails is FAILED where detection needs it, else absent."""
    columns = [
        Column("", is_words=True, is_left=True),
        Column("what", is_words=True, is_left=True),
        Column("state", Text.from_markup, is_words=True, is_left=True),
        Column("detail", is_words=True, is_left=True),
    ]
    rows: list[Sequence[str] | None] = []
    group = ""
    for check in checks:
        is_first = check.group != group
        if is_first and rows:
            rows.append(None)
        state = GOOD if check.ok else BROKEN if check.needed else ABSENT
        rows.append((check.group if is_first else "", check.name, state, check.detail))
        group = check.group
    return Table(columns, rows, title=Text("deepkd doctor", style="italic"), is_stacked=False)


def print_checks(checks: "Sequence[Check]") -> None:
    """The table and a sentence, to standard output."""
    print_table(doctor_table(checks), piped=120)
    failed = [check.name for check in checks if check.needed and not check.ok]
    problem = f"`deepkd detect` cannot work: {', '.join(failed)}."
    Console().print(
        problem if failed else "`deepkd detect` can work here.", markup=False, soft_wrap=True
    )
