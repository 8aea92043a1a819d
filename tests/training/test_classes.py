"""Pictures of classes: from a folder to a trained, distilled, exported and measured network."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from class_factory import CLASSES, write_pictures
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.data.class_views import ClassViews
from deepkd.data.classes import class_set, is_class_data, load_classes
from deepkd.data.transforms import NONE, SHIFT_FLIP
from deepkd.data.views import SampleKey
from deepkd.distillation.distiller import distill
from deepkd.errors import ConfigError, DataError, ModelError
from deepkd.evaluation.classes import class_figures, confusions
from deepkd.models.checkpoints import load_checkpoint, load_weights
from deepkd.models.export import export_onnx
from deepkd.models.outside import _folders, allow_code
from deepkd.models.registry import TorchModel, build_model
from deepkd.runs import distill_models
from deepkd.scoring.model import Scorer
from deepkd.settings.training import DistillConfig, TrainConfig
from deepkd.training.schedule import constant, fifths
from deepkd.training.supervised import load_splits, train

SHARED = {"epochs": 3, "batch": 16, "ema": 0.0, "workers": 0, "augment": "shift-flip",
          "optimizer": "adam", "lr": 1e-2, "schedule": "constant", "warmup": 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 of each class to train on, 8 to test on, 28 pixels each."""
    return write_pictures(tmp_path_factory.mktemp("data") / "colours", train=30, test=8)


@pytest.fixture(scope="module")
def teacher(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchModel:
    run = tmp_path_factory.mktemp("teacher") / "run"
    return train(pictures, run, TrainConfig(model="wrn-16-1", image_size=32, **SHARED))


def test_a_folder_of_classes_is_read_and_a_tenth_held_out(pictures: Path) -> None:
    assert is_class_data(pictures)
    train_set, val, test = (load_classes(pictures, s) for s in ("train", "val", "test"))
    assert train_set.classes == CLASSES and len(test) == 32
    assert len(train_set) + len(val) == 120 and 4 <= len(val) <= 24
    assert not {r.file for r in train_set.rows} & {r.file for r in val.rows}
    whole, judged = load_splits(pictures, TrainConfig(val_split="test"))
    assert (len(whole), len(judged)) == (120, 32)
    np.testing.assert_array_equal(test.stack_pictures(28)[3], test.image(3))
    assert test.labels[:9].tolist() == [0.0] * 8 + [1.0]
    with pytest.raises(DataError, match="no pictures of the split 'other'"):
        load_classes(pictures, "other")


def test_a_sequence_of_samples_is_a_set_too() -> None:
    samples = [(np.full((4, 4), place, np.uint8), place % 3) for place in range(6)]
    made = class_set(samples, ("a", "b", "c"))
    assert [row.label for row in made.rows] == ["a", "b", "c"] * 2
    assert made.stack_pictures(4)[5].max() == 5
    with pytest.raises(DataError, match="class 2 has no name"):
        class_set(samples, ("a", "b"))
    with pytest.raises(DataError, match="torchvision:NAME:FOLDER"):
        load_classes(Path("torchvision:CIFAR10"), "train")


def test_views_from_memory_are_shifts_of_the_picture_and_the_same_for_a_key(
    pictures: Path,
) -> None:
    test = load_classes(pictures, "test")
    keys = [SampleKey((place,), 7 + place) for place in range(32)]
    (plain,) = ClassViews(test, NONE, 28).__getitems__(keys)
    views = ClassViews(test, SHIFT_FLIP, 28)
    (first,), (again,) = views.__getitems__(keys), views.__getitems__(keys)
    assert torch.equal(first.views, again.views) and not torch.equal(first.views, plain.views)
    assert first.labels.tolist() == test.labels.tolist()
    for view, source in zip(first.views[:4], plain.views, strict=False):
        padded = torch.nn.functional.pad(source, (4, 4, 4, 4))
        shifted = [
            moved[:, y : y + 28, x : x + 28]
            for moved in (padded, padded.flip(-1))
            for y in range(9)
            for x in range(9)
        ]
        assert any(torch.equal(view, one) for one in shifted)


def test_figures_by_hand() -> None:
    logits = np.log(np.array([[6, 3, 1, 0.1, 0.1, 0.1, 0.1], [1, 6, 3, 2, 5, 4, 0.5]], np.float32))
    figures = class_figures(logits, np.array([0, 0]))
    losses = -np.log(6 / 10.4), -np.log(1 / 21.5)
    assert figures["log_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
    assert (figures["accuracy"], figures["top5"]) == (0.5, 0.5)
    assert class_figures(np.zeros((2, 9), np.float32), np.array([0, 1]))["top5"] == 0
    assert confusions(logits, np.array([0, 2]), 7)[[0, 2], [0, 1]].tolist() == [1, 1]


@pytest.mark.parametrize(("step", "share"), [(0, 1), (39, 1), (40, 0.2), (80, 0.04), (199, 0.0016)])
def test_steps_fall_after_each_fifth(step: int, share: float) -> None:
    assert fifths(step, 200, 0.0) == pytest.approx(share)
    assert constant(step, 200, 0.5) == pytest.approx(min(1.0, (step + 1) / 100))


def test_teacher_and_student_learn_and_are_exported(
    pictures: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    assert teacher.classes == CLASSES and teacher.metadata["validation"]["val_accuracy"] > 0.8
    losses = ({"name": "bce"}, {"name": "kd"}, {"name": "dkd"}, {"name": "crd", "tap": "end"},
              {"name": "afd", "tap": ["low", "high"]})  # fmt: skip
    taps = {"end": ["pool:output"] * 2, "low": ["groups.0:output"] * 2,
            "high": ["groups.2:output"] * 2}  # fmt: skip
    settings = DistillConfig(
        student="wrn-16-1", losses=losses, taps=taps, labelled_share=0.5, sampling="shuffled",
        **SHARED,
    )  # fmt: skip
    student = distill([teacher], pictures, tmp_path / "run", settings)
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["train_ce"] < lines[0]["train_ce"] and "train_afd.low+high" in lines[-1]
    again = load_checkpoint(tmp_path / "run")
    images = [load_classes(pictures, "test").image(place) for place in (0, 10, 30)]
    scorer = Scorer.load(export_onnx(again, tmp_path / "student.onnx"))
    assert scorer.classes == student.classes == CLASSES
    np.testing.assert_allclose(scorer.class_logits(images), again.class_logits(images), atol=1e-4)
    for model in (again, scorer):
        with pytest.raises(ModelError, match=r"tells 4 classes apart \(blue, ...\), not REAL"):
            model.logits(images)


def test_what_is_about_forgeries_is_refused(pictures: Path, teacher: TorchModel) -> None:
    for setting in ({"sampling": "balanced"}, {"sample_weight": "teacher_confidence"}):
        with pytest.raises(ConfigError, match="is about REAL and FAKE"):
            distill([teacher], pictures, Path("unused"), DistillConfig(student="nano", **setting))
    other = dataclasses.replace(teacher, metadata={"classes": ["a", "b", "c"]})
    with pytest.raises(ConfigError, match="tells a, b, c apart, and the pictures are of blue"):
        distill([other], pictures, Path("unused"), DistillConfig(student="wrn-16-1"))


@pytest.mark.parametrize("name", ["timm:resnet18", "torchvision:squeezenet1_1"])
def test_models_of_libraries_by_name(name: str) -> None:
    model = build_model(name, classes=CLASSES, image_size=64)
    assert model.class_logits([np.zeros((64, 64, 3), np.uint8)]).shape == (1, 4)
    with pytest.raises(ConfigError, match="nothing"):
        build_model(f"{name.partition(':')[0]}:nothing")


def test_code_of_ones_own_is_run_from_a_named_folder_only(
    pictures: Path, teacher: TorchModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deepkd.models.outside._folders", [])
    (tmp_path / "own_network.py").write_text(
        "from torch import nn\nIMAGE_SIZE = 28\n"
        "def small(outputs):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 28 * 28, outputs))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="--model-code FOLDER"):
        build_model("own_network:small", classes=CLASSES)
    allow_code(tmp_path)
    with pytest.raises(ConfigError, match="is a module of Python or a library"):
        build_model("os:getcwd")
    with pytest.raises(ConfigError, match="has no function large"):
        build_model("own_network:large")
    weights = tmp_path / "own.pth"
    torch.save(build_model("own_network:small", classes=CLASSES).module.state_dict(), weights)
    assert load_weights("own_network:small", weights, classes=CLASSES).format.size == 28
    settings = DistillConfig(student="own_network:small", model_code=tmp_path, **SHARED)
    found = distill_models(
        [Path(f"own_network:small={weights}")], pictures, tmp_path / "run", settings
    )
    assert found["student distilled"].classes == CLASSES
    assert _folders == []


def test_evaluate_draws_confusions(pictures: Path, teacher: TorchModel, tmp_path: Path) -> None:
    file = export_onnx(teacher, tmp_path / "teacher.onnx")
    words = ["evaluate", str(file), "--data", str(pictures), "--plots", str(tmp_path / "plots")]
    result = CliRunner().invoke(app, [*words, "--format", "json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "deepkd.classes/1" and document["classes"] == list(CLASSES)
    counts = np.array(document["models"][0]["confusions"])
    assert counts.sum() == 32 and counts.trace() / 32 == document["models"][0]["accuracy"]
    assert (tmp_path / "plots" / "confusions.png").stat().st_size > 1000
