"""Progress: how far a training is, as it is reported, and as it is kept to go on from there."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Progress:
    """The progress of a training, reported after every step; an epoch's end has validation."""

    step: int
    steps: int
    epoch: int
    loss: float
    validation: dict[str, Any] | None = None
    note: str = ""
    """How a run that was made longer goes on; with it no step has been taken."""


@dataclass
class State:
    """What must survive a kill, besides weights and the optimiser."""

    epoch: int = 0
    batch: int = 0
    step: int = 0
    best_score: float = -1.0
    epochs_without_gain: int = 0
    stopped: bool = False
    seen: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
