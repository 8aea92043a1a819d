"""Correlation of predictions over classes, and over samples (dist)."""

from dataclasses import dataclass

from torch import Tensor

from deepkd.distillation.losses.loss import Loss, refuse_two_classes
from deepkd.distillation.losses.reduce import keep_weighted, weighted_mean


@dataclass(frozen=True)
class Dist(Loss):
    """Correlation in place of divergence, `T^2 (beta inter + gamma intra)`.

    Huang et al. 2022, arXiv:2205.10536. With `p = softmax(z / T)`, (N, S), and Pearson's
    correlation r: `inter = mean over samples of 1 - r(p_s[i, :], p_t[i, :])`,
    `intra = mean over classes of 1 - r(p_s[:, j], p_t[:, j])`. Needs three classes: of two, the
    correlation between classes is always -1 or 1. A single sample has no intra. As in the authors'
    code, r has 1e-8 added to the product of norms it is divided by.
    """

    inputs = "classes"

    beta: float = 1.0
    gamma: float = 1.0
    temperature: float = 1.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N, S) of each -> scalar; samples weigh in both parts.

        Raises:
            ConfigError: fewer than three classes.
        """
        refuse_two_classes("dist", student, "two classes always correlate fully")
        student, teacher, weight = keep_weighted(student, teacher, weight)
        if not len(weight):
            return student.sum() * 0
        p_s, p_t = ((z / self.temperature).softmax(1) for z in (student, teacher))
        even = p_s.new_full((p_s.shape[1],), 1.0)
        total = self.beta * weighted_mean(1 - _correlation(p_s, p_t, even), weight)
        if len(weight) > 1:
            total = total + self.gamma * (1 - _correlation(p_s.T, p_t.T, weight.to(p_s))).mean()
        return self.temperature**2 * total


def _correlation(a: Tensor, b: Tensor, weight: Tensor) -> Tensor:
    """Pearson's correlation of each row of (R, K), weighted by (K,); (R,)."""
    share = weight / weight.mean()
    a, b = ((x - (x * share).mean(1, keepdim=True)) * share.sqrt() for x in (a, b))
    return (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1) + 1e-8)
