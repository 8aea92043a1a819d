"""Distance of activation maps: where the networks look (attention_transfer)."""

from dataclasses import dataclass

from torch import Tensor

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.maps import attention_vectors
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class AttentionTransfer(Loss):
    """Distance of normalised activation maps (Zagoruyko & Komodakis 2017, arXiv:1612.03928, eq. 2).

    `Q = vec(mean_c F^2)`, `q = Q / ||Q||_2`, loss = mean of `(q_s - q_t)^2` over samples, H and W.
    This is the authors' code, whose weight is 1,000; their equation sums `||q_s - q_t||_2` over the
    maps, with half that weight. The larger map's squares are pooled to the smaller one's size.
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
        """Maps (N, C, H, W) of each, any C, H, W -> scalar."""
        q_s, q_t = attention_vectors(student, teacher)
        return weighted_mean((q_s - q_t).square().mean(1), weight)
