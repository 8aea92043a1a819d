"""Names and messages as text that is safe to show: they come from strangers' files."""

import csv
import re
import unicodedata
from pathlib import Path
from typing import Any, TextIO

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that act instead of showing: controls, direction marks, surrogates, line separators."""
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins like this."""


def visible(text: object) -> str:
    r"""Text on one line in which nothing acts: a newline comes out as `\n`, an escape code as `\x1b`."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN else char
        for char in as_text(str(text))
    )


def cell(text: object) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe goes before what looks like a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


def as_text(name: str | Path) -> str:
    r"""A name as valid Unicode: bytes that are no UTF-8, which Python keeps as lone surrogates, come out as `\xff`."""
    return re.sub("[\ud800-\udfff]", _escaped, str(name))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def open_csv(path: Path) -> TextIO:
    """A CSV file as `csv` wants to read it: with or without a byte order mark, and names whatever their bytes."""
    return path.open(newline="", encoding="utf-8-sig", errors="surrogateescape")


def csv_writer(out: TextIO) -> Any:
    r"""A `csv.writer` whose lines end in `\n` and that quotes whatever else a reader may take for the end of one."""
    return csv.writer(_UnixLines(out), lineterminator="\r\n")  # it quotes what its line ends are made of


class _UnixLines:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, line: str) -> int:
        return self._out.write(line.removesuffix("\r\n") + "\n")
