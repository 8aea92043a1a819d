"""The clips behind the names that a user gives: each once, with a name of its own."""

import io
import os
from pathlib import Path

import pytest
from clip_factory import dfdc, table, tree

from deepkd.data.datasets.sources import find_clips
from deepkd.errors import ConfigError, DataError, UsageError

VARIANTS = [
    # (files, source below the root, video -> label)
    (["clip.mp4", "sub/still.jpg"], "", {"clip.mp4": "", "sub/still.jpg": ""}),
    (
        ["original/a.mp4", "manipulated/b.mp4"],
        "",
        {"original/a.mp4": "REAL", "manipulated/b.mp4": "FAKE"},
    ),
    (["x/real/a.mp4"], "x/real", {"a.mp4": "REAL"}),
    (["x/real/a.mp4"], "x/real/a.mp4", {"a.mp4": "REAL"}),
    (["x/fake/a.mp4", "x/real/b.mp4"], "x/*/*.mp4", {"a.mp4": "FAKE", "b.mp4": "REAL"}),
    (["fake/real/a.mp4"], "", {"fake/real/a.mp4": "REAL"}),
    (["Celeb-real/videos/id1_0000.mp4"], "", {"Celeb-real/id1_0000.mp4": "REAL"}),
    (["Youtube-real/1.mp4"], "", {"Youtube-real/1.mp4": "REAL"}),
    (
        ["original_sequences/youtube/c40/videos/1.mp4"],
        "original_sequences/youtube",
        {"original/c40/1.mp4": "REAL"},
    ),
    (["real/.hidden.mp4", "real/a.mp4", "real/notes.txt"], "", {"real/a.mp4": "REAL"}),
    (["a [1].mp4"], "a [1].mp4", {"a [1].mp4": ""}),
]


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


def test_usage_errors(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown dataset 'dfcd'; choose from auto, .*dfdc"):
        find_clips([str(tmp_path)], dataset="dfcd")
    with pytest.raises(UsageError, match="download it first"):
        find_clips(["https://example.org/a.mp4"])
    with pytest.raises(DataError, match="give a DFDC folder"):
        find_clips([str(tmp_path)], dataset="dfdc")
    with pytest.raises(DataError, match="no videos or images found"):
        find_clips([])
