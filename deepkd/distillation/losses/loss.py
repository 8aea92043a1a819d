"""Loss: what every distillation loss declares and how it is called."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, get_args

from torch import Tensor, nn

from deepkd.errors import ConfigError

Inputs = Literal["logit", "classes", "map", "embedding"]
"""What a loss compares.

logit: the forgery logit, (N, 1); for pictures of classes a logit per class, (N, S).
classes: a logit per class, (N, S), S of at least 2: those of the pictures, or REAL and each
    forgery method.
map: a feature map at a tap, (N, C, H, W).
embedding: a feature vector at a tap, (N, C).
"""
INPUTS: tuple[Inputs, ...] = get_args(Inputs)
FEATURES: tuple[Inputs, ...] = ("map", "embedding")
"""Inputs that are read at a tap."""


class Comparison(nn.Module, ABC):
    """A loss with weights or a memory of its own, which train with the student."""

    @abstractmethod
    def forward(
        self,
        student: Any,
        teacher: Any,
        *,
        labels: Tensor,
        weight: Tensor | None,
        rows: Tensor,
    ) -> Tensor:
        """Compare the student with the teacher; rows (N,) of the training set, else as `Loss`."""


class Loss(ABC):
    """A distillation loss; its fields are its options in a `[[loss]]` table.

    Example:
        @dataclass(frozen=True)
        class Squared(Loss):
            inputs = "embedding"
            power: float = 2.0

            def __call__(self, student, teacher, *, labels=None, weight=None):
                distance = (student.float() - teacher.float()).abs() ** self.power
                return weighted_mean(distance.mean(1), weight)
    """

    inputs: ClassVar[Inputs]
    """What it compares."""
    wants_labels: ClassVar[bool] = False
    """Whether it learns from labels; samples without one then have weight 0."""
    wants_teacher: ClassVar[bool] = True
    """Whether it learns from the teacher; if not, sample weights of the teacher do not apply."""

    is_several: ClassVar[bool] = False
    """Whether it compares the maps of several taps at once, as sequences."""
    is_distance: ClassVar[bool] = True
    """Whether it is 0 where the student equals the teacher."""
    on_classes: ClassVar[str] = ""
    """The loss, with the same options, that takes its place for a network of several classes."""

    def __init_subclass__(cls) -> None:
        """Refuse a loss that does not declare what it compares.

        Raises:
            TypeError: `inputs` is missing or unknown.
        """
        if getattr(cls, "inputs", None) not in INPUTS:
            raise TypeError(f"{cls.__name__}: takes inputs = one of {', '.join(INPUTS)}")

    @abstractmethod
    def __call__(
        self, student: Any, teacher: Any, *, labels: Tensor, weight: Tensor | None
    ) -> Tensor:
        """Compare the student with the teacher.

        Args:
            student: shaped as `inputs` says; the adapter was applied.
            teacher: likewise.
            labels: (N,), 1 for FAKE and 0 for REAL; for `classes` the column of the class.
            weight: (N,), 0 for samples that do not count; None weighs all alike.

        Returns:
            A scalar, float32.
        """

    def make_adapter(self, student: Tensor, teacher: Tensor) -> nn.Module | None:
        """A layer for the student's side, trained with the student and not exported.

        Args:
            student: an example of the student's input, N = 1.
            teacher: an example of the teacher's input, N = 1.

        Returns:
            The layer; None for a loss without one.
        """
        return None

    def make_comparison(self, student: Any, teacher: Any, *, rows: int) -> Comparison | None:
        """What takes the place of this call in a training, with weights or a memory of its own.

        Args:
            student: an example of the student's input, N = 1.
            teacher: an example of the teacher's input, N = 1.
            rows: of the training set.

        Returns:
            The module, which is not exported; None for a loss without one.
        """
        return None


def refuse_two_classes(name: str, logits: Tensor, reason: str) -> None:
    """Refuse logits of fewer than three classes.

    Raises:
        ConfigError: with the reason why two say nothing.
    """
    if logits.ndim != 2 or logits.shape[1] < 3:
        shape = tuple(logits.shape)
        raise ConfigError(
            f"{name} on logits {shape}: takes three or more classes; with two {reason}"
        )


def refuse_other_sizes(name: str, student: Tensor, teacher: Tensor) -> None:
    """Refuse maps that differ in H or W.

    Raises:
        ConfigError: they do.
    """
    if student.shape[2:] != teacher.shape[2:]:
        shapes = f"{tuple(student.shape[2:])} and {tuple(teacher.shape[2:])}"
        raise ConfigError(f"{name} on maps of {shapes}: both must have the same H and W")
