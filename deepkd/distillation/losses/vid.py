"""A bound on the information that the student's map gives on the teacher's (vid)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Comparison, Loss
from deepkd.distillation.losses.maps import pool_alike
from deepkd.distillation.losses.reduce import weighted_mean

SMALL = 1e-5
"""Least variance."""


@dataclass(frozen=True)
class VariationalInformation(Loss):
    """Minus the log-likelihood of the teacher's map (Ahn et al. 2019, arXiv:1904.05835).

    `mean over c, h, w of log v_c / 2 + (t - m(s))^2 / (2 v_c)`: m is a small network on the
    student's map, `v_c = log(1 + e^a_c) + 1e-5` a variance per channel; both are learned. The
    larger map is pooled to the smaller one's size. Called without m and v, m(s) = s and v = 1.
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
        """Maps (N, C, H, W) of each, the same C, any H, W -> scalar."""
        student, teacher = pool_alike(student, teacher)
        return _likelihood(student, teacher, student.new_ones(()), weight)

    def make_comparison(self, student: Tensor, teacher: Tensor, *, rows: int) -> Comparison:
        """The network m and the variances."""
        return _Regression(student.shape[1], teacher.shape[1])


class _Regression(Comparison):
    """m, three 1 x 1 convolutions, and a; as in common code, the variances begin at 5."""

    def __init__(self, mine: int, its: int) -> None:
        super().__init__()
        self.mean = nn.Sequential(
            nn.Conv2d(mine, its, 1, bias=False), nn.ReLU(),
            nn.Conv2d(its, its, 1, bias=False), nn.ReLU(),
            nn.Conv2d(its, its, 1, bias=False),
        )  # fmt: skip
        self.a = nn.Parameter(torch.full((its, 1, 1), 5.0 - SMALL).expm1().log())

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor,
        weight: Tensor | None,
        rows: Tensor,
    ) -> Tensor:
        """Maps (N, C, H, W) of each -> scalar."""
        variance = F.softplus(self.a.float()) + SMALL
        student, teacher = pool_alike(student, teacher)
        return _likelihood(self.mean(student), teacher, variance, weight)


def _likelihood(mean: Tensor, teacher: Tensor, variance: Tensor, weight: Tensor | None) -> Tensor:
    squares = (teacher.float() - mean.float()).square()
    return weighted_mean((variance.log() / 2 + squares / (2 * variance)).mean((1, 2, 3)), weight)
