"""The mean that every loss ends in, and the samples that count in a loss between samples."""

import torch
from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of values of any shape by weights of the same shape; 0 where all weights are 0."""
    if weight is None:
        return values.mean()
    weight = weight.to(values)
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)


def keep_weighted(
    student: Tensor, teacher: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The samples of a weight above 0, float32, and their weights; for losses between samples."""
    weight = torch.ones(len(student), device=student.device) if weight is None else weight
    kept = weight > 0
    return student[kept].float(), teacher[kept].float(), weight[kept].to(student.device).float()
