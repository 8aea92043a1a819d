"""Tables and JSON on standard output."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

WORD = 24
"""Columns of a terminal that a word takes at most before it is broken; figures never are."""


@dataclass(frozen=True)
class Figures:
    """A table whose figures stay whole: where they do not fit side by side, they stand one below the other."""

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    """Plain text without markup, a cell for each head; the first names the row."""
    title: str = ""
    words: Collection[int] = (0,)
    """Columns of words, which may be broken between two words."""
    left: Collection[int] = (0,)
    """Columns that begin at the left; the others end at the right."""

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """The table, if its figures fit."""
        widths = self._widths(options.max_width - 3 * len(self.heads) - 1)
        if widths:
            yield self._table(widths)
        else:
            yield from self._below()

    def _widths(self, room: int) -> list[int] | None:
        """How wide each column shall be; None where not even the figures fit."""
        columns = list(zip(self.heads, *self.rows, strict=True))
        widths = [self._least(index, column) for index, column in enumerate(columns)]
        spare = room - sum(widths)
        if spare < 0:
            return None
        for index, column in enumerate(columns):
            longest = max(cell_len(line) for cell in column for line in cell.split("\n"))
            more = max(0, min(longest - widths[index], spare))
            widths[index], spare = widths[index] + more, spare - more
        return widths

    def _least(self, index: int, column: Sequence[str]) -> int:
        words = [
            word
            for cell in (column if index in self.words else column[:1])
            for word in cell.split()
        ]
        figures = [] if index in self.words else column[1:]
        return max(
            [min(cell_len(word), WORD) for word in words] + [cell_len(cell) for cell in figures],
            default=0,
        )

    def _table(self, widths: Sequence[int]) -> Table:
        table = Table(title=Text(self.title) if self.title else None, title_justify="left")
        for index, (head, width) in enumerate(zip(self.heads, widths, strict=True)):
            side = "left" if index in self.left else "right"
            table.add_column(Text(head), justify=side, width=width, overflow="fold")  # type: ignore[arg-type]
        for row in self.rows:
            table.add_row(*map(Text, row))
        return table

    def _below(self) -> list[RenderableType]:
        """Each row's name, and below it the heads with its figures."""
        parts: list[RenderableType] = [Text(self.title, style="italic")] if self.title else []
        for name, *cells in self.rows:
            lines = Table.grid(padding=(0, 2))
            lines.add_column(overflow="fold")
            lines.add_column(overflow="fold")
            for head, cell in zip(self.heads[1:], cells, strict=True):
                if cell:
                    lines.add_row(Text(head.replace("\n", ", ")), Text(cell))
            parts += [Text(name, style="bold"), Padding(lines, (0, 0, 0, 2), expand=False)]
        return parts


def print_table(content: RenderableType, *, piped: int = 160) -> None:
    """Print at the terminal's width; into a pipe or file `piped` columns wide, whatever the terminal is."""
    console = Console()
    Console(width=None if console.is_terminal else piped).print(content)


def print_json(document: Mapping[str, Any]) -> None:
    """Print a document as indented JSON."""
    print(json.dumps(document, indent=2))
