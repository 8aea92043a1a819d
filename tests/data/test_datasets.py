"""Every data set layout, built as a tree of empty files, read as clips."""

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from clip_factory import Fields, dfdc, table, tree

from deepkd.data.datasets import DATASETS, detect_layout, find_clips
from deepkd.errors import ConfigError, DataError, UsageError


def dfdc_test(root: Path) -> Path:
    tree(root, "test/videos/x.mp4", "test/videos/y.mp4")
    (root / "test/labels.csv").write_text("filename,label\nx.mp4,1\ny.mp4,0\n")
    return root


def dfdc_preview(root: Path) -> Path:
    tree(root, "original_videos/7/7_A.mp4", "method_A/7/7_8_A.mp4")
    rows = {"original_videos/7/7_A.mp4": {"set": "train", "label": "real"}}
    rows |= {
        "method_A/7/7_8_A.mp4": {"set": "test", "label": "fake", "target_id": 7, "swapped_id": 8}
    }
    (root / "dataset.json").write_text(json.dumps(rows))
    return root


def faceforensics(root: Path) -> Path:
    fakes, reals = root / "manipulated_sequences", root / "original_sequences"
    tree(
        reals,
        "youtube/c23/videos/953.mp4",
        "actors/raw/videos/01__kitchen.mp4",
        "youtube/c23/images/953/0.png",
    )
    tree(fakes, "Deepfakes/c23/videos/953_974.mp4", "Deepfakes/masks/videos/953_974.mp4")
    tree(fakes, "DeepFakeDetection/raw/videos/01_02__kitchen__ABCDEFGH.mp4")
    tree(fakes, "FaceShifter/c40/videos/974_953.mp4")
    (root / "train.json").write_text('[["1", "2"]]')
    (root / "val.json").write_text('[["953", "974"]]')
    return root


def celeb(root: Path) -> Path:
    tree(
        root,
        "Celeb-real/id0_0000.mp4",
        "YouTube-real/00170.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
    )
    (root / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
    )
    return root


def folder(root: Path) -> Path:
    return tree(root, "Real/a.mp4", "FAKE/a.mp4", "FAKE/b.mov", "notes.txt", "other/c.mp4")


FIELDS = ("label", "original", "method", "split", "donors", "identities")
LAYOUTS: dict[str, tuple[str, Callable[[Path], Path], Fields]] = {
    "dfdc train parts": (
        "dfdc",
        dfdc,
        {
            "a.mp4": ("REAL", "a.mp4", "", "train", (), ()),
            "b.mp4": ("FAKE", "a.mp4", "", "train", (), ()),
            "c.mp4": ("FAKE", "gone.mp4", "", "train", (), ()),
        },
    ),
    "dfdc test": (
        "dfdc",
        dfdc_test,
        {"x.mp4": ("FAKE", "x.mp4", "", "test", (), ()), "y.mp4": ("REAL", "y.mp4", "", "test", (), ())},
    ),
    "dfdc preview": (
        "dfdc",
        dfdc_preview,
        {
            "original_videos/7/7_A.mp4": ("REAL", "original_videos/7/7_A.mp4", "", "train", (), ()),
            "method_A/7/7_8_A.mp4": ("FAKE", "method_A/7/7_8_A.mp4", "method_A", "test", (), ("7", "8")),
        },
    ),
    "faceforensics": (
        "faceforensics",
        faceforensics,
        {
            "original/c23/953.mp4": ("REAL", "953.mp4", "", "val", (), ()),
            "actors/raw/01__kitchen.mp4": ("REAL", "01__kitchen.mp4", "", "", (), ("actor-01",)),
            "Deepfakes/c23/953_974.mp4": ("FAKE", "953.mp4", "Deepfakes", "val", ("974.mp4",), ()),
            "FaceShifter/c40/974_953.mp4": ("FAKE", "974.mp4", "FaceShifter", "val", ("953.mp4",), ()),
            "DeepFakeDetection/raw/01_02__kitchen__ABCDEFGH.mp4": (
                "FAKE", "01__kitchen.mp4", "DeepFakeDetection", "", (), ("actor-01", "actor-02"),
            ),
        },
    ),
    "celeb-df": (
        "celeb-df",
        celeb,
        {
            "Celeb-real/id0_0000.mp4": ("REAL", "Celeb-real/id0_0000.mp4", "", "", (), ("id0",)),
            "YouTube-real/00170.mp4": ("REAL", "YouTube-real/00170.mp4", "", "test", (), ()),
            "Celeb-synthesis/id0_id1_0000.mp4": (
                "FAKE", "Celeb-real/id0_0000.mp4", "Celeb-synthesis", "test", (), ("id0", "id1"),
            ),
        },
    ),
    "folders named after labels": (
        "folder",
        folder,
        {
            "Real/a.mp4": ("REAL", "Real/a.mp4", "", "", (), ()),
            "FAKE/a.mp4": ("FAKE", "Real/a.mp4", "", "", (), ()),
            "FAKE/b.mov": ("FAKE", "FAKE/b.mov", "", "", (), ()),
            "other/c.mp4": ("", "other/c.mp4", "", "", (), ()),
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYOUTS)
def test_layouts_are_detected_and_read(tmp_path: Path, case: str) -> None:
    name, build, expected = LAYOUTS[case]
    root = build(tmp_path / "data")
    assert detect_layout(root) == name
    for dataset in ("auto", name):
        clips = find_clips([str(root)], dataset=dataset)
        assert table(clips, *FIELDS) == expected
        assert {clip.dataset for clip in clips} == {name}
        assert all(clip.path.is_file() and not clip.problem for clip in clips)


def test_every_data_set_has_a_layout_in_this_table() -> None:
    assert {name for name, _, _ in LAYOUTS.values()} == set(DATASETS)


VARIANTS = [
    # (files, source below the root, video -> label)
    (["clip.mp4", "sub/still.jpg"], "", {"clip.mp4": "", "sub/still.jpg": ""}),
    (["original/a.mp4", "manipulated/b.mp4"], "", {"original/a.mp4": "REAL", "manipulated/b.mp4": "FAKE"}),
    (["x/real/a.mp4"], "x/real", {"a.mp4": "REAL"}),
    (["x/real/a.mp4"], "x/real/a.mp4", {"a.mp4": "REAL"}),
    (["x/fake/a.mp4", "x/real/b.mp4"], "x/*/*.mp4", {"a.mp4": "FAKE", "b.mp4": "REAL"}),
    (["fake/real/a.mp4"], "", {"fake/real/a.mp4": "REAL"}),
    (["Celeb-real/videos/id1_0000.mp4"], "", {"Celeb-real/id1_0000.mp4": "REAL"}),
    (["Youtube-real/1.mp4"], "", {"Youtube-real/1.mp4": "REAL"}),
    (["original_sequences/youtube/c40/videos/1.mp4"], "original_sequences/youtube", {"original/c40/1.mp4": "REAL"}),
    (["real/.hidden.mp4", "real/a.mp4", "real/notes.txt"], "", {"real/a.mp4": "REAL"}),
    (["a [1].mp4"], "a [1].mp4", {"a [1].mp4": ""}),
]  # fmt: skip


@pytest.mark.parametrize(("files", "source", "labels"), VARIANTS)
def test_variants(tmp_path: Path, files: list[str], source: str, labels: dict[str, str]) -> None:
    root = tree(tmp_path / "data", *files)
    assert {clip.video: clip.label for clip in find_clips([str(root / source)])} == labels


def test_splits_named_by_folders_are_kept(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "Train/real/a.mp4", "validation/fake/b.mp4", "test/real/c.mp4")
    assert [clip.split for clip in find_clips([str(root)])] == ["train", "test", "val"]


def test_two_folders_given_apart_are_one_family(tmp_path: Path) -> None:
    root = tree(tmp_path, "real/a.mp4", "fake/a.mp4")
    clips = find_clips([str(root / "real"), str(root / "fake")])
    assert table(clips, "label", "original") == {
        "a.mp4": ("REAL", "a.mp4"),
        "fake/a.mp4": ("FAKE", "a.mp4"),
    }


def test_a_file_is_one_clip_however_often_it_is_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "data", "real/a.mp4")
    (root / "link").symlink_to(root / "real")
    assert len(find_clips([str(root), str(root / "real"), str(root / "real/a.mp4")])) == 1


def test_equal_names_of_different_clips_are_kept_apart(tmp_path: Path) -> None:
    roots = [
        str(tree(tmp_path / name / "set", "clip.mp4").resolve()) for name in ("one", "two", "three")
    ]
    clips = find_clips(roots)
    assert [clip.video for clip in clips] == ["clip.mp4", "set/clip.mp4", "set-2/clip.mp4"]
    assert [clip.original for clip in clips] == [clip.video for clip in clips]
    root = dfdc(tmp_path / "data")
    tree(root, "copy/dfdc_train_part_0/b.mp4")
    (root / "copy/dfdc_train_part_0/metadata.json").write_text(
        '{"b.mp4": {"label": "FAKE", "original": "a.mp4"}}'
    )
    assert table(find_clips([str(root)]), "original")["b.mp4~2"] == ("a.mp4",)


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


def test_paths_from_standard_input(tmp_path: Path) -> None:
    root = tree(tmp_path / "x y", "real/a.mp4", "b.mp4")
    stdin = io.BytesIO(b"\n".join(os.fsencode(root / name) for name in ("real/a.mp4", "b.mp4")))
    assert {clip.video: clip.label for clip in find_clips(["-"], stdin=stdin)} == {
        "a.mp4": "REAL",
        "b.mp4": "",
    }


def test_names_that_are_no_utf8_survive(tmp_path: Path) -> None:
    name = b"caf\xe9 \n[red].mp4"
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / os.fsdecode(name)).touch()
    (clip,) = find_clips([str(tmp_path)])
    assert os.fsencode(clip.path.name) == name and clip.label == "REAL"


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["missing.mp4"], "does not exist"),
        (["*.nothing"], "no file has a name like this"),
        (["empty"], "folder without videos"),
        (["dangling.mp4"], "link to a file that does not exist"),
    ],
)
def test_what_cannot_be_tried_is_a_clip_with_a_problem(
    tmp_path: Path, names: list[str], problem: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "dangling.mp4").symlink_to("nowhere")
    (clip,) = find_clips([str(tmp_path / name) for name in names])
    assert problem in clip.problem


def test_loops_of_links_end(tmp_path: Path) -> None:
    tree(tmp_path, "real/a.mp4")
    (tmp_path / "real/again").symlink_to(tmp_path)
    clips = find_clips([str(tmp_path)])
    assert [clip.video for clip in clips if not clip.problem] == ["real/a.mp4"]


DAMAGED = [
    ("metadata.json", "{", DataError, "metadata.json: not readable as JSON"),
    ("metadata.json", "[" * 100_000, DataError, "metadata.json: not readable as JSON"),
    (
        "metadata.json",
        '{"": {"label": "REAL"}}',
        DataError,
        "metadata.json: '' is a folder, not a clip; repair it",
    ),
    ("metadata.json", '{".": {"label": "REAL"}}', DataError, "'.' is a folder, not a clip"),
    ("metadata.json", '{"..": {"label": "REAL"}}', DataError, "'..' is a folder, not a clip"),
    (
        "original_sequences/../train.json",
        "[" * 100_000,
        DataError,
        "train.json: not a list of pairs",
    ),
    ("metadata.json", "[1]", DataError, "not a table of clips"),
    ("metadata.json", '{"a.mp4": {"label": "MAYBE"}}', DataError, "a.mp4: unknown label 'MAYBE'"),
    ("labels.csv", "file,kind\nx,1\n", DataError, "labels.csv:1: needs the columns filename,label"),
    (
        "metadata.json",
        '{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "FAKE"}}',
        DataError,
        "'a.mp4' is listed twice",
    ),
    (
        "metadata.json",
        '{"a.mp4": {"label": "REAL", "label": "FAKE"}}',
        DataError,
        "'a.mp4' has 'label' twice",
    ),
    (
        "metadata.json",
        '{"a.mp4": {"label": 0}, "./a.mp4": {"label": 1}}',
        DataError,
        "listed already as 'a.mp4'",
    ),
    ("labels.csv", "label,filename\n0\n", DataError, "labels.csv:2: the line is too short"),
    (
        "labels.csv",
        "filename,label\na.mp4,1\na.mp4,0\n",
        DataError,
        "labels.csv:3: 'a.mp4' is listed already in line 2",
    ),
    (
        "labels.csv",
        "filename,label\na,b.mp4,0\n",
        DataError,
        "labels.csv:2: the line has more cells",
    ),
    (
        "labels.csv",
        "filename,label,label\na.mp4,0,1\n",
        DataError,
        "labels.csv:1: the column label is there twice",
    ),
    (
        "Celeb-real/../List_of_testing_videos.txt",
        "1 what\n",
        DataError,
        "List_of_testing_videos.txt:1",
    ),
    ("Celeb-real/../List_of_testing_videos.txt", "0 Celeb-real/a.mp4\n", DataError, "1 means REAL"),
    (
        "original_sequences/../train.json",
        '[["1", 2], 3]',
        DataError,
        "train.json: not a list of pairs",
    ),
    (
        "original_sequences/../train.json",
        '["953", "974"]',
        DataError,
        "train.json: not a list of pairs",
    ),
]


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    DAMAGED,
    ids=[f"{case[0]}: {case[1][:40]}" for case in DAMAGED],
)
def test_damaged_lists_are_named(
    tmp_path: Path, name: str, content: str, kind: type[Exception], message: str
) -> None:
    tree(tmp_path, name, "Celeb-real/a.mp4" if "Celeb" in name else "a.mp4")
    (tmp_path / name).write_text(content)
    with pytest.raises(kind, match=message):
        find_clips([str(tmp_path)])


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


def test_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown dataset 'dfcd'; choose from auto, .*dfdc"):
        find_clips([str(tmp_path)], dataset="dfcd")
    with pytest.raises(UsageError, match="download it first"):
        find_clips(["https://example.org/a.mp4"])
    with pytest.raises(DataError, match="give a DFDC folder"):
        find_clips([str(tmp_path)], dataset="dfdc")
    with pytest.raises(DataError, match="no videos or images found"):
        find_clips([])
