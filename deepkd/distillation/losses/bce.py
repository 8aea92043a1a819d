"""Binary cross-entropy with the labels (bce)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class BCE(Loss):
    """Binary cross-entropy with the labels, `-[y log p + (1 - y) log(1 - p)]`, `p = sigmoid(z)`.

    With label smoothing s the label is `(1 - s) y + s / 2` (Szegedy et al. 2016, eq. 3, for two
    classes).
    """

    inputs = "logit"
    wants_labels = True
    wants_teacher = False
    on_classes = "ce"

    label_smoothing: float = 0.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor | None = None,
        *,
        labels: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N,) or (N, 1), labels (N,) from 0 to 1 -> scalar."""
        target = labels.float().flatten() * (1 - self.label_smoothing) + 0.5 * self.label_smoothing
        return weighted_mean(
            F.binary_cross_entropy_with_logits(student.float().flatten(), target, reduction="none"),
            weight,
        )
