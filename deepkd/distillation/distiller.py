"""Distillation: a student learns from labels and from a frozen teacher that sees the very same augmented view."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.data.crops import load_crops
from deepkd.distillation.losses import LOGIT_LOSSES
from deepkd.distillation.losses.features import Hint
from deepkd.distillation.losses.logits import BCE
from deepkd.distillation.taps import Tap, TapReader
from deepkd.errors import ConfigError
from deepkd.models.registry import TorchModel, normalise
from deepkd.scoring.model import InputFormat
from deepkd.settings import DistillConfig, TrainConfig, TrainingConfig
from deepkd.training.engine import Objective, Progress, fit
from deepkd.training.supervised import start_model, train


class Distillation(Objective):
    """`(1 - alpha) bce(student, labels) + alpha soft(student, teacher) [+ hint weight * hint]`.

    Each network gets the view in its own size, colour order and normalisation (the same view for both: Beyer et al.
    2022, arXiv:2106.05237). The teacher is in eval mode, gets no gradient and is not part of the objective's state.
    Samples without a label (NaN) take the soft terms only.
    """

    def __init__(self, student: TorchModel, teacher: TorchModel, config: DistillConfig) -> None:
        super().__init__()
        self.module = student.module
        self.formats = (student.format, teacher.format)
        self.view_px = max(student.format.size, teacher.format.size)
        frozen = teacher.module.eval().requires_grad_(False).to(memory_format=torch.channels_last)
        self._teacher: tuple[nn.Module] = (frozen,)  # in a tuple, so that it is neither trained nor saved
        self.alpha, self.hint_weight = config.alpha, config.hint
        self.bce = BCE(config.label_smoothing)
        self.soft_name = config.loss
        self.soft = LOGIT_LOSSES[config.loss](**({"temperature": config.temperature} if config.loss == "kd" else {}))
        if config.hint:
            self._tap(config)

    def _tap(self, config: DistillConfig) -> None:
        """Find both taps and their shapes with one small forward pass, and make the adapter between them."""
        self._taps = (
            TapReader(self.module, Tap.parse(config.hint_student)),
            TapReader(self._teacher[0], Tap.parse(config.hint_teacher)),
        )
        training = self.module.training
        self.module.eval()
        with torch.no_grad():
            self._forward(torch.zeros(1, 3, self.view_px, self.view_px))
        self.module.train(training)
        student, teacher = (tap.take() for tap in self._taps)
        if student.ndim != 4 or teacher.ndim != 4 or student.shape[2:] != teacher.shape[2:]:
            shapes = f"{tuple(student.shape[1:])} and {tuple(teacher.shape[1:])}"
            raise ConfigError(f"hint: the taps show {shapes}; both must be maps (C, H, W) of the same H and W")
        self.adapter = nn.Conv2d(student.shape[1], teacher.shape[1], kernel_size=1, bias=False)

    def _forward(self, views: Tensor) -> tuple[Tensor, Tensor]:
        teacher = self._teacher[0]
        if next(teacher.parameters()).device != views.device:
            teacher.to(views.device)
        with torch.no_grad():
            soft = teacher(seen_by(views, self.formats[1])).float()
        return self.module(seen_by(views, self.formats[0])).float(), soft

    def forward(self, views: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Views (N, 3, view_px, view_px) in [0, 1], labels (N,), NaN for none -> `total` and its terms."""
        student, teacher = self._forward(views)
        labelled = labels.isfinite()
        hard = self.bce(student, labels.nan_to_num(0.5), weight=labelled.float())
        soft = self.soft(student, teacher)
        terms = {"bce": hard, self.soft_name: soft}
        total = (1 - self.alpha) * hard + self.alpha * soft
        if self.hint_weight:
            mine, its = (tap.take() for tap in self._taps)
            terms["hint"] = Hint()(self.adapter(mine), its)
            total = total + self.hint_weight * terms["hint"]
        return {"total": total, **terms}


def seen_by(views: Tensor, format: InputFormat) -> Tensor:
    """Views in [0, 1], RGB, of any size -> what a model of that input format expects."""
    size = format.size
    if views.shape[-1] != size:
        views = F.interpolate(views, (size, size), mode="bilinear", antialias=True, align_corners=False)
    return normalise(views, format)


def distill(
    teacher: TorchModel,
    data: Path,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TorchModel:
    """Train a student under a teacher on the split `train` of an index, choosing weights by AUC on its split `val`.

    Raises:
        DataError: the index or a split is wrong.
        ConfigError, ModelError, OutputError, TrainingError: see `start_model` and `fit`.
    """
    train_crops = load_crops(data, "train", limit=config.limit)
    val_crops = load_crops(data, "val", limit=config.val_limit)
    student = start_model(config.student, config)
    student.metadata["recipe"] = {
        **config.recipe(), "teacher": teacher.name, "index_sha256": train_crops.index_sha256()
    }  # fmt: skip
    objective = Distillation(student, teacher, config)
    return fit(student, objective, train_crops, val_crops, config, run, resume=resume, report=report)


def train_alone(
    data: Path,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TorchModel:
    """Train the same student on the same schedule without the teacher, to show what the teacher brings.

    Raises:
        DataError, ConfigError, ModelError, OutputError, TrainingError: as `distill`.
    """
    shared = {item.name: getattr(config, item.name) for item in dataclasses.fields(TrainingConfig)}
    return train(data, run, TrainConfig(model=config.student, **shared), resume=resume, report=report)
