"""Export: a trained model as one ONNX file that takes uint8 crops and says itself what it is."""

import io
import json
import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from deepkd import __version__
from deepkd.errors import DeepKDError, ModelError
from deepkd.models.registry import TorchModel, evaluating, normalise
from deepkd.outputs import write_whole
from deepkd.scoring.model import METADATA_KEY, METADATA_SCHEMA, InputFormat, Scorer, raw_logits
from deepkd.scoring.seal import SEAL_KEY, UNSEALED, set_seal
from deepkd.text import first_sentence

OPSET = 17
TRACED = 2
"""Crops that the tracer sees; logits are compared on another number of them, so that no batch size
is baked in."""
TOLERANCE = 1e-4
"""Largest difference between torch's and ONNX Runtime's logits that an export may show, as a share
of the largest logit where that is over 1: single precision has seven digits, wherever the point
is."""


class Folded(nn.Module):
    """A model with its pre-processing folded in: uint8 RGB crops (N, S, S, 3) -> logit (N,).

    A model that tells classes apart gives a logit for each, (N, classes).
    """

    def __init__(self, module: nn.Module, format: InputFormat) -> None:
        super().__init__()
        self.module = module
        self.format = format

    def forward(self, crops: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 -> (N,), or (N, classes), float32."""
        logits: Tensor = self.module(self.views(crops))
        return logits if logits.shape[-1] > 1 else logits.reshape(-1)

    def views(self, crops: Tensor) -> Tensor:
        """(N, S, S, 3) uint8 -> (N, 3, S, S) float32: `normalise` as a product and a sum."""
        batch = crops.permute(0, 3, 1, 2).float()
        zero = normalise(batch.new_zeros(1, 3, 1, 1), self.format)
        scale = (normalise(batch.new_ones(1, 3, 1, 1), self.format) - zero) / 255
        return (batch.flip(1) if self.format.color == "BGR" else batch) * scale + zero


class Located(Folded):
    """Likewise, with the evidence: the logit of each place, (N, h, w), whose mean is the logit.

    For models that end in a map of features, its mean and a linear layer: there the two may change
    places. (Zhou et al., Learning Deep Features for Discriminative Localization, 2016: the class
    activation map.)
    """

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """(N, S, S, 3) uint8 -> logit (N,), evidence (N, h, w), float32."""
        module: Any = self.module
        features = module.forward_features(self.views(crops))
        last = module.get_classifier()
        evidence = nn.functional.conv2d(features, last.weight[:, :, None, None], last.bias).squeeze(
            1
        )
        return evidence.mean((1, 2)), evidence


def fold(model: TorchModel, example: Tensor) -> Folded:
    """The model as it is exported: with its evidence where that is exact within `TOLERANCE`.

    Args:
        model: what to export.
        example: crops to find that out with, (N, S, S, 3) uint8.
    """
    plain = Folded(model.module, model.format).to("cpu")
    located = Located(model.module, model.format).to("cpu")
    with evaluating(plain), torch.inference_mode():
        try:
            logit, evidence = located(example)
            expected = plain(example)
            difference = float((evidence.mean((1, 2)) - expected).abs().max())
        except (AttributeError, TypeError, RuntimeError, IndexError):  # a model of another build
            return plain
    return (
        located
        if logit.shape == example.shape[:1] and difference <= _tolerance(expected)
        else plain
    )


def export_onnx(model: TorchModel, path: Path, *, verify: bool = True) -> Path:
    """Write `model` as ONNX with dynamic batch and its metadata, whole or not at all.

    Its outputs are `logit` and, for models whose build allows it (see `Located`), `evidence`.

    Args:
        model: trained, or untrained to measure its speed only: a `Scorer` refuses to load such a
            file.
        path: where to write.
        verify: compare ONNX Runtime's logits with torch's first.

    Raises:
        ModelError: torch cannot export it, the logits differ by more than `TOLERANCE`, or it takes
            no other number of crops than it was traced on.
        OutputError: it cannot be written.
    """
    size = model.format.size
    example = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    )
    network = fold(model, example)
    outputs = ["logit", "evidence"] if isinstance(network, Located) else ["logit"]
    with write_whole(path) as beside:
        with evaluating(network), translate_errors(model.name, "ONNX"):
            torch.onnx.export(
                network,
                (example[:TRACED],),
                str(beside),
                dynamo=False,
                opset_version=OPSET,
                input_names=["crops"],
                output_names=outputs,
                dynamic_axes={name: {0: "batch"} for name in ["crops", *outputs]},
            )
        save_described(onnx.load(beside), onnx_metadata(model), beside)
        if verify and model.trained:
            _verify(beside, network, example)
    return path


def export_torchscript(model: TorchModel, path: Path) -> Path:
    """Write `model` as TorchScript with dynamic batch, whole or not at all.

    Its metadata is the extra file `deepkd`.

    Raises:
        ModelError: torch cannot export it, or the logits differ by more than `TOLERANCE`.
        OutputError: it cannot be written.
    """
    size = model.format.size
    example = torch.from_numpy(
        np.random.default_rng(0).integers(0, 256, (3, size, size, 3), np.uint8)
    )
    network = Folded(model.module, model.format).to("cpu")
    with (
        write_whole(path) as beside,
        evaluating(network),
        torch.no_grad(),
        translate_errors(model.name, "TorchScript"),
    ):
        traced = torch.jit.trace(network, example[:TRACED])
        written = io.BytesIO()  # torch ends the process where it cannot write to a file
        torch.jit.save(
            traced, written, _extra_files={METADATA_KEY: json.dumps(onnx_metadata(model))}
        )
        beside.write_bytes(written.getvalue())
        expected = network(example)
        _refuse(
            (torch.jit.load(beside)(example) - expected).abs().max().item(),
            _tolerance(expected),
            "TorchScript",
        )
    return path


@contextmanager
def translate_errors(name: str, what: str) -> Iterator[None]:
    """Raise what torch raises as one sentence; drop what it warns of and prints.

    Raises:
        ModelError: torch cannot export the model called `name` as `what`.
    """
    try:
        with _silence_stdout(), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # on constants that are constant, and on its newer formats
            yield
    except (DeepKDError, OSError):  # a full disk is no fault of the network's
        raise
    except Exception as error:  # torch has no base of its own for them
        raise ModelError(
            f"{name}: cannot be exported as {what} ({first_sentence(error)}); train it with another"
            " --image-size, or choose another architecture"
        ) from error


@contextmanager
def _silence_stdout() -> Iterator[None]:
    """Keep what torch prints below Python (a graph that it cannot export) off standard output."""
    try:
        output = os.dup(1)
    except OSError:  # closed
        yield
        return
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
    try:
        yield
    finally:
        os.dup2(output, 1)
        os.close(output)


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


def save_described(graph: onnx.ModelProto, metadata: dict[str, Any], out: Path) -> None:
    """Write a graph that says `metadata` of itself, and nothing else under that key, sealed."""
    kept = [entry for entry in graph.metadata_props if entry.key != METADATA_KEY]
    del graph.metadata_props[:]
    graph.metadata_props.extend(kept)
    entry = graph.metadata_props.add()
    rest = {key: value for key, value in metadata.items() if key != SEAL_KEY}
    entry.key, entry.value = METADATA_KEY, json.dumps({SEAL_KEY: UNSEALED, **rest})
    out.write_bytes(set_seal(graph.SerializeToString()))


def _verify(path: Path, network: Folded, example: Tensor) -> None:
    with evaluating(network), torch.inference_mode():
        reference = Folded.forward(network, example)
    expected = reference.numpy()
    scorer, crops = Scorer.load(path), list(example.numpy())
    try:
        difference = float(np.abs(raw_logits(scorer, crops) - expected).max())
    except Exception as error:  # the runtime raises its own unrelated classes
        raise ModelError(
            f"export refused: traced on {TRACED} crops, it fails on {len(crops)}; make the network"
            " take any batch"
        ) from error
    if scorer.has_evidence:
        difference = max(
            difference, float(np.abs(scorer.evidence(crops)[1].mean((1, 2)) - expected).max())
        )
    _refuse(difference, _tolerance(reference), "ONNX Runtime")


def _tolerance(logits: Tensor) -> float:
    """How far an export's logits may be from these: `TOLERANCE` of the largest, at least of 1."""
    return TOLERANCE * max(1.0, float(logits.abs().max()))


def _refuse(difference: float, allowed: float, what: str) -> None:
    """Raise unless the difference is a number and small."""
    if not (math.isfinite(difference) and difference <= allowed):
        raise ModelError(
            f"export refused: {what}'s logits differ from torch's by {difference:.1e} >"
            f" {allowed:.1e}"
        )


FORMATS: dict[str, Callable[[TorchModel, Path], Path]] = {
    "onnx": export_onnx,
    "torchscript": export_torchscript,
}
"""`--format` -> what writes the file; `deepkd detect` takes ONNX."""
ENDINGS = {"onnx": (".onnx",), "torchscript": (".pt", ".ts")}
"""`--format` -> what its files may end in."""
