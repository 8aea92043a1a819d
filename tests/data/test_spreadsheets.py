"""Tables are read as spreadsheets and shells write them: any encoding, separator and label."""

from collections.abc import Callable
from pathlib import Path

import pytest
from clip_factory import tree

from deepkd.data.clips import Clip
from deepkd.data.datasets.sources import find_clips
from deepkd.data.index import CropRow, label_clips, line_of, read_index
from deepkd.errors import DataError
from deepkd.evaluation.evaluate import _has_index

FORMS: dict[str, Callable[[str], bytes]] = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16 with a mark": lambda text: text.encode("utf-16"),
    "UTF-16 of the other order": lambda text: ("\ufeff" + text).encode("utf-16-be"),
    "UTF-16 without a mark": lambda text: text.encode("utf-16-le"),
    "UTF-32 with a mark": lambda text: text.encode("utf-32"),
    "semicolons": lambda text: text.replace(",", ";").encode(),
    "tabs": lambda text: text.replace(",", "\t").encode(),
    "bars": lambda text: text.replace(",", "|").encode(),
    "tabs in UTF-16": lambda text: text.replace(",", "\t").encode("utf-16"),
    "lines of Windows": lambda text: text.replace("\n", "\r\n").encode(),
    "Excel's first line": lambda text: b"sep=;\r\n" + text.replace(",", ";").encode(),
    "PowerShell's first line": lambda text: (
        b"#TYPE Selected.Object\r\n" + text.replace("file,", '"File",').encode()
    ),
    "names of columns in capitals": lambda text: (
        text.partition("\n")[0].upper() + "\n" + text.partition("\n")[2]
    ).encode(),
    "empty lines at the end": lambda text: text.encode() + b",\n,\n",
}
LABELS = {"REAL": "REAL", "Fake": "FAKE", "0": "REAL", "1": "FAKE", "real": "REAL", " 1 ": "FAKE"}


@pytest.mark.parametrize("form", FORMS)
def test_an_index(form: str, tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_bytes(FORMS[form]("file,label\né.jpg,REAL\nb.jpg,1\n"))
    rows = [CropRow("é.jpg", "REAL", "é", "é"), CropRow("b.jpg", "FAKE", "b", "b")]
    assert read_index(tmp_path) == rows
    assert label_clips([Clip(tmp_path / "b.jpg", "", "b", "b", "")])[0].label == "FAKE"
    first = 1 + form.endswith("first line")
    assert line_of(tmp_path / "index.csv", rows[1]) == first + 2
    assert _has_index(tmp_path / "index.csv")


@pytest.mark.parametrize("form", FORMS)
def test_a_list(form: str, tmp_path: Path) -> None:
    tree(tmp_path, "é.mp4", "b.mp4")
    (tmp_path / "list.csv").write_bytes(FORMS[form]("path,label\né.mp4,REAL\nb.mp4,1\n"))
    clips = find_clips([str(tmp_path / "list.csv")])
    assert {clip.video: clip.label for clip in clips} == {"é.mp4": "REAL", "b.mp4": "FAKE"}
    assert not _has_index(tmp_path / "list.csv")


@pytest.mark.parametrize("form", FORMS)
def test_the_labels_of_dfdc(form: str, tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4", "b.mp4")
    (tmp_path / "labels.csv").write_bytes(FORMS[form]("filename,label\na.mp4,0\nb.mp4,1\n"))
    clips = find_clips([str(tmp_path)])
    assert {clip.video: clip.label for clip in clips} == {"a.mp4": "REAL", "b.mp4": "FAKE"}


@pytest.mark.parametrize("form", ["UTF-8 with a mark", "UTF-16 with a mark", "lines of Windows"])
def test_the_list_of_celeb_df_where_1_is_real(form: str, tmp_path: Path) -> None:
    tree(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    lines = "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    (tmp_path / "List_of_testing_videos.txt").write_bytes(FORMS[form](lines))
    found = {clip.video: (clip.label, clip.split) for clip in find_clips([str(tmp_path)])}
    assert found == {
        "Celeb-real/id0_0000.mp4": ("REAL", "test"),
        "Celeb-synthesis/id0_id1_0000.mp4": ("FAKE", "test"),
    }


@pytest.mark.parametrize("label", LABELS)
def test_labels_mean_the_same_in_lists_and_indexes(label: str, tmp_path: Path) -> None:
    tree(tmp_path, "a.mp4")
    (tmp_path / "index.csv").write_text(f"file,label\na.jpg,{label}\n")
    (tmp_path / "list.csv").write_text(f"path,label\na.mp4,{label}\n")
    (clip,), (row,) = find_clips([str(tmp_path / "list.csv")]), read_index(tmp_path)
    assert clip.label == row.label == LABELS[label]


def test_numbers_with_a_comma_for_the_point(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text("file;label;t_s\na.jpg;REAL;0,5\n")
    assert read_index(tmp_path)[0].t_s == 0.5


@pytest.mark.parametrize(
    ("header", "message"),
    {
        "name;kind": r":1: no column file or label in the first line \(it names name, kind\)",
        "sep=;\nfile;kind": r":2: no column label in the first line \(it names file, kind\)",
        "": r":1: no column file or label in the first line \(it is empty\)",
    }.items(),
)
def test_the_message_names_the_columns_that_are_there(
    header: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / "index.csv").write_text(header)
    with pytest.raises(DataError, match=message):
        read_index(tmp_path)
