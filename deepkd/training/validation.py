"""Validation: the figures on held-out crops, which choose weights and operating point."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.data.crops import CropSet
from deepkd.data.mixture import MixedCrops
from deepkd.errors import DataError
from deepkd.evaluation.classes import class_figures, class_logits
from deepkd.evaluation.decisions import operating_point, operating_point_of_sources
from deepkd.evaluation.figures import group_by_video, video_means
from deepkd.evaluation.metrics import auc, log_loss
from deepkd.models.registry import TorchModel
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import BATCH
from deepkd.scoring.thresholds import Thresholds

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """What a training is validated by."""

    score: str
    """The figure by which weights are chosen; the higher, the better."""
    check: Callable[[CropSet], None]
    """Refuses held-out pictures that cannot judge, with a DataError."""
    validate: Callable[[TorchModel, CropSet], tuple[dict[str, Any], dict[str, Any]]]
    """(model, held-out pictures) -> figures, and what its metadata shall say besides."""


def check_validation(val: CropSet) -> None:
    """Make sure, before any work, that the held-out crops can judge.

    Raises:
        DataError: a label is missing among them.
    """
    if len({0.0, 1.0} & set(val.labels.tolist())) < 2:
        raise DataError(
            "the validation crops need both labels, to choose weights by their AUC; check the split"
            " `val`"
        )


def calibrate(model: TorchModel, val: CropSet, task: Task) -> None:
    """Record the figures on the held-out crops, and an operating point, in the metadata."""
    figures, point = task.validate(model, val)
    model.metadata |= {"validation": figures, **point}


def validate(model: TorchModel, val: CropSet) -> tuple[dict[str, Any], dict[str, Any]]:
    """Figures on the held-out crops, and the operating point that they ask for.

    Of several folders, the operating point is that of clips (a clip's logit is the mean of its
    crops', as in a verdict), whose data sets weigh alike.
    """
    logits, labels = compute_logits(model, val)
    if not isinstance(val, MixedCrops):
        return figures_of(logits, labels), describe_operating_point(
            *operating_point(logits, labels)
        )
    known = np.flatnonzero(np.isfinite(val.labels)).tolist()
    rows = [val.rows[index] for index in known]
    datasets = np.array([row.dataset for row in rows])
    exact = labels.astype(np.float64), logits.astype(np.float64)
    forged, means, sources = video_means(group_by_video(rows), *exact, datasets)
    point = operating_point_of_sources(means, forged, sources)
    folders = np.array([val.source(index) for index in known])
    return figures_of(logits, labels, folders), describe_operating_point(*point)


def figures_of(
    logits: Floats, labels: Floats, sources: npt.NDArray[np.str_] | None = None
) -> dict[str, Any]:
    """AUC and log loss of (N,) logits and labels.

    Args:
        logits: (N,).
        labels: (N,), 1 for FAKE.
        sources: the folder that each comes from, (N,). Of several, `val_auc` is the mean of those
            that have both labels, and each has its own `val_auc_NAME`.
    """
    figures = {"val_auc": auc(labels, logits), "val_log_loss": log_loss(labels, logits)}
    if sources is None or len(names := np.unique(sources)) < 2:
        return figures
    parts = {str(name): auc(labels[sources == name], logits[sources == name]) for name in names}
    known = [area for area in parts.values() if area is not None]
    figures |= {f"val_auc_{name}": area for name, area in parts.items()}
    return figures | ({"val_auc": float(np.mean(known))} if known else {})


def describe_operating_point(calibration: Calibration, thresholds: Thresholds) -> dict[str, Any]:
    """What a model's metadata say of its operating point."""
    return {"calibration": calibration.to_dict(), "thresholds": thresholds.to_dict()}


def compute_logits(model: TorchModel, crops: CropSet) -> tuple[Floats, Floats]:
    """Logits and labels of the crops that have a label, (N,) each."""
    known = np.isfinite(crops.labels)
    return crop_logits(model, crops)[known], crops.labels[known]


def check_classes(val: CropSet) -> None:
    """Make sure, before any work, that the held-out pictures can judge.

    Raises:
        DataError: none has a label.
    """
    if not np.isfinite(val.labels).any():
        raise DataError("no validation picture has a label; check the split that validates")


def validate_classes(model: TorchModel, val: CropSet) -> tuple[dict[str, Any], dict[str, Any]]:
    """Accuracy, top-5 accuracy and log loss on the held-out pictures."""
    known = np.flatnonzero(np.isfinite(val.labels))
    logits = class_logits(model, val, known.tolist())
    figures = class_figures(logits, val.labels[known].astype(int))
    return {f"val_{name}": figure for name, figure in figures.items()}, {}


FORGERY = Task("val_auc", check_validation, validate)
CLASSES = Task("val_accuracy", check_classes, validate_classes)


def crop_logits(model: TorchModel, crops: CropSet) -> Floats:
    """The model's logit of every crop, in order, (N,); memory does not grow with their number."""
    parts = [
        model.logits([crops.image(index) for index in range(start, min(start + BATCH, len(crops)))])
        for start in range(0, len(crops), BATCH)
    ]
    return np.concatenate(parts)
