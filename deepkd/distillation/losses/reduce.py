"""The mean that every loss ends in."""

from torch import Tensor


def weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of one value per sample, (N,), weighted by (N,); 0 where all weights are 0."""
    if weight is None:
        return values.mean()
    weight = weight.to(values)
    return (values * weight).sum() / weight.sum().clamp_min(1e-12)
