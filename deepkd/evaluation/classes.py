"""Figures of networks that tell classes apart: accuracy, top-5, log loss, confusions."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from deepkd.data.classes import ClassSet, load_classes
from deepkd.data.crops import CropSet
from deepkd.documents import Document
from deepkd.errors import ModelError
from deepkd.evaluation.results import distinct_names
from deepkd.scoring.model import CropModel, classes_of, raw_logits
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.text import as_text

Logits = npt.NDArray[np.float32]
TOGETHER = 256
"""Pictures that a network sees at once."""
TOP = 5


def class_logits(model: CropModel, pictures: CropSet, rows: Sequence[int]) -> Logits:
    """A logit per class of each row, (N, classes)."""
    size = model.format.size
    kept = (
        isinstance(pictures, ClassSet) and pictures.is_small(size) and pictures.stack_pictures(size)
    )
    parts = []
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        images = [pictures.image(row) for row in some] if kept is False else list(kept[some])
        parts.append(raw_logits(model, images))
    return np.concatenate(parts)


def class_figures(logits: Logits, labels: npt.NDArray[np.intp]) -> dict[str, float]:
    """Accuracy and top-5 accuracy, shares from 0 to 1, and the mean log loss in nats.

    Args:
        logits: (N, classes).
        labels: the number of each class, (N,).
    """
    own = logits[np.arange(len(labels)), labels]
    higher = (logits > own[:, None]).sum(1)
    equal = (logits == own[:, None]).sum(1) - 1  # a tie counts as lost, so a constant gets nothing
    place = higher + equal
    shifted = logits.astype(np.float64) - logits.max(1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(labels)), labels]
    return {
        "accuracy": float((place == 0).mean()),
        "top5": float((place < TOP).mean()),
        "log_loss": float(losses.mean()),
    }


def confusions(logits: Logits, labels: npt.NDArray[np.intp], classes: int) -> npt.NDArray[np.intp]:
    """How many pictures of each class (row) are taken for each (column), (classes, classes)."""
    counts = np.zeros((classes, classes), np.intp)
    np.add.at(counts, (labels, logits.argmax(1)), 1)
    return counts


def check_classes_of(model: CropModel, crops: CropSet) -> None:
    """Make sure that a model is for these crops: of the same classes, or REAL and FAKE.

    Raises:
        ModelError: it tells others apart.
    """
    wanted = crops.classes if isinstance(crops, ClassSet) else ()
    if classes_of(model) != wanted:
        known, shown = (
            ", ".join(names) or "REAL and FAKE" for names in (classes_of(model), wanted)
        )
        raise ModelError(f"{model.name}: tells {known} apart, and the pictures are of {shown}")


def measure_classes(
    model: CropModel, pictures: CropSet
) -> tuple[dict[str, float], npt.NDArray[np.intp]]:
    """The figures and the confusions of a model on the pictures with a label."""
    known = np.flatnonzero(np.isfinite(pictures.labels))
    labels = pictures.labels[known].astype(int)
    logits = class_logits(model, pictures, known.tolist())
    return class_figures(logits, labels), confusions(logits, labels, logits.shape[1])


@dataclass(frozen=True)
class ClassFigures(Document):
    """One model on labelled pictures of classes."""

    name: str
    pictures: int
    accuracy: float
    top5: float
    log_loss: float
    params: int
    confusions: tuple[tuple[int, ...], ...]
    """How many pictures of each class (row) are taken for each (column)."""


@dataclass(frozen=True)
class ClassDocument(Document):
    """Models on labelled pictures of classes."""

    schema: ClassVar[str] = "deepkd.classes/1"

    data: str
    split: str
    classes: tuple[str, ...]
    models: tuple[ClassFigures, ...]


def evaluate_classes(arguments: Sequence[str], config: EvaluateConfig) -> ClassDocument:
    """Load models and pictures of classes, and measure.

    Raises:
        ModelError: a model cannot be used, or tells other classes apart.
        DataError: the pictures cannot be used.
    """
    from deepkd.models.checkpoints import load_model
    from deepkd.models.devices import pick_device

    data = Path(config.data or "")
    everything = "train+val+test" if config.split == "all" else config.split
    pictures = load_classes(data, everything, limit=config.limit)
    device = str(pick_device(config.device))
    models = [load_model(one, device=device) for one in arguments]
    for model in models:
        check_classes_of(model, pictures)
    found = []
    names = distinct_names([model.name for model in models], arguments)
    for name, model in zip(names, models, strict=True):
        figures, counts = measure_classes(model, pictures)
        rows = tuple(tuple(row) for row in counts.tolist())
        found.append(
            ClassFigures(name, len(pictures), params=model.params, confusions=rows, **figures)
        )
    return ClassDocument(as_text(data), config.split, pictures.classes, tuple(found))
