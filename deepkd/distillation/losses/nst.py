"""Distance of the distributions of neurons' activations (nst)."""

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss
from deepkd.distillation.losses.maps import pool_alike
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class NeuronSelectivity(Loss):
    """Squared maximum mean discrepancy between the channels of two maps.

    Huang & Wang 2017, arXiv:1707.01219, with the polynomial kernel. Each channel is a vector f of
    H x W, divided by its 2-norm; with `k(x, y) = (x . y)^2`, the loss of a sample is
    `mean k(t, t') + mean k(s, s') - 2 mean k(t, s)` over all pairs of channels. The larger map is
    pooled to the smaller one's size.
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
        s, t = (F.normalize(f.flatten(2), dim=2) for f in pool_alike(student, teacher))
        return weighted_mean(_kernel(t, t) + _kernel(s, s) - 2 * _kernel(s, t), weight)


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    """Mean of k over all pairs of channels, (N,)."""
    return (x @ y.transpose(1, 2)).square().mean((1, 2))
