"""Schedules: how the learning rate and the weight average move over a training."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Schedule = Callable[[int, int, float], float]
"""(step, steps, share of them that are warmup) -> share of the peak learning rate."""
MakeOptimizer = Callable[[nn.Module, float, float], torch.optim.Optimizer]
"""(module, learning rate, weight decay) -> what changes its weights."""


def warmup_cosine(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step`: a linear rise, then half a cosine down to 0."""
    rise = max(1, round(steps * warmup))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def fifths(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step`: times 0.2 after each fifth of the training.

    Of 200 epochs these are 40, 80, 120 and 160, as in Jeon et al. 2023, arXiv:2302.14130, sec. 4.
    """
    return constant(step, steps, warmup) * 0.2 ** (5 * step // steps)


def constant(step: int, steps: int, warmup: float) -> float:
    """Share of the peak learning rate at `step`: all of it after the rise."""
    return min(1.0, (step + 1) / max(1, round(steps * warmup)))


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


def adam(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.Adam:
    """Adam over the parameters that take gradients (Kingma & Ba 2015, arXiv:1412.6980)."""
    return torch.optim.Adam(_list_trained(module), lr=lr, weight_decay=weight_decay, fused=True)


def sgd(module: nn.Module, lr: float, weight_decay: float) -> torch.optim.SGD:
    """Gradient descent with momentum 0.9 over the parameters that take gradients."""
    return torch.optim.SGD(
        _list_trained(module), lr=lr, momentum=0.9, weight_decay=weight_decay, fused=True
    )


def _list_trained(module: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]
