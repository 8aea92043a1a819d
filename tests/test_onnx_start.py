"""An exported student turned back into a checkpoint: it says and knows what the export does."""

import subprocess
import sys
from pathlib import Path

import numpy as np
from crop_factory import write_crops

from deepkd.data.crops import load_crops
from deepkd.models.checkpoints import load_checkpoint
from deepkd.scoring.model import Scorer

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "onnx_start.py"


def test_the_checkpoint_says_and_knows_what_the_export_does(tmp_path: Path) -> None:
    data = write_crops(tmp_path / "crops", families=6)
    scorer = Scorer.load("deepkd-nano")
    words = [sys.executable, str(SCRIPT), str(scorer.path), "--data", str(data), "--out", str(tmp_path / "start")]
    result = subprocess.run([*words, "--crops", "4"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    start = load_checkpoint(tmp_path / "start.safetensors")
    images = [load_crops(data).image(index) for index in range(3)]
    assert np.abs(start.logits(images) - scorer.logits(images)).max() < 1e-4
    assert (start.params, start.format, start.name) == (scorer.params, scorer.format, scorer.name)
    assert (start.calibration, start.thresholds) == (scorer.calibration, scorer.thresholds)
    assert start.metadata["recipe"] == scorer.metadata["recipe"] and start.metadata["recipe"]["families"]
