"""CSV lists of clips: what they say, and what is wrong with them."""

from pathlib import Path

import pytest
from clip_factory import table, tree

from deepkd.data.datasets.sources import find_clips
from deepkd.errors import DataError


def test_lists(tmp_path: Path) -> None:
    tree(tmp_path, "clips/a.mp4", "clips/b.mp4", "clips/c.mp4")
    listing = tmp_path / "list.csv"
    rows = [
        "clips/a.mp4,REAL,,train,",
        "clips/b.mp4,fake,a.mp4,test,swap",
        "clips/c.mp4,,,,",
        "gone.mp4,1,,,",
    ]
    listing.write_text(
        "\n".join(["path,label,original,split,method", *rows, "http://x/y.mp4,0,,,"])
    )
    clips = find_clips([str(listing)])
    assert table(clips, "label", "original", "split", "method") == {
        "clips/a.mp4": ("REAL", "clips/a.mp4", "train", ""),
        "clips/b.mp4": ("FAKE", "clips/a.mp4", "test", "swap"),
        "clips/c.mp4": ("", "clips/c.mp4", "", ""),
        "gone.mp4": ("FAKE", "gone.mp4", "", ""),
        "http://x/y.mp4": ("REAL", "http://x/y.mp4", "", ""),
    }
    problems = [clip.problem for clip in clips]
    assert problems[:3] == ["", "", ""]
    assert "list.csv:5" in problems[3] and "does not exist" in problems[3]
    assert "list.csv:6" in problems[4] and "download" in problems[4]


ORIGINALS = {
    "a real clip before forgeries of its name": (
        ["real/N.mp4,REAL,", "fake/N.mp4,FAKE,N.mp4", "other/N_b.mp4,FAKE,N.mp4"],
        ["real/N.mp4"] * 3,
    ),
    "also in another order, by its stem, and where a real clip names itself": (
        ["N.mp4,FAKE,N.mp4", "other/N_b.mp4,FAKE,N", "real/N.mp4,REAL,N"],
        ["real/N.mp4"] * 3,
    ),
    "a path, however it is written, where two real clips have the name": (
        [
            "a/N.mp4,REAL,N.mp4",
            "b/N.mp4,REAL,N.mp4",
            "fake/N.mp4,FAKE,./b/N.mp4",
            "fake/M.mp4,FAKE,a//N.mp4",
        ],
        ["a/N.mp4", "b/N.mp4", "b/N.mp4", "a/N.mp4"],
    ),
    "the shorter path is a path, too": (
        ["a/N.mp4,REAL,", "N.mp4,REAL,", "fake/x.mp4,FAKE,N.mp4"],
        ["a/N.mp4", "N.mp4", "N.mp4"],
    ),
    "a forgery of a forgery of a forgery": (
        ["c.mp4,FAKE,b.mp4", "fake/b.mp4,FAKE,fake/a.mp4", "fake/a.mp4,FAKE,a", "real/a.mp4,REAL,"],
        ["real/a.mp4"] * 4,
    ),
    "forgeries of one original that is not listed": (
        ["swap/N.mp4,FAKE,N.mp4", "lips/N.mp4,FAKE,N.mp4", "lips/M.mp4,FAKE,gone.mp4"],
        ["swap/N.mp4", "swap/N.mp4", "gone.mp4"],
    ),
    "a circle": (["a.mp4,FAKE,b.mp4", "b.mp4,FAKE,c.mp4", "c.mp4,FAKE,b.mp4"], ["b.mp4"] * 3),
}


@pytest.mark.parametrize("dataset", ["", "mine"])
@pytest.mark.parametrize("case", ORIGINALS)
def test_what_a_list_means_by_an_original(tmp_path: Path, case: str, dataset: str) -> None:
    rows, expected = ORIGINALS[case]
    tree(tmp_path, *(row.split(",")[0] for row in rows))
    lines = ["path,label,original,dataset", *(f"{row},{dataset}" for row in rows)]
    (tmp_path / "list.csv").write_text("\n".join(lines))
    assert [clip.original for clip in find_clips([str(tmp_path / "list.csv")])] == expected


def test_a_forgery_of_one_whose_original_its_name_tells(tmp_path: Path) -> None:
    tree(tmp_path, "real/a.mp4", "fake/a.mp4", "more/b.mp4")
    rows = [
        "path,label,original",
        "real/a.mp4,REAL,",
        "fake/a.mp4,FAKE,",
        "more/b.mp4,FAKE,fake/a.mp4",
    ]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    assert [clip.original for clip in find_clips([str(tmp_path / "list.csv")])] == [
        "real/a.mp4"
    ] * 3


AMBIGUOUS = [
    (
        ["a/N.mp4,REAL,", "b/N.mp4,REAL,", "c/M.mp4,FAKE,N.mp4"],
        4,
        "'N.mp4' may be a/N.mp4 or b/N.mp4; give the path",
    ),
    (
        ["a/N.mp4,REAL,", "b/N.avi,REAL,", "c/M.mp4,FAKE,N"],
        4,
        "'N' may be a/N.mp4 or b/N.avi; give the path",
    ),
    (
        ["a/N.mp4,FAKE,x", "b/N.mp4,FAKE,y", "c/M.mp4,FAKE,N.mp4"],
        4,
        "'N.mp4' may be a/N.mp4 or b/N.mp4",
    ),
]


@pytest.mark.parametrize(("rows", "line", "message"), AMBIGUOUS)
def test_an_original_that_may_be_several_clips_is_refused(
    tmp_path: Path, rows: list[str], line: int, message: str
) -> None:
    tree(tmp_path, *(row.split(",")[0] for row in rows))
    (tmp_path / "list.csv").write_text("\n".join(["path,label,original", *rows]))
    with pytest.raises(DataError, match=rf"list\.csv:{line}: original {message}"):
        find_clips([str(tmp_path / "list.csv")])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,label\na.mp4,REAL\n", r"list.csv:1: no column path"),
        ("path,label\na.mp4,MAYBE\n", r"list.csv:2: unknown label 'MAYBE'"),
        ("path,label,split\na.mp4,REAL,tomorrow\n", r"list.csv:2: unknown split 'tomorrow'"),
        ("path,label\na.mp4,REAL\na.mp4,FAKE\n", r"list.csv:3: a.mp4 is listed already in line 2"),
        (
            "path,label\na.mp4,REAL\n./a.mp4,FAKE\n",
            r"list.csv:3: ./a.mp4 is listed already in line 2",
        ),
    ],
)
def test_damaged_csv_lists_are_named(tmp_path: Path, rows: str, message: str) -> None:
    tree(tmp_path, "a.mp4")
    (tmp_path / "list.csv").write_text(rows)
    with pytest.raises(DataError, match=message):
        find_clips([str(tmp_path / "list.csv")])
