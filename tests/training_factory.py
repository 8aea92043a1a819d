"""Tiny trainings for tests, and a report that kills them."""

from collections.abc import Callable
from pathlib import Path

import torch

from deepkd.models.checkpoints import load_checkpoint
from deepkd.settings.training import TrainConfig
from deepkd.training.progress import Progress

TINY = TrainConfig(
    model="pico",
    image_size=32,
    batch=8,
    epochs=2,
    workers=0,
    augment="light",
    ema=0.9,
    lr=2e-3,
)
SAVED = TINY.replace(checkpoint_every=1)
"""Its state is saved after each step."""
DROPPING = SAVED.replace(
    model="meso4", image_size=None, epochs=1, batch=4, limit=12, val_limit=4, sampling="balanced"
)
"""Of a network with dropout."""


class Killed(Exception):
    """Stands for a kill: it leaves the run wherever it is."""


def kill_after(step: int) -> Callable[[Progress], None]:
    """A report that kills the training before the state of this step is saved."""

    def kill(progress: Progress) -> None:
        if progress.step == step and progress.validation is None:
            raise Killed

    return kill


def weights(run: Path) -> dict[str, torch.Tensor]:
    """Of the network in a run folder."""
    return load_checkpoint(run).module.state_dict()
