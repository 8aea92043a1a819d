"""Cross-entropy with the labels of classes (ce)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class CE(Loss):
    """Cross-entropy with the labels, `-log softmax(z)_y`.

    With label smoothing s the target is `(1 - s)` at the label plus `s / S` at each of the S
    classes (Szegedy et al. 2016, arXiv:1512.00567, eq. 3).
    """

    inputs = "classes"
    wants_labels = True
    wants_teacher = False

    label_smoothing: float = 0.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor | None = None,
        *,
        labels: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, S), the column of each label (N,) -> scalar."""
        losses = F.cross_entropy(
            student.float(), labels.long(), reduction="none", label_smoothing=self.label_smoothing
        )
        return weighted_mean(losses, weight)
