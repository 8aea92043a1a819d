"""Export: a trained model as one ONNX file that takes uint8 crops and says itself what it is."""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from deepkd import __version__
from deepkd.errors import ModelError
from deepkd.models.registry import TorchModel, evaluating, normalise
from deepkd.outputs import writing
from deepkd.scoring.model import METADATA_KEY, METADATA_SCHEMA, InputFormat, Scorer

OPSET = 17
TOLERANCE = 1e-4
"""Largest difference between torch's and ONNX Runtime's logits that an export may show."""


class Folded(nn.Module):
    """A model with its pre-processing folded in: uint8 RGB crops (N, S, S, 3) -> logit (N,)."""

    def __init__(self, module: nn.Module, format: InputFormat) -> None:
        super().__init__()
        self.module = module
        self.format = format

    def forward(self, crops: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 -> (N,) float32."""
        views = crops.permute(0, 3, 1, 2).float() / 255
        return self.module(normalise(views, self.format)).flatten()


def export_onnx(model: TorchModel, path: Path, *, verify: bool = True) -> Path:
    """Write `model` as ONNX with dynamic batch and its metadata, whole or not at all.

    Args:
        model: trained, or untrained to measure its speed only: a `Scorer` refuses to load such a file.
        path: where to write.
        verify: compare ONNX Runtime's logits with torch's first.

    Raises:
        ModelError: the logits differ by more than 1e-4.
        OutputError: it cannot be written.
    """
    size = model.format.size
    example = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8))
    folded = Folded(model.module, model.format).to("cpu")
    with writing(path) as beside:
        with evaluating(folded), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's remarks on constants that are constant
            torch.onnx.export(
                folded,
                (example,),
                str(beside),
                dynamo=False,
                opset_version=OPSET,
                input_names=["crops"],
                output_names=["logit"],
                dynamic_axes={"crops": {0: "batch"}, "logit": {0: "batch"}},
            )
        _describe(beside, onnx_metadata(model))
        if verify and model.trained:
            _verify(beside, folded, example)
    return path


def onnx_metadata(model: TorchModel) -> dict[str, Any]:
    """What an exported file says of itself."""
    return {
        "schema": METADATA_SCHEMA,
        "name": model.name,
        "architecture": model.architecture,
        "params": model.params,
        "macs": model.macs,
        "trained": model.trained,
        "input": model.format.to_dict(),
        "deepkd": __version__,
        **model.metadata,
        "calibration": model.calibration.to_dict(),
        "thresholds": model.thresholds.to_dict(),
    }


def _describe(path: Path, metadata: dict[str, Any]) -> None:
    graph = onnx.load(path)
    entry = graph.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(metadata)
    onnx.save(graph, path)


def _verify(path: Path, folded: Folded, example: Tensor) -> None:
    with evaluating(folded), torch.inference_mode():
        expected = folded(example).numpy()
    difference = float(np.abs(Scorer.load(path).logits(list(example.numpy())) - expected).max())
    if not difference <= TOLERANCE:
        raise ModelError(f"export refused: ONNX Runtime's logits differ from torch's by {difference:.1e} > {TOLERANCE}")
