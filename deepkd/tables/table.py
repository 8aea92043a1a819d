"""Tables: rows of figures for the console, CSV and Markdown; documents as JSON."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from rich.box import HEAVY_HEAD, SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from deepkd.documents import Document
from deepkd.outputs import write_whole
from deepkd.text import cell, csv_writer

D = TypeVar("D", bound=Document)
WORD = 24
"""Columns of a terminal that a word takes at most before it is broken; figures never are."""


@dataclass(frozen=True)
class Column:
    """How one figure of every row is shown."""

    title: str = ""
    """For people; a column with a key and no title is in CSV only."""
    format: Callable[[Any], str | Text] = str
    """Value of a row -> what people read."""
    key: str = ""
    """Head in CSV; without one the column is for people only."""
    is_words: bool = False
    """Whether it holds words, which may be broken between two words."""
    is_left: bool = False
    """Whether it begins at the left; others end at the right."""
    min_width: int | None = None
    """Columns of a terminal that it takes at least, and then is never wrapped."""

    @property
    def is_shown(self) -> bool:
        """Whether people see it."""
        return bool(self.title) or not self.key


@dataclass(frozen=True)
class Table:
    """Figures in rows and columns.

    On a console that is too narrow for whole figures side by side, they stand one below the other.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any] | None]
    """A value for each column; None begins a new section."""
    title: str | Text = ""
    caption: str = ""
    notes: Sequence[str] = ()
    """Lines below the table."""
    is_ruled: bool = True
    """Whether lines stand between the columns."""
    is_stacked: bool = True
    """Whether figures stand one below the other where it is narrow; else cells are wrapped."""

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        """The table, and its notes."""
        if not self.is_stacked:
            yield self.rich()
        elif widths := self._widths(options.max_width - 3 * len(self._visible_columns) - 1):
            yield self.rich(widths)
        else:
            yield from self._stack()
        if self.notes:
            yield Text("\n".join(self.notes), style="dim")

    def rich(self, widths: Sequence[int] = ()) -> RichTable:
        """As Rich draws it, with columns of these widths, or of those that Rich finds."""
        table = RichTable(
            title=(Text(self.title) if isinstance(self.title, str) else self.title) or None,
            title_justify="left",
            caption=self.caption or None,
            caption_justify="left",
            box=HEAVY_HEAD if self.is_ruled else SIMPLE_HEAD,
            pad_edge=self.is_ruled,
        )
        for number, (_, column) in enumerate(self._visible_columns):
            table.add_column(
                Text(column.title),
                justify="left" if column.is_left else "right",
                width=widths[number] if widths else None,
                overflow="fold" if widths or column.is_words else "ellipsis",
                min_width=column.min_width,
                no_wrap=column.min_width is not None,
            )
        for row in self.rows:
            if row is None:
                table.add_section()
            else:
                table.add_row(*self._texts(row))
        return table

    def csv(self) -> str:
        """A line per row; an empty cell is no value."""
        text = io.StringIO()
        keyed = [(index, column) for index, column in enumerate(self.columns) if column.key]
        write = csv_writer(text).writerow
        write([column.key for _, column in keyed])
        for row in filter(None, self.rows):
            write([_csv_cell(row[index]) for index, _ in keyed])
        return text.getvalue()

    def markdown(self) -> str:
        """A Markdown table with its notes."""
        columns = [column for _, column in self._visible_columns]
        rule = ["---" if column.is_left else "---:" for column in columns]
        lines = [[text.plain for text in self._texts(row)] for row in filter(None, self.rows)]
        titles = [column.title for column in columns]
        head, *body = (f"| {' | '.join(line)} |" for line in (titles, *lines))
        table = "\n".join([head, f"|{'|'.join(rule)}|", *body])
        return "\n\n".join([table, "\n".join(self.notes)] if self.notes else [table])

    def transpose(self, heads: Iterable[str]) -> "Table":
        """The shown columns as rows, and each row as a column with one of the heads."""
        texts = [self._texts(row) for row in filter(None, self.rows)]
        rows = [
            [column.title, *(row[number] for row in texts)]
            for number, (_, column) in enumerate(self._visible_columns)
        ]
        first = Column("", is_words=True, is_left=True)
        columns = [first, *(Column(head, format=_plain_text) for head in heads)]
        return replace(self, columns=columns, rows=rows)

    @property
    def _visible_columns(self) -> list[tuple[int, Column]]:
        """The columns that people see, with their numbers."""
        return [(index, one) for index, one in enumerate(self.columns) if one.is_shown]

    def _texts(self, row: Sequence[Any]) -> list[Text]:
        shown = [column.format(row[index]) for index, column in self._visible_columns]
        return [Text(one) if isinstance(one, str) else one for one in shown]

    def _widths(self, room: int) -> list[int] | None:
        """How wide each column shall be; None where not even the figures fit."""
        lines = [[text.plain for text in self._texts(row)] for row in filter(None, self.rows)]
        columns = [
            (column, [column.title, *(line[number] for line in lines)])
            for number, (_, column) in enumerate(self._visible_columns)
        ]
        widths = [_least_width(column, cells) for column, cells in columns]
        spare = room - sum(widths)
        if spare < 0:
            return None
        for index, (_, cells) in enumerate(columns):
            longest = max(cell_len(line) for text in cells for line in text.split("\n"))
            more = max(0, min(longest - widths[index], spare))
            widths[index], spare = widths[index] + more, spare - more
        return widths

    def _stack(self) -> list[RenderableType]:
        """Each row's name, and below it the heads with its figures."""
        parts: list[RenderableType] = [Text.assemble(self.title, style="italic")]
        parts = parts if self.title else []
        heads = [column.title.replace("\n", ", ") for _, column in self._visible_columns]
        for row in filter(None, self.rows):
            name, *cells = self._texts(row)
            lines = RichTable.grid(padding=(0, 2))
            lines.add_column(overflow="fold")
            lines.add_column(overflow="fold")
            for head, text in zip(heads[1:], cells, strict=True):
                if text.plain:
                    lines.add_row(Text(head), text)
            parts += [
                Text(name.plain, style="bold"),
                Padding(lines, (0, 0, 0, 2), expand=False),
            ]
        return parts


def _least_width(column: Column, cells: Sequence[str]) -> int:
    """Columns of a terminal below which a word over `WORD` or a figure would be broken."""
    words = [word for text in (cells if column.is_words else cells[:1]) for word in text.split()]
    figures = [] if column.is_words else cells[1:]
    return max(
        [min(cell_len(word), WORD) for word in words] + [cell_len(text) for text in figures],
        default=0,
    )


def _plain_text(text: Text) -> Text:
    return text


def _csv_cell(value: Any) -> Any:
    """Text that a spreadsheet does not run; the parts of a list with spaces between them."""
    value = " ".join(value) if isinstance(value, tuple | list) else value
    return cell(value) if isinstance(value, str) else value


def print_table(content: RenderableType, *, piped: int | None = 160) -> None:
    """Print at the terminal's width; into a pipe or file `piped` columns wide, if given."""
    console = Console()
    Console(width=None if console.is_terminal else piped).print(content)


def print_json(document: Document) -> None:
    """Print a document as indented JSON."""
    print(as_json(document), end="")


def as_json(document: Document) -> str:
    """A document as indented JSON."""
    return json.dumps(document.to_dict(), indent=2) + "\n"


def formats(
    shown: Callable[[D], RenderableType],
    csv: Callable[[D], Table] | None = None,
    *,
    piped: int | None = 160,
) -> dict[str, Callable[[D], None]]:
    """`--format` -> what prints a document to standard output.

    Args:
        shown: the document for people.
        csv: its lines, where there is such a format.
        piped: see `print_table`.
    """
    printers: dict[str, Callable[[D], None]] = {
        "table": lambda document: print_table(shown(document), piped=piped),
        "json": print_json,
    }
    if csv:
        printers["csv"] = lambda document: print(csv(document).csv(), end="")
    return printers


def write_texts(folder: Path, texts: dict[str, str]) -> None:
    """Write files of these names, each whole or not at all.

    Raises:
        OutputError: a file cannot be written.
    """
    for name, text in texts.items():
        with write_whole(folder / name) as beside:
            beside.write_text(text, encoding="utf-8")
