"""Probabilities of neighbours among samples (pkt)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import keep_weighted, weighted_mean

SMALL = 1e-7


@dataclass(frozen=True)
class ProbabilisticTransfer(Loss):
    """Divergence of the probabilities that one sample has another for its neighbour.

    Passalis & Tefas 2018, arXiv:1803.10837. `K(a, b) = (cos(a, b) + 1) / 2`,
    `p[j | i] = K(x_i, x_j) / sum over k of K(x_i, x_k)`; loss = mean over the N samples i of the
    sum over j of `p_t[j | i] log(p_t[j | i] / p_s[j | i])`. As in the authors' code, i is among the
    j and k, and 1e-7 is added to both probabilities in the logarithm. That code also divides by N,
    so that its weight of 30,000 at a batch of 64 is one of 470 here.
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
        p_s, p_t = (_neighbours(x) for x in (student, teacher))
        divergence = (p_t * ((p_t + SMALL) / (p_s + SMALL)).log()).sum(1)
        return weighted_mean(divergence, weight)


def _neighbours(x: Tensor) -> Tensor:
    """p[j | i] of features (N, C), (N, N)."""
    unit = F.normalize(x, dim=1)
    kernel = (unit @ unit.T + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)
