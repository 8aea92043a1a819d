"""Crops are framed as their rule says, and the index says what it holds, or what is wrong with it and where."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from deepkd.errors import DataError, OutputError
from deepkd.video.crops import (
    CROP_RULES,
    CropRow,
    CropRule,
    crop_face,
    crop_square,
    read_index,
    write_index,
)
from deepkd.video.faces import Face
from deepkd.video.frames import Frame

LANDMARKS = np.zeros((5, 2), np.float32)


@pytest.mark.parametrize(
    ("rule", "square"),
    [
        # The box: 100 wide and 200 high, its corner at (40, 60), so its centre at (90, 160).
        (CropRule("height"), (-10, 60, 200)),
        (CropRule("width", reference="width"), (40, 110, 100)),
        (CropRule("longer", reference="longer", scale=1.5), (-60, 10, 300)),
        (CropRule("lower", scale=0.5, shift_y=0.1), (40, 130, 100)),
        (CROP_RULES["dfdc"], (6, 92, 168)),
        (CROP_RULES["tight"], (-10, 60, 200)),
        (CROP_RULES["margin"], (-40, 30, 260)),
    ],
)
def test_squares(rule: CropRule, square: tuple[float, float, float]):
    assert crop_square((40, 60, 100, 200), rule) == pytest.approx(square)


def ramp() -> Frame:
    """Red is x, green is y, blue is 255: (120, 160)."""
    y, x = np.mgrid[:120, :160]
    return Frame(np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8), 1.5, 3)


def test_a_crop_of_the_same_size_is_the_pixels_themselves():
    crop = crop_face(
        ramp(), Face((30, 20, 64, 64), 0.9, LANDMARKS), face_px=64, rule=CROP_RULES["tight"]
    )
    np.testing.assert_array_equal(crop.image, ramp().image[20:84, 30:94])
    assert (crop.t_s, crop.source_px, crop.face.probability) == (1.5, 64, 0.9)


@pytest.mark.parametrize("face_px", [16, 32, 128])
def test_a_resized_crop_shows_the_same_square(face_px: int):
    crop = crop_face(
        ramp(), Face((30, 20, 64, 64), 0.9, LANDMARKS), face_px=face_px, rule=CROP_RULES["tight"]
    )
    assert crop.image.shape == (face_px, face_px, 3)
    pixel = 64 / face_px
    expected = 30 + (np.arange(face_px) + 0.5) * pixel - 0.5
    np.testing.assert_allclose(crop.image[face_px // 2, :, 0], expected, atol=1)


def test_shrinking_averages():
    checkers = np.indices((64, 64)).sum(0) % 2 * 200
    frame = Frame(np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8), 0.0, 0)
    crop = crop_face(
        frame, Face((0, 0, 64, 64), 0.9, LANDMARKS), face_px=32, rule=CROP_RULES["tight"]
    )
    assert (crop.image == 100).all()


@pytest.mark.parametrize(
    ("x", "y"), [(-32, 0), (0, -32), (128, 0), (0, 88), (-32, -32), (128, 88)], ids=str
)  # fmt: skip
def test_outside_the_frame_is_black(x: int, y: int):
    crop = crop_face(
        ramp(), Face((x, y, 64, 64), 0.9, LANDMARKS), face_px=64, rule=CROP_RULES["tight"]
    )
    rows, columns = np.arange(y, y + 64), np.arange(x, x + 64)
    inside = ((rows >= 0) & (rows < 120))[:, None] & ((columns >= 0) & (columns < 160))
    np.testing.assert_array_equal(crop.image[..., 2] == 255, inside)
    assert not crop.image[~inside].any()


@pytest.mark.parametrize(
    "box", [(500, 500, 64, 64), (-500, 0, 64, 64), (10, 10, 0, 0), (-100, -100, 400, 400)]
)
def test_odd_boxes_give_a_crop_all_the_same(box: tuple[float, float, float, float]):
    crop = crop_face(ramp(), Face(box, 0.9, LANDMARKS), face_px=32, rule=CROP_RULES["tight"])
    assert crop.image.shape == (32, 32, 3)


ROWS = [
    CropRow("a.jpg", "REAL", video="clip 1", original="clip 1", split="train", t_s=0.1 + 0.2, face_px=91.5, track=0),
    CropRow("b,\n\"ü\".jpg", "FAKE", video="x", original="clip 1", dataset="dfdc", method="m", shard="s.tar"),
    CropRow("b\udce9.jpg", "", video="y", original="y", face_probability=0.75),
]  # fmt: skip


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
