"""Turn the quantised ImageNet MobileNetV2 (a public .tflite file) into a checkpoint to start a training from.

    python scripts/imagenet_start.py mobilenet_v2_1.0_224_quant.tflite --data CROPS --out start.safetensors
    deepkd train --data CROPS --out runs/helper --model mobilenetv2_100 --init start.safetensors --image-size 160

The file holds int8 weights with the batch norms folded into them. Weights become `scale * (q - zero_point)`. Each batch
norm is then rebuilt from one forward pass over real crops: with mean m and variance v of its input it gets running
statistics (m, v), weight sqrt(v + eps) and bias b + m, where b is the folded bias. In eval mode the network computes
what the folded one did; in training mode it starts from statistics that fit. Needs `pip install tflite`.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import tflite
import torch
from torch import Tensor, nn

from deepkd.data.crops import CropSet, load_crops
from deepkd.models.checkpoints import save_model
from deepkd.models.registry import TorchModel, build_model

CONVOLUTIONS = {tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D}
HALF = (0.5, 0.5, 0.5)


def dequantised(model: "tflite.Model", index: int) -> np.ndarray:
    """A tensor of the file as float32."""
    graph = model.Subgraphs(0)
    tensor = graph.Tensors(index)
    kind = {tflite.TensorType.UINT8: np.uint8, tflite.TensorType.INT32: np.int32}[tensor.Type()]
    raw = np.frombuffer(model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes(), kind).astype(np.float32)
    quantisation = tensor.Quantization()
    values = quantisation.Scale(0) * (raw - quantisation.ZeroPoint(0))
    return values.reshape(tensor.ShapeAsNumpy()).astype(np.float32)


def convolutions(path: Path) -> list[tuple[Tensor, Tensor]]:
    """Weight (out, in / groups, kh, kw) and bias (out,) of each convolution in the order they run."""
    model = tflite.Model.GetRootAs(path.read_bytes(), 0)
    graph = model.Subgraphs(0)
    found = []
    for position in range(graph.OperatorsLength()):
        operator = graph.Operators(position)
        kind = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if kind in CONVOLUTIONS:
            weight, bias = (dequantised(model, operator.Inputs(i)) for i in (1, 2))
            order = (3, 0, 1, 2) if kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D else (0, 3, 1, 2)
            found.append((torch.from_numpy(weight.transpose(order).copy()), torch.from_numpy(bias)))
    return found


def fill(module: nn.Module, layers: list[tuple[Tensor, Tensor]]) -> None:
    """Copy the folded weights in; the batch norms only add the folded bias."""
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    if len(convs) != len(norms) or len(layers) != len(convs) + 1:  # the last convolution is ImageNet's classifier
        raise SystemExit(f"expected {len(convs) + 1} convolutions in the file, found {len(layers)}")
    for conv, norm, (weight, bias) in zip(convs, norms, layers, strict=False):
        conv.weight.data.copy_(weight)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.data.fill_(1)
        norm.bias.data.copy_(bias)


def rebuild_norms(model: TorchModel, crops: CropSet, count: int) -> None:
    """Give each batch norm the statistics of its own input over `count` crops, without changing the network."""
    norms = [m for m in model.module.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = {norm: [torch.zeros_like(norm.running_mean, dtype=torch.float64) for _ in range(2)] + [0] for norm in norms}

    def collect(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        first, second, seen = sums[norm]
        sums[norm] = [
            first + values.sum((0, 2, 3)),
            second + values.square().sum((0, 2, 3)),
            seen + values[:, 0].numel(),
        ]

    hooks = [norm.register_forward_pre_hook(collect) for norm in norms]
    model.logits([crops.image(int(i)) for i in np.linspace(0, len(crops) - 1, count)])
    for hook in hooks:
        hook.remove()
    for norm, (first, second, seen) in sums.items():
        mean = first / seen
        variance = second / seen - mean.square()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.data.copy_((variance + norm.eps).sqrt())
        norm.bias.data.add_(mean)


def main() -> None:
    """Read the command line and write the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tflite", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="crop index whose training split gives statistics")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=256, help="crops for the statistics")
    parser.add_argument("--image-size", type=int, default=160)
    args = parser.parse_args()

    model = build_model("mobilenetv2_100", image_size=args.image_size)
    model.format = dataclasses.replace(model.format, mean=HALF, std=HALF)
    with torch.no_grad():
        fill(model.module, convolutions(args.tflite))
        crops = load_crops(args.data, "train", limit=4 * args.crops)
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
