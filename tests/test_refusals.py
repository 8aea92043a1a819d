"""What `deepkd detect` refuses before any verdict, and leaves no trace of: models, settings and
outputs."""

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from media import Media
from scorer_factory import metadata, write_scorer
from typer.testing import CliRunner

from deepkd import shipped
from deepkd.cli.app import app
from deepkd.scoring.model import METADATA_KEY, Scorer

UNIX = sys.platform != "win32"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_scorer(tmp_path_factory.mktemp("model") / "green.onnx"))


def run(*arguments: str):
    return CliRunner().invoke(app, ["detect", *arguments])


def other_network(path: Path) -> Path:
    model = onnx.load(write_scorer(path))
    del model.metadata_props[:]
    onnx.save(model, path)
    return path


def pickle_with_code(path: Path) -> Path:
    path.write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    return path


def cut(path: Path) -> Path:
    data = write_scorer(path).read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def asking_for(path: Path, **changes) -> Path:
    """A model whose metadata has another input than its network."""
    return write_scorer(path, input=metadata()["input"] | changes)


def framed(path: Path, **changes) -> Path:
    return asking_for(path, crop=metadata()["input"]["crop"] | changes)


def of_any_size(path: Path, size: int) -> Path:
    """A model whose network leaves the size of its crops open."""
    model = onnx.load(asking_for(path, size=size))
    for place in (1, 2):
        model.graph.input[0].type.tensor_type.shape.dim[place].dim_param = "side"
    onnx.save(model, path)
    return path


def for_one_crop(path: Path) -> Path:
    model = onnx.load(write_scorer(path))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, path)
    return path


def nested(path: Path) -> Path:
    model = onnx.load(write_scorer(path))
    onnx.helper.set_model_props(model, {METADATA_KEY: "[" * 100_000})
    onnx.save(model, path)
    return path


MODELS = {
    "junk": (lambda p: p.write_bytes(b"junk" * 99) and p, "damaged or not an ONNX model"),
    "truncated": (cut, "damaged or not an ONNX model"),
    "empty": (lambda p: p.write_bytes(b"") or p, "damaged or not an ONNX model"),
    "another network": (other_network, "not one of deepkd's"),
    "pickle with code": (lambda p: pickle_with_code(p.with_suffix(".pth")), "not an .onnx file"),
    "pickle with code, renamed": (pickle_with_code, "damaged or not an ONNX model"),
    "untrained": (lambda p: write_scorer(p, trained=False), "never trained"),
    "of another version": (lambda p: write_scorer(p, schema="deepkd.model/9"), "not of schema"),
    "no calibration": (lambda p: write_scorer(p, calibration={"heat": 3}), "calibration"),
    "crossed thresholds": (
        lambda p: write_scorer(p, thresholds={"real": 0.9, "fake": 0.1}),
        "thresholds",
    ),
    "missing": (lambda p: p, "no such model"),
    "a name too long": (
        lambda p: p.with_name(300 * "x" + ".onnx"),
        ("cannot be read (File name too long)"),
    ),
    "nested without end": (nested, "model.onnx: its metadata is not JSON"),
    "another size": (
        lambda p: asking_for(p, size=32),
        ("model.onnx: its metadata says size=32, and its network takes"),
    ),
    "size 0": (lambda p: asking_for(p, size=0), "says size=0, and its network takes"),
    "a list for a size": (
        lambda p: asking_for(p, size=[64]),
        ("says size=[64], and its network takes"),
    ),
    "one crop at a time": (
        for_one_crop,
        ("its metadata says size=64, and its network takes [1, 64, 64, 3]"),
    ),
    "open, size 0": (
        lambda p: of_any_size(p, 0),
        ("model.onnx: the model's input format has size=0"),
    ),
    "open, size -1": (lambda p: of_any_size(p, -1), "has size=-1"),
    "open, too large": (lambda p: of_any_size(p, 100_000), "has size=100000"),
    "half a size": (lambda p: asking_for(p, size=64.0), "has size=64.0"),
    "unknown colours": (lambda p: asking_for(p, color="CMYK"), "has color='CMYK'"),
    "unknown white": (lambda p: asking_for(p, value_range=0), "has value_range=0"),
    "two means": (lambda p: asking_for(p, mean=[0, 0]), "has mean=(0, 0)"),
    "a text for a mean": (
        lambda p: asking_for(p, mean="abc"),
        ("input format is incomplete or from another version"),
    ),
    "a spread of 0": (lambda p: asking_for(p, std=[1, 1, 0]), "has std=(1, 1, 0)"),
    "a mean without end": (
        lambda p: asking_for(p, mean=[0, 0, 10**400]),
        ("incomplete or from another version"),
    ),
    "unknown way to resize": (lambda p: asking_for(p, resize="fold"), "has resize='fold'"),
    "no input": (
        lambda p: write_scorer(p, input=None),
        ("model.onnx: its metadata has input that is no dict"),
    ),
    "unknown key of the input": (
        lambda p: asking_for(p, depth=3),
        ("incomplete or from another version"),
    ),
    "no crop": (lambda p: asking_for(p, crop=None), "incomplete or from another version"),
    "unknown reference": (
        lambda p: framed(p, reference="diagonal"),
        "another version ('diagonal')",
    ),
    "a list for a reference": (
        lambda p: framed(p, reference=["height"]),
        ("incomplete or from another version"),
    ),
    "a text for a scale": (lambda p: framed(p, scale="2"), "incomplete or from another version"),
    "a scale without end": (lambda p: framed(p, scale=1e9), "has crop=CropRule("),
    "a scale that is no number": (lambda p: framed(p, scale=float("nan")), "has crop=CropRule("),
    "a shift without end": (lambda p: framed(p, shift_y=1e9), "has crop=CropRule("),
    "params null": (
        lambda p: write_scorer(p, params=None),
        ("model.onnx: its metadata has params that is no int"),
    ),
    "params a text": (lambda p: write_scorer(p, params="4"), "params that is no int"),
    "macs a list": (lambda p: write_scorer(p, macs=[]), "macs that is no int"),
    "name a number": (lambda p: write_scorer(p, name=7), "name that is no str"),
    "calibration a list": (
        lambda p: write_scorer(p, calibration=[1]),
        "calibration that is no dict",
    ),
    "calibration without end": (
        lambda p: write_scorer(p, calibration={"temperature": 10**400}),
        "model.onnx: int too large",
    ),
    "thresholds null": (lambda p: write_scorer(p, thresholds=None), "thresholds that is no dict"),
    "thresholds no numbers": (
        lambda p: write_scorer(p, thresholds={"real": 0.2, "fake": float("nan")}),
        ("model.onnx: thresholds real=0.2"),
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_model_is_refused_before_any_verdict(name: str, media: Media):
    make, message = MODELS[name]
    model = make(media.path("model.onnx"))
    result = run(str(media.still()), "--model", str(model), "--format", "json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not Path("owned").exists()


def test_a_model_of_any_size_is_given_the_one_it_asks_for(tmp_path: Path):
    scorer = Scorer.load(of_any_size(tmp_path / "model.onnx", 48))
    assert scorer.logits([np.zeros((9, 9, 3), np.uint8)]) == pytest.approx([-1.5])


@pytest.mark.parametrize("name", ["model.onnx", "deepkd-nano"])
def test_an_unreadable_model_is_named(name: str, media: Media, monkeypatch: pytest.MonkeyPatch):
    path = name if name.startswith("deepkd") else write_scorer(media.path(name))

    def locked(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", locked)
    result = run(str(media.still()), "--model", str(path), "--format", "json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        f"{name}.onnx: cannot be read (Permission denied)".replace(".onnx.onnx", ".onnx")
        in result.stderr
    )


def test_a_shipped_model_with_another_hash_is_refused(
    media: Media, monkeypatch: pytest.MonkeyPatch
):
    folder = media.path("weights")
    shutil.copytree(shipped.weights_dir(), folder)
    with (folder / "deepkd-nano.onnx").open("r+b") as file:
        file.seek(700_000)
        file.write(b"another weight")
    monkeypatch.setattr(shipped, "weights_dir", lambda: folder)
    result = run(str(media.still()), "--format", "json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert (
        "deepkd-nano.onnx: damaged or altered (its SHA-256 is not the published one)"
        in result.stderr
    )


SETTINGS = {
    "unknown key": ("frmaes = 3", [], "unknown setting 'frmaes' (did you mean 'frames'?)"),
    "wrong type": ('frames = "many"', [], "frames='many'"),
    "out of range": ("frames = 0", [], "frames=0: takes at least 1"),
    "not TOML": ("frames : 3", [], "not valid TOML"),
    "no number": ("", ["--timeout", "nan"], "timeout_s=nan: takes a finite number"),
    "too long for a clock": ("", ["--timeout", "1e20"], "timeout_s=1e+20: takes 0 to 31536000"),
    "contradiction": (
        "",
        ["--threshold-real", "0.9", "--threshold-fake", "0.1"],
        "--threshold-real 0.9 is above",
    ),
    "unknown rule": (
        "",
        ["--rule", "median"],
        "unknown rule 'median'; choose from mean-logit, upstream",
    ),
    "unknown format": (
        "",
        ["--format", "xml"],
        "unknown format 'xml'; choose from table, json, jsonl, csv, html",
    ),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_are_refused(name: str, media: Media, model: str):
    text, flags, message = SETTINGS[name]
    media.path("x.toml").write_text(text)
    result = run(
        str(media.still()), "--model", model, "--config", str(media.path("x.toml")), *flags
    )
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr


OUTPUTS = {
    "existing report": (
        ["--report", "{there}.html"],
        "exists already; choose another name or add --overwrite",
        1,
    ),
    "report under a file": (["--report", "{folder}/there.html/r.html"], "cannot be made (", 1),
    "report of no kind": (
        ["--report", "{folder}/r.docx"],
        "choose from .json, .jsonl, .csv, .html",
        2,
    ),
    "report over a folder": (["--report", "{folder}/f.html", "--overwrite"], "is a folder", 1),
    "existing video": (["--save-video", "{there}.webm"], "exists already", 1),
    "video of no kind": (["--save-video", "{folder}/v.mp4"], "ends in .webm", 2),
    "video of two clips": (
        ["{folder}/still.jpg", "--save-video", "{folder}/v.webm"],
        "takes one input, not 2",
        2,
    ),
    "video of a still": (["--save-video", "{folder}/v.webm"], "is a still image", 2),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_are_refused_and_nothing_is_left(name: str, media: Media, model: str):
    flags, message, code = OUTPUTS[name]
    still = media.still()
    media.path("there.html").write_text("mine"), media.path("there.webm").write_text("mine")
    media.path("f.html").mkdir()
    before = sorted(media.folder.iterdir())
    where = {"folder": media.folder, "there": media.path("there")}
    result = run(str(still), "--model", model, *(flag.format(**where) for flag in flags))
    assert result.exit_code == code
    assert message in result.stderr
    assert sorted(media.folder.iterdir()) == before
    assert media.path("there.html").read_text() == "mine"


@pytest.mark.skipif(not UNIX, reason="needs a limit on the size of files")
def test_a_disk_that_fills_up_while_a_report_is_written_is_named(media: Media, model: str):
    import resource

    still, report = media.still(), media.path("reports/r.html")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))
    try:
        result = run(str(still), "--model", model, "--format", "json", "--report", str(report))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.exit_code == 1
    assert f"{report.name}: cannot be written (File too large)" in result.stderr.replace("\n", "")
    assert json.loads(result.stdout)["videos"][0]["verdict"] == "REAL", "what was found is not lost"
    assert list(report.parent.iterdir()) == []


@pytest.mark.skipif(not UNIX or os.getuid() == 0, reason="root writes everywhere")
@pytest.mark.parametrize("flags", [("--report", "r.html"), ("--save-video", "v.webm")])
def test_a_read_only_folder_is_refused_before_any_verdict(
    flags: tuple[str, str], media: Media, model: str
):
    folder = media.path("locked/x").parent
    folder.chmod(0o500)
    result = run(
        str(media.clip()), "--model", model, "--format", "json", flags[0], str(folder / flags[1])
    )
    folder.chmod(0o700)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be written to; choose another folder or change its permissions" in result.stderr
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    ["evaluate {} --data .", "export {} --out x.onnx", "prune {} --data . --params 9 --out x"],
)
def test_a_name_longer_than_any_file_s_is_one_line(command: str):
    result = CliRunner().invoke(app, command.format("x" * 300).split())
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "File name too long" in result.stderr
