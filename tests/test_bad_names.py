"""Names with line breaks, escapes and bytes that are no text: shown escaped, and without effect."""

import json
import os
import sys

import pytest
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.settings.choices import REPORTS

UNIX = sys.platform != "win32"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


def run(*arguments: str, input: bytes | None = None):
    return CliRunner().invoke(app, ["detect", *arguments], input=input)


NAMES = {
    "with  spaces.mp4": ("with  spaces.mp4", "with  spaces.mp4"),
    "two\nlines.mp4": ("two\nlines.mp4", r"two\nlines.mp4"),
    "clear\x1b[2Jscreen.mp4": ("clear\x1b[2Jscreen.mp4", r"clear\x1b[2Jscreen.mp4"),
    "right\u202eto left.mp4": ("right\u202eto left.mp4", r"right\u202eto left.mp4"),
    "[red]markup[bold].mp4": ("[red]markup[bold].mp4", "[red]markup[bold].mp4"),
    "<script>alert(1)<script>.mp4": (
        "<script>alert(1)<script>.mp4",
        "<script>alert(1)<script>.mp4",
    ),
    "=cmd|'x'!A1.mp4": ("=cmd|'x'!A1.mp4", "=cmd|'x'!A1.mp4"),
    "bytes\udcff\udcfe.mp4": (r"bytes\xff\xfe.mp4", r"bytes\xff\xfe.mp4"),
}
"""Name -> how JSON has it, how everything made to be read shows it."""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, model: str) -> dict[str, str]:
    """What each format prints for a folder of files with all the names of `NAMES`, and standard
    error."""
    folder = tmp_path_factory.mktemp("names")
    for name in NAMES:
        (folder / name).write_text("no video")
    outputs = {format: run(str(folder), "--model", model, "--format", format) for format in REPORTS}
    assert {result.exit_code for result in outputs.values()} == {1}
    return {format: result.stdout for format, result in outputs.items()} | {
        "stderr": outputs["table"].stderr
    }


@pytest.mark.skipif(not UNIX, reason="Windows has no such names")
@pytest.mark.parametrize("name", NAMES)
def test_names_are_shown_escaped(name: str, shown: dict[str, str]):
    in_json, to_read = NAMES[name]
    paths = [video["path"] for video in json.loads(shown["json"])["videos"]]
    assert paths == [json.loads(line)["path"] for line in shown["jsonl"].splitlines()]
    assert in_json in {os.path.basename(path) for path in paths}
    assert to_read in shown["html"].replace("&lt;", "<").replace("&gt;", ">").replace("&#39;", "'")
    for format in ("csv", "table", "stderr"):
        assert to_read in shown[format]


@pytest.mark.skipif(not UNIX, reason="Windows has no such names")
def test_names_cannot_do_anything(shown: dict[str, str]):
    for text in shown.values():
        assert not {"\x1b", "\u202e"} & set(text)
        text.encode("utf-8")
    assert shown["table"].count("\n") == shown["csv"].count("\n") - 1 == len(NAMES)
    assert "<script" not in shown["html"]
