"""The whole chain through the command line on clips of public-domain faces: from a folder to a verdict."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from media import Media

from deepkd.models.checkpoints import load_checkpoint
from deepkd.scoring.model import Scorer
from deepkd.video.crops import read_index

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "160"}


def deepkd(*words: object, code: int = 0) -> str:
    """Standard output of a command that ended with `code`."""
    command = [sys.executable, "-W", "error", "-m", "deepkd", *map(str, words)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=300, env=ENVIRONMENT)
    assert result.returncode == code, result.stderr[-3000:]
    return result.stdout


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight clips: both people, real and forged, twice."""
    folder = tmp_path_factory.mktemp("clips")
    for label, forged in (("real", False), ("fake", True)):
        (folder / label).mkdir()
        media = Media(folder / label)
        for person in ("astronaut", "grace_hopper"):
            for take, fps in enumerate((10, 12)):
                media.clip(f"{person}-{take}.mp4", faces=[person], forged=forged, seconds=1.0, fps=fps)
    return folder


def test_from_a_folder_of_clips_to_a_verdict(clips: Path, tmp_path: Path) -> None:
    crops, teacher, student = tmp_path / "crops", tmp_path / "teacher", tmp_path / "student"
    deepkd("extract", clips, "--out", crops, "--frames", 4, "--face-px", 96, "--workers", 1)
    rows = read_index(crops)
    assert len(rows) == 8 * 4 and {row.label for row in rows} == {"REAL", "FAKE"}
    _split_by_take(crops)

    small = ("--batch", 8, "--workers", 0, "--augment", "light", "--sampling", "balanced", "--ema", 0.9)
    deepkd("train", "--data", crops, "--out", teacher, "--model", "cross-efficient-vit", "--epochs", 1, *small)
    for file in ("model.safetensors", "metrics.jsonl", "curves.png", "config.json"):
        assert (teacher / file).stat().st_size > 0
    distilled = ("--teacher", teacher, "--out", student, "--epochs", 2, "--image-size", 64, "--alone", *small)
    document = json.loads(deepkd("distill", "--data", crops, *distilled, "--format", "json"))
    assert [row["name"] for row in document["models"]] == ["teacher", "student distilled", "student alone"]
    assert document["models"][0]["params"] == 101_377_610
    exported = tmp_path / "mine.onnx"
    deepkd("export", student, "--out", exported, "--name", "mine")
    assert Scorer.load(exported).name == "mine" and Scorer.load(student / "model.onnx").params == 463_617
    assert load_checkpoint(student).metadata["recipe"]["teacher"] == "cross-efficient-vit"

    scores = tmp_path / "scores.csv"
    found = json.loads(
        deepkd("evaluate", teacher, exported, "--data", crops, "--split", "val", "--format", "json", "--scores", scores)
    )
    assert len(found["models"]) == 2 and scores.read_text().startswith("file,label,")
    measured = json.loads(
        deepkd("benchmark", "--teacher", teacher, "--student", exported, "--runs", 3, "--format", "json")
    )
    assert measured["reduction"]["params_pct"] > 99.5
    verdicts = json.loads(deepkd("detect", clips, "--model", exported, "--frames", 4, "--format", "json"))
    assert verdicts["model"]["name"] == "mine" and len(verdicts["videos"]) == 8
    assert all(video["tracks"] for video in verdicts["videos"])


def _split_by_take(crops: Path) -> None:
    """First takes train, second takes validate."""
    lines = (crops / "index.csv").read_text().splitlines()
    column = lines[0].split(",").index("split")
    for number, line in enumerate(lines[1:], start=1):
        values = line.split(",")
        values[column] = "val" if "-1" in values[0] else "train"
        lines[number] = ",".join(values)
    (crops / "index.csv").write_text("\n".join(lines) + "\n")
