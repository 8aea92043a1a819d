"""Soft targets on the forgery logit (kd)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class KD(Loss):
    """Soft targets, `T^2 KL(p_teacher || p_student)` at temperature T.

    Hinton et al. 2015, arXiv:1503.02531; the factor T^2 keeps the size of the gradient.

    For one logit z the two classes are those of `[0, z]`: with `p = sigmoid(z_t / T)` the
    divergence is that of two Bernoulli distributions, `BCEWithLogits(z_s / T, p) - H(p)`, and its
    gradient `(T / N) (sigmoid(z_s / T) - p)`. It must not go through a softmax over [N, 1]: over
    the batch axis that compares crops with each other, over the class axis it is always 1. For [N,
    C], C >= 2, it is the divergence of softmaxes over the classes.
    """

    inputs = "logit"

    temperature: float = 3.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N,), (N, 1) or (N, C) of each -> scalar."""
        s, t = student.float() / self.temperature, teacher.float() / self.temperature
        if s.ndim == 2 and s.shape[1] > 1:
            divergence = F.kl_div(
                s.log_softmax(1), t.log_softmax(1), log_target=True, reduction="none"
            ).sum(1)
        else:
            s, t = s.flatten(), t.flatten()
            p = t.sigmoid()
            divergence = p * (F.logsigmoid(t) - F.logsigmoid(s)) + (1 - p) * (
                F.logsigmoid(-t) - F.logsigmoid(-s)
            )
        return self.temperature**2 * weighted_mean(divergence, weight)
