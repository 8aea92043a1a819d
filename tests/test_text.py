"""Text that is safe to show."""

import csv
import io
from pathlib import Path

import pytest

from deepkd.text import as_text, csv_writer, open_text, visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ü 😀 漢", "ü 😀 漢"),
        ("a\nb\tc", r"a\nb\tc"),
        ("\x07\x7f\x9b", r"\x07\x7f\x9b"),
        ("a\u2028b", r"a\u2028b"),
        ("a\x1b[31mb\u202ec\udce9\n", r"a\x1b[31mb\u202ec\xe9\n"),
    ],
)
def test_nothing_in_a_name_acts(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mp4", "a.mp4"),
        ("ü\n.mp4", "ü\n.mp4"),
        ("\udcff.mp4", r"\xff.mp4"),
        ("\ud800.mp4", r"\ud800.mp4"),
    ],
)
def test_names_become_valid_unicode(name: str, text: str) -> None:
    assert as_text(name) == text


@pytest.mark.parametrize("cell", ["a\rb", "a\nb", "a\r\nb", 'a"b', "a,b", "a", " a", "\r\n"])
def test_a_line_of_csv_comes_back_as_it_was_written(cell: str) -> None:
    out = io.StringIO(newline="")
    csv_writer(out).writerow((cell, 1))
    assert out.getvalue().endswith(",1\n")
    assert list(csv.reader(io.StringIO(out.getvalue(), newline=""))) == [[cell, "1"]]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_is_read_with_a_byte_order_mark_and_any_name(mark: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(mark + b'file,label\r\n\xff.mp4,"a\r\nb"\r\n')
    with open_text(tmp_path / "a.csv") as file:
        assert list(csv.reader(file)) == [["file", "label"], ["\udcff.mp4", "a\r\nb"]]
