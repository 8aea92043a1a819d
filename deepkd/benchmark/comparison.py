"""Comparison: teacher and students after a distillation, on the same crops and the same clock."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.benchmark.latency import latencies_ms
from deepkd.benchmark.results import ComparedModel, ComparisonDocument
from deepkd.data.crops import CropSet
from deepkd.data.mixture import Data, load_data
from deepkd.evaluation.classes import measure_classes
from deepkd.evaluation.metrics import auc, log_loss
from deepkd.models.registry import TorchModel
from deepkd.outputs import write_whole
from deepkd.training.validation import crop_logits


def compare(
    models: Mapping[str, TorchModel], data: Data, *, split: str, limit: int | None, out: Path
) -> ComparisonDocument:
    """One row per model, also written to `out/comparison.json`.

    Raises:
        DataError: the split has no rows.
        OutputError: the file cannot be written.
    """
    crops = load_data(data, split, limit=limit)
    known = np.isfinite(crops.labels)
    labels = crops.labels[known]
    figures = [
        _figures_on_classes(model, crops)
        if model.classes
        else _figures(model, crop_logits(model, crops)[known], labels)
        for model in models.values()
    ]
    rows = [
        ComparedModel(name, params=model.params, macs=model.macs, ms=ms, **measured)
        for (name, model), measured, ms in zip(
            models.items(), figures, latencies_ms(list(models.values())), strict=True
        )
    ]
    document = {"split": split, "crops": len(labels), "models": [row.to_dict() for row in rows]}
    with write_whole(out / "comparison.json") as path:
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return ComparisonDocument(tuple(rows))


def _figures(model: TorchModel, logits: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, Any]:
    """AUC, and the log loss of the calibrated probabilities."""
    scale = model.calibration
    calibrated = np.asarray(logits) / scale.temperature + scale.bias
    return {"auc": auc(labels, logits), "log_loss": log_loss(labels, calibrated)}


def _figures_on_classes(model: TorchModel, pictures: CropSet) -> dict[str, Any]:
    """Accuracy, top-5 accuracy and log loss."""
    return {"auc": None, **measure_classes(model, pictures)[0]}
