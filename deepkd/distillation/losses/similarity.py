"""Distance of how samples relate to each other (similarity)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss


@dataclass(frozen=True)
class Similarity(Loss):
    """Distance of pairwise similarities between the samples of a batch.

    Tung & Mori 2019, arXiv:1907.09682, eq. 4: `G = Q Q^T`, a flattened map per row of Q, each row
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
        weight = (
            torch.ones(len(student), device=student.device) if weight is None else weight.float()
        )
        kept = weight > 0
        if not kept.any():
            return student.float().sum() * 0
        g_s, g_t = (
            F.normalize((q := f[kept].float().flatten(1)) @ q.T, dim=1) for f in (student, teacher)
        )
        pairs = weight[kept][:, None] * weight[kept][None, :]
        return ((g_s - g_t).square() * pairs).sum() / pairs.sum()
