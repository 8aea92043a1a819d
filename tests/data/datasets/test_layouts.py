"""Every data set layout, built as a tree of empty files, read as clips."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from clip_factory import Fields, dfdc, table, tree

from deepkd.data.clips import FAKE, REAL, UNKNOWN, Layout
from deepkd.data.datasets.sources import detect_layout, find_clips
from deepkd.data.splits import SPLIT_NAMES
from deepkd.errors import ConfigError, DataError
from deepkd.settings.choices import LAYOUTS
from deepkd.settings.data import ExtractConfig, ForgeConfig


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
EXAMPLES: dict[str, tuple[str, Callable[[Path], Path], Fields]] = {
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
        {
            "x.mp4": ("FAKE", "x.mp4", "", "test", (), ()),
            "y.mp4": ("REAL", "y.mp4", "", "test", (), ()),
        },
    ),
    "dfdc preview": (
        "dfdc",
        dfdc_preview,
        {
            "original_videos/7/7_A.mp4": ("REAL", "original_videos/7/7_A.mp4", "", "train", (), ()),
            "method_A/7/7_8_A.mp4": (
                "FAKE",
                "method_A/7/7_8_A.mp4",
                "method_A",
                "test",
                (),
                ("7", "8"),
            ),
        },
    ),
    "faceforensics": (
        "faceforensics",
        faceforensics,
        {
            "original/c23/953.mp4": ("REAL", "953.mp4", "", "val", (), ()),
            "actors/raw/01__kitchen.mp4": ("REAL", "01__kitchen.mp4", "", "", (), ("actor-01",)),
            "Deepfakes/c23/953_974.mp4": ("FAKE", "953.mp4", "Deepfakes", "val", ("974.mp4",), ()),
            "FaceShifter/c40/974_953.mp4": (
                "FAKE",
                "974.mp4",
                "FaceShifter",
                "val",
                ("953.mp4",),
                (),
            ),
            "DeepFakeDetection/raw/01_02__kitchen__ABCDEFGH.mp4": (
                "FAKE",
                "01__kitchen.mp4",
                "DeepFakeDetection",
                "",
                (),
                ("actor-01", "actor-02"),
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
                "FAKE",
                "Celeb-real/id0_0000.mp4",
                "Celeb-synthesis",
                "test",
                (),
                ("id0", "id1"),
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
}


@pytest.mark.parametrize("case", EXAMPLES)
def test_layouts_are_detected_and_read(tmp_path: Path, case: str) -> None:
    name, build, expected = EXAMPLES[case]
    root = build(tmp_path / "data")
    assert detect_layout(root) == name
    for dataset in ("auto", name):
        clips = find_clips([str(root)], dataset=dataset)
        assert table(clips, *FIELDS) == expected
        assert {clip.dataset for clip in clips} == {name}
        assert all(clip.path.is_file() and not clip.problem for clip in clips)


def test_every_data_set_has_a_layout_in_this_table() -> None:
    assert {name for name, _, _ in EXAMPLES.values()} == set(LAYOUTS)


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_keeps_the_contract(tmp_path: Path, name: str) -> None:
    layout = LAYOUTS.load(name)
    assert isinstance(layout, Layout)
    for config in (ExtractConfig(dataset=name), ForgeConfig(dataset=name)):
        assert config.dataset == name
    (tmp_path / "empty").mkdir()
    is_last = name == list(LAYOUTS)[-1]
    assert layout.fits(tmp_path / "empty") is is_last, "only the last layout fits every folder"
    assert layout.fits(tmp_path / "gone") is is_last
    try:
        clips = layout.read(tmp_path / "empty", lambda warning: None)
    except DataError as error:
        assert str(tmp_path / "empty") in str(error)
    else:
        assert all(clip.problem for clip in clips)


@pytest.mark.parametrize("case", EXAMPLES)
def test_the_clips_of_a_layout_keep_the_contract(tmp_path: Path, case: str) -> None:
    name, build, _ = EXAMPLES[case]
    root = build(tmp_path / "data")
    warnings: list[str] = []
    clips = LAYOUTS.load(name).read(root, warnings.append)
    assert clips and not warnings
    assert len({clip.video for clip in clips}) == len(clips), "names are unique"
    for clip in clips:
        assert clip.label in (REAL, FAKE, UNKNOWN) and clip.split in ("", *SPLIT_NAMES)
        assert clip.dataset == name and clip.path.is_relative_to(root) and clip.original
        assert not (clip.label == REAL and clip.method), "a real clip has no method"


def test_an_unknown_layout_is_refused_by_the_settings() -> None:
    for config in (ExtractConfig, ForgeConfig):
        with pytest.raises(ConfigError, match=f"choose from auto, {', '.join(LAYOUTS)}"):
            config(dataset="dfcd")


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
