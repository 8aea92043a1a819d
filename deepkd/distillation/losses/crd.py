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
    """Contrastive representation distillation (Tian et al. 2020, arXiv:1910.10699).

    `h(a, b) = e^(a . b / tau) / (e^(a . b / tau) + Z K / M)` of features of length 1; loss = mean
    over samples i of `-log h(a_i, b_i) - sum over K others j of log(1 - h(a_i, b_j))`, once with
    the student's features as a and the teacher's as b, and once the other way round; M is the
    number of samples. Called so, the others are those of the batch, and Z = 1 as in the paper.

    In training, as in the authors' code, both features pass a linear layer to `features` numbers, b
    is a memory of the features of all training samples, and Z is M times the mean of
    `e^(a . b / tau)` in the first batch. Other than there, the others are drawn from all samples,
    not from those of other classes, as labels may be unknown. It is not 0 at the match.
    """

    inputs = "embedding"
    is_distance = False

    temperature: float = 0.07
    negatives: float = 16384.0
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
        scores = s @ t.T / self.temperature
        sides = [
            contrast(one.diag(), one[others].view(count, -1), count) for one in (scores, scores.T)
        ]
        return weighted_mean(sides[0] + sides[1], weight)

    def make_comparison(self, student: Tensor, teacher: Tensor, *, rows: int) -> Comparison:
        """The linear layers and the memories."""
        return _Memory(self, student.shape[1], teacher.shape[1], rows)


def contrast(own: Tensor, others: Tensor, samples: int) -> Tensor:
    """The loss of each sample, (N,), of the exponents in h: the own one (N,), K others (N, K)."""
    shift = math.log(others.shape[1] / samples)
    return -F.logsigmoid(own - shift) - F.logsigmoid(shift - others).sum(1)


class _Memory(Comparison):
    """The features of all samples, of the student and of the teacher; at first random ones."""

    def __init__(self, loss: Contrastive, mine: int, its: int, rows: int) -> None:
        super().__init__()
        self.loss = loss
        size = round(loss.features)
        self.student, self.teacher = nn.Linear(mine, size), nn.Linear(its, size)
        banks = torch.randn(2, rows, size, generator=torch.Generator().manual_seed(0))
        self.students: Tensor
        self.teachers: Tensor
        self.log_z: Tensor
        self.register_buffer("students", F.normalize(banks[0], dim=1))
        self.register_buffer("teachers", F.normalize(banks[1], dim=1))
        self.register_buffer("log_z", torch.full((2,), math.nan))

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
        rows = rows.to(self.students.device)
        s = F.normalize(self.student(student).float(), dim=1)
        t = F.normalize(self.teacher(teacher).float(), dim=1)
        others = self._draw(rows)
        exponents = (
            self._exponents(s, t, self.teachers, rows, others),
            self._exponents(t, s, self.students, rows, others),
        )
        log_z = self._scale(exponents)
        sides = [
            contrast(own - z, far - z, len(self.students))
            for (own, far), z in zip(exponents, log_z, strict=True)
        ]
        if self.training:
            self._remember(self.students, rows, s.detach())
            self._remember(self.teachers, rows, t.detach())
        return weighted_mean(sides[0] + sides[1], weight)

    def _draw(self, rows: Tensor) -> Tensor:
        """Other rows for each row, (N, K)."""
        count = len(self.students)
        negatives = max(1, min(round(self.loss.negatives), count - 1))
        ahead = torch.randint(1, max(2, count), (len(rows), negatives), device=rows.device)
        return (rows.clamp_min(0)[:, None] + ahead) % count

    def _exponents(
        self, anchor: Tensor, partner: Tensor, bank: Tensor, rows: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Products over the temperature with the own feature in a memory, (N,), and with others.

        A sample that is in no set has no feature in the memory; its partner of now stands for it.
        """
        known = (rows >= 0)[:, None]
        own = torch.where(known, bank[rows.clamp_min(0)], partner.detach())
        far = torch.einsum("nc,nkc->nk", anchor, bank[others])
        return (anchor * own).sum(1) / self.loss.temperature, far / self.loss.temperature

    def _scale(self, exponents: tuple[tuple[Tensor, Tensor], ...]) -> Tensor:
        """The logarithms of Z for both sides, (2,); those of the first batch stay."""
        together = [torch.cat((own.detach()[:, None], far.detach()), 1) for own, far in exponents]
        count = len(self.students)
        now = torch.stack([x.logsumexp((0, 1)) + math.log(count / x.numel()) for x in together])
        log_z = torch.where(self.log_z.isnan(), now.to(self.log_z), self.log_z)
        if self.training:
            self.log_z.copy_(log_z)
        return log_z

    def _remember(self, bank: Tensor, rows: Tensor, features: Tensor) -> None:
        known = rows >= 0
        share = self.loss.momentum
        mixed = share * bank[rows[known]] + (1 - share) * features[known]
        bank[rows[known]] = F.normalize(mixed, dim=1)
