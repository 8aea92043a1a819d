"""Objective: what a training minimises; `deepkd train` and `deepkd distill` have one each."""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor, nn

from deepkd.training.validation import FORGERY, Task


class Objective(nn.Module):
    """What a training minimises; its parameters and those of its submodules are trained.

    `forward(views, labels, rows)` takes views (N, 3, view_px, view_px) in [0, 1], RGB, labels (N,)
    float with NaN where there is none, and the samples' rows of the crop set (N,). It returns
    scalars by name: `total`, which is minimised, and each term of it. Where `wants_clean`, the
    views before photometric augmentation come as a fourth argument.
    """

    view_px: int
    """Side of the views that it takes, pixels."""
    wants_clean: bool = False
    progress: float = 0.0
    """Share of the training that is done, 0 to 1; for what is scheduled."""
    task: Task = FORGERY
    """What it is validated by."""
    given: Mapping[str, str] = MappingProxyType({})
    """What it was given besides settings -> a hash of it; a run is resumed with the same only."""

    def gradient_norms(
        self, views: Tensor, labels: Tensor, rows: Tensor, clean: Tensor | None = None
    ) -> dict[str, float]:
        """Length of each weighted term's gradient; {} for one term. Arguments as in `forward`."""
        return {}
