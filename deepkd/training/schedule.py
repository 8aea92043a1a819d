"""Schedules: how the learning rate and the weight average move over a training."""

import math

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step`: a linear rise, then half a cosine down to 0."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def average_weights(module: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of weights and buffers.

    Early on the decay is (1 + n) / (10 + n) after n updates, so that a short training is not an
    average of its start.
    """

    def blend(average: Tensor, current: Tensor, updates: Tensor | int) -> Tensor:
        keep = min(decay, (1 + float(updates)) / (10 + float(updates)))
        if not average.is_floating_point():  # a counter of batches
            return current
        return torch.lerp(current, average, keep)  # of equal values exactly that value

    return AveragedModel(module, avg_fn=blend, use_buffers=True)


def adamw(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the parameters that take gradients; norms, biases and vectors do not decay."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in parameters if parameter.ndim > 1]
    vectors = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=lr, fused=True)
