"""Distance of how samples relate to each other (similarity)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import keep_weighted, weighted_mean


@dataclass(frozen=True)
class Similarity(Loss):
    """Distance of pairwise similarities between the samples of a batch.

    Tung & Mori 2019, arXiv:1907.09682: `G = Q Q^T`, a flattened map per row of Q, each row
    of G divided by its 2-norm; loss = mean of `(G_s - G_t)^2`. Samples of weight 0 are left out of
    both matrices; a pair weighs the product of its samples' weights.
    """

    inputs = "map"

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Maps (N, C, H, W) or features (N, C) of each, any C, H, W -> scalar."""
        student, teacher, weight = keep_weighted(student, teacher, weight)
        if not len(weight):
            return student.sum() * 0
        g_s, g_t = (F.normalize((q := f.flatten(1)) @ q.T, dim=1) for f in (student, teacher))
        return weighted_mean((g_s - g_t).square(), weight[:, None] * weight[None, :])
