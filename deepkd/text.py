"""Names and messages as text that is safe to show: they come from strangers' files."""

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

from deepkd.errors import DataError

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that act instead of showing: controls, direction marks, surrogates, line
separators."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins like this."""
TEXT_CHARACTERS = 200
"""Shown at most of what a stranger says of a clip."""
UTF_8 = "utf-8"
MARKS = {
    b"\xef\xbb\xbf": "utf-8-sig",
    b"\xff\xfe\0\0": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
}
"""Byte order mark -> the encoding of what follows it; Excel and PowerShell write them."""
SEPARATORS = ",;\t|"
"""Between the cells of a table; a spreadsheet takes the one of its country."""
_PREAMBLE = re.compile(r'"?sep=.|#TYPE ', re.IGNORECASE)


def visible(text: object) -> str:
    r"""Text on one line, with control characters escaped: a newline becomes `\n`."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN else char
        for char in as_text(str(text))
    )


def shorten(text: object) -> str:
    """A stranger's text on one line, at most `TEXT_CHARACTERS` long; "" for what is no text."""
    if not isinstance(text, str):
        return ""
    shown = visible(text[: TEXT_CHARACTERS + 1])
    return shown if len(shown) <= TEXT_CHARACTERS else f"{shown[: TEXT_CHARACTERS - 1]}…"


def cell(text: object) -> str:
    """Text for a spreadsheet cell; an apostrophe goes before what looks like a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


def as_text(name: str | Path) -> str:
    r"""A name as valid Unicode; bytes that are no UTF-8 become escapes such as `\xff`."""
    return re.sub("[\ud800-\udfff]", _escape, str(name))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def first_sentence(error: BaseException) -> str:
    """What an error of a library says first: what it adds is for those who write programs."""
    return (str(error).splitlines() or [""])[0].partition(". ")[0] or type(error).__name__


def find_encoding(head: bytes) -> str:
    """The encoding of a text that begins with these bytes: by its mark, by its NULs, else UTF-8."""
    for mark, encoding in MARKS.items():
        if head.startswith(mark):
            return encoding
    first, second = head[:4:2], head[1:4:2]  # of the two bytes that UTF-16 has for a character
    if len(second) == 2 and all(first) and not any(second):
        return "utf-16-le"
    return "utf-16-be" if len(second) == 2 and all(second) and not any(first) else UTF_8


def open_text(path: Path) -> TextIO:
    """Open a text in the encoding of its byte order mark, with any bytes and line ends."""
    with path.open("rb") as file:
        encoding = find_encoding(file.read(4))
    errors = "surrogateescape" if encoding.startswith(UTF_8) else "replace"
    return path.open(newline="", encoding=encoding, errors=errors)


class TableReader:
    """A table as spreadsheets and shells write it.

    The first line names the columns, in any case. What separates the names, a comma, a semicolon, a
    tab or a bar, separates the cells. A line before it, Excel's `sep=;` or PowerShell's `#TYPE`, is
    left out.
    """

    def __init__(self, path: Path, file: Iterable[str]) -> None:
        """Read the first line of an open table; `path` is for messages."""
        lines = iter(file)
        head = next(lines, "")
        self._skipped = int(bool(_PREAMBLE.match(head)))
        if self._skipped:
            head = next(lines, "")
        bare = re.sub('"[^"]*"', "", head)
        separator = max(SEPARATORS, key=bare.count)
        self._reader = csv.DictReader(chain([head], lines), delimiter=separator)
        self._path = path
        self._all = [name.strip().lower() for name in self._reader.fieldnames or ()]
        self._reader.fieldnames = self._all
        self.names = [name for name in self._all if name]
        """Of the columns, in lower case."""

    def require(self, *names: str, hint: str) -> None:
        """Make sure that the table has these columns.

        Args:
            names: the columns.
            hint: what to do, for the message.

        Raises:
            DataError: one is missing; the message names those that are there.
        """
        missing = [name for name in names if name not in self.names]
        if missing:
            there = f"it names {', '.join(self.names)}" if self.names else "it is empty"
            raise DataError(
                f"{self._path}:{1 + self._skipped}: no column {' or '.join(missing)} in the first"
                f" line ({there}); {hint}"
            )

    def rows(self) -> Iterator[tuple[int, dict[str, str | None]]]:
        """(line, cells by column) of each line; the cells that a short line lacks are None.

        Empty cells beyond the last column do no harm, nor do columns without a name. A line whose
        cells are all empty is left out.

        Raises:
            DataError: a column is there twice, or a line has more cells than there are columns.
        """
        twice = next((name for name in self.names if self.names.count(name) > 1), None)
        if twice is not None:
            raise DataError(
                f"{self._path}:1: the column {twice} is there twice; remove or rename one of them"
            )
        for row in self._reader:
            line = self._reader.line_num + self._skipped
            if any(row.pop(None, ())):
                raise DataError(
                    f"{self._path}:{line}: the line has more cells than the first line has"
                    ' columns; put what holds a comma in quotes, such as "a,b.mp4"'
                )
            if any(row.values()):
                yield line, {name: cell for name, cell in row.items() if name}


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
