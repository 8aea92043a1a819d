"""Result files are whole or absent, whatever they are called."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from crop_factory import write_crops
from typer.testing import CliRunner

from deepkd import outputs
from deepkd.cli.app import app
from deepkd.errors import OutputError
from deepkd.outputs import alone_in, check_outputs, remove, settings_beside, write_whole

ROOT = Path(__file__).resolve().parents[1]
CLIP = ROOT / "data" / "samples" / "forged.mp4"
MODEL = ROOT / "weights" / "deepkd-nano.onnx"


def test_a_result_may_have_the_longest_name_that_a_file_can_have(tmp_path: Path) -> None:
    path = tmp_path / ("r" * 250 + ".json")
    with write_whole(path) as beside:
        beside.write_text("whole")
        assert beside.suffix == ".json" and not path.exists()
    assert path.read_text() == "whole" and list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_nothing_and_the_old_result(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text("old")
    with (
        pytest.raises(OutputError, match=r"r\.json: cannot be written \(the disk is full\)"),
        write_whole(path) as beside,
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


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_of_two_runs_with_one_output_the_first_keeps_it(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("no links here")

    if not links:
        monkeypatch.setattr("os.link", refuse)
    first, second = tmp_path / "r.json", tmp_path / "new.json"
    check_outputs(files=[first, second])
    with (
        pytest.raises(OutputError, match=r"r\.json: exists already; .*--overwrite"),
        write_whole(first) as beside,
    ):
        beside.write_text("the loser's")
        first.write_text("the winner's")  # as another process does
    with write_whole(second) as beside:
        beside.write_text("whole")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "r.json": "the winner's",
        "new.json": "whole",
    }


def test_with_overwrite_the_last_of_two_runs_wins(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    check_outputs(files=[path])
    check_outputs(files=[path], overwrite=True)
    with write_whole(path) as beside:
        beside.write_text("second")
        path.write_text("first")
    assert path.read_text() == "second"


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        alone_in(tmp_path / "run"),
        pytest.raises(OutputError, match=r"run: another run is writing to this folder"),
        alone_in(tmp_path / "run"),
    ):
        pass
    with alone_in(tmp_path / "run"):
        assert list((tmp_path / "run").iterdir()) == []


COMMANDS = {
    "detect --report": ("detect {clip} --report OUT", "r.html"),
    "detect --save-video": ("detect {clip} --save-video OUT", "v.webm"),
    "quantize": (
        "quantize {model} --data {crops} --out OUT --int8 plain --samples 4 --keep int8",
        "q.onnx",
    ),
    "evaluate --scores": ("evaluate {model} --data {crops} --scores OUT --resamples 0", "s.csv"),
    "benchmark": (
        "benchmark --teacher {model} --student deepkd-pico --runs 3 --out FOLDER",
        "benchmark.json.config.json",
    ),
}
"""Command -> (its words, a file that it writes)."""


@pytest.mark.parametrize("name", COMMANDS)
def test_what_another_process_wrote_in_the_meantime_is_kept(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, file = COMMANDS[name]
    out = tmp_path / file
    crops = write_crops(tmp_path / "crops", tint=60)
    line = line.replace("OUT", str(out)).replace("FOLDER", str(tmp_path))
    words = line.format(clip=CLIP, model=MODEL, crops=crops).split()
    publish = outputs._publish

    def be_late(beside: Path, path: Path, *, is_new: bool) -> None:
        if path == out:
            path.write_text("another's")
        publish(beside, path, is_new=is_new)

    monkeypatch.setattr(outputs, "_publish", be_late)
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and "exists already" in done.stderr
    assert out.read_text() == "another's"
    assert not settings_beside(out).exists()


def test_of_two_processes_with_one_report_one_wins_and_says_so(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "deepkd", "detect", str(CLIP), "--frames", "2"]
    words += ["--report", str(tmp_path / "r.json")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    runs = [
        subprocess.Popen(words, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        for _ in range(2)
    ]
    said = [run.communicate(timeout=120)[1].decode() for run in runs]
    codes = [run.returncode for run in runs]
    assert sorted(codes) == [0, 1]
    assert "exists already; choose another name or add --overwrite" in said[codes.index(1)]
    assert json.loads((tmp_path / "r.json").read_text())["videos"][0]["verdict"] == "FAKE"
    assert {path.name for path in tmp_path.iterdir()} == {"r.json", "r.json.config.json"}
