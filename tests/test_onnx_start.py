"""An exported student turned back into a checkpoint: it says and knows what the export does."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crop_factory import write_crops

from deepkd.data.crops import load_crops
from deepkd.models.checkpoints import load_checkpoint
from deepkd.scoring.model import Scorer


def test_the_checkpoint_says_and_knows_what_the_export_does(
    script: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_crops(tmp_path / "crops", families=6)
    scorer = Scorer.load("deepkd-nano")
    words = [
        str(scorer.path),
        "--data",
        str(data),
        "--out",
        str(tmp_path / "start"),
        "--crops",
        "4",
    ]
    monkeypatch.setattr(sys, "argv", ["onnx_start.py", *words])
    script("scripts/onnx_start.py")["main"]()
    start = load_checkpoint(tmp_path / "start.safetensors")
    images = [load_crops(data).image(index) for index in range(3)]
    assert np.abs(start.logits(images) - scorer.logits(images)).max() < 1e-4
    assert (start.params, start.format, start.name) == (scorer.params, scorer.format, scorer.name)
    assert (start.calibration, start.thresholds) == (scorer.calibration, scorer.thresholds)
    assert (
        start.metadata["recipe"] == scorer.metadata["recipe"]
        and start.metadata["recipe"]["families"]
    )
