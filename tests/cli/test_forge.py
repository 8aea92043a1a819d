"""`deepkd forge` from the command line: what it writes is what train and evaluate take."""

import json

import pytest
from media import Media
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app

SMALL = ("--frames", "2", "--face-px", "64", "--seconds", "0.4")


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.mark.parametrize(("kind", "listing"), [("crops", "."), ("clips", "clips.csv")])
def test_forgeries_go_straight_into_evaluate(kind, listing, tmp_path):
    source = Media(tmp_path).still("a.png")
    out = tmp_path / "out"
    result = run(
        "forge", source, "--out", out, "--kind", kind, *SMALL, "--val-share", 0, "--test-share", 0
    )
    assert result.exit_code == 0, result.stderr
    assert f"1 real and 1 forged {kind}: {out}" in result.stdout
    assert json.loads((out / "forge.json").read_text())["method"] == "self-blend"
    model = write_scorer(tmp_path / "green.onnx")
    options = ("--split", "train", "--format", "json", "--resamples", 0)
    result = run("evaluate", model, "--data", out / listing, *options)
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)["models"][0]
    assert (found[kind if kind == "crops" else "videos"]["rows"], list(found["methods"])) == (
        2,
        ["self-blend"],
    )


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--method", "swap"), 2, "choose from self-blend, face-swap"),
        (("--kind", "video"), 2, "choose from crops, clips"),
        (("--val-share", "0.6", "--test-share", "0.4"), 2, "leave nothing for training"),
        (("--method", "face-swap"), 1, "needs the faces of 2 sources"),
    ],
)
def test_refusals(arguments, code, words, tmp_path):
    result = run(
        "forge", Media(tmp_path).still("a.png"), "--out", tmp_path / "out", *SMALL, *arguments
    )
    assert result.exit_code == code, result.stderr
    assert words in result.stderr and not result.stdout


def test_some_failed_is_3_and_none_left_is_1(tmp_path):
    media = Media(tmp_path)
    junk, still = media.junk("junk.mp4"), media.still("a.png")
    result = run("forge", junk, still, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 3 and "failed: junk.mp4: " in result.stderr
    assert run("forge", junk, "--out", tmp_path / "none", *SMALL).exit_code == 1


def test_the_folder_is_shown_as_it_is_called_and_escaped(tmp_path):
    out = tmp_path / ":smile: \x1b[31m [red]\n"
    shown = run("forge", Media(tmp_path).still("a.png"), "--out", out, *SMALL).stdout
    assert rf"{tmp_path}/:smile: \x1b[31m [red]\n/index.csv" in shown and "\x1b" not in shown
