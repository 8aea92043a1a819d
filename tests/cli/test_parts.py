"""`deepkd detect --out`: kills, a full disk, two runs at once, and `deepkd collect` behind them."""

import json
import resource
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from media import Media
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app

ROOT = Path(__file__).parents[2]
PART = "part-0001-of-0001.jsonl"
COUNT = 24
SLOWLY = """
import time
from deepkd.cluster.parts import Part
add = Part.add
def slowly(self, verdict):
    add(self, verdict)
    time.sleep(0.05)
Part.add = slowly
from deepkd.cli.start import main
if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of small stills, one of them damaged."""
    media = Media(tmp_path_factory.mktemp("clips"))
    still = media.still("0.jpg", size=(160, 120))
    for number in range(1, COUNT - 1):
        media.path(f"{number}.jpg").hardlink_to(still)
    media.junk("junk.mp4", size=64)
    return media.folder


def run(*arguments: object, **options):
    return CliRunner().invoke(app, list(map(str, arguments)), env={"COLUMNS": "200"}, **options)


def start(*arguments: object, **options) -> "subprocess.Popen[str]":
    words = [sys.executable, "-c", SLOWLY, "detect", *map(str, arguments), "-q"]
    return subprocess.Popen(
        words, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def wait_for_lines(part: Path, count: int) -> None:
    for _ in range(1200):
        if part.exists() and part.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.05)
    pytest.fail(f"{part} did not grow to {count} lines")


def entries(part: Path) -> list[dict]:
    """The entries of a part by path, without what two runs differ in."""
    found = [json.loads(line) for line in part.read_text().splitlines()]
    return sorted(
        ({**entry, "timing_ms": None} for entry in found), key=lambda entry: entry["path"]
    )


@pytest.fixture(scope="module")
def whole(model: str, clips: Path, tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What a run without interruption writes."""
    out = tmp_path_factory.mktemp("whole")
    assert run("detect", clips, "--model", model, "--out", out).exit_code == 3
    found = entries(out / PART)
    assert len(found) == len({entry["path"] for entry in found}) == COUNT
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_run_goes_on(
    workers: int, model: str, clips: Path, whole: list[dict], tmp_path: Path
) -> None:
    words = (clips, "--model", model, "--out", tmp_path)
    with start(*words, "--workers", workers) as process:
        wait_for_lines(tmp_path / PART, 3)
        process.send_signal(signal.SIGKILL)
    done = (tmp_path / PART).read_bytes().count(b"\n")
    assert 3 <= done < COUNT
    assert "unfinished: " in run("collect", tmp_path).stderr
    resumed = run("detect", *words, "--resume")
    assert resumed.exit_code == 3
    # of the kept lines, the last may lack its entry in the journal
    before = int(resumed.stdout.split(" of them judged before")[0].split()[-1])
    assert done - 1 <= before <= done
    assert entries(tmp_path / PART) == whole


def test_ctrl_c_keeps_what_is_done(
    model: str, clips: Path, whole: list[dict], tmp_path: Path
) -> None:
    words = (clips, "--model", model, "--out", tmp_path)
    with start(*words) as process:
        wait_for_lines(tmp_path / PART, 2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "interrupted; what was finished is kept\n")
    assert run("detect", *words, "--resume").exit_code == 3
    assert entries(tmp_path / PART) == whole


def test_a_full_disk_is_named_and_the_run_goes_on(
    model: str, clips: Path, whole: list[dict], tmp_path: Path
) -> None:
    words = (clips, "--model", model, "--out", tmp_path)
    full = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (3000, 3000))
    with start(*words, preexec_fn=full) as process:
        _, err = process.communicate()
    assert process.returncode == 1 and "Traceback" not in err
    assert "make room there, then go on with --resume" in err
    assert (tmp_path / PART).read_bytes().count(b"\n") >= 2
    assert run("detect", *words, "--resume").exit_code == 3
    assert entries(tmp_path / PART) == whole


def test_a_second_run_into_the_same_part_is_refused(
    model: str, clips: Path, whole: list[dict], tmp_path: Path
) -> None:
    words = (clips, "--model", model, "--out", tmp_path)
    with start(*words) as process:
        wait_for_lines(tmp_path / PART, 1)
        for flag in ("--resume", "--overwrite"):
            second = run("detect", *words, flag)
            assert second.exit_code == 1 and not second.stdout
            assert "another run is writing this part; wait for its end" in second.stderr
        other = run("detect", *words, "--shard", "1/100")
        assert other.exit_code == 0, "another part of the same folder"
        process.communicate()
    assert process.returncode == 3
    assert entries(tmp_path / PART) == whole


def test_an_existing_part_is_refused_before_the_model_is_loaded(
    clips: Path, tmp_path: Path
) -> None:
    (tmp_path / PART).write_text("{}\n")
    refused = run("detect", clips, "--model", "nowhere.onnx", "--out", tmp_path)
    assert refused.exit_code == 1
    assert "add --resume to judge what is missing, or --overwrite" in refused.stderr


def test_shards_make_a_whole(model: str, clips: Path, whole: list[dict], tmp_path: Path) -> None:
    for number in (1, 2, 3):
        words = ("detect", clips, "--model", model, "--out", tmp_path, "--shard", f"{number}/3")
        assert run(*words).exit_code in (0, 3)
        settings = tmp_path / f"part-000{number}-of-0003.jsonl.config.json"
        assert json.loads(settings.read_text())["model"] == model
    report = tmp_path / "all.jsonl"
    collected = run("collect", tmp_path, "--report", report)
    assert collected.exit_code == 3 and f"{COUNT} inputs: {report}" in collected.stdout
    assert collected.stderr.startswith(f"error: {clips / 'junk.mp4'}: is damaged")
    assert entries(report) == whole


def test_standard_output_is_a_summary_or_as_asked(model: str, media: Media) -> None:
    stills = [str(media.still(f"{number}.jpg")) for number in range(2)]
    out = media.path("out")
    summary = run("detect", *stills, "--model", model, "--out", out)
    assert summary.exit_code == 0 and f"2 inputs: {out / PART}" in summary.stdout
    assert "REAL" in summary.stdout and stills[0] not in summary.stdout
    asked = run("detect", *stills, "--model", model, "--out", out, "--overwrite", "--format", "csv")
    assert asked.stdout.startswith("path,verdict,score") and stills[0] in asked.stdout
    assert "2 inputs" not in asked.stdout
    again = run("detect", *stills, "--model", model, "--out", out, "--resume", "--fail-on-fake")
    assert "2 inputs, 2 of them judged before" in again.stdout and again.exit_code == 0


def test_the_exit_code_of_a_resumed_run_is_of_all_verdicts(model: str, media: Media) -> None:
    words = (media.junk(), media.still(), "--model", model, "--out", media.path("out"))
    assert run("detect", *words).exit_code == 3
    assert run("detect", *words, "--resume").exit_code == 3
    media.still("junk.mp4.jpg").rename(media.path("junk.mp4"))
    assert run("detect", *words, "--resume").exit_code == 0


def test_a_list_on_standard_input(model: str, media: Media) -> None:
    still = media.still()
    words = ("detect", "-", "--model", model, "--out", media.path("out"), "--format", "jsonl")
    judged = run(*words, input=f"{still}\n{still}\n")
    assert [json.loads(line)["path"] for line in judged.stdout.splitlines()] == [str(still)]


def test_another_model_is_refused_by_name(model: str, media: Media) -> None:
    still, out = media.still(), media.path("out")
    other = write_scorer(media.path("other.onnx"), bias=-2.0, name="other")
    assert run("detect", still, "--model", model, "--out", out).exit_code == 0
    settings = (out / f"{PART}.config.json").read_text()
    refused = run("detect", still, "--model", other, "--out", out, "--resume")
    assert refused.exit_code == 1 and "other settings (model green (" in refused.stderr
    assert "-> other (" in refused.stderr
    assert (out / f"{PART}.config.json").read_text() == settings


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume"], "--resume needs --out DIR"),
        (["--shard", "1/2"], "--shard needs --out DIR"),
        (["--out", "o", "--shard", "3/2"], "takes I/N with I from 1 to N"),
        (["--out", "o", "--resume", "--overwrite"], "contradict"),
        (["--out", "o", "--report", "r.csv"], "--out takes neither --report nor --save-video"),
        (["--out", "o", "--save-video", "v.webm"], "'deepkd collect' makes a report"),
    ],
)
def test_contradicting_options_are_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refused = run("detect", "clip.mp4", *words)
    assert refused.exit_code == 2 and message in refused.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_collect_says_what_is_missing(model: str, media: Media) -> None:
    out = media.path("out")
    run("detect", media.still(), "--model", model, "--out", out, "--shard", "1/2")
    collected = run("collect", out)
    assert (collected.exit_code, collected.stderr) == (3, "missing: part 2 of 2\n")
    nothing = run("collect", media.folder)
    assert nothing.exit_code == 1 and "no parts" in nothing.stderr
