"""`deepkd detect` ends early: Ctrl-C, a reader that leaves, a full disk."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from detect_process import start_detect
from media import Media
from scorer_factory import write_scorer

from deepkd.settings.choices import REPORTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


def test_interrupted_what_is_done_stays(model: str, media: Media):
    still = media.still("0.jpg")
    for number in range(1, 400):
        media.path(f"{number}.jpg").hardlink_to(still)
    report = media.path("report.html")
    process = start_detect(
        str(media.folder), "--model", model, "--format", "jsonl", "--report", str(report)
    )
    first = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    lines = [json.loads(line) for line in (first + out).splitlines()]
    assert process.returncode == 130, err
    assert 1 <= len(lines) < 400
    assert "interrupted" in err and "Traceback" not in err
    assert report.read_text().count("<article") == min(len(lines), 200)


def test_a_reader_that_leaves_ends_it_quietly(model: str, media: Media):
    still = media.still("0.jpg")
    for number in range(1, 60):
        media.path(f"{number}.jpg").hardlink_to(still)
    with start_detect(str(media.folder), "--model", model, "--format", "jsonl", "-q") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_named(model: str, media: Media):
    words = [
        sys.executable,
        "-m",
        "deepkd",
        "detect",
        str(media.still()),
        "--model",
        model,
        "--format",
        "json",
    ]
    with open("/dev/full", "w") as full:
        process = subprocess.run(words, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 1
    assert process.stderr == "error: standard output cannot be written (No space left on device)\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
@pytest.mark.parametrize("format", REPORTS)
def test_a_report_in_a_file_is_whole_though_standard_output_takes_nothing(
    format: str, model: str, media: Media
):
    stills, report = (
        [str(media.still(f"{number}.jpg")) for number in range(2)],
        media.path("report.json"),
    )
    words = [*stills, "--model", model, "--format", format, "--report", str(report), "-q"]
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "deepkd", "detect", *words],
            cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert process.stderr == "error: standard output cannot be written (No space left on device)\n"
    assert process.returncode == 1
    assert [video["path"] for video in json.loads(report.read_text())["videos"]] == stills


def test_a_report_in_a_file_outlives_the_reader_of_standard_output(model: str, media: Media):
    still = media.still("0.jpg")
    for number in range(1, 20):
        media.path(f"{number}.jpg").hardlink_to(still)
    report = media.path("report.jsonl")
    words = [
        str(media.folder),
        "--model",
        model,
        "--format",
        "jsonl",
        "-q",
        "--report",
        str(report),
    ]
    with start_detect(*words) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 1
    assert len(report.read_text().splitlines()) == 20
