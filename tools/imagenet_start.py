"""Turn the quantised ImageNet MobileNetV2 (a public .tflite file) into a checkpoint.

    python tools/imagenet_start.py mobilenet_v2_1.0_224_quant.tflite --data CROPS --out START
    deepkd train --data CROPS --out RUN --model mobilenetv2_100 --init START --image-size 160

The file holds int8 weights with the batch norms folded into them. Weights become `scale * (q -
zero_point)`. Each batch norm is then rebuilt from one forward pass over real crops
(`tools/folded_norms.py`). Needs `pip install tflite`.
"""

import dataclasses
from pathlib import Path

import numpy as np
import tflite
import torch
from folded_norms import fill, parser_for, rebuild_norms
from torch import Tensor

from deepkd.data.crops import load_crops
from deepkd.models.checkpoints import save_model
from deepkd.models.registry import build_model

CONVOLUTIONS = {tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D}
HALF = (0.5, 0.5, 0.5)


def dequantised(model: "tflite.Model", index: int) -> np.ndarray:
    """A tensor of the file as float32."""
    graph = model.Subgraphs(0)
    tensor = graph.Tensors(index)
    kind = {tflite.TensorType.UINT8: np.uint8, tflite.TensorType.INT32: np.int32}[tensor.Type()]
    raw = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), kind).astype(
        np.float32
    )
    quantisation = tensor.Quantization()
    values = quantisation.Scale(0) * (raw - quantisation.ZeroPoint(0))
    return values.reshape(tensor.ShapeAsNumpy()).astype(np.float32)


def convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight (out, in / groups, kh, kw) and bias (out,) of each convolution in running order."""
    model = tflite.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    found = []
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        kind = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if kind in CONVOLUTIONS:
            weight, bias = (dequantised(model, operator.Inputs(i)) for i in (1, 2))
            order = (
                (3, 0, 1, 2) if kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D else (0, 3, 1, 2)
            )
            found.append((torch.from_numpy(weight.transpose(order).copy()), torch.from_numpy(bias)))
    return found


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = parser_for(__doc__.splitlines()[0])
    parser.add_argument("tflite", type=Path)
    parser.add_argument("--image-size", type=int, default=160)
    args = parser.parse_args()

    model = build_model("mobilenetv2_100", image_size=args.image_size)
    model.format = dataclasses.replace(model.format, mean=HALF, std=HALF)
    with torch.no_grad():
        fill(model.module, convolutions(args.tflite))
        crops = load_crops(args.data, "train", limit=4 * args.crops)
        model.module.classifier.weight.fill_(1)  # the sum of the features
        some = [crops.image(i) for i in range(8)]
        before = model.logits(some)
        rebuild_norms(model, crops, args.crops)
        drift = float(np.abs(model.logits(some) - before).max() / np.abs(before).max())
        model.module.classifier.weight.zero_()
        model.module.classifier.bias.zero_()
    print(f"largest relative change of an output by rebuilding the norms: {drift:.1e}")
    print(f"wrote {save_model(model, args.out)}")


if __name__ == "__main__":
    main()
