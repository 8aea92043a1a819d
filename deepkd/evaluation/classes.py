"""Figures of networks that tell classes apart: accuracy, top-5, log loss, confusions."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deepkd.data.classes import ClassSet
from deepkd.data.crops import CropSet
from deepkd.models.registry import TorchModel
from deepkd.scoring.model import Scorer

Logits = npt.NDArray[np.float32]
TOGETHER = 256
"""Pictures that a network sees at once."""
TOP = 5


def class_logits(model: TorchModel | Scorer, pictures: CropSet, rows: Sequence[int]) -> Logits:
    """A logit per class of each row, (N, classes)."""
    size = model.format.size
    kept = isinstance(pictures, ClassSet) and pictures.is_small(size) and pictures.stacked(size)
    parts = []
    for start in range(0, len(rows), TOGETHER):
        some = rows[start : start + TOGETHER]
        images = [pictures.image(row) for row in some] if kept is False else list(kept[some])
        parts.append(model.class_logits(images))
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
