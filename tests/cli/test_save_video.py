"""`deepkd detect --save-video`: the clip with boxes, and what is left where it cannot be drawn."""

import json
import signal
from pathlib import Path

import pytest
from detect_process import start_detect
from media import Media
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.errors import OutputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tinted_clip(tmp_path_factory.mktemp("forged") / "forged.mp4", seconds=0.6))


def run(*arguments: str, env: dict[str, str] | None = None):
    return CliRunner().invoke(app, ["detect", *arguments], env=env)


def test_the_clip_with_boxes(model: str, forged: str, tmp_path: Path):
    out = tmp_path / "marked.webm"
    assert run(forged, "--model", model, "--save-video", str(out)).exit_code == 0
    assert out.read_bytes()[:4] == b"\x1aE\xdf\xa3"
    assert [path.name for path in tmp_path.iterdir()] == ["marked.webm"]


SLOW_FILM = """
import sys, time
import deepkd.report.video as video
whole = video.every_frame
def slowly(path):
    for number, frame in enumerate(whole(path)):
        if number == 2:
            print("drawing", file=sys.stderr, flush=True)
            time.sleep(60)
        yield frame
video.every_frame = slowly
from deepkd.cli.app import main; main()
"""


def test_interrupted_while_drawing_no_film_is_named(model: str, forged: str, tmp_path: Path):
    film, report = tmp_path / "marked.webm", tmp_path / "report.jsonl"
    film.write_bytes(b"the film of last time")
    flags = ["--save-video", str(film), "--report", str(report), "--overwrite", "--format", "jsonl"]
    process = start_detect(forged, "--model", model, *flags, code=SLOW_FILM)
    assert process.stderr.readline() == "drawing\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted; what was finished is kept\n")
    assert json.loads(out)["verdict"] == json.loads(report.read_text())["verdict"] == "FAKE"
    assert film.read_bytes() == b"the film of last time"
    assert {path.name for path in tmp_path.iterdir()} == {
        "marked.webm",
        "report.jsonl",
        "report.jsonl.config.json",
    }


SLOW_JUDGE = """
import sys, time
from deepkd.pipeline import Detector
def slowly(*_, **__):
    print("judging", file=sys.stderr, flush=True)
    time.sleep(60)
Detector.judge = slowly
from deepkd.cli.start import main; main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_interrupted_before_drawing_no_film_is_missed(
    number: signal.Signals, code: int, model: str, forged: str, tmp_path: Path
):
    film = tmp_path / "marked.webm"
    process = start_detect(forged, "--model", model, "--save-video", str(film), code=SLOW_JUDGE)
    assert process.stderr.readline() == "judging\n"
    process.send_signal(number)
    assert process.communicate() == ("", "interrupted; what was finished is kept\n")
    assert process.returncode == code
    assert not film.exists()


def test_drawing_has_the_same_time_as_judging(
    model: str, forged: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def endlessly(verdict, out, *, limit_s):
        out.touch()
        raise OutputError(f"{limit_s} s are over")

    monkeypatch.setattr("deepkd.report.video.write_video", endlessly)
    film = tmp_path / "marked.webm"
    result = run(forged, "--model", model, "--save-video", str(film), "--timeout", "77")
    assert (result.exit_code, result.stderr) == (1, "error: 77.0 s are over\n")
    assert result.stdout.startswith("FAKE") and not list(tmp_path.iterdir())
    asked = run(
        forged, "--model", model, "--save-video", str(film), "--timeout", "77", "--fail-on-fake"
    )
    assert (asked.exit_code, asked.stderr) == (4, "error: 77.0 s are over\n")


def test_a_report_is_kept_where_no_film_can_be_drawn(
    model: str, media: Media, monkeypatch: pytest.MonkeyPatch
):
    def never(verdict, out, *, limit_s):
        raise OutputError("the disk is full")

    monkeypatch.setattr("deepkd.report.video.write_video", never)
    report, film = media.path("out/report.jsonl"), media.path("out/marked.webm")
    result = run(
        str(media.clip()), "--model", model, "--report", str(report), "--save-video", str(film)
    )
    assert result.exit_code == 1 and "the disk is full" in result.stderr
    assert json.loads(report.read_text())["verdict"] == "REAL"
    assert not film.exists()


@pytest.mark.parametrize("name", ["empty.mp4", "gone.mp4"])
def test_what_cannot_be_drawn_since_it_cannot_be_read_has_a_verdict(
    name: str, model: str, media: Media
):
    media.junk("empty.mp4", size=0)
    result = run(
        str(media.path(name)),
        "--model",
        model,
        "--save-video",
        str(media.path("v.webm")),
        "--format",
        "json",
    )
    assert result.exit_code == 1 and json.loads(result.stdout)["videos"][0]["verdict"] == "ERROR"
