"""Angular margin distillation of attention maps (amd), whole and in quadrants."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import weighted_mean
from deepkd.errors import ConfigError

CLAMP = 1 - 1e-7
"""Keeps the slope of acos finite at its end."""


@dataclass(frozen=True)
class AngularMargin(Loss):
    """Distance of angular, positive and negative attention maps.

    Jeon et al. 2023, arXiv:2302.14130. Positive map `q = sum_c F^2 / ||.||_2` over H x W,
    negative map `1 - q`;
    `P = s cos(m acos q)`, `N = s (1 - q)`, `A = P - log(e^P + e^N) = -softplus(N - P)`;
    `L = 1/3 sum over x in {A, P, N} of MSE(x_s / ||x_s||, x_t / ||x_t||)`.
    With `local` > 0, `(1 - local) L(whole) + local * mean of L over the four quadrants` of the
    normalised map. Its size falls with H x W, so give it a weight per tap. Factors, margin and
    scale are those of the authors' code.
    """

    inputs = "map"

    margin: float = 1.35
    scale: float = 64.0
    local: float = 0.0
    """Share of the quadrants; the global and local variant takes 0.2."""

    def __post_init__(self) -> None:
        """Refuse a margin that would bend the angle back.

        Raises:
            ConfigError: the margin is not in 1 to 2, or the share not in 0 to 1.
        """
        if not 1 <= self.margin <= 2 or not 0 <= self.local <= 1:
            raise ConfigError(
                f"amd margin={self.margin}, local={self.local}: takes a margin of 1 to 2, a share"
                " of 0 to 1"
            )

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Maps (N, C, H, W) of each, any C, H, W -> scalar.

        The larger map's squares are pooled to the smaller one's size.

        Raises:
            ConfigError: the map is too small to differ from place to place.
        """
        size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
        if math.prod(size) < 2 or (self.local and min(size) < 2):
            raise ConfigError(
                f"amd on a {size[0]} x {size[1]} map says nothing; tap an earlier, larger map"
            )
        q_s, q_t = (self._positive(f, size) for f in (student, teacher))
        loss = (1 - self.local) * self._distance(q_s, q_t)
        if self.local:
            quarters = zip(_quadrants(q_s), _quadrants(q_t), strict=True)
            loss = loss + self.local * torch.stack(
                [self._distance(s, t) for s, t in quarters]
            ).mean(0)
        return weighted_mean(loss, weight)

    def _positive(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """The normalised attention map, (N, H, W)."""
        energy = F.adaptive_avg_pool2d(
            features.float().square().sum(1, keepdim=True), size
        ).squeeze(1)
        return energy / energy.flatten(1).norm(dim=1).clamp_min(1e-12)[:, None, None]

    def _distance(self, q_s: Tensor, q_t: Tensor) -> Tensor:
        """L of each sample, (N,)."""
        maps = zip(self._maps(q_s.flatten(1)), self._maps(q_t.flatten(1)), strict=True)
        parts = [(F.normalize(s, dim=1) - F.normalize(t, dim=1)).square().mean(1) for s, t in maps]
        return torch.stack(parts).mean(0)

    def _maps(self, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        positive = self.scale * torch.cos(self.margin * torch.acos(q.clamp(0, CLAMP)))
        negative = self.scale * (1 - q)
        return -F.softplus(negative - positive), positive, negative


def _quadrants(q: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four quarters of (N, H, W); of an odd side the second part is the larger one."""
    height, width = q.shape[1] // 2, q.shape[2] // 2
    return (
        q[:, :height, :width],
        q[:, :height, width:],
        q[:, height:, :width],
        q[:, height:, width:],
    )
