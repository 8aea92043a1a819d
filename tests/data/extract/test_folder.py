"""The folders of crops: safe names that do not collide."""

import pytest

from deepkd.data.extract.folder import name_folders


@pytest.mark.parametrize(
    ("videos", "folders"),
    [
        (["a.mp4", "b.mov"], ["a", "b"]),
        (["Deepfakes/c23/1_2.mp4"], ["Deepfakes_c23_1_2"]),
        (["../../etc/x.mp4", ".hidden.mp4", "-.mp4", "\n"], ["_.._etc_x", "hidden", "clip", "_"]),
    ],
)
def test_crop_folders_are_plain(videos: list[str], folders: list[str]) -> None:
    assert name_folders(videos) == folders


def test_crop_folders_do_not_collide() -> None:
    folders = name_folders(
        ["a.mp4", "A.mov", "b/c.mp4", "b_c.mp4", "x" * 300 + ".mp4", "caf\udce9.mp4"]
    )
    assert len({folder.lower() for folder in folders}) == 6 and max(map(len, folders)) < 120
