"""Subclasses: the loss, its identities, and the whole way from labelled methods to an exported
student."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from crop_factory import write_crops
from torch import Tensor
from torch.nn import functional as F

from deepkd.data.crops import load_crops
from deepkd.data.families import find_known_families
from deepkd.distillation.distiller import distill
from deepkd.distillation.losses.kd import KD
from deepkd.distillation.losses.subclass_kd import SubclassKD
from deepkd.distillation.objective import Distillation
from deepkd.errors import ConfigError, DataError, ModelError
from deepkd.evaluation.evaluate import evaluate
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.export import export_onnx
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.subclasses import Subclassed, forgery_logit, names_of, outputs_and_logit
from deepkd.scoring.model import Scorer
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import start_model, subclass_columns, subclasses_in, train

NAMES = ("REAL", "FAKE/lips", "FAKE/swap")
TINY = {"image_size": 32, "batch": 16, "workers": 0, "augment": "light", "ema": 0.9, "lr": 2e-2}


def logits(seed: int, columns: int = 4) -> Tensor:
    return torch.randn(
        6, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("crops")
    return write_crops(folder, families=90, px=48, tint=90, methods=("swap", "lips"))


@pytest.fixture(scope="module")
def teacher(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> TorchModel:
    run = tmp_path_factory.mktemp("teacher") / "run"
    return train(crops, run, TrainConfig(model="nano", subclasses="method", epochs=12, **TINY))


# -- the loss


def test_by_hand() -> None:
    # T = 1, teacher (1/2, 1/4, 1/4), student (1/3, 1/3, 1/3): KL = 1/2 ln(3/2) + 2 * 1/4 ln(3/4)
    expected = 0.5 * math.log(1.5) + 0.5 * math.log(0.75)
    found = SubclassKD(1.0)(torch.zeros(1, 3), torch.tensor([[math.log(2), 0.0, 0.0]]))
    assert float(found) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_it_is_the_batch_mean_over_the_subclass_axis(temperature: float) -> None:
    student, teacher = logits(0), logits(1)
    reference = F.kl_div(
        (student / temperature).log_softmax(1),
        (teacher / temperature).softmax(1),
        reduction="batchmean",
    )
    found = float(SubclassKD(temperature)(student, teacher))
    assert found == pytest.approx(temperature**2 * float(reference), rel=1e-5)
    assert found == pytest.approx(float(KD(temperature)(student, teacher)))


def test_two_subclasses_are_one_logit_on_their_difference() -> None:
    student, teacher = logits(0, 2), logits(1, 2)
    differences = [z[:, 1] - z[:, 0] for z in (student, teacher)]
    assert float(SubclassKD(3.0)(student, teacher)) == pytest.approx(
        float(KD(3.0)(*differences)), rel=1e-5
    )
    torch.testing.assert_close(forgery_logit(student, [1])[:, 0], differences[0])


def test_a_constant_per_sample_changes_nothing_and_one_column_does() -> None:
    student, teacher = logits(0), logits(1)
    loss = SubclassKD()
    shifted = student + torch.arange(6.0)[:, None]
    assert float(loss(shifted, teacher)) == pytest.approx(float(loss(student, teacher)), rel=1e-4)
    student[:, 2] += 3
    assert float(loss(student, teacher)) != pytest.approx(float(loss(shifted, teacher)), rel=0.1)


def test_one_sample_counts_and_the_gradient_is_closed() -> None:
    student, teacher = logits(0)[:1].float(), logits(1)[:1].float()
    student.requires_grad_()
    loss = SubclassKD(2.0)(student, teacher)
    loss.backward()
    assert float(loss.detach()) > 0.01
    closed = 2.0 * ((student / 2).softmax(1) - (teacher / 2).softmax(1))
    torch.testing.assert_close(student.grad, closed.detach())


@pytest.mark.parametrize("shapes", [((4, 1), (4, 1)), ((4,), (4,)), ((4, 3), (4, 2))])
def test_what_has_no_subclasses_is_refused(shapes: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="S at least 2"):
        SubclassKD()(*(torch.zeros(shape) for shape in shapes))


# -- how subclasses are read


def test_the_forgery_logit_is_the_sum_of_the_fake_probabilities() -> None:
    outputs = logits(0, 5)
    z = forgery_logit(outputs, [1, 3, 4])
    assert z.shape == (6, 1)
    torch.testing.assert_close(z.sigmoid()[:, 0], outputs.softmax(1)[:, [1, 3, 4]].sum(1))
    torch.testing.assert_close(forgery_logit(outputs + 7, [1, 3, 4]), z)
    assert forgery_logit(torch.tensor([[500.0, -500.0, 0.0]]), [1, 2]).item() == pytest.approx(-500)
    assert torch.autograd.gradcheck(
        lambda one: forgery_logit(one, [1, 3, 4]), outputs.requires_grad_()
    )


def test_binary_loss_and_loss_within_fake_are_the_cross_entropy() -> None:
    network = Subclassed(torch.nn.Identity(), NAMES)
    outputs, columns = logits(0, 3).float(), torch.tensor([0, 1, 2, 2, 0, 1])
    fake = (columns > 0).float()
    binary = F.binary_cross_entropy_with_logits(network(outputs).flatten(), fake)
    within = network.fake_loss(outputs, torch.where(columns > 0, columns, -1))
    assert float(binary + within) == pytest.approx(
        float(F.cross_entropy(outputs, columns)), rel=1e-6
    )
    assert float(network.fake_loss(outputs, torch.full((6,), -1))) == 0


@pytest.mark.parametrize("names", [("REAL",), ("FAKE/a", "FAKE/b"), ("REAL", "FAKE/a", "FAKE/a")])
def test_subclasses_are_distinct_and_of_both_labels(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="both REAL and FAKE/METHOD"):
        build_model("pico", subclasses=names)


@pytest.mark.parametrize("name", ["pico", "resnet18"])
def test_models_can_have_subclasses(name: str) -> None:
    model = build_model(name, subclasses=NAMES, image_size=32)
    views = torch.zeros(2, 3, 32, 32)
    with torch.no_grad():
        outputs, logit = outputs_and_logit(model.module, views)
        assert outputs.shape == (2, 3) and logit.shape == (2, 1)
        assert torch.equal(logit, model.module(views))


@pytest.mark.parametrize(("name", "heads"), [("efficient-vit", 1), ("cross-efficient-vit", 2)])
def test_published_teachers_can_have_subclasses(name: str, heads: int) -> None:
    with torch.device("meta"):
        model = build_model(name, subclasses=NAMES)
    outputs = [
        part.out_features for part in model.module.modules() if isinstance(part, torch.nn.Linear)
    ]
    assert outputs.count(3) == heads and 1 not in outputs


# -- the whole way


def test_rows_know_their_column(crops: Path) -> None:
    known = load_crops(crops, "train")
    assert subclasses_in(known) == NAMES
    columns = subclass_columns(known, NAMES).tolist()
    expected = {"": -1, "lips": 1, "swap": 2}
    assert columns == [expected[row.method] for row in known.rows] and set(columns) == {-1, 1, 2}
    nameless = dataclasses.replace(
        known, rows=[dataclasses.replace(row, method="") for row in known.rows]
    )
    with pytest.raises(DataError, match="no FAKE row of the index names its method"):
        subclasses_in(nameless)


def test_a_teacher_with_subclasses_learns_them(crops: Path, teacher: TorchModel) -> None:
    known = load_crops(crops, "train")
    columns = subclass_columns(known, NAMES)
    forged = [index for index, column in enumerate(columns.tolist()) if column > 0]
    views = (
        torch.from_numpy(teacher.format.batch([known.image(index) for index in forged])).permute(
            0, 3, 1, 2
        )
        / 255
    )
    with torch.no_grad():
        # type: ignore[operator, union-attr]
        outputs = teacher.module.network((views - 0.485) / 0.229)
    assert float((outputs[:, 1:].argmax(1) + 1 == columns[forged]).float().mean()) > 0.8
    assert teacher.metadata["subclasses"] == list(NAMES)


def test_a_student_distilled_on_subclasses_is_exported_and_scored(
    crops: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    table = (
        {"name": "bce", "weight": 0.3},
        {"name": "subclass_kd", "weight": 0.7, "temperature": 2},
    )
    config = DistillConfig(student="pico", losses=table, epochs=12, **TINY)
    student = distill([teacher, teacher], crops, tmp_path / "run", config)
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines[-1]["train_subclass_kd"] < 0.7 * lines[0]["train_subclass_kd"]
    again = load_checkpoint(tmp_path / "run")
    assert names_of(again.module) == names_of(student.module) == NAMES
    scorer = Scorer.load(export_onnx(again, tmp_path / "student.onnx"))
    assert scorer.metadata["subclasses"] == list(NAMES)
    originals = {row.original for row in load_crops(crops, "train").rows}
    for recipe in (teacher.metadata["recipe"], scorer.metadata["recipe"]):
        assert find_known_families(recipe, originals | {"strange.mp4"}) == sorted(originals)
    torch_found, onnx_found = evaluate(
        [again, scorer], load_crops(crops), EvaluateConfig(resamples=0)
    )
    np.testing.assert_allclose(torch_found.logits, onnx_found.logits, atol=1e-4)
    assert torch_found.crops.auc.value is not None and torch_found.crops.auc.value > 0.8
    assert torch_found.methods.keys() == {"swap", "lips"}


def test_other_losses_take_the_forgery_logit_of_a_teacher_with_subclasses(
    teacher: TorchModel,
) -> None:
    config = DistillConfig(losses=({"name": "kd"},))
    objective = Distillation(build_model("pico", image_size=32), [teacher], config).eval()
    views = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        said = objective._outputs(views)
        value = objective(views, torch.ones(4), torch.arange(4))["kd"]
    assert float(value) == pytest.approx(float(KD()(said[0].logit, said[1].logit)), rel=1e-5)


def test_teacher_and_student_must_tell_the_same_subclasses_apart(
    teacher: TorchModel, crops: Path
) -> None:
    config = DistillConfig(student="pico", loss="subclass_kd", image_size=32)
    with pytest.raises(ConfigError, match=r"nano: none.*deepkd train --subclasses method"):
        distill([build_model("nano")], crops, Path("unused"), config)
    with pytest.raises(ConfigError, match="the student's subclasses are none"):
        Distillation(build_model("pico"), [teacher], config)
    with pytest.raises(ConfigError, match="needs the same subclasses of all teachers"):
        Distillation(build_model("pico", subclasses=NAMES), [teacher, build_model("nano")], config)


def test_taps_are_named_as_without_subclasses(teacher: TorchModel) -> None:
    config = DistillConfig(
        losses=({"name": "hint", "tap": "hint"},), taps={"hint": ["conv_head:output"] * 2}
    )
    assert Distillation(build_model("pico", image_size=32), [teacher], config).adapters


def test_a_start_with_other_subclasses_is_refused(
    crops: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    from deepkd.models.checkpoints import save_model

    path = save_model(teacher, tmp_path / "model.safetensors")
    with pytest.raises(
        ModelError, match="its subclasses are REAL, FAKE/lips, FAKE/swap, not REAL, FAKE/other"
    ):
        start_model("nano", TrainConfig(init=path), subclasses=("REAL", "FAKE/other"))
    for wanted in (NAMES, None):
        assert (
            names_of(start_model("nano", TrainConfig(init=path), subclasses=wanted).module) == NAMES
        )
    with pytest.raises(ConfigError, match="exclude each other"):
        TrainConfig(subclasses="method", self_blend=0.5)
