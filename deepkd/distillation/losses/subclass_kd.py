"""Soft targets of networks that tell forgery methods apart (subclass_kd)."""

from dataclasses import dataclass

from torch import Tensor

from deepkd.distillation.losses.kd import KD
from deepkd.distillation.losses.loss import Loss
from deepkd.errors import ConfigError


@dataclass(frozen=True)
class SubclassKD(Loss):
    """Soft targets over subclasses, `T^2 KL(p_teacher || p_student)`.

    Mueller et al. 2020, arXiv:2002.03936, sec. 2. `p = softmax(z / T)` over the subclass axis:
    REAL and one for each forgery method. Two classes give a student one bit per crop at most; the
    forgery method that the teacher sees tells more. The paper's teacher invents its subclasses;
    here the data names them, so the paper's auxiliary loss is not needed.
    """

    inputs = "classes"

    temperature: float = 3.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, S) of each, the same S of at least 2 -> scalar.

        Raises:
            ConfigError: the shapes differ, or there is one column only.
        """
        if student.shape != teacher.shape or student.ndim != 2 or student.shape[1] < 2:
            shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
            raise ConfigError(f"subclass_kd on logits {shapes}: takes (N, S) of both, S at least 2")
        return KD(self.temperature)(student, teacher, weight=weight)
