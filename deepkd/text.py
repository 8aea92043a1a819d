"""Names and messages as text that is safe to show: they come from strangers' files."""

import csv
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from deepkd.errors import DataError

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that act instead of showing: controls, direction marks, surrogates, line
separators."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins like this."""


def visible(text: object) -> str:
    r"""Text on one line, with control characters escaped: a newline becomes `\n`."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN else char
        for char in as_text(str(text))
    )


def cell(text: object) -> str:
    """Text for a spreadsheet cell; an apostrophe goes before what looks like a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


def as_text(name: str | Path) -> str:
    r"""A name as valid Unicode; bytes that are no UTF-8 become escapes such as `\xff`."""
    return re.sub("[\ud800-\udfff]", _escaped, str(name))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def first_sentence(error: BaseException) -> str:
    """What an error of a library says first: what it adds is for those who write programs."""
    return (str(error).splitlines() or [""])[0].partition(". ")[0] or type(error).__name__


def open_csv(path: Path) -> TextIO:
    """Open a CSV file for `csv`, with or without a byte order mark, and with any bytes."""
    return path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")


def csv_rows(
    path: Path, reader: "csv.DictReader[str]"
) -> Iterator[tuple[int, dict[str, str | None]]]:
    """(line, cells by column) of each line of a table; the cells that a short line lacks are None.

    Empty cells beyond the last column do no harm, nor do columns without a name.

    Args:
        path: the table, for messages.
        reader: of the open table.

    Raises:
        DataError: a column is there twice, or a line has more cells than there are columns.
    """
    names = [name for name in reader.fieldnames or () if name]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(
            f"{path}:1: the column {twice} is there twice; remove or rename one of them"
        )
    for row in reader:
        if any(row.pop(None, ())):
            raise DataError(
                f"{path}:{reader.line_num}: the line has more cells than the first line has"
                ' columns; put what holds a comma in quotes, such as "a,b.mp4"'
            )
        yield reader.line_num, {name: cell for name, cell in row.items() if name}


def csv_writer(out: TextIO) -> Any:
    r"""A `csv.writer` whose lines end in `\n`; it quotes every other line break."""
    return csv.writer(
        _UnixLines(out), lineterminator="\r\n"
    )  # it quotes what its line ends are made of


class _UnixLines:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, line: str) -> int:
        return self._out.write(line.removesuffix("\r\n") + "\n")
