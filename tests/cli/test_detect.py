"""`deepkd detect` from the command line: what goes where, and what is refused."""

import json
import os
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from detect_process import start_detect
from media import Media
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.cli.detect import exit_code
from deepkd.settings.choices import DETECTORS, REPORTS, RULES
from deepkd.settings.detect import DetectConfig

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


@pytest.fixture(scope="module")
def forged(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tinted_clip(tmp_path_factory.mktemp("forged") / "forged.mp4", seconds=0.6))


def run(*arguments: str, env: dict[str, str] | None = None):
    return CliRunner().invoke(app, ["detect", *arguments], env=env)


@pytest.mark.parametrize(
    ("tally", "fail_on_fake", "code"),
    [
        ({"REAL": 2, "NO_FACE": 1}, True, 0),
        ({"FAKE": 1}, False, 0),
        ({"FAKE": 1}, True, 4),
        ({"FAKE": 1, "ERROR": 1}, True, 4),
        ({"FAKE": 1, "ERROR": 1}, False, 3),
        ({"NO_FACE": 1, "ERROR": 1}, False, 3),
        ({"ERROR": 2}, True, 1),
        ({}, False, 1),
    ],
)
def test_exit_codes(tally: dict[str, int], fail_on_fake: bool, code: int):
    assert exit_code(Counter(tally), fail_on_fake=fail_on_fake) == code


def test_choices_come_from_the_registries():
    choices = {
        name: item.metadata.get("choices")
        for name, item in DetectConfig.__dataclass_fields__.items()
    }
    assert choices["rule"] == tuple(RULES)
    assert choices["format"] == tuple(REPORTS)
    assert choices["detector"] == tuple(DETECTORS)


def test_a_cold_process_prints_one_document_and_never_meets_torch(model: str, forged: str):
    heavy = {
        "torch",
        "torchvision",
        "timm",
        "facenet_pytorch",
        "sklearn",
        "matplotlib",
        "pandas",
        "scipy",
        "jinja2",
    }
    code = (
        "import sys\nfrom deepkd.cli.app import main\ntry: main()\nfinally: print('HEAVY',"
        f" sorted({heavy} & sys.modules.keys()), file=sys.stderr)"
    )
    process = start_detect(forged, "--model", model, "--format", "json", code=code)
    out, err = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["videos"][0]["verdict"] == "FAKE"
    assert err == "HEAVY []\n"


def test_fail_on_fake(model: str, forged: str):
    assert run(forged, "--model", model).exit_code == 0
    result = run(forged, "--model", model, "--fail-on-fake")
    assert (result.exit_code, result.stderr) == (4, "")
    assert result.stdout.startswith(f"FAKE\tforgery 99%\t{forged}\t1 person")


def test_quiet_and_verbose(model: str, media: Media):
    inputs = [str(media.still()), str(media.junk()), "--model", model]
    assert run(*inputs, "-q").stderr == ""
    usual = run(*inputs).stderr
    assert "Judging: 2/2 inputs" in usual
    assert "error: " in usual and "ms" not in usual
    told = run(*inputs, "-v").stderr
    assert "still.jpg: 1 frame; decode " in told and "junk.mp4: could not be judged\n" in told


def on_a_terminal(*arguments: str) -> str:
    """What a terminal gets to see that standard output and standard error share."""
    screen, terminal = os.openpty()
    words = [sys.executable, "-m", "deepkd", "detect", *arguments]
    process = subprocess.Popen(
        words, cwd=ROOT, stdout=terminal, stderr=terminal, env=os.environ | {"TERM": "xterm"}
    )
    os.close(terminal)
    seen = bytearray()
    with suppress(OSError):  # how Linux says that nobody is left who writes
        while data := os.read(screen, 4096):
            seen += data
    os.close(screen)
    assert process.wait() == 0
    return seen.decode()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no terminals to be had here")
@pytest.mark.parametrize("format", REPORTS)
def test_no_bar_runs_into_what_is_streamed_to_the_same_terminal(
    format: str, model: str, media: Media
):
    stills = [str(media.still(f"{number}.jpg")) for number in range(2)]
    seen = on_a_terminal(*stills, "--model", model, "--format", format)
    assert seen.count("REAL") >= 2
    assert ("Judging" in seen) == (format == "table")


def test_settings_come_from_file_environment_and_flags(model: str, forged: str, tmp_path: Path):
    config = tmp_path / "detect.toml"
    config.write_text(f'[detect]\nmodel = "{model}"\nformat = "jsonl"\nframes = 2\n')

    def frames(*flags: str, env: dict[str, str] | None = None) -> int:
        return json.loads(run(forged, "--config", str(config), *flags, env=env).stdout)[
            "frames_sampled"
        ]

    assert frames() == 2
    assert frames(env={"DEEPKD_DETECT_FRAMES": "3"}) == 3
    assert frames("--frames", "4", env={"DEEPKD_DETECT_FRAMES": "3"}) == 4


@pytest.mark.parametrize("suffix", [name for name in REPORTS if name != "table"])
def test_a_report_beside_the_answer(suffix: str, model: str, media: Media):
    out = media.path(f"new/report.{suffix}")
    result = run(str(media.still()), "--model", model, "--report", str(out), "--format", suffix)
    assert result.exit_code == 0
    assert "REAL" in out.read_text() and "REAL" in result.stdout
    saved = json.loads(out.with_name(f"{out.name}.config.json").read_text())
    assert (saved["command"], saved["model"]) == ("detect", model)
    assert sorted(path.name for path in out.parent.iterdir()) == [
        f"report.{suffix}",
        f"report.{suffix}.config.json",
    ]
    assert run(str(media.still()), "--model", model, "--report", str(out)).exit_code == 1
    assert (
        run(str(media.still()), "--model", model, "--report", str(out), "--overwrite").exit_code
        == 0
    )


@pytest.mark.parametrize(
    ("words", "env", "lang"),
    [
        ((), {"LANG": "ko_KR.UTF-8", "LC_ALL": ""}, "ko"),
        (("--language", "fr"), {"LANG": "ko_KR.UTF-8"}, "fr"),
        ((), {"DEEPKD_DETECT_LANGUAGE": "es", "LANG": "C"}, "es"),
    ],
)
def test_a_report_is_in_the_reader_s_language(
    words: tuple[str, ...], env: dict[str, str], lang: str, model: str, media: Media
):
    out, still = media.path("report.html"), str(media.still("a.png"))
    result = run(still, "--model", model, "--report", str(out), *words, env=env)
    assert result.exit_code == 0 and "shows the model no sign" in result.stdout
    assert f'<html lang="{lang}">' in out.read_text()


def test_other_settings_are_not_replaced_unasked(model: str, media: Media):
    settings = media.path("r.html.config.json")
    settings.write_text("of another report")
    words = [str(media.still()), "--model", model, "--report", str(media.path("r.html"))]
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "r.html.config.json: exists already; choose another name or add --overwrite"
        in result.stderr
    )
    assert settings.read_text() == "of another report" and not media.path("r.html").exists()
    assert run(*words, "--overwrite").exit_code == 0
    assert json.loads(settings.read_text())["command"] == "detect"


def test_a_model_that_guesses_is_warned_of(media: Media):
    guess = str(write_scorer(media.path("guess.onnx"), validation={"val_auc": 0.53}))
    result = run(str(media.still()), "--model", guess)
    assert result.exit_code == 0
    assert result.stderr.startswith("warning: the model's AUC on its own validation crops is 0.53")
    assert not run(str(media.still()), "--model", guess, "--quiet").stderr


OUTPUTS = {"--report": "out.jsonl", "--save-video": "out.webm"}


@pytest.mark.parametrize("way", ["itself", "symbolic link", "hard link", "standard input"])
@pytest.mark.parametrize(("option", "name"), OUTPUTS.items())
def test_an_input_is_never_written_over(way: str, option: str, name: str, model: str, media: Media):
    evidence, out = media.clip("evidence.mp4", seconds=0.4), media.path(name)
    given = evidence if way.endswith("link") else evidence.rename(out)
    if way == "symbolic link":
        out.symlink_to(evidence)
    elif way == "hard link":
        out.hardlink_to(evidence)
    before = given.read_bytes()
    words = [
        "-" if way == "standard input" else str(given),
        "--model",
        model,
        option,
        str(out),
        "--overwrite",
    ]
    result = CliRunner().invoke(app, ["detect", *words], input=f"{given}\n")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "is one of the inputs, which are only read" in result.stderr
    assert given.read_bytes() == before and out.exists()


def test_settings_beside_a_report_are_no_input_either(model: str, media: Media):
    evidence = media.still("still.jpg").rename(media.path("r.html.config.json"))
    before = evidence.read_bytes()
    result = run(
        str(evidence), "--model", model, "--report", str(media.path("r.html")), "--overwrite"
    )
    assert result.exit_code == 1 and "r.html.config.json: is one of the inputs" in result.stderr
    assert evidence.read_bytes() == before


def test_several_processes(model: str, media: Media):
    stills = [str(media.still(f"{number}.jpg")) for number in range(3)]
    result = run(*stills, "--model", model, "--workers", "2", "--format", "jsonl")
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == stills


def test_a_page_is_in_the_encoding_that_it_declares(model: str, media: Media):
    words = [
        sys.executable,
        "-m",
        "deepkd",
        "detect",
        str(media.still()),
        "--model",
        model,
        "--format",
        "html",
    ]
    process = subprocess.run(
        words, cwd=ROOT, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "cp1252"}
    )
    assert process.returncode == 0
    assert "\u25cf" in process.stdout.decode("utf-8")


def test_a_clip_on_standard_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    content = (ROOT / "data" / "samples" / "forged.mp4").read_bytes()
    words = ["detect", "-", "--format", "json", "--report", str(tmp_path / "r.json")]
    result = CliRunner().invoke(app, words, input=content)
    assert (result.exit_code, result.stdout, list(tmp_path.iterdir())) == (2, "", [])
    assert "not a list of paths" in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_folder_in_a_list_is_an_error_row(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["detect", "-", "--format", "jsonl"], input=f"{tmp_path}\n")
    assert result.exit_code == 1
    assert "give the folder as an argument" in json.loads(result.stdout)["reason"]
