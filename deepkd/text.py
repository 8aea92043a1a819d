"""Names and messages as text that is safe to show: they come from strangers' files."""

import re
import unicodedata
from pathlib import Path

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that act instead of showing: controls, direction marks, surrogates, line separators."""


def visible(text: object) -> str:
    r"""Text on one line in which nothing acts: a newline comes out as `\n`, an escape code as `\x1b`."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN else char
        for char in as_text(str(text))
    )


def as_text(name: str | Path) -> str:
    r"""A name as valid Unicode: bytes that are no UTF-8, which Python keeps as lone surrogates, come out as `\xff`."""
    return re.sub("[\ud800-\udfff]", _escaped, str(name))


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
