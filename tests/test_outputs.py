"""Result files are whole or absent, whatever they are called."""

from pathlib import Path

import pytest

from deepkd.errors import OutputError
from deepkd.outputs import remove, writing


def test_a_result_may_have_the_longest_name_that_a_file_can_have(tmp_path: Path) -> None:
    path = tmp_path / ("r" * 250 + ".json")
    with writing(path) as beside:
        beside.write_text("whole")
        assert beside.suffix == ".json" and not path.exists()
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_nothing_and_the_old_result(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    with (
        pytest.raises(OutputError, match=r"r\.json: cannot be written \(the disk is full\)"),
        writing(path) as beside,
    ):
        beside.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_removed_is_named_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError("the mount is busy")

    (tmp_path / "crops").mkdir()
    monkeypatch.setattr("shutil.rmtree", refuse)
    with pytest.raises(
        OutputError, match=r"cannot be replaced \(the mount is busy\); choose another folder"
    ):
        remove(tmp_path, ["crops"])
