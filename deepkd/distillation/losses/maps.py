"""Maps of two networks, brought to one size so that they can be compared."""

from torch import Tensor
from torch.nn import functional as F


def pool_alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, H, W) of each, any H, W -> both in the smaller H and the smaller W, float32."""
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    s, t = (F.adaptive_avg_pool2d(f.float(), size) for f in (student, teacher))
    return s, t


def attention_vectors(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Maps (N, C, H, W) of each -> `vec(mean_c f^2)` of one size and length 1, (N, H x W) each."""
    squares = (f.float().square().mean(1, keepdim=True) for f in (student, teacher))
    s, t = (F.normalize(f.flatten(1), dim=1) for f in pool_alike(*squares))
    return s, t
