"""Attention that finds which of the student's maps learns from which of the teacher's (afd)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from deepkd.distillation.losses.loss import Comparison, Loss
from deepkd.distillation.losses.maps import attention_vectors
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class AttentionFeatures(Loss):
    """Attention-based feature distillation (Ji et al. 2021, arXiv:2102.02973).

    `g(f) = vec(mean_c f^2) / ||.||_2`; loss = mean over samples of the sum over the teacher's maps
    t and the student's maps s of `a[t, s]` times the mean of `(g(t) - g(s))^2` over H x W.
    `a[t, :] = softmax over s of (q_t . B_t(k_s) + e_t . e_s) / sqrt(d)`: queries q and keys k come
    from the maps' means over H x W, B_t is a layer for each t, e are learned places, d is
    `features`. Called without them, a is even. This is the authors' code, but for maps of other
    sizes: there the student's squares are pooled to the teacher's size, here the larger map's to
    the smaller one's.
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
        self.queries = nn.ModuleList(_Layer(t.shape[1], size) for t in teacher)
        self.keys = nn.ModuleList(_Layer(s.shape[1], size) for s in student)
        self.bilinear = _Layer(size, size * len(teacher))
        self.place_t = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(teacher), size)))
        self.place_s = nn.Parameter(nn.init.xavier_normal_(torch.empty(len(student), size)))

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
        shares = self._scores(student, teacher).softmax(2)
        return weighted_mean((shares * _distances(student, teacher)).sum((1, 2)), weight)

    def _scores(self, student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
        """Of each sample and pair of maps, (N, teacher's, student's)."""
        queries = _embed(self.queries, teacher)
        keys = self.bilinear(_embed(self.keys, student).relu().flatten(0, 1))
        keys = keys.view(len(queries), len(student), len(teacher), -1)
        products = torch.einsum("nstd,ntd->nts", keys, queries) + self.place_t @ self.place_s.T
        return products.float() / math.sqrt(queries.shape[2])


class _Layer(nn.Module):
    """A linear layer whose outputs are normalised over the batch, (N, in) -> (N, out)."""

    def __init__(self, size_in: int, size: int) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(size_in, size), nn.BatchNorm1d(size)

    def forward(self, x: Tensor) -> Tensor:
        """A single row has no variance and stays as it is."""
        x = self.linear(x)
        normalised: Tensor = x if len(x) < 2 and self.training else self.norm(x)
        return normalised


def _embed(layers: nn.ModuleList, maps: Sequence[Tensor]) -> Tensor:
    """Queries or keys, (N, maps, d)."""
    pairs = zip(layers, maps, strict=True)
    return torch.stack([layer(f.mean((2, 3))) for layer, f in pairs], 1)


def _distances(student: Sequence[Tensor], teacher: Sequence[Tensor]) -> Tensor:
    """Mean of (g(t) - g(s))^2 of each sample and pair of maps, (N, teacher's, student's)."""
    return torch.stack([torch.stack([_distance(s, t) for s in student], 1) for t in teacher], 1)


def _distance(s: Tensor, t: Tensor) -> Tensor:
    g_s, g_t = attention_vectors(s, t)
    return (g_t - g_s).square().mean(1)
