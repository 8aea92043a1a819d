"""Probabilities of neighbours among samples (pkt)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import keep_weighted, weighted_mean


@dataclass(frozen=True)
class ProbabilisticTransfer(Loss):
    """Divergence of the probabilities that one sample has another for its neighbour.

    Passalis & Tefas 2018, arXiv:1803.10837, sec. 3. `K(a, b) = (cos(a, b) + 1) / 2`,
    `p[j | i] = K(x_i, x_j) / sum over k != i of K(x_i, x_k)`; loss = mean over samples i of the sum
    over j != i of `p_t[j | i] log(p_t[j | i] / p_s[j | i])`.
    """

    inputs = "embedding"

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Features (N, C) of each, any C -> scalar; 0 for fewer than two samples.

        Samples of weight 0 are nobody's neighbours; the others weigh in the mean.
        """
        student, teacher, weight = keep_weighted(student, teacher, weight)
        if len(weight) < 2:
            return student.sum() * 0
        log_s, log_t = (_log_neighbours(x) for x in (student, teacher))
        divergence = (log_t.exp() * (log_t - log_s)).sum(1)
        return weighted_mean(divergence, weight)


def _log_neighbours(x: Tensor) -> Tensor:
    """The logarithm of p[j | i] without the diagonal, (N, N - 1)."""
    unit = F.normalize(x, dim=1)
    kernel = ((unit @ unit.T + 1) / 2).clamp_min(1e-7)
    others = kernel[~torch.eye(len(x), dtype=torch.bool, device=x.device)].view(len(x), -1)
    return (others / others.sum(1, keepdim=True)).log()
