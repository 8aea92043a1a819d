"""Losses on feature maps: where the networks look (attention_transfer), and what they see (hint)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class AttentionTransfer:
    """Distance of normalised activation maps (Zagoruyko & Komodakis 2017, arXiv:1612.03928, eq. 2).

    `Q = vec(mean_c F^2)`, `q = Q / ||Q||_2`, loss = mean of `(q_s - q_t)^2`. The larger map's
    squares are pooled to the smaller one's size.
    """

    def __call__(self, student: Tensor, teacher: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Maps (N, C, H, W) of each, any C, H, W -> scalar."""
        size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
        q_s, q_t = (
            F.normalize(
                F.adaptive_avg_pool2d(f.float().square().mean(1, keepdim=True), size).flatten(1),
                dim=1,
            )
            for f in (student, teacher)
        )
        return weighted_mean((q_s - q_t).square().mean(1), weight)


@dataclass(frozen=True)
class Hint:
    """Distance of features after an adapter (FitNets, Romero et al. 2015, arXiv:1412.6550, eq. 3).

    Both maps are brought to zero mean and unit variance per channel over the batch, as the
    student's scale is not the point (Heo et al. 2019, arXiv:1904.01866); loss = mean of their
    squared difference. Samples of weight 0 are in no mean; a single value per channel has no
    variance, and no loss.
    """

    def __call__(self, student: Tensor, teacher: Tensor, *, weight: Tensor | None = None) -> Tensor:
        """Maps (N, C, H, W) of each, the student's already through its adapter -> scalar."""
        if weight is not None:
            kept = weight > 0
            student, teacher, weight = student[kept], teacher[kept], weight[kept]
        if student.numel() < 2 * student.shape[1]:
            return student.float().sum() * 0
        s, t = (F.batch_norm(f.float(), None, None, training=True) for f in (student, teacher))
        return weighted_mean((s - t).square().mean((1, 2, 3)), weight)
