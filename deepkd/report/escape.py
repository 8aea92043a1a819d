"""Names and reasons as text that is safe to show: they come from strangers' files."""

import unicodedata

from deepkd.scoring.verdict import as_text

HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that act instead of showing: controls, direction marks, surrogates, line separators."""


def visible(text: object) -> str:
    r"""Text on one line in which nothing acts: a newline comes out as `\n`, an escape code as `\x1b`."""
    return "".join(
        char.encode("unicode_escape").decode() if unicodedata.category(char) in HIDDEN else char
        for char in as_text(str(text))
    )
