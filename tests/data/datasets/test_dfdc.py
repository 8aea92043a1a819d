"""The lists of the Deepfake Detection Challenge, and what lies beside them or is not there."""

import json
from pathlib import Path

from clip_factory import dfdc, table, tree

from deepkd.data.datasets.sources import find_clips


def test_a_forgery_of_a_forgery_is_of_its_original_in_any_data_set(tmp_path: Path) -> None:
    root = dfdc(tmp_path)
    tree(root, "dfdc_train_part_0/again.mp4")
    listing = root / "dfdc_train_part_0/metadata.json"
    rows = json.loads(listing.read_text()) | {"again.mp4": {"label": "FAKE", "original": "b.mp4"}}
    listing.write_text(json.dumps(rows))
    assert table(find_clips([str(root)]), "original")["again.mp4"] == ("a.mp4",)


def test_clips_that_the_list_names_and_the_disk_lacks_are_counted(tmp_path: Path) -> None:
    root = dfdc(tmp_path)
    (root / "dfdc_train_part_0/b.mp4").unlink()
    warnings: list[str] = []
    assert len(find_clips([str(root)], warn=warnings.append)) == 2
    assert len(warnings) == 1 and "1 of 2 clips are not on disk, e.g. b.mp4" in warnings[0]


def test_a_clip_that_lies_elsewhere_is_found_but_no_other_is_taken_for_it(tmp_path: Path) -> None:
    tree(tmp_path, "real/1.mp4", "below/2.mp4", "a/3.mp4", "b/3.mp4")
    rows = {
        "fake/1.mp4": {"label": "FAKE"},
        "1.mp4": {"label": "FAKE"},
        "real/1.mp4": {"label": "REAL"},
    }
    rows |= {"2.mp4": {"label": "FAKE"}, "3.mp4": {"label": "FAKE"}}
    (tmp_path / "metadata.json").write_text(json.dumps(rows))
    warnings: list[str] = []
    found = {
        clip.video: (clip.label, clip.path)
        for clip in find_clips([str(tmp_path)], warn=warnings.append)
    }
    assert found == {
        "real/1.mp4": ("REAL", tmp_path / "real/1.mp4"),
        "2.mp4": ("FAKE", tmp_path / "below/2.mp4"),
    }
    assert "3 of 5 clips are not on disk" in warnings[0]


def test_one_list_deep_in_folders_of_classes_hides_no_clip(tmp_path: Path) -> None:
    root = tree(tmp_path, "real/a.mp4", "fake/a.mp4", "fake/more/b.mp4")
    (root / "fake/more/metadata.json").write_text('{"b.mp4": {"label": "FAKE"}}')
    assert {clip.video for clip in find_clips([str(root)])} == {
        "real/a.mp4",
        "fake/a.mp4",
        "fake/more/b.mp4",
    }


def test_videos_that_no_list_names_are_counted(tmp_path: Path) -> None:
    root = tree(
        dfdc(tmp_path),
        "dfdc_train_part_0/more.mp4",
        "dfdc_train_part_2/d.mp4",
        "dfdc_train_part_2/still.jpg",
    )
    (root / "dfdc_train_part_3").symlink_to(root / "dfdc_train_part_0")
    warnings: list[str] = []
    assert {clip.path.name for clip in find_clips([str(root)], warn=warnings.append)} == {
        "a.mp4",
        "b.mp4",
        "c.mp4",
    }
    assert len(warnings) == 1 and "2 videos are in none of its lists" in warnings[0]
    assert (
        str(root / "dfdc_train_part_0/more.mp4") in warnings[0]
        and "--dataset folder" in warnings[0]
    )
