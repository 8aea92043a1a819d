"""Distilling: a student from its teachers, and the same student without them."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from deepkd.data.classes import ClassSet
from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.data.families import list_inherited, training_record
from deepkd.data.leakage import check_held_out
from deepkd.data.mixture import Data
from deepkd.data.sampling import keep_labelled
from deepkd.distillation.modifiers import with_labels_hidden
from deepkd.distillation.objective import Distillation
from deepkd.distillation.teachers import find_shared_subclasses
from deepkd.distillation.terms import terms_of
from deepkd.errors import ConfigError, DataError
from deepkd.models.registry import TorchModel
from deepkd.models.subclasses import names_of
from deepkd.settings.choices import SAMPLINGS
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig, TrainingConfig
from deepkd.training.engine import fit
from deepkd.training.progress import Progress
from deepkd.training.supervised import (
    class_labels,
    load_splits,
    settings_for_classes,
    start_model,
    train_on,
)


def distill(
    teachers: Sequence[TorchModel],
    data: Data,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Warn = lambda message: None,
) -> TorchModel:
    """Train a student under its teachers on the split `train`; weights are chosen on `val`.

    Args:
        teachers: the networks that teach; one listed twice counts twice.
        data: one or more folders of crops.
        run: folder to write.
        config: student, terms, schedule.
        resume: go on with the run in `run`.
        report: gets the progress after every step.
        warn: gets what `check_held_out` finds odd.

    Returns:
        The trained student.

    Raises:
        DataError: the index or a split is wrong, the splits share originals, or `train_alone` is
            left nothing where the settings ask for it.
        ConfigError, ModelError, OutputError, TrainingError: see `start_model` and `fit`.
    """
    train_crops, val_crops = _crops(data, config)
    return distill_on(
        teachers, train_crops, val_crops, run, config, resume=resume, report=report, warn=warn
    )


def distill_on(
    teachers: Sequence[TorchModel],
    train_crops: CropSet,
    val_crops: CropSet,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    warn: Warn = lambda message: None,
) -> TorchModel:
    """Train a student under its teachers on crops, or on pictures of classes; see `distill`."""
    if config.alone:
        keep_labelled(train_crops)  # without labels to train on alone, nothing is begun
    if isinstance(train_crops, ClassSet):
        config = settings_for_classes(config)
        student = _start_on_classes(teachers, train_crops, val_crops, config)
        known: Tensor | None = torch.from_numpy(train_crops.labels)
    else:
        student = _start(teachers, train_crops, val_crops, config, warn)
        known = class_labels(train_crops, names_of(student.module))
    objective = Distillation(
        student,
        teachers,
        config,
        face_probability=_face_probability(train_crops, config),
        class_labels=known,
        crop_px=_crop_px(train_crops),
        rows=len(train_crops),
    )
    return fit(
        student, objective, train_crops, val_crops, config, run, resume=resume, report=report
    )


def _start(
    teachers: Sequence[TorchModel],
    train_crops: CropSet,
    val_crops: CropSet,
    config: DistillConfig,
    warn: Warn,
) -> TorchModel:
    """The student to train, with what its recipe records."""
    on_classes = [term.name for term in terms_of(config) if term.kind.inputs == "classes"]
    subclasses = find_shared_subclasses(teachers, on_classes[0]) if on_classes else None
    student = start_model(config.student, config, subclasses=subclasses)
    earlier = [(f"the start {config.init}", student.metadata.get("recipe", {}))]
    earlier += [(f"the teacher {teacher.name}", list_inherited(teacher)) for teacher in teachers]
    check_held_out(train_crops, val_crops, earlier, warn=warn)
    record = training_record(train_crops, [recipe for _, recipe in earlier])
    named = ", ".join(teacher.name for teacher in teachers)
    student.metadata["recipe"] = {**config.to_metadata(), "teacher": named, **record}
    return student


def _start_on_classes(
    teachers: Sequence[TorchModel], pictures: ClassSet, val: CropSet, config: DistillConfig
) -> TorchModel:
    """The student to train on pictures of classes, with what its recipe records.

    Raises:
        ConfigError: a teacher tells other classes apart.
    """
    for teacher in teachers:
        if teacher.classes != pictures.classes:
            known = ", ".join(teacher.classes) or "REAL and FAKE"
            raise ConfigError(
                f"the teacher {teacher.name} tells {known} apart, and the pictures are of"
                f" {', '.join(pictures.classes)}; train a teacher on them"
            )
    student = start_model(config.student, config, classes=pictures.classes)
    check_held_out(pictures, val, [], warn=lambda message: None)
    named = ", ".join(teacher.name for teacher in teachers)
    record = {"teacher": named, "index_sha256": pictures.index_sha256()}
    student.metadata["recipe"] = {**config.to_metadata(), **record}
    return student


def _face_probability(crops: CropSet, config: DistillConfig) -> Tensor | None:
    """The face detector's probability of each row, (rows,), where the recipe weighs by it."""
    if config.sample_weight != "face_probability":
        return None
    known = [row.face_probability for row in crops.rows]
    if None in known:
        raise DataError(
            "sample_weight=face_probability, but the index has crops without one; extract them"
            " again"
        )
    return torch.tensor(known, dtype=torch.float32)


def _crop_px(crops: CropSet) -> int:
    """The shorter side of the crops, pixels: the largest among the first ones of the data sets."""
    first = {row.dataset: index for index, row in reversed(list(enumerate(crops.rows)))}
    return max(min(crops.image(index).shape[:2]) for index in first.values())


def train_alone(
    data: Data,
    run: Path,
    config: DistillConfig,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TorchModel:
    """Train the same student on the same labels and for as many steps, without the teacher.

    Raises:
        DataError, ConfigError, ModelError, OutputError, TrainingError: see `train_on`.
    """
    train_crops, val_crops = _crops(data, config)
    shared = {item.name: getattr(config, item.name) for item in dataclasses.fields(TrainingConfig)}
    if config.sampling in SAMPLINGS.names_with("draws unlabelled crops"):
        shared["epochs"] = round(config.epochs * len(train_crops) / len(keep_labelled(train_crops)))
    settings = TrainConfig(model=config.student, **shared)
    return train_on(train_crops, val_crops, run, settings, resume=resume, report=report)


def _crops(data: Data, config: DistillConfig) -> tuple[CropSet, CropSet]:
    """The crops to train on, with the labels that the student may see, and those to validate on."""
    train_crops, val_crops = load_splits(data, config)
    return with_labels_hidden(train_crops, config.labelled_share), val_crops
