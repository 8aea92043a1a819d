"""What progress says of speed and time holds for runs that go on as for those that begin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepkd.cli import progress
from deepkd.cli.training import follow_run


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    yield now


def test_what_was_done_before_does_not_make_a_run_seem_faster(
    clock: list[float], capsys: pytest.CaptureFixture[str]
):
    with progress.progress("train", "steps") as show:
        for at, done in ((112.0, 1201), (120.0, 1205), (132.0, 1211), (162.0, 1400)):
            clock[0] = at
            show(done, 1400)
    assert capsys.readouterr().err.splitlines() == [
        "train: 1201/1400 steps",
        "train: 1211/1400 steps, 0.5/s, 378 s left",
        "train: 1400/1400 steps, 3.98/s, 0 s left",
    ]


def test_one_report_alone_has_no_speed(clock: list[float], capsys: pytest.CaptureFixture[str]):
    with progress.progress("detect", "clips") as show:
        show(1, 1)
    assert capsys.readouterr().err == "detect: 1/1 clips\n"


def test_a_path_that_was_written_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]):
    progress.wrote(Path("o:smile:[red]" + 90 * "x" + " y\n\x1b[1m.onnx"), " (7 bytes)")
    assert capsys.readouterr() == (
        "",
        "wrote o:smile:[red]" + 90 * "x" + " y\\n\\x1b[1m.onnx (7 bytes)\n",
    )


def test_a_training_names_its_folder_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("deepkd.tables.plots.draw_training", lambda metrics, picture: None)
    with follow_run(Path(":smile:"), "train"):
        pass
    assert capsys.readouterr().err == "wrote :smile:\n"
