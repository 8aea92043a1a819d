"""Soft targets of standardised logits (kd_standardized)."""

from dataclasses import dataclass

from torch import Tensor

from deepkd.distillation.losses.kd import KD
from deepkd.distillation.losses.loss import Loss, refuse_two_classes


@dataclass(frozen=True)
class StandardizedKD(Loss):
    """Soft targets of logits without their own mean and scale, `T^2 KL(p_teacher || p_student)`.

    Sun et al. 2024, arXiv:2403.01427: `p = softmax((z - mean(z)) / ((std(z) + 1e-7) T))` over the S
    classes, so that the student need not match the size of the teacher's logits. As in the authors'
    code, the variance is the sum of squares over S - 1. Needs three classes: of two, only the sign
    of the standardised logits differs.
    """

    inputs = "classes"

    temperature: float = 2.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, S) of each -> scalar.

        Raises:
            ConfigError: fewer than three classes.
        """
        refuse_two_classes("kd_standardized", student, "only the sign of the logits is left")
        s, t = (_standardize(z.float()) for z in (student, teacher))
        return KD(self.temperature)(s, t, weight=weight)


def _standardize(logits: Tensor) -> Tensor:
    centred = logits - logits.mean(1, keepdim=True)
    variance = centred.square().sum(1, keepdim=True) / (logits.shape[1] - 1)
    return centred / (variance + 1e-14).sqrt()  # the slope stays finite for equal logits
