"""Losses between networks that tell the forgery methods apart (subclass_kd)."""

from dataclasses import dataclass

from torch import Tensor

from deepkd.distillation.losses.logits import KD
from deepkd.errors import ConfigError


@dataclass(frozen=True)
class SubclassKD:
    """Soft targets over subclasses, `T^2 KL(p_teacher || p_student)` (Mueller et al. 2020, arXiv:2002.03936, sec. 2).

    `p = softmax(z / T)` over the subclass axis: REAL and one for each forgery method. Two classes
    give a student one bit per crop at most; which forgery the teacher takes it for says more. The
    paper's teacher invents its subclasses; here they are the methods that the data names, so the
    auxiliary loss that keeps invented ones apart is not needed.
    """

    temperature: float = 3.0

    def __call__(self, student: Tensor, teacher: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Logits (N, S) of each, the same S of at least 2 -> scalar.

        Raises:
            ConfigError: the shapes differ, or there is one column only.
        """
        if student.shape != teacher.shape or student.ndim != 2 or student.shape[1] < 2:
            shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
            raise ConfigError(f"subclass_kd on logits {shapes}: takes (N, S) of both, S at least 2")
        return KD(self.temperature)(student, teacher, weight=weight)
