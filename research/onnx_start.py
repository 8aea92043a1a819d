"""Turn an exported student back into a checkpoint, to go on training it.

    python research/onnx_start.py weights/deepkd-nano.onnx --data CROPS --out start

An export has its batch norms folded into the convolutions. They are rebuilt
(`tools/folded_norms.py`) from one forward pass over real crops, so that the checkpoint says what
the export says and trains on from statistics that fit. Widths are read from the weights. Only plain
stacks of convolution and norm with one linear classifier have this form. What the export knows of
itself goes along: its calibration, and which originals it was trained on, so that `deepkd evaluate`
refuses those for all that is trained further from it, too.
"""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from folded_norms import fill, parser_for, rebuild_norms
from onnx import numpy_helper
from torch import Tensor, nn

from deepkd.data.crops import load_crops
from deepkd.models.checkpoints import OLD_NAMES, save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.students import LITE, LiteShape, build_student
from deepkd.scoring.model import Scorer

OF_THE_FILE = {"schema", "name", "architecture", "params", "macs", "trained", "input", "deepkd"}
"""Metadata that a checkpoint writes of its own accord."""


def layers_of(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight and bias of each convolution in running order, and last of the classifier."""
    graph = onnx.load(path).graph
    values = {
        item.name: torch.from_numpy(numpy_helper.to_array(item).copy())
        for item in graph.initializer
    }
    folded = [
        tuple(values[name] for name in node.input[1:3])
        for node in graph.node
        if node.op_type == "Conv"
    ]
    if any(
        output.name == "evidence" for output in graph.output
    ):  # the classifier is a convolution, and the last one
        *folded, (weight, bias) = folded
        return [*folded, (weight.flatten(1), bias)]
    weight, bias = (
        next(values[name] for name in values if name.endswith(f"classifier.{end}"))
        for end in ("weight", "bias")
    )
    return [*folded, (weight, bias)]


def shape_with(architecture: str, convolutions: int) -> dict[str, Any]:
    """The shape of a student with so many convolutions; {} for other networks."""
    if architecture != "lite":
        return {}
    for tenths in range(1, 11):
        shape = replace(LiteShape.parse(LITE.shape), depth=tenths / 10)
        if (
            sum(isinstance(layer, nn.Conv2d) for layer in build_student(shape).modules())
            == convolutions
        ):
            return asdict(shape)
    raise SystemExit(f"no {architecture} has {convolutions} convolutions")


def rebuilt(scorer: Scorer, layers: list[tuple[Tensor, Tensor]]) -> TorchModel:
    """The architecture of the export with its widths and weights."""
    architecture = scorer.metadata["architecture"]
    architecture = OLD_NAMES.get(architecture, architecture)
    shape = shape_with(architecture, len(layers) - 1)
    plain = build_model(architecture, format=scorer.format, shape=shape).module
    widths: dict[str, tuple[int, int]] = {}
    convolutions = iter(layers[:-1])
    for name, layer in plain.named_modules():
        if isinstance(layer, nn.Conv2d):
            weight = next(convolutions)[0]
            depthwise = layer.groups > 1
            widths[name] = (weight.shape[0], weight.shape[0] if depthwise else weight.shape[1])
        elif isinstance(layer, nn.BatchNorm2d):
            widths[name] = (weight.shape[0], weight.shape[0])
        elif isinstance(layer, nn.Linear):
            widths[name] = tuple(layers[-1][0].shape)
    model = build_model(architecture, format=scorer.format, shape={**shape, "widths": widths})
    fill(model.module, layers)
    model.module.classifier.weight.copy_(layers[-1][0])
    model.module.classifier.bias.copy_(layers[-1][1])
    return model


def main() -> None:
    """Write the checkpoint, and say how far its logits are from those of the export."""
    parser = parser_for(__doc__.splitlines()[0])
    parser.add_argument("onnx", type=Path)
    args = parser.parse_args()

    scorer = Scorer.load(args.onnx)
    crops = load_crops(args.data, "train", limit=4 * args.crops)
    with torch.no_grad():
        model = rebuilt(scorer, layers_of(args.onnx))
        rebuild_norms(model, crops, args.crops)
    some = [crops.image(i) for i in range(8)]
    print(
        "largest difference of a logit:"
        f" {np.abs(model.logits(some) - scorer.logits(some)).max():.1e}"
    )
    model.name = scorer.metadata["name"]
    model.trained = True
    model.metadata = {
        key: value for key, value in scorer.metadata.items() if key not in OF_THE_FILE
    }
    print(f"wrote {save_model(model, args.out.with_suffix('.safetensors'))}")


if __name__ == "__main__":
    main()
