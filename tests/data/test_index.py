"""The index gives back what was written, or says what is wrong with it and where."""

import dataclasses
from pathlib import Path

import pytest

from deepkd.data.index import CropRow, read_index, write_index
from deepkd.errors import DataError, OutputError

ROWS = [
    CropRow(
        "a.jpg",
        "REAL",
        video="clip 1",
        original="clip 1",
        split="train",
        t_s=0.1 + 0.2,
        face_px=91.5,
        track=0,
    ),
    CropRow(
        'b,\n"ü".jpg',
        "FAKE",
        video="x",
        original="clip 1",
        dataset="dfdc",
        method="m",
        shard="s.tar",
    ),
    CropRow("b\udce9.jpg", "", video="y", original="y", face_probability=0.75),
]


def test_an_index_comes_back_as_it_was_written(tmp_path: Path):
    write_index(tmp_path, ROWS)
    assert read_index(tmp_path) == read_index(tmp_path / "index.csv") == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["index.csv"]
    write_index(tmp_path / "index.csv", reversed(ROWS))
    assert read_index(tmp_path) == ROWS[::-1]


def test_what_is_missing_is_filled_in(tmp_path: Path):
    (tmp_path / "index.csv").write_text("\ufeffextra,label,file\n1,fake,a/clip.jpg\n")
    assert read_index(tmp_path) == [CropRow("a/clip.jpg", "FAKE", video="clip", original="clip")]


def test_the_same_name_in_two_shards_is_no_duplicate(tmp_path: Path):
    (tmp_path / "index.csv").write_text("file,label,shard\na,REAL,0.tar\na,REAL,1.tar\n")
    assert len(read_index(tmp_path)) == 2


BAD = {
    "": "index.csv:1: no column file or label",
    "file,video\na,b\n": "index.csv:1: no column label",
    "file,label\n": "index.csv: the index has no rows",
    "file,label\na,REAL\nb,fakee\n": "index.csv:3: unknown label 'fakee'; choose from REAL, FAKE",
    "file,label\na,REAL\nb,REAL\na,FAKE\n": "index.csv:4: a is listed already in line 2",
    "file,label\na.jpg,REAL\n./a.jpg,FAKE\n": "index.csv:3: ./a.jpg is listed already in line 2",
    "file,label\na/b.jpg,REAL\na//x/../b.jpg,FAKE\n": (
        "index.csv:3: a//x/../b.jpg is listed already in line 2"
    ),
    "file,label\n{folder}/a.jpg,REAL\na.jpg,FAKE\n": (
        "index.csv:3: a.jpg is listed already in line 2"
    ),
    "file,label,shard\na,REAL,0.tar\na,FAKE,./0.tar\n": (
        "index.csv:3: a is listed already in line 2"
    ),
    "file,label,video\na.jpg,REAL,a,b.mp4\n": (
        "index.csv:2: the line has more cells than the first line has columns"
    ),
    "file,label,label\na.jpg,REAL,FAKE\n": (
        "index.csv:1: the column label is there twice; remove or rename one"
    ),
    "file,label\na\0.jpg,REAL\n": "index.csv:2: the file has a NUL byte",
    "file,label,shard\na.jpg,REAL,0\0.tar\n": "index.csv:2: the shard has a NUL byte",
    "file,label\n,REAL\n": "index.csv:2: the column file is empty",
    "file,label,t_s\na,REAL,soon\n": "index.csv:2: t_s='soon' is not a number",
    "file,label,track\na,REAL,1.5\n": "index.csv:2: track='1.5' is not a number",
    'file,label\n"a\nb",REAL\nc,oops\n': "index.csv:4: unknown label 'oops'",
    "file,label\na\n": "index.csv:2: the line is too short",
    "file,label,t_s\na,REAL,nan\n": "index.csv:2: t_s='nan' is not a number",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_index_is_refused_by_file_and_line(text: str, tmp_path: Path):
    (tmp_path / "index.csv").write_text(text.replace("{folder}", str(tmp_path)))
    with pytest.raises(DataError) as caught:
        read_index(tmp_path)
    assert BAD[text] in str(caught.value)


HARMLESS = [
    "file,label\na.jpg,REAL,\n",
    "file,label,\na.jpg,REAL\n",
    "file,label,\na.jpg,REAL,,\n",
    ",file,label\n0,a.jpg,REAL\n",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_empty_cells_at_the_end_and_columns_without_a_name_do_no_harm(text: str, tmp_path: Path):
    (tmp_path / "index.csv").write_text(text)
    assert read_index(tmp_path) == [CropRow("a.jpg", "REAL", "a", "a")]


def test_no_index(tmp_path: Path):
    with pytest.raises(DataError, match=r"index\.csv: cannot be read \(No such file"):
        read_index(tmp_path)


def test_an_interrupted_write_leaves_the_old_index(tmp_path: Path):
    write_index(tmp_path, ROWS)

    def rows():
        yield dataclasses.replace(ROWS[0], file="new.jpg")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_index(tmp_path, rows())
    assert read_index(tmp_path) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["index.csv"]


def test_a_folder_that_is_missing_is_named(tmp_path: Path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_index(tmp_path / "none" / "index.csv", ROWS)
