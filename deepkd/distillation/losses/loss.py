"""Loss: what every distillation loss declares and how it is called."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, get_args

from torch import Tensor, nn

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
        self, student: Tensor, teacher: Tensor, *, labels: Tensor, weight: Tensor | None
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
