"""Squared distance of logits (logit_mse)."""

from dataclasses import dataclass

from torch import Tensor

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class LogitMSE(Loss):
    """Half the squared distance of logits, `(z_s - z_t)^2 / 2`.

    Ba & Caruana 2014, arXiv:1312.6184, eq. 1. Teacher logits are clipped to +-`clip`, so that a
    few very sure ones do not outweigh the rest.
    """

    inputs = "logit"

    clip: float = 10.0

    def __call__(
        self,
        student: Tensor,
        teacher: Tensor,
        *,
        labels: Tensor | None = None,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Logits (N,) or (N, C) of each -> scalar."""
        distance = student.float() - teacher.float().clamp(-self.clip, self.clip)
        return weighted_mean(distance.reshape(len(distance), -1).square().sum(1) / 2, weight)
