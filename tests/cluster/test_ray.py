"""Ray on several nodes: one is killed, a clip kills its process, Ctrl-C; each clip comes once."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from media import Media
from scorer_factory import write_scorer

from deepkd.cluster.collect import collect

pytestmark = pytest.mark.alone
ROOT = Path(__file__).parents[2]
COUNT = 16
KILLER = """
import multiprocessing, os, signal, sys, time
def kill(event, arguments):
    name = os.path.basename(str(arguments[0])) if event == "open" else ""
    if name.endswith(".jpg") and multiprocessing.parent_process():
        time.sleep(0.1)
        if name == "killer.jpg":
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(kill)
"""
"""A `sitecustomize`: workers take their time, and one picture kills them."""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Media:
    """Stills, one of which kills the process that judges it."""
    media = Media(tmp_path_factory.mktemp("ray"))
    still = media.still("clips/killer.jpg", size=(160, 120))
    for number in range(COUNT):
        media.path(f"clips/{number}.jpg").hardlink_to(still)
    write_scorer(media.path("green.onnx"))
    media.path("hook/sitecustomize.py").write_text(KILLER)
    return media


@pytest.fixture(scope="module")
def environment(media: Media) -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(media.folder / "hook"), str(ROOT))),
        "RAY_worker_niceness": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.fixture(scope="module")
def nodes(environment: dict[str, str]) -> Iterator["subprocess.Popen[str]"]:
    """Two nodes; a line kills one."""
    words = [sys.executable, str(ROOT / "tests" / "ray_nodes.py"), "2"]
    with subprocess.Popen(
        words, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        environment["RAY_ADDRESS"] = process.stdout.readline().strip()
        yield process
        process.stdin.close()


def start(line: str, media: Media, environment: dict[str, str]) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "deepkd", *line.split()],
        cwd=media.folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_lines(folder: Path, count: int, process: "subprocess.Popen[str]") -> None:
    """Wait until each of two parts has some lines."""
    parts = [folder / f"part-{number}-of-0002.jsonl" for number in ("0001", "0002")]
    while not all(part.exists() and part.read_bytes().count(b"\n") >= count for part in parts):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def test_each_clip_comes_once_whatever_dies(
    media: Media, environment: dict[str, str], nodes: "subprocess.Popen[str]"
) -> None:
    out = media.folder / "out"
    line = "detect clips --model green.onnx --out out --cluster ray --shards 2"
    with start(line, media, environment) as first:
        wait_for_lines(out, 1, first)
        first.send_signal(signal.SIGINT)
        assert (first.communicate()[1].splitlines()[-1], first.returncode) == (
            "interrupted; what was finished is kept", 130,
        )  # fmt: skip
    before = sum(part.read_bytes().count(b"\n") for part in out.glob("*.jsonl"))
    assert 2 <= before < COUNT
    with start(f"{line} --resume", media, environment) as second:
        wait_for_lines(out, 4, second)
        nodes.stdin.write("kill\n")
        nodes.stdin.flush()
        shown, errors = second.communicate()
    assert second.returncode == 3, errors
    assert f"{COUNT + 1} inputs, " in shown and f"/{COUNT + 1} inputs" in errors
    paths = [
        json.loads(line)["path"]
        for part in out.glob("*.jsonl")
        for line in part.read_text().splitlines()
    ]
    assert sorted(paths) == sorted(f"clips/{name}" for name in os.listdir(media.folder / "clips"))
    collected = collect([out])
    assert collected.tally == {"REAL": COUNT, "ERROR": 1} and not collected.unfinished.count
    (failed,) = collected.failed.first
    assert failed.startswith("clips/killer.jpg: its worker process was ended by SIGKILL, 2 times")


def test_extraction(
    media: Media, environment: dict[str, str], nodes: "subprocess.Popen[str]"
) -> None:
    lines = [f"extract clips --frames 1 --out {name}" for name in ("here", "there")]
    for line in (f"{lines[0]} --workers 1", f"{lines[1]} --cluster ray"):
        with start(line, media, environment) as process:
            shown, errors = process.communicate()
        assert process.returncode == 3 and "killer.jpg: its worker process was" in shown, errors
    here, there = ((media.folder / name / "index.csv").read_text() for name in ("here", "there"))
    assert here == there and here.count("\n") == COUNT + 1
