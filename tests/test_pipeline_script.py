"""`tools/pipeline.py`: names of folders stand for folders, and for nothing else."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def pipeline(script: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return script("tools/pipeline.py")


def test_a_folder_whose_name_holds_another_name_stays_whole(pipeline: dict[str, Any]) -> None:
    lines = {
        title: line
        for title, line, _ in pipeline["stages"](Path("/mnt/OUTPUT/CLIPS"), None, Path("my runs"))
    }
    assert lines["Train the teacher"].startswith(
        "train --data /mnt/OUTPUT/CLIPS --out 'my runs'/teacher "
    )
    assert "Extract faces" not in lines


def test_only_paths_are_called_by_their_names(pipeline: dict[str, Any]) -> None:
    said = "data/index.csv, split data, 'data', my/data, data-old, data: wrote r.1/x and rx1"
    shown = pipeline["without_paths"](
        said, {"CROPS": Path("data"), "OUT": Path("r.1"), "CLIPS": None}
    )
    assert (
        shown
        == "CROPS/index.csv, split CROPS, 'CROPS', my/data, data-old, CROPS: wrote OUT/x and rx1"
    )


def test_what_an_earlier_run_made_is_not_touched(
    pipeline: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["pipeline.py", "--data", str(tmp_path), "--out", str(tmp_path)]
    )
    with pytest.raises(SystemExit, match="exists already, maybe of an earlier run; remove it"):
        pipeline["main"]()
