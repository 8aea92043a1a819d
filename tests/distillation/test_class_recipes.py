"""Recipes on pictures of classes: without half of the labels, and with a noisy teacher."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from class_factory import CLASSES, write_pictures
from torch import Tensor
from torch.nn import functional as F
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.config import load_config
from deepkd.data.classes import is_class_data, load_classes
from deepkd.data.image_folders import read_image_folder
from deepkd.distillation.losses.pkt import ProbabilisticTransfer
from deepkd.distillation.modifiers import with_labels_hidden
from deepkd.distillation.objective import Distillation
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.settings.distillation import DistillConfig
from deepkd.shipped import recipe_file
from deepkd.training.supervised import settings_for_classes


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_pictures(tmp_path_factory.mktemp("data") / "colours", train=20, test=2)
    for name in CLASSES:  # as many again that nobody labelled
        folder = root / "train" / "unlabelled"
        folder.mkdir(exist_ok=True)
        for number, path in enumerate(sorted((root / "train" / name).iterdir())):
            (folder / f"{name}-{number}.png").write_bytes(path.read_bytes())
    return root


@pytest.fixture(scope="module")
def teacher() -> TorchModel:
    torch.manual_seed(0)
    model = build_model("mlp-800", classes=CLASSES)
    for parameter in model.module.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    model.trained = True
    return model


def objective(recipe: str, teacher: TorchModel, labels: Tensor, **settings: object) -> Distillation:
    config = load_config(DistillConfig, recipe_file(Path(recipe)), student="mlp-800", **settings)
    torch.manual_seed(1)
    student = build_model("mlp-800", classes=CLASSES)
    for parameter in student.module.parameters():
        torch.nn.init.normal_(parameter, std=0.03)
    return Distillation(
        student, [teacher], settings_for_classes(config), class_labels=labels
    ).eval()


def test_unlabelled_pictures_have_no_class_and_are_all_trained_on(pictures: Path) -> None:
    assert is_class_data(pictures)
    train, val = (load_classes(pictures, split) for split in ("train", "val"))
    assert train.classes == CLASSES and np.isfinite(val.labels).all()
    assert np.isnan(train.labels).sum() == 80 and len(train) + len(val) == 160
    assert len(train.keep_labelled()) == len(train) - 80


def test_a_folder_of_real_and_fake_may_have_unlabelled_pictures_too(tmp_path: Path) -> None:
    for name in ("real", "fake", "Unlabelled"):
        folder = tmp_path / "train" / name
        folder.mkdir(parents=True)
        (folder / "1.png").touch()
    labels = {row.file: row.label for row in read_image_folder(tmp_path)}
    assert labels == {
        "train/real/1.png": "REAL", "train/fake/1.png": "FAKE", "train/Unlabelled/1.png": ""
    }  # fmt: skip


def test_about_half_keep_their_labels_whichever_pictures_validate(pictures: Path) -> None:
    train = load_classes(pictures, "train").keep_labelled()
    kept = {share: int(np.isfinite(with_labels_hidden(train, share).labels).sum())
            for share in (0.1, 0.5)}  # fmt: skip
    assert 0.35 < kept[0.5] / len(train) < 0.65
    assert 0 < kept[0.1] < 0.25 * len(train), "those that validate have shares below 0.1"


def test_without_a_label_only_the_teacher_counts(teacher: TorchModel) -> None:
    views, labels = torch.rand(4, 3, 28, 28), torch.tensor([2.0, torch.nan, 0.0, torch.nan])
    one, rows = objective("unlabelled", teacher, labels), torch.arange(4)
    with torch.no_grad():
        found = one(views, labels, rows)
        student, said = (outputs.logit for outputs in one._outputs(views))
        expected = F.cross_entropy(
            student[[0, 2]], torch.tensor([2, 0]), label_smoothing=DistillConfig.label_smoothing
        )
        kl = F.kl_div((student / 3).log_softmax(1), (said / 3).softmax(1), reduction="batchmean")
    assert float(found["ce"]) == pytest.approx(float(expected), rel=1e-5)
    assert float(found["kd"]) == pytest.approx(9 * float(kl), rel=1e-4)
    assert float(found["total"]) == pytest.approx(0.3 * float(expected) + 6.3 * float(kl), rel=1e-4)


def test_a_noisy_teacher_scales_all_logits_of_a_picture_alike(teacher: TorchModel) -> None:
    views, labels = torch.rand(2000, 3, 28, 28), torch.zeros(2000)
    one = objective("noisy-teacher", teacher, labels, noise_share=1.0)
    with torch.no_grad():
        torch.manual_seed(2)
        found = one(views, labels, torch.arange(2000))["logit_mse"]
        student, said = (outputs.logit for outputs in one._outputs(views))
        assert float(said.abs().max()) < 5, "so that none is clipped"
        exact = (student - said).square().sum(1).mean() / 2
        # E (s - (1 + xi) t)^2 = (s - t)^2 + sigma^2 t^2
        expected = exact + 0.5**2 * said.square().sum(1).mean() / 2
    assert float(found) == pytest.approx(float(expected), rel=0.05)
    assert float(found) > 1.05 * float(exact)


@pytest.mark.parametrize("recipe", ["unlabelled", "noisy-teacher"])
def test_the_command_takes_the_recipe(
    recipe: str, pictures: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    source = save_model(teacher, tmp_path / "teacher.safetensors")
    words = ["distill", "--data", pictures, "--teacher", source, "--student", "mlp-800",
             "--config", recipe, "--out", tmp_path / "out", "--epochs", 2, "--batch", 16,
             "--workers", 0, "--augment", "none", "--ema", 0, "--format", "json"]  # fmt: skip
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)["models"]
    assert [row["name"] for row in rows] == ["teacher", "student distilled"]
    student = load_checkpoint(tmp_path / "out")
    assert student.classes == CLASSES and rows[1]["accuracy"] is not None
    settings = student.metadata["recipe"]
    assert (settings["labelled_share"], settings["teacher_noise"]) == {
        "unlabelled": (0.5, 0.0), "noisy-teacher": (1.0, 0.5)
    }[recipe]  # fmt: skip


def test_losses_are_computed_in_float32_where_the_networks_compute_in_bfloat16(
    teacher: TorchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = {"name": "pkt", "tap": "hidden"}
    config = DistillConfig(losses=(table,), taps={"hidden": ["layers.1:output"] * 2})
    student = build_model("mlp-800", classes=CLASSES)
    one = Distillation(student, [teacher], settings_for_classes(config)).eval()
    compute, given = ProbabilisticTransfer.__call__, []

    def record(self: ProbabilisticTransfer, *maps: Tensor, **rest: Tensor) -> Tensor:
        given.append([(x.dtype, torch.is_autocast_enabled("cpu")) for x in maps])
        return compute(self, *maps, **rest)

    monkeypatch.setattr(ProbabilisticTransfer, "__call__", record)
    with torch.autocast("cpu", torch.bfloat16):
        one(torch.rand(4, 3, 28, 28), torch.zeros(4), torch.arange(4))
    assert given == [[(torch.float32, False)] * 2]
