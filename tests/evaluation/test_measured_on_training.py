"""Every command that measures AUC refuses crops that a model was trained on, or says so."""

import json
from pathlib import Path

import pytest
from crop_factory import write_crops
from scorer_factory import write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.data.crops import load_crops
from deepkd.data.families import training_record

QUICK = ["--runs", "3", "--threads", "1"]
COMMANDS = {
    "benchmark": (["benchmark", "{models}/model.onnx", "--batch", "2"], ["models", -1]),
    "pareto": (
        ["benchmark", "--pareto", "{models}", "--batch", "2", "--teacher", "pico"],
        ["models", -1],
    ),
    "quantize": (
        [
            "quantize",
            "{models}/model.onnx",
            "--out",
            "{models}/out.onnx",
            "--samples",
            "2",
            "--int8",
            "plain",
        ],
        ["data"],
    ),
}
"""Command -> its words, and where its document has the share of the originals that was trained
on."""


def run(name: str, folder: Path, split: str, *more: str) -> tuple[int, str, dict]:
    words = [word.format(models=folder / "models") for word in COMMANDS[name][0]]
    words += [*QUICK, "--data", str(folder / "crops"), "--split", split, *more]
    result = CliRunner().invoke(app, [*words, "--format", "json"])
    return result.exit_code, result.stderr, json.loads(result.stdout) if result.stdout else {}


@pytest.mark.parametrize("name", COMMANDS)
def test_training_data_is_refused_before_anything_is_timed(name: str, tmp_path: Path) -> None:
    crops = write_crops(tmp_path / "crops", tint=40)
    record = training_record(load_crops(crops, "val"))
    (tmp_path / "models").mkdir()
    write_scorer(tmp_path / "models" / "model.onnx", recipe=record)
    code, said, document = run(name, tmp_path, "val")
    assert (code, document) == (1, {}) and "green was trained on 2 of these 2 originals" in said
    assert "--allow-training-data" in said and "timing" not in said
    code, said, document = run(name, tmp_path, "all", "--allow-training-data")
    assert code == 0, said
    for key in COMMANDS[name][1]:
        document = document[key]
    assert document["training_data"] == 0.2 and "warning" not in said
    write_scorer(tmp_path / "models" / "model.onnx")
    code, said, _ = (
        run(name, tmp_path, "val", "--overwrite")
        if name == "quantize"
        else run(name, tmp_path, "val")
    )
    assert code == 0 and "warning: green does not list all of its training data" in said
