"""The student's deep maps, fused into its shallow ones, against the teacher's (review_kd)."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Comparison, Loss
from deepkd.distillation.losses.reduce import weighted_mean

LEVELS = (4, 2, 1)
"""Sides of the pooled maps; each weighs half as much as the one before."""

MOST_CHANNELS = 512
"""Of a fused map."""


@dataclass(frozen=True)
class ReviewKD(Loss):
    """Knowledge review (Chen et al. 2021, arXiv:2104.09044).

    From the deepest map to the first, each of the student's maps is fused with the deeper result by
    learned attention: `f = a_1 * s' + a_2 * up(deeper)`, `[a_1, a_2] = sigmoid(conv([s', deeper]))`
    (ABF). Loss = sum over maps of HCL(f, t): the mean squared distance of the maps and of the maps
    pooled to 4 x 4, 2 x 2, 1 x 1, weighted 1, 1/2, 1/4, 1/8 over their sum. Called without the
    fusion, f is the student's map. The authors' code also compares the pooled features, and lets
    its weight rise from 0 over the first 20 of 240 epochs (`warmup` of the `[[loss]]` table).
    """

    inputs = "map"
    is_several = True

    def __call__(
        self,
        student: Tensor | Sequence[Tensor],
        teacher: Tensor | Sequence[Tensor],
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Maps (N, C, H, W) of each, of one shape, or a sequence of maps -> scalar."""
        mine, its = ([f] if isinstance(f, Tensor) else f for f in (student, teacher))
        parts = [_contexts(s.float(), t.float()) for s, t in zip(mine, its, strict=True)]
        return weighted_mean(torch.stack(parts).sum(0), weight)

    def make_comparison(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], *, rows: int
    ) -> Comparison:
        """The fusion."""
        return _Review(self, student, teacher)


class _Review(Comparison):
    """A fusion for each map, from the first to the deepest."""

    def __init__(
        self, loss: ReviewKD, student: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> None:
        super().__init__()
        self.loss = loss
        middle = min(student[-1].shape[1], MOST_CHANNELS)
        self.enter = nn.ModuleList(_convolution(s.shape[1], middle, 1) for s in student)
        self.attend = nn.ModuleList(nn.Conv2d(2 * middle, 2, 1) for _ in student[1:])
        self.leave = nn.ModuleList(_convolution(middle, t.shape[1], 3) for t in teacher)

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        *,
        labels: Tensor,
        weight: Tensor | None,
        rows: Tensor,
    ) -> Tensor:
        """Maps (N, C, H, W) of each, from the first to the deepest -> scalar."""
        fused: list[Tensor] = []
        deeper: Tensor | None = None
        for place in reversed(range(len(student))):
            own = self.enter[place](student[place])
            if deeper is not None:
                deeper = F.interpolate(deeper, own.shape[2:], mode="nearest")
                share = self.attend[place](torch.cat((own, deeper), 1)).sigmoid()
                own = share[:, :1] * own + share[:, 1:] * deeper
            deeper = own
            result = F.interpolate(own, teacher[place].shape[2:], mode="nearest")
            fused.insert(0, self.leave[place](result))
        return self.loss(fused, teacher, weight=weight)


def _convolution(channels_in: int, channels: int, side: int) -> nn.Module:
    convolution = nn.Conv2d(channels_in, channels, side, padding=side // 2, bias=False)
    nn.init.kaiming_uniform_(convolution.weight, a=1)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels))


def _contexts(s: Tensor, t: Tensor) -> Tensor:
    """HCL of each sample, (N,)."""
    total, share, sum_of_shares = (s - t).square().mean((1, 2, 3)), 1.0, 1.0
    for side in LEVELS:
        if side < s.shape[2]:
            share /= 2
            pooled = [F.adaptive_avg_pool2d(f, side) for f in (s, t)]
            total = total + share * (pooled[0] - pooled[1]).square().mean((1, 2, 3))
            sum_of_shares += share
    return total / sum_of_shares
