"""Rebuild batch norms that were folded into convolutions, so that training can go on.

With mean m and variance v of its input over some crops, a norm gets running statistics (m, v),
weight sqrt(v + eps) and bias b + m, where b is the folded bias. In eval mode the network computes
what the folded one did; in training mode it starts from statistics that fit. Used by
`imagenet_start.py` and `onnx_start.py`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from deepkd.data.crops import CropSet
from deepkd.models.registry import TorchModel


def parser_for(description: str) -> argparse.ArgumentParser:
    """The options of a script that rebuilds norms: crops, their number, and the checkpoint."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--data", type=Path, required=True, help="crop index whose training split gives statistics"
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--crops", type=int, default=256, help="crops for the statistics")
    return parser


def fill(module: nn.Module, layers: list[tuple[Tensor, Tensor]]) -> None:
    """Copy the folded weights in; the batch norms only add the folded bias."""
    convs = [m for m in module.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in module.modules() if isinstance(m, nn.BatchNorm2d)]
    if (
        len(convs) != len(norms) or len(layers) != len(convs) + 1
    ):  # the last convolution is ImageNet's classifier
        raise SystemExit(f"expected {len(convs) + 1} convolutions in the file, found {len(layers)}")
    for conv, norm, (weight, bias) in zip(convs, norms, layers, strict=False):
        conv.weight.data.copy_(weight)
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.data.fill_(1)
        norm.bias.data.copy_(bias)


def rebuild_norms(model: TorchModel, crops: CropSet, count: int) -> None:
    """Give each batch norm the statistics of its input over `count` crops."""
    norms = [m for m in model.module.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = {
        norm: [torch.zeros_like(norm.running_mean, dtype=torch.float64) for _ in range(2)] + [0]
        for norm in norms
    }

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
