"""Soft targets with the label's class and the other classes apart (dkd)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from deepkd.distillation.losses.loss import Loss, refuse_two_classes
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class DecoupledKD(Loss):
    """Decoupled knowledge distillation, `T^2 (alpha TCKD + beta NCKD)`.

    Zhao et al. 2022, arXiv:2203.08679. `TCKD = KL(b_t || b_s)` of `b = [p_y, 1 - p_y]`, the
    label's class against all others; `NCKD = KL(q_t || q_s)`, q the softmax of the other classes
    alone; `p = softmax(z / T)`. The authors' code lets its weight rise from 0 over the first 20 of
    240 epochs (`warmup` of the `[[loss]]` table). Needs three classes: of a single other class, q
    is always 1.
    """

    inputs = "classes"
    wants_labels = True

    alpha: float = 1.0
    beta: float = 8.0
    temperature: float = 4.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, S) of each, the column of each label (N,) -> scalar.

        Raises:
            ConfigError: fewer than three classes.
        """
        refuse_two_classes("dkd", student, "it is alpha times kd")
        s, t = (z.float() / self.temperature for z in (student, teacher))
        own = torch.zeros_like(s, dtype=torch.bool).scatter_(1, labels.long()[:, None], True)
        target = _divergence(_own_and_rest(s, own), _own_and_rest(t, own))
        rest = _divergence(*(_others(z, own).log_softmax(1) for z in (s, t)))
        return self.temperature**2 * weighted_mean(self.alpha * target + self.beta * rest, weight)


def _own_and_rest(logits: Tensor, own: Tensor) -> Tensor:
    """The logarithms of `[p_y, 1 - p_y]`, (N, 2)."""
    rest = _others(logits, own).logsumexp(1, keepdim=True)
    return torch.cat((logits[own][:, None], rest), 1).log_softmax(1)


def _others(logits: Tensor, own: Tensor) -> Tensor:
    """The logits of all classes but the label's, (N, S - 1)."""
    return logits[~own].view(len(logits), -1)


def _divergence(student: Tensor, teacher: Tensor) -> Tensor:
    """KL(teacher || student) of log-probabilities (N, K), (N,)."""
    return (teacher.exp() * (teacher - student)).sum(1)
