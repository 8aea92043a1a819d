"""Distances and angles between samples (rkd_distance, rkd_angle)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import keep_weighted, weighted_mean


@dataclass(frozen=True)
class RelationalDistance(Loss):
    """Distance of the distances between samples (Park et al. 2019, arXiv:1904.05068).

    `d[i, j] = ||x_i - x_j|| / mu`, mu the mean over the pairs of a batch; loss = mean over pairs of
    Huber's loss (delta 1) of `d_s - d_t`. A pair weighs the product of its samples' weights.
    Common code also counts the N pairs of a sample with itself, which are 0.
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
        """Features (N, C) of each, any C -> scalar; 0 for fewer than two samples."""
        student, teacher, weight = keep_weighted(student, teacher, weight)
        if len(weight) < 2:
            return student.sum() * 0
        pairs = torch.triu_indices(len(weight), len(weight), 1, device=student.device)
        d_s, d_t = (_distances(x, pairs) for x in (student, teacher))
        weights = weight[pairs].prod(0)
        values = F.smooth_l1_loss(d_s, d_t, reduction="none")
        return weighted_mean(values, weights)


@dataclass(frozen=True)
class RelationalAngle(Loss):
    """Distance of the angles between samples (Park et al. 2019, arXiv:1904.05068).

    `a[i, j, k] = <e_ij, e_kj>`, `e_ij = (x_i - x_j) / ||x_i - x_j||`, the cosine at j; loss = mean
    over triples of distinct samples of Huber's loss (delta 1) of `a_s - a_t`. A triple weighs the
    product of its samples' weights. Common code also counts triples that repeat a sample, which are
    0.
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
        """Features (N, C) of each, any C -> scalar; 0 for fewer than three samples."""
        student, teacher, weight = keep_weighted(student, teacher, weight)
        if len(weight) < 3:
            return student.sum() * 0
        values = F.smooth_l1_loss(_cosines(student), _cosines(teacher), reduction="none")
        differ = ~torch.eye(len(weight), dtype=torch.bool, device=student.device)
        weights = (differ[:, :, None] & differ[:, None, :] & differ[None]).to(values)
        weights = weights * weight[:, None, None] * weight[:, None] * weight
        return weighted_mean(values, weights)


def _distances(x: Tensor, pairs: Tensor) -> Tensor:
    """Of each pair, over their mean, (pairs,)."""
    d = (x[pairs[0]] - x[pairs[1]]).square().sum(1).clamp_min(1e-12).sqrt()
    return d / d.mean()


def _cosines(x: Tensor) -> Tensor:
    """The cosine at j between i and k, [j, i, k]."""
    directions = F.normalize(x[None] - x[:, None], dim=2)  # [j, i]: from j to i
    return directions @ directions.transpose(1, 2)
