"""Teachers: frozen networks, and what they and the student give for a batch."""

import warnings
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.errors import ConfigError
from deepkd.models.registry import TorchModel, columns_of, normalise
from deepkd.models.subclasses import Subclassed, outputs_and_logit
from deepkd.scoring.model import InputFormat


class Outputs(NamedTuple):
    """The outputs of a network for a batch."""

    classes: Tensor
    """A logit per subclass, (N, S); (N, 1) for a network without subclasses."""
    logit: Tensor
    """The forgery logit, (N, 1); of a network that tells classes apart, its logits (N, S)."""

    @classmethod
    def of(cls, module: nn.Module, format: InputFormat, views: Tensor) -> "Outputs":
        """Run a network on views (N, 3, view_px, view_px) in [0, 1], RGB."""
        return cls(*(one.float() for one in outputs_and_logit(module, to_input(views, format))))

    @classmethod
    def mean(cls, several: Sequence["Outputs"]) -> "Outputs":
        """Average the outputs of networks; of differing subclasses those of the first count."""
        classes = [one.classes for one in several if one.classes.shape == several[0].classes.shape]
        return cls(
            torch.stack(classes).mean(0), torch.stack([one.logit for one in several]).mean(0)
        )


class Teacher(NamedTuple):
    """A frozen network that a student learns from."""

    network: nn.Module
    format: InputFormat
    weight: int
    """How often it is listed: it runs once, and counts this often in the mean."""

    def outputs(self, views: Tensor) -> list[Outputs]:
        """Its outputs for views (N, 3, view_px, view_px) in [0, 1], `weight` times."""
        network = self.network.to(views.device)
        return [Outputs.of(network, self.format, views)] * self.weight


def freeze_teachers(models: Sequence[TorchModel]) -> tuple[Teacher, ...]:
    """Each distinct model once, frozen, in the order in which they are first listed."""
    alike: dict[tuple[str, InputFormat], list[TorchModel]] = {}
    for model in models:
        alike.setdefault((model.sha256, model.format), []).append(model)
    return tuple(
        Teacher(_freeze(same[0].module), same[0].format, len(same)) for same in alike.values()
    )


def _freeze(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False).to(memory_format=torch.channels_last)


def fold_norms(teachers: Sequence[Teacher]) -> Iterator[Teacher]:
    """Fold the teachers' batch norms into their convolutions, about twice as fast on a CPU.

    Only without taps, which need the modules. A network that cannot be traced, or has subclasses,
    stays as it is.
    """
    for teacher in teachers:
        yield teacher._replace(network=_fold(teacher))


def _fold(teacher: Teacher) -> nn.Module:
    network, size = teacher.network, teacher.format.size
    if isinstance(network, Subclassed):
        return network
    example = torch.zeros(2, 3, size, size).contiguous(memory_format=torch.channels_last)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the tracer's remarks on constants that are constant
            traced = torch.jit.trace(network, example, check_trace=False)
            return cast(nn.Module, torch.jit.optimize_for_inference(torch.jit.freeze(traced)))
    except RuntimeError:
        return network


def find_shared_subclasses(teachers: Sequence[TorchModel], loss: str) -> tuple[str, ...]:
    """The subclasses that all teachers tell apart, for the loss of that name.

    Raises:
        ConfigError: a teacher has none, or they differ.
    """
    names = {columns_of(teacher) for teacher in teachers}
    if len(names) > 1 or () in names:
        shown = "; ".join(
            f"{teacher.name}: {', '.join(columns_of(teacher)) or 'none'}" for teacher in teachers
        )
        advice = "train every teacher with 'deepkd train --subclasses method' on the same index"
        raise ConfigError(f"{loss} needs the same subclasses of all teachers ({shown}); {advice}")
    return names.pop()


def check_subclasses(student: TorchModel, teachers: Sequence[TorchModel], loss: str) -> None:
    """Refuse a student whose subclasses are not its teachers'.

    Raises:
        ConfigError: they differ, or those of the teachers do.
    """
    wanted = find_shared_subclasses(teachers, loss)
    if columns_of(student) != wanted:
        known = ", ".join(columns_of(student)) or "none"
        raise ConfigError(
            f"{loss}: the student's subclasses are {known}, the teacher's {', '.join(wanted)}"
        )


def to_input(views: Tensor, format: InputFormat) -> Tensor:
    """Resize and normalise views for a network; they shrink by area, as crops do.

    Args:
        views: (N, 3, S, S) in [0, 1], RGB, any S.
        format: the network's input format.

    Returns:
        (N, 3, size, size).
    """
    side, size = views.shape[-1], format.size
    if side > size:
        weights = _area_weights(side, size).to(views)
        views = weights @ views @ weights.T
    elif side < size:
        views = F.interpolate(views, (size, size), mode="bilinear", align_corners=False)
    return normalise(views, format)


@cache
def _area_weights(side: int, size: int) -> Tensor:
    """The share of each of `side` pixels in each of `size` larger ones; rows sum to one."""
    edges, pixels = torch.arange(size + 1, dtype=torch.float64) * side / size, torch.arange(side)
    overlap = torch.minimum(edges[1:, None], pixels + 1) - torch.maximum(edges[:-1, None], pixels)
    return (overlap.clamp(min=0) * size / side).float()
