"""ModelSpec: how a network is built and what it expects to see."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from deepkd.scoring.model import InputFormat


@dataclass(frozen=True)
class ModelSpec:
    """One architecture of the registry."""

    build: Callable[..., nn.Module]
    """`build(outputs=1, **shape)`: an untrained network, float32 (N, 3, S, S) -> (N, outputs)."""
    format: InputFormat
    """The input format of models trained by deepkd; a checkpoint's own overrides it."""
    shape: Mapping[str, Any] = field(default_factory=dict)
    """What `build` takes besides `outputs`; a checkpoint records it, and may have its own."""
