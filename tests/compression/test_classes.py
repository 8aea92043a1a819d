"""Networks that tell classes apart are pruned, quantised and compared by their accuracy."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from class_factory import CLASSES, write_pictures
from crop_factory import write_crops
from torch import Tensor
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.compression.importance import draw_rows, draw_samples, taylor
from deepkd.compression.judging import accuracy_change
from deepkd.data.classes import load_classes
from deepkd.evaluation.classes import measure_classes
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.export import export_onnx
from deepkd.models.registry import TorchModel, build_model, views_of
from deepkd.scoring.model import Scorer
from deepkd.settings.compression import QuantizeConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import train

QUICK = ["--batch", "16", "--workers", "0", "--augment", "none", "--ema", "0"]
FEW = ["--int8", "plain", "--samples", "8", "--runs", "3", "--resamples", "20", "--threads", "1"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data") / "colours"
    return write_pictures(root, px=32, train=12, val=5, test=3)


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was trained for a moment."""
    out = tmp_path_factory.mktemp("run") / "run"
    settings = TrainConfig(
        model="wrn-16-1", epochs=4, batch=16, ema=0.0, workers=0, augment="none", lr=1e-2,
        optimizer="adam", schedule="constant", warmup=0.0,
    )  # fmt: skip
    train(pictures, out, settings)
    return out


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_onnx(load_checkpoint(run), tmp_path_factory.mktemp("onnx") / "float32.onnx")


def accuracy(model: TorchModel | Scorer, pictures: Path, split: str) -> float:
    return measure_classes(model, load_classes(pictures, split))[0]["accuracy"]


def call(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.stdout


def refuse(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code in (1, 2), result.output
    return " ".join(result.stderr.split())


def test_prune_in_steps_reports_accuracy_against_cost(
    run: Path, pictures: Path, tmp_path: Path
) -> None:
    whole, out = load_checkpoint(run), tmp_path / "out"
    half = whole.macs / 2e6
    words = ["prune", run, "--data", pictures, "--out", out, "--macs-m", half, "--samples", 16]
    shown = call(*words, "--steps", 2, "--epochs", 1, *QUICK)
    pruned = load_checkpoint(out)
    assert pruned.classes == CLASSES and pruned.macs <= half * 1e6
    document = json.loads((out / "steps.json").read_text())
    assert (document["schema"], document["measure"]) == ("deepkd.prune/1", "accuracy")
    steps, models = document["steps"], [whole, load_checkpoint(out / "step-1"), pruned]
    assert [one["macs"] for one in steps] == [one.macs for one in models]
    assert [one["score"] for one in steps] == pytest.approx(
        [accuracy(one, pictures, "val") for one in models], abs=1e-6
    )
    assert steps[0]["score"] > 0.5 and steps[0]["macs"] > steps[1]["macs"] > steps[2]["macs"]
    assert f"{whole.params:,}" in shown and "Accuracy" in shown and "unpruned" in shown
    assert (out / "steps.png").stat().st_size > 1000
    scorer = Scorer.load(export_onnx(pruned, tmp_path / "pruned.onnx"))
    assert accuracy(scorer, pictures, "val") == steps[2]["score"]


def test_importance_is_that_of_the_cross_entropy_on_as_many_of_each_class(
    run: Path, pictures: Path
) -> None:
    shown, model = load_classes(pictures, "train"), load_checkpoint(run)
    rows = draw_rows(shown, 12, seed=1)
    assert set(Counter(shown.rows[row].label for row in rows).values()) == {3}
    assert rows != draw_rows(shown, 12, seed=2) and len(set(rows)) == 12
    worth = taylor(model, draw_samples(shown, model.format, 12, seed=1))
    name, norm = [pair for pair in model.module.named_modules() if pair[0] in worth][-1]
    kept: list[Tensor] = []
    norm.register_forward_hook(lambda layer, given, maps: kept.append(maps))
    batch = torch.from_numpy(model.format.batch([shown.image(row) for row in rows]))
    losses = -model.module(views_of(batch, model.format)).log_softmax(1)
    loss = losses[torch.arange(12), torch.from_numpy(shown.labels[rows]).long()].sum()
    change = (torch.autograd.grad(loss, kept[0])[0] * kept[0]).mean((2, 3)).abs().sum(0)
    torch.testing.assert_close(worth[name].float(), change.detach(), rtol=1e-4, atol=1e-9)


def test_quantize_measures_accuracy_before_and_after(
    exported: Path, pictures: Path, tmp_path: Path
) -> None:
    out = tmp_path / "int8.onnx"
    words = ["quantize", exported, "--data", pictures, "--out", out, "--keep", "int8", *FEW]
    document = json.loads(call(*words, "--format", "json"))
    rows = {row["variant"]: row for row in document["models"]}
    float32 = Scorer.load(exported)
    before, after = (accuracy(one, pictures, "val") for one in (float32, Scorer.load(out)))
    assert rows["float32"]["accuracy"] == pytest.approx(before, abs=1e-6)
    assert rows["int8"]["accuracy"] == pytest.approx(after, abs=1e-6)
    assert rows["int8"]["accuracy_change"]["value"] == pytest.approx(after - before, abs=1e-6)
    assert rows["int8"]["auc"] is None and Scorer.load(out).classes == CLASSES
    assert document["data"]["crops"] == 20 and out.stat().st_size < float32.bytes
    assert "Change of accuracy" in call(*words, "--overwrite")


def test_a_change_of_accuracy_has_a_paired_interval() -> None:
    before = np.arange(400) < 300
    after = before ^ (np.arange(400) % 20 == 0)  # 15 lost, 5 won
    found = accuracy_change(before, after, QuantizeConfig(resamples=2000))
    assert found.value == -10 / 400
    # 1.96 standard errors of a mean of -1, 0 and 1
    half = 1.96 * np.sqrt((20 / 400 - (10 / 400) ** 2) / 400)
    assert found.low == pytest.approx(found.value - half, abs=0.004)
    assert found.high == pytest.approx(found.value + half, abs=0.004)
    assert accuracy_change(before, before, QuantizeConfig()).high == 0


def test_benchmark_shows_accuracy(exported: Path, pictures: Path) -> None:
    words = [
        "benchmark",
        exported,
        "--runs",
        3,
        "--threads",
        1,
        "--data",
        pictures,
        "--split",
        "test",
    ]
    rows = json.loads(call(*words, "--format", "json"))["models"]
    assert [row["auc"] for row in rows] == [None]
    expected = accuracy(Scorer.load(exported), pictures, "test")
    assert rows[0]["accuracy"] == pytest.approx(expected, abs=1e-6)
    said = refuse("benchmark", "--pareto", exported.parent, "--data", pictures)
    assert "weighs AUC, which pictures of classes do not have" in said


def test_what_is_refused_says_why(run: Path, pictures: Path, tmp_path: Path) -> None:
    out, crops = tmp_path / "out", write_crops(tmp_path / "crops")
    common = ["--out", out, "--params", 1000, "--data"]
    mlp = build_model("mlp-800", classes=CLASSES)
    mlp.trained = True
    source = save_model(mlp, tmp_path / "mlp.safetensors")
    assert "no channels that can be pruned" in refuse("prune", source, *common, pictures)
    apart = "tells blue, green, grey, red apart, and the pictures are of REAL and FAKE"
    assert apart in refuse("prune", run, *common, crops)
    to = ["--out", tmp_path / "m.onnx", "--data"]
    assert apart in refuse("quantize", run, *to, crops)
    model = load_checkpoint(run)
    model.metadata["recipe"]["val_split"] = "test"
    source = save_model(model, tmp_path / "all.safetensors")
    said = refuse("quantize", source, *to, pictures, *FEW)
    assert "was trained on the split val" in said and "--allow-training-data" in said
