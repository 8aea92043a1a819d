"""Distance of features after an adapter: what the networks see (hint)."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional as F

from deepkd.distillation.losses.loss import Loss, refuse_other_sizes
from deepkd.distillation.losses.reduce import weighted_mean


@dataclass(frozen=True)
class Hint(Loss):
    """Distance of features after an adapter (FitNets, Romero et al. 2015, arXiv:1412.6550).

    Other than in the paper, both maps are brought to zero mean and unit variance per channel over
    the batch, as the student's scale is not the point (Heo et al. 2019, arXiv:1904.01866), so its
    weight is smaller than the 100 of common code; and the student learns from it all the time, not
    in a stage before. Loss = mean of the squared difference. Samples of weight 0 are in no mean; a
    single value per channel has no variance, and no loss.
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
        """Maps (N, C, H, W) of each, the student's already through its adapter -> scalar."""
        if weight is not None:
            kept = weight > 0
            student, teacher, weight = student[kept], teacher[kept], weight[kept]
        if student.numel() < 2 * student.shape[1]:
            return student.float().sum() * 0
        s, t = (F.batch_norm(f.float(), None, None, training=True) for f in (student, teacher))
        return weighted_mean((s - t).square().mean((1, 2, 3)), weight)

    def make_adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        """A 1x1 convolution from the student's channels to the teacher's.

        Raises:
            ConfigError: the maps differ in H or W.
        """
        refuse_other_sizes("hint", student, teacher)
        return nn.Conv2d(student.shape[1], teacher.shape[1], kernel_size=1, bias=False)
