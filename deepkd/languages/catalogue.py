"""Catalogues: `.po` files, as translators edit them, read for `gettext` without a build step."""

import ast
import gettext
import re
import struct
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

FOLDER = Path(__file__).parent
MAGIC = 0x950412DE
"""Of a binary catalogue (GNU gettext manual, "The Format of GNU MO Files")."""
_LINE = re.compile(r'(?:(msgid|msgid_plural|msgstr|msgstr\[\d\]) )?(".*")$')

Entry = dict[str, str]
"""Keyword of a `.po` file (`msgid`, `msgid_plural`, `msgstr`, `msgstr[0]`) -> text."""


def read_catalogue(code: str) -> gettext.GNUTranslations:
    """The catalogue of a language, such as `de`."""
    entries = read_entries((FOLDER / f"{code}.po").read_text(encoding="utf-8"))
    return gettext.GNUTranslations(BytesIO(_binary(entries)))


def read_entries(text: str) -> Iterator[Entry]:
    """The entries of a `.po` file; the first, of the empty message, is its header."""
    for block in re.split(r"\n\s*\n", text):
        entry: Entry = {}
        keyword = ""
        for line in block.splitlines():
            if found := _LINE.match(line):
                keyword = found[1] or keyword
                entry[keyword] = entry.get(keyword, "") + ast.literal_eval(found[2])
        if entry:
            yield entry


def _binary(entries: Iterator[Entry]) -> bytes:
    """A catalogue as `gettext` reads it: head, two tables of lengths and places, texts."""
    pairs = sorted((_key(entry).encode(), _forms(entry).encode()) for entry in entries)
    start = 28 + 16 * len(pairs)
    tables: tuple[list[int], list[int]] = ([], [])
    texts = b""
    for number, table in enumerate(tables):
        for pair in pairs:
            table += [len(pair[number]), start + len(texts)]
            texts += pair[number] + b"\0"
    head = struct.pack("<7I", MAGIC, 0, len(pairs), 28, 28 + 8 * len(pairs), 0, 0)
    return head + struct.pack(f"<{4 * len(pairs)}I", *tables[0], *tables[1]) + texts


def _key(entry: Entry) -> str:
    plural = entry.get("msgid_plural")
    return entry["msgid"] if plural is None else f"{entry['msgid']}\0{plural}"


def _forms(entry: Entry) -> str:
    forms = [text for keyword, text in sorted(entry.items()) if keyword.startswith("msgstr")]
    return "\0".join(forms)
