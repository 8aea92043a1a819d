"""Distilling: networks see the same view in their own formats, and only the student learns."""

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crop_factory import write_crops
from distill_factory import ROWS, TAPS, TINY, WITH_HINT, batch
from model_factory import random_model
from torch import nn
from typer.testing import CliRunner

from deepkd.benchmark import latency
from deepkd.benchmark.comparison import compare
from deepkd.cli.app import app
from deepkd.data.crops import load_crops
from deepkd.data.sampling import keep_labelled
from deepkd.distillation.distiller import distill, train_alone
from deepkd.distillation.modifiers import with_labels_hidden
from deepkd.distillation.objective import Distillation
from deepkd.distillation.teachers import to_input
from deepkd.errors import ConfigError, DataError
from deepkd.models.checkpoints import load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model, normalise
from deepkd.scoring.model import InputFormat, Scorer
from deepkd.settings.choices import LOSSES


def test_a_step_leaves_the_teacher_alone_and_moves_student_and_adapter(teacher: TorchModel) -> None:
    before = {name: tensor.clone() for name, tensor in teacher.module.state_dict().items()}
    student = build_model("pico", image_size=32)
    objective = Distillation(student, [teacher], WITH_HINT)
    optimiser = torch.optim.SGD(objective.parameters(), lr=0.1)
    objective.train()
    terms = objective(*batch(), ROWS)
    terms["total"].backward()
    terms = {name: term.detach() for name, term in terms.items()}
    moved = {
        name: p.grad is not None and float(p.grad.abs().sum()) > 0
        for name, p in objective.named_parameters()
    }
    optimiser.step()
    assert (
        moved["adapters.hint.weight"]
        and moved["module.classifier.weight"]
        and moved["module.conv_stem.weight"]
    )
    assert not teacher.module.training
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in teacher.module.state_dict().items()
    )
    assert not [name for name in objective.state_dict() if "teacher" in name]
    expected = 0.3 * terms["bce"] + 0.7 * terms["kd"] + 1.0 * terms["hint"]
    assert float(terms["total"]) == pytest.approx(float(expected))


def test_rows_without_a_label_take_the_soft_terms_only(teacher: TorchModel) -> None:
    objective = Distillation(
        build_model("pico", image_size=32), [teacher], TINY.replace(label_smoothing=0.0)
    )
    objective.eval()
    views, labels = batch()
    objective.module.classifier.bias.data.fill_(1.0)
    with torch.no_grad():
        terms = objective(views, labels, ROWS)
    logits = objective.module(normalise(views, objective.format)).flatten()
    known = labels.isfinite()
    expected = nn.functional.binary_cross_entropy_with_logits(logits[known], labels[known])
    assert float(terms["bce"]) == pytest.approx(float(expected.detach()), rel=1e-5)
    with torch.no_grad():
        nothing = objective(views, torch.full((4,), float("nan")), ROWS)
    assert float(nothing["bce"]) == 0 and float(nothing["kd"]) == pytest.approx(float(terms["kd"]))


def test_each_network_gets_the_view_in_its_own_format(teacher: TorchModel) -> None:
    bgr = dataclasses.replace(teacher.format, color="BGR", value_range=255.0, size=16)
    view = torch.rand(1, 3, 32, 32)
    small = nn.functional.avg_pool2d(view, 2)
    torch.testing.assert_close(to_input(view, bgr), normalise(small, bgr))
    large = nn.functional.interpolate(view, (48, 48), mode="bilinear")
    torch.testing.assert_close(
        to_input(view, dataclasses.replace(bgr, size=48)), normalise(large, bgr)
    )


@pytest.mark.parametrize("size", [160, 128, 97])
def test_a_smaller_network_sees_what_it_will_judge(size: int, astronaut: np.ndarray) -> None:
    format = InputFormat(size=size, mean=(0, 0, 0), std=(1, 1, 1))
    crop = cv2.resize(astronaut, (224, 224), interpolation=cv2.INTER_AREA)
    view = torch.from_numpy(crop).permute(2, 0, 1)[None] / 255
    judged = torch.from_numpy(format.resize_crop(crop)).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(to_input(view, format), judged, rtol=0, atol=0.51 / 255)


def test_views_are_as_large_as_the_crops_where_networks_differ_in_size() -> None:
    def view_px(*sizes: int, crop_px: int) -> int:
        student, *teachers = [build_model("pico", image_size=size) for size in sizes]
        return Distillation(student, teachers, TINY, crop_px=crop_px).view_px

    assert view_px(64, 32, crop_px=48) == 64
    assert view_px(64, 32, crop_px=96) == 96
    assert view_px(64, 64, crop_px=96) == 64


def test_a_teacher_may_see_the_clean_view(crops: Path, teacher: TorchModel, tmp_path: Path) -> None:
    config = TINY.replace(alpha=1.0, teacher_view="clean")
    objective = Distillation(build_model("pico", image_size=32), [teacher], config).eval()
    views, labels = batch()
    clean = torch.rand(4, 3, 32, 32)
    objective.module.classifier.weight.data.normal_()
    with torch.no_grad():
        damaged, sound = (
            objective(views, labels, ROWS, clean)["kd"],
            objective(clean, labels, ROWS, clean)["kd"],
        )
        student = objective.module(normalise(views, objective.format))
        said = teacher.module(normalise(clean, teacher.format))
        expected = LOSSES.load("kd")(temperature=config.temperature)(student, said)
    assert float(damaged) == pytest.approx(float(expected), rel=1e-4) and float(damaged) != float(
        sound
    )
    assert not Distillation(build_model("pico", image_size=32), [teacher], TINY).wants_clean
    trained = distill([teacher], crops, tmp_path / "run", config.replace(augment="standard"))
    assert trained.metadata["recipe"]["teacher_view"] == "clean"
    with pytest.raises(ConfigError, match="mixup and teacher_view=clean"):
        TINY.replace(mixup=0.2, teacher_view="clean")


def test_a_mirrored_teacher_says_the_same_of_a_face_and_its_mirror_image(
    teacher: TorchModel,
) -> None:
    table = ({"name": "kd"}, {"name": "hint", "weight": 0.5, "tap": "hint"})
    config = TINY.replace(losses=table, taps=TAPS, teacher_mirrored=True)
    objective = Distillation(build_model("pico", image_size=32), [teacher], config).eval()
    plain = Distillation(
        build_model("pico", image_size=32), [teacher], config.replace(teacher_mirrored=False)
    ).eval()
    views, _ = batch()
    with torch.no_grad():
        (_, said), (_, turned) = objective._outputs(views), objective._outputs(views.flip(-1))
        halves = [plain._outputs(each)[1].logit for each in (views, views.flip(-1))]
    torch.testing.assert_close(said.logit, turned.logit)
    torch.testing.assert_close(said.logit, (halves[0] + halves[1]) / 2)
    assert not torch.allclose(*halves), "by itself it tells left from right"
    with torch.no_grad():
        objective._outputs(views), plain._outputs(views)
    (_, shown), (_, alone) = (next(iter(each._taps.values())) for each in (objective, plain))
    torch.testing.assert_close(shown.take(), alone.take())


def test_a_run_goes_on_with_its_own_teachers_and_crops_only(
    crops: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    run, other, config = tmp_path / "run", random_model(), TINY
    distill([teacher], crops, run, config)
    before = (run / "last.pt").read_bytes()
    elsewhere = write_crops(tmp_path / "other", families=7, tint=40)
    for teachers, data, named in (
        ([other], crops, "teachers"),
        ([teacher, other], crops, "teachers"),
        ([teacher], elsewhere, "training crops and validation crops"),
        ([other], elsewhere, "training crops and validation crops and teachers"),
    ):
        with pytest.raises(
            ConfigError, match=f"was started with other {named}; use them, or another --out"
        ):
            distill(teachers, data, run, config, resume=True)
    assert (run / "last.pt").read_bytes() == before
    same = load_checkpoint(save_model(teacher, tmp_path / "same.safetensors"))
    distill([same], crops, run, config, resume=True)


def test_a_distilled_student_agrees_with_its_teacher(
    crops: Path, teacher: TorchModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "RUNS", 3)
    table = ({"name": "bce", "weight": 0.0}, {"name": "kd"}, {"name": "hint", "tap": "hint"})
    config = TINY.replace(epochs=25, losses=table, taps=TAPS, lr=2e-2)
    student = distill([teacher], crops, tmp_path / "run", config)
    again = distill([teacher], crops, tmp_path / "run", config, resume=True)
    images = [np.asarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3)), np.uint8)]
    np.testing.assert_array_equal(student.logits(images), again.logits(images))
    lines = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert lines[-1]["train_kd"] < 0.7 * lines[0]["train_kd"]
    assert student.metadata["recipe"]["teacher"] == "nano"
    by_itself = train_alone(crops, tmp_path / "run" / "alone", config.replace(epochs=2))
    models = {"teacher": teacher, "student alone": by_itself, "student distilled": student}
    rows = compare(models, crops, split="val", limit=None, out=tmp_path).models
    assert [row.name for row in rows] == list(models)
    assert all(0 <= row.auc <= 1 and row.ms > 0 and row.log_loss > 0 for row in rows)
    assert rows[0].params == teacher.params > rows[1].params == rows[2].params
    assert json.loads((tmp_path / "comparison.json").read_text())["models"] == [
        row.to_dict() for row in rows
    ]


def test_a_student_alone_sees_the_same_labels_for_as_many_steps(
    crops: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    config = TINY.replace(labelled_share=0.5, sampling="shuffled", batch=2, alone=True, epochs=2)
    all_crops = load_crops(crops, "train")
    known = keep_labelled(with_labels_hidden(all_crops, 0.5))
    assert len(known) < len(all_crops)
    distill([teacher], crops, tmp_path / "run", config)
    by_itself = train_alone(crops, tmp_path / "alone", config)
    assert by_itself.metadata["recipe"]["index_sha256"] == known.index_sha256()
    steps = [
        json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])["step"]
        for name in ("run", "alone")
    ]
    assert steps[0] == len(all_crops) // 2 * 2, "what lacks a label is distilled all the same"
    assert steps[1] == pytest.approx(steps[0], rel=0.2)
    with pytest.raises(
        DataError, match="training needs both labels, and these crops are all unlabelled"
    ):
        distill([teacher], crops, tmp_path / "none", config.replace(labelled_share=0.0))
    assert not (tmp_path / "none").exists()


def test_the_student_is_exported_before_the_one_alone_is_trained(
    crops: Path, teacher: TorchModel, tmp_path: Path
) -> None:
    save_model(teacher, tmp_path / "teacher.safetensors")
    run = tmp_path / "run"
    (run / "alone").mkdir(parents=True)
    (run / "alone" / "config.json").write_text("{}")
    words = (
        f"distill --data {crops} --teacher {tmp_path / 'teacher.safetensors'} --out {run} --alone"
        " --student pico"
    )
    options = "--image-size 32 --batch 8 --epochs 1 --workers 0 --augment light"
    result = CliRunner().invoke(app, [*words.split(), *options.split()])
    assert result.exit_code == 1 and "alone: holds a run already" in result.stderr.replace("\n", "")
    assert Scorer.load(run / "model.onnx").metadata["recipe"]["teacher"] == "nano"
