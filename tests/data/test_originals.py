"""Splits and originals of clips, by the folders that they lie in."""

import io
import os
from pathlib import Path

import pytest
from clip_factory import table, tree

from deepkd.data.datasets.sources import find_clips

SHIPPED = [
    # (files, source below the root, (label, split) of each clip by name)
    (["ds/{}/real/a.mp4", "ds/{}/fake/a.mp4"], "ds/*/*/*.mp4", [("FAKE", "{}"), ("REAL", "{}")]),
    (["ds/{}/fake/a.mp4"], "ds/{}/fake", [("FAKE", "{}")]),
    (["ds/{}/fake/a.mp4"], "ds/{}/fake/a.mp4", [("FAKE", "{}")]),
    (["ds/{}/fake/a.mp4"], "ds/{}/fake/../../{}/fake/a.mp4", [("FAKE", "{}")]),
    (["ds/{}/real/p0/a.mp4"], "ds/*/*/*/*.mp4", [("REAL", "{}")]),
    (["ds/{}/real/p0/a.mp4"], "ds/*/*/p0", [("REAL", "{}")]),
    (["ds/fake/{}/a.mp4"], "ds/fake/{}", [("FAKE", "{}")]),
    (["ds/fake/{}/a.mp4"], "ds/*/*/*.mp4", [("FAKE", "{}")]),
    (["{}/ds/real/a.mp4"], "{}/ds", [("REAL", "")]),
    (["{}/ds/real/a.mp4"], "{}/ds/*/*.mp4", [("REAL", "")]),
    (["{}/a.mp4"], "{}/a.mp4", [("", "")]),
]


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize(("files", "source", "expected"), SHIPPED)
def test_splits_are_kept_however_the_clips_are_named(
    tmp_path: Path, files: list[str], source: str, expected: list[tuple[str, str]], split: str
) -> None:
    root = tree(tmp_path, *(file.format(split) for file in files))
    clips = find_clips([str(root / source.format(split, split))])
    assert [(clip.label, clip.split) for clip in clips] == [
        (label, its.format(split)) for label, its in expected
    ]
    stdin = io.BytesIO(b"".join(os.fsencode(clip.path) + b"\n" for clip in clips))
    assert [clip.split for clip in find_clips(["-"], stdin=stdin)] == [clip.split for clip in clips]


SAME_PLACE = {
    # name: (files, forgery -> its original)
    "a folder for each person": (
        [f"{label}/p{person}/1.mp4" for label in ("real", "fake") for person in range(12)],
        {f"fake/p{person}/1.mp4": f"real/p{person}/1.mp4" for person in range(12)},
    ),
    "a folder for each method above that": (
        ["real/p0/1.mp4", "real/p1/1.mp4", "fake/swap/p1/1.mp4", "fake/lips/p1/1.mp4"],
        {"fake/swap/p1/1.mp4": "real/p1/1.mp4", "fake/lips/p1/1.mp4": "real/p1/1.mp4"},
    ),
    "classes below people": (
        ["p0/real/1.mp4", "p0/fake/1.mp4", "p1/real/1.mp4", "p1/fake/swap/1.mp4"],
        {"p0/fake/1.mp4": "p0/real/1.mp4", "p1/fake/swap/1.mp4": "p1/real/1.mp4"},
    ),
    "splits above classes": (
        ["train/real/1.mp4", "test/real/1.mp4", "train/fake/1.mp4", "test/fake/1.mp4"],
        {"train/fake/1.mp4": "train/real/1.mp4", "test/fake/1.mp4": "test/real/1.mp4"},
    ),
    "splits below classes": (
        ["real/train/p0/1.mp4", "real/test/p0/1.mp4", "fake/test/p0/1.mp4"],
        {"fake/test/p0/1.mp4": "real/test/p0/1.mp4"},
    ),
    "only the name, which one real clip has": (
        ["real/p0/1.mp4", "real/p1/2.mp4", "fake/2.mp4", "fake/3.mp4"],
        {"fake/2.mp4": "real/p1/2.mp4", "fake/3.mp4": "fake/3.mp4"},
    ),
    "the same place before one that only ends alike": (
        ["real/1.mp4", "real/p0/1.mp4", "fake/1.mp4"],
        {"fake/1.mp4": "real/1.mp4"},
    ),
}


@pytest.mark.parametrize("case", SAME_PLACE)
def test_a_forgery_is_of_the_real_clip_at_its_place(tmp_path: Path, case: str) -> None:
    files, expected = SAME_PLACE[case]
    warnings: list[str] = []
    clips = find_clips([str(tree(tmp_path / "data", *files))], warn=warnings.append)
    assert {clip.video: clip.original for clip in clips if clip.label == "FAKE"} == expected
    assert warnings == []


def test_a_forgery_that_may_be_of_several_real_clips_is_of_none(tmp_path: Path) -> None:
    root = tree(
        tmp_path, "real/p0/1.mp4", "real/p1/1.mp4", "real/p2/1.mp4", "fake/1.mp4", "fake/q/1.mp4"
    )
    warnings: list[str] = []
    clips = find_clips([str(root)], warn=warnings.append)
    assert [clip.original for clip in clips] == [clip.video for clip in clips]
    assert len(warnings) == 1 and "2 forgeries may be of several real clips" in warnings[0]
    assert "fake/1.mp4 of real/p0/1.mp4 or real/p1/1.mp4" in warnings[0]


def test_forgeries_of_two_data_sets_are_of_their_own(tmp_path: Path) -> None:
    roots = [
        tree(tmp_path / name, "real/1.mp4", "fake/1.mp4", "fake/swap/1.mp4")
        for name in ("one", "two")
    ]
    originals = table(find_clips([str(root) for root in roots]), "original")
    assert originals["fake/1.mp4"] == originals["fake/swap/1.mp4"] == ("real/1.mp4",)
    assert originals["two/fake/1.mp4"] == originals["two/fake/swap/1.mp4"] == ("two/real/1.mp4",)
