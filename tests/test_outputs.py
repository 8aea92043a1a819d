"""Result files are whole or absent, whatever they are called."""

from pathlib import Path

import pytest

from deepkd.errors import OutputError
from deepkd.outputs import check_outputs, remove, settings_beside, writing


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


def test_outputs_are_checked_before_the_work(tmp_path: Path) -> None:
    there, new = tmp_path / "there.csv", tmp_path / "a" / "new.csv"
    there.write_text("mine")
    check_outputs([new, None], files=[tmp_path / "x.png"], folders=[tmp_path / "plots", None])
    assert {path.name for path in tmp_path.iterdir()} == {"there.csv", "a", "plots"}
    check_outputs([there], overwrite=True)
    with pytest.raises(OutputError, match=r"there\.csv: exists already; .*--overwrite"):
        check_outputs([there])
    settings_beside(new).write_text("{}")
    with pytest.raises(OutputError, match=r"new\.csv\.config\.json: exists already"):
        check_outputs([new])
    check_outputs(files=[new])
    with pytest.raises(OutputError, match=r"there\.csv: is one of the inputs"):
        check_outputs(files=[there], inputs=[there], overwrite=True)
    with pytest.raises(OutputError, match=r"plots: is a folder; name a file in it"):
        check_outputs(files=[tmp_path / "plots"])
