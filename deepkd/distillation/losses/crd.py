"""A sample's features near the teacher's of the same sample, far from those of others (crd)."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Comparison, Loss
from deepkd.distillation.losses.reduce import keep_weighted, weighted_mean


@dataclass(frozen=True)
class Contrastive(Loss):
    """Contrastive representation distillation (Tian et al. 2020, arXiv:1910.10699, sec. 3).

    `h(t, s) = e^(t . s / tau) / (e^(t . s / tau) + K / M)` of features of length 1; loss = mean
    over samples of `-log h(t_i, s_i) - sum over K others j of log(1 - h(t_j, s_i))`, M the number
    of samples. In training both features pass a linear layer to `features` numbers, and the others
    are drawn from a memory of the teacher's features of all training samples; called without them,
    the others are those of the batch. It is not 0 at the match.
    """

    inputs = "embedding"
    is_distance = False

    temperature: float = 0.07
    negatives: float = 1024.0
    """K, at most the training samples less one."""
    features: float = 128.0
    momentum: float = 0.5
    """Share of the old feature that stays when a sample comes again."""

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Features (N, C) of each, the same C -> scalar; 0 for fewer than two samples."""
        student, teacher, weight = keep_weighted(student, teacher, weight)
        count = len(weight)
        if count < 2:
            return student.sum() * 0
        s, t = (F.normalize(x, dim=1) for x in (student, teacher))
        others = ~torch.eye(count, dtype=torch.bool, device=s.device)
        scores = s @ t.T
        return self.contrast(scores.diag(), scores[others].view(count, -1), count, weight)

    def contrast(self, own: Tensor, others: Tensor, samples: int, weight: Tensor | None) -> Tensor:
        """The loss of the products with the own feature, (N,), and with K others, (N, K)."""
        shift = math.log(others.shape[1] / samples)
        near = F.logsigmoid(own / self.temperature - shift)
        far = F.logsigmoid(shift - others / self.temperature).sum(1)
        return weighted_mean(-near - far, weight)

    def make_comparison(self, student: Tensor, teacher: Tensor, *, rows: int) -> Comparison:
        """The linear layers and the memory."""
        return _Memory(self, student.shape[1], teacher.shape[1], rows)


class _Memory(Comparison):
    """The teacher's features of all samples; at first random ones."""

    def __init__(self, loss: Contrastive, mine: int, its: int, rows: int) -> None:
        super().__init__()
        self.loss = loss
        size = round(loss.features)
        self.student, self.teacher = nn.Linear(mine, size), nn.Linear(its, size)
        bank = torch.randn(rows, size, generator=torch.Generator().manual_seed(0))
        self.bank: Tensor
        self.register_buffer("bank", F.normalize(bank, dim=1))

    def forward(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor,
        weight: Tensor | None,
        rows: Tensor,
    ) -> Tensor:
        """Features (N, C) of each; rows (N,), -1 for a sample that is in no set -> scalar."""
        count, rows = len(self.bank), rows.to(self.bank.device)
        s = F.normalize(self.student(student).float(), dim=1)
        t = F.normalize(self.teacher(teacher).float(), dim=1)
        negatives = max(1, min(round(self.loss.negatives), count - 1))
        ahead = torch.randint(1, max(2, count), (len(rows), negatives), device=rows.device)
        others = self.bank[(rows.clamp_min(0)[:, None] + ahead) % count]
        own, far = (s * t).sum(1), torch.einsum("nc,nkc->nk", s, others)
        if self.training:
            self._remember(rows, t.detach())
        return self.loss.contrast(own, far, count, weight)

    def _remember(self, rows: Tensor, features: Tensor) -> None:
        known = rows >= 0
        share = self.loss.momentum
        mixed = share * self.bank[rows[known]] + (1 - share) * features[known]
        self.bank[rows[known]] = F.normalize(mixed, dim=1)
