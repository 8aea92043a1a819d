"""Importance: what each channel is worth to a network, before it is pruned.

Each gives one number per channel for each batch norm of the network, whose outputs are its feature
maps; a group of channels that can only go together is worth the sum of theirs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.data.classes import ClassSet
from deepkd.data.crops import CropSet
from deepkd.data.sampling import draw_balanced
from deepkd.errors import DataError
from deepkd.models.registry import TorchModel, evaluating, views_of
from deepkd.scoring.model import BATCH, InputFormat

Importance = dict[str, Tensor]
"""Name of a batch norm -> importance of each of its channels, float64, (C,)."""
Samples = tuple[Tensor, Tensor]
"""Crops (N, S, S, 3) uint8 in the model's own size, and their labels (N,) float32."""


@dataclass(frozen=True)
class Criterion:
    """What each channel is worth."""

    weigh: Callable[..., Importance]
    """`weigh(model, samples, seed=0)`: the importance of the channels behind every batch norm."""
    needs_crops: bool = False
    """Whether it looks at labelled crops."""

    def __call__(
        self, model: TorchModel, samples: Iterator[Samples], *, seed: int = 0
    ) -> Importance:
        """The importance of the channels behind every batch norm."""
        return self.weigh(model, samples, seed=seed)


def draw_samples(
    crops: CropSet, format: InputFormat, count: int, *, seed: int = 0
) -> Iterator[Samples]:
    """About `count` labelled crops of a set, drawn as by `draw_rows`, in batches of up to 32."""
    rows = draw_rows(crops, count, seed=seed)
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        images = format.batch([crops.image(row) for row in part])
        yield torch.from_numpy(images), torch.from_numpy(crops.labels[part])


def check_both(crops: CropSet, where: str, advice: str) -> None:
    """Make sure, before any work, that there are crops of both labels to draw from.

    Args:
        crops: to be drawn from.
        where: what they are, for the message: folder and split.
        advice: what they are for, and what to change.

    Raises:
        DataError: they are of one label, or none.
    """
    if not {"REAL", "FAKE"} <= {row.label for row in crops.rows}:
        raise DataError(f"{where} needs REAL and FAKE rows {advice}")


def draw_rows(crops: CropSet, count: int, *, seed: int = 0) -> list[int]:
    """About `count` labelled rows of a set, as many real as forged, or of each class."""
    rng = np.random.default_rng(seed)
    if isinstance(crops, ClassSet):
        return _draw_of_each(crops, count, rng)
    draw = draw_balanced(crops, rng)
    return [row for sample in draw for row in sample][:count]


def _draw_of_each(pictures: ClassSet, count: int, rng: np.random.Generator) -> list[int]:
    """Rows of the classes in turn, each class in random order, until there are `count`."""
    labels, rank = pictures.labels, np.zeros(len(pictures))
    order = rng.permutation(len(pictures))
    for place in range(len(pictures.classes)):
        own = order[labels[order] == place]
        rank[own] = np.arange(len(own))
    known = order[np.isfinite(labels[order])]
    chosen: list[int] = known[np.argsort(rank[known], kind="stable")][:count].tolist()
    return chosen


def taylor(model: TorchModel, samples: Iterator[Samples], *, seed: int = 0) -> Importance:
    """The first-order change of the loss when a feature map is set to zero.

    Molchanov et al. 2017, arXiv:1611.06440, eq. 8: `|1/M sum_m (dC/dz_m) z_m|` over the M places of
    a map, averaged over samples; C is the cross-entropy.
    """
    totals: Importance = {}
    with evaluating(model.module), _watch_norms(model.module, totals):
        for crops, labels in samples:
            views = views_of(crops, model.format)
            logits = model.module(views)
            if model.classes:
                loss = F.cross_entropy(logits, labels.long(), reduction="sum")
            else:
                loss = F.binary_cross_entropy_with_logits(logits.flatten(), labels, reduction="sum")
            loss.backward()
    model.module.zero_grad(set_to_none=True)
    return totals


@contextmanager
def _watch_norms(module: nn.Module, totals: Importance) -> Iterator[None]:
    """Add up the criterion of every batch norm's output while gradients flow back through it."""

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def forward(_: nn.Module, __: tuple[Tensor, ...], maps: Tensor) -> None:
            values = maps.detach()  # a hook that held `maps` itself would never let it go

            def backward(gradient: Tensor) -> None:
                change = (gradient * values).mean((2, 3)).abs().double().sum(0)
                totals[name] = totals.get(name, torch.zeros_like(change)) + change

            maps.register_hook(backward)

        return forward

    hooks = [layer.register_forward_hook(watch(name)) for name, layer in _norms(module)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def bn_scale(model: TorchModel, samples: Iterator[Samples], *, seed: int = 0) -> Importance:
    """The absolute scale of the batch norm (Liu et al. 2017, arXiv:1708.06519)."""
    return {name: layer.weight.detach().abs().double() for name, layer in _norms(model.module)}


def magnitude(model: TorchModel, samples: Iterator[Samples], *, seed: int = 0) -> Importance:
    """The L2 norm of the channel's filter (Li et al. 2017, arXiv:1608.08710, take L1)."""
    found: Importance = {}
    last = None
    norms = dict(_norms(model.module))
    for name, layer in model.module.named_modules():
        if isinstance(layer, nn.Conv2d):
            last = layer
        elif name in norms and last is not None and last.out_channels == layer.num_features:
            found[name] = last.weight.detach().double().flatten(1).norm(dim=1)
    return found


def chance(model: TorchModel, samples: Iterator[Samples], *, seed: int = 0) -> Importance:
    """Random numbers of their own generator: what a criterion must beat."""
    draw = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(draw.random(layer.num_features))
        for name, layer in _norms(model.module)
    }


def _norms(module: nn.Module) -> Iterator[tuple[str, nn.BatchNorm2d]]:
    for name, layer in module.named_modules():
        if isinstance(layer, nn.BatchNorm2d):
            yield name, layer


TAYLOR = Criterion(taylor, needs_crops=True)
MAGNITUDE = Criterion(magnitude)
BN_SCALE = Criterion(bn_scale)
RANDOM = Criterion(chance)
