"""Comparison: teacher, student alone and student distilled on the same held-out crops and the same clock."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepkd.benchmark.latency import latencies_ms
from deepkd.data.crops import load_crops
from deepkd.evaluation.metrics import auc, log_loss
from deepkd.models.registry import TorchModel
from deepkd.outputs import writing
from deepkd.training.validation import crop_logits


def compare(
    models: Mapping[str, TorchModel], data: Path, *, split: str, limit: int | None, out: Path
) -> list[dict[str, Any]]:
    """One row per model: `name`, `auc`, `log_loss`, `params`, `macs`, `ms`; also written to `out/comparison.json`.

    `log_loss` is of the calibrated probabilities. `ms` is the median time of one crop in ONNX
    Runtime on all cores, the models taken in turn in this process.

    Raises:
        DataError: the split has no rows.
        OutputError: the file cannot be written.
    """
    crops = load_crops(data, split, limit=limit)
    known = np.isfinite(crops.labels)
    labels = crops.labels[known]
    rows = []
    for name, model in models.items():
        logits = crop_logits(model, crops)[known]
        scale = model.calibration
        figures = {
            "auc": auc(labels, logits),
            "log_loss": log_loss(labels, logits / scale.temperature + scale.bias),
        }
        rows.append({"name": name, **figures, "params": model.params, "macs": model.macs})
    for row, ms in zip(rows, latencies_ms(list(models.values())), strict=True):
        row["ms"] = ms
    with writing(out / "comparison.json") as path:
        path.write_text(
            json.dumps({"split": split, "crops": len(labels), "models": rows}, indent=2) + "\n",
            encoding="utf-8",
        )
    return rows
