"""Exported graphs whose weights are stored in half precision."""

from pathlib import Path

import numpy as np
from model_factory import random_model

from deepkd.compression.graphs import store_half
from deepkd.models.export import export_onnx
from deepkd.scoring.model import Scorer


def test_weights_stored_in_half_precision_give_the_same_logits_from_half_the_bytes(
    tmp_path: Path,
) -> None:
    whole = export_onnx(random_model("nano"), tmp_path / "whole.onnx")
    store_half(whole, tmp_path / "half.onnx")
    before, after = Scorer.load(whole), Scorer.load(tmp_path / "half.onnx")
    assert after.bytes < 0.6 * before.bytes
    assert (after.name, after.params, after.format) == (before.name, before.params, before.format)
    size = before.format.size
    crops = list(np.random.default_rng(0).integers(0, 256, (4, size, size, 3), np.uint8))
    expected = before.logits(crops)
    np.testing.assert_allclose(after.logits(crops), expected, atol=5e-3 * np.abs(expected).max())
