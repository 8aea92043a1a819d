"""Attention that finds which of the student's maps learns from which of the teacher's (afd)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Comparison, Loss
from deepkd.distillation.losses.maps import attention_vectors
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class AttentionFeatures(Loss):
    """Attention-based feature distillation (Ji et al. 2021, arXiv:2102.02973, sec. 3).

    `g(f) = vec(mean_c f^2) / ||.||_2`; loss = mean over samples of the sum over the teacher's maps
    t and the student's maps s of `a[t, s] ||g(t) - g(s)||_2`, the larger map's squares pooled to
    the smaller one's size. `a[t, :] = softmax over s of (q_t . k_s + e_t . e_s) / sqrt(d)`: queries
    q and keys k come from the maps' means over H x W by learned layers, e are learned places, d is
    `features`. Called without them, a is even.
    """

    inputs = "map"
    is_several = True

    features: float = 128.0

    def __call__(
        self,
        student: Tensor | Sequence[Tensor],
        teacher: Tensor | Sequence[Tensor],
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Maps (N, C, H, W) of each, any C, H, W, or sequences of maps -> scalar."""
        mine, its = ([f] if isinstance(f, Tensor) else f for f in (student, teacher))
        return weighted_mean(_distances(mine, its).mean(2).sum(1), weight)

    def make_comparison(
        self, student: Sequence[Tensor], teacher: Sequence[Tensor], *, rows: int
    ) -> Comparison:
        """The layers of queries, keys and places."""
        return _Attention(self, student, teacher)


class _Attention(Comparison):
    """Queries of the teacher's maps, keys of the student's."""

    def __init__(
        self, loss: AttentionFeatures, student: Sequence[Tensor], teacher: Sequence[Tensor]
    ) -> None:
        super().__init__()
        size = round(loss.features)
        self.queries = nn.ModuleList(nn.Linear(t.shape[1], size) for t in teacher)
        self.keys = nn.ModuleList(nn.Linear(s.shape[1], size) for s in student)
        self.bilinear = nn.Linear(size, size, bias=False)
        self.place_t = nn.Parameter(torch.randn(len(teacher), size) / math.sqrt(size))
        self.place_s = nn.Parameter(torch.randn(len(student), size) / math.sqrt(size))

    def forward(
        self,
        student: Sequence[Tensor],
        teacher: Sequence[Tensor],
        *,
        labels: Tensor,
        weight: Tensor | None,
        rows: Tensor,
    ) -> Tensor:
        """Maps (N, C, H, W) of each -> scalar."""
        q, k = _embed(self.queries, teacher), _embed(self.keys, student)
        scores = self.bilinear(q) @ k.transpose(1, 2) + self.place_t @ self.place_s.T
        shares = (scores.float() / math.sqrt(k.shape[2])).softmax(2)
        return weighted_mean((shares * _distances(student, teacher)).sum((1, 2)), weight)


def _embed(layers: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Queries or keys, (N, maps, d)."""
    pairs = zip(layers, maps, strict=True)
    return torch.stack([F.relu(layer(f.mean((2, 3)))) for layer, f in pairs], 1)


def _distances(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """||g(t) - g(s)|| of each sample and pair of maps, (N, teacher's, student's)."""
    return torch.stack([torch.stack([_distance(s, t) for s in student], 1) for t in teacher], 1)


def _distance(s: Tensor, t: Tensor) -> Tensor:
    g_s, g_t = attention_vectors(s, t)
    return torch.linalg.vector_norm(g_t - g_s, dim=1)
