"""Validation: the figures on held-out crops, which choose weights and operating point."""

from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.data.crops import CropSet
from deepkd.data.mixture import MixedCrops
from deepkd.errors import DataError
from deepkd.evaluation.decisions import operating_point
from deepkd.evaluation.metrics import auc, log_loss
from deepkd.models.registry import TorchModel
from deepkd.scoring.model import BATCH

Floats = npt.NDArray[np.float32]


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


def calibrate(model: TorchModel, val: CropSet) -> None:
    """Record AUC, log loss and operating point on the held-out crops in the metadata."""
    logits, labels = labelled_logits(model, val)
    model.metadata |= {
        "validation": figures_of(logits, labels),
        **operating_metadata(logits, labels),
    }


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


def labelled_sources(crops: CropSet) -> npt.NDArray[np.str_] | None:
    """The folder of each crop that has a label, (N,); None for the crops of a single folder."""
    if not isinstance(crops, MixedCrops):
        return None
    known = np.flatnonzero(np.isfinite(crops.labels))
    return np.array([crops.source(int(index)) for index in known])


def operating_metadata(logits: Floats, labels: Floats) -> dict[str, Any]:
    """What a model's metadata say of its operating point, (N,) logits and labels."""
    calibration, thresholds = operating_point(logits, labels)
    return {"calibration": calibration.to_dict(), "thresholds": thresholds.to_dict()}


def labelled_logits(model: TorchModel, crops: CropSet) -> tuple[Floats, Floats]:
    """Logits and labels of the crops that have a label, (N,) each."""
    known = np.isfinite(crops.labels)
    return crop_logits(model, crops)[known], crops.labels[known]


def crop_logits(model: TorchModel, crops: CropSet) -> Floats:
    """The model's logit of every crop, in order, (N,); memory does not grow with their number."""
    parts = [
        model.logits([crops.image(index) for index in range(start, min(start + BATCH, len(crops)))])
        for start in range(0, len(crops), BATCH)
    ]
    return np.concatenate(parts)
