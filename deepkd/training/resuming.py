"""Resuming: whether a run goes on with these settings, and how a longer one is told of."""

import json
from pathlib import Path

from deepkd.errors import ConfigError
from deepkd.settings.training import TrainingConfig

FREE_TO_CHANGE = {"data", "device", "workers", "checkpoint_every", "precision", "compile"}
"""Settings that may differ when a run is resumed."""


def check_settings(config: TrainingConfig, file: Path, *, may_grow: bool = True) -> int:
    """Make sure that a run goes on with the settings it was started with.

    Args:
        config: the settings now.
        file: the settings that the run was started with.
        may_grow: whether it may have more epochs now.

    Returns:
        The epochs that it has more than before.

    Raises:
        ConfigError: other settings differ, or it would be shorter.
    """
    # Settings that the run did not know of yet had the effect of their defaults.
    before = type(config)().to_record() | json.loads(file.read_text(encoding="utf-8"))
    now = config.to_record()
    more = int(now["epochs"] - before["epochs"])
    free = FREE_TO_CHANGE | ({"epochs"} if may_grow and more > 0 else set())
    changed = [key for key in now if key not in free and now[key] != before[key]]
    if changed:
        values = ", ".join(f"{key} was {before[key]!r}, now {now[key]!r}" for key in changed)
        advice = "; --epochs may only grow" if changed == ["epochs"] and may_grow else ""
        raise ConfigError(
            f"{file.parent}: was started with other settings ({values}); use them, or another"
            f" --out{advice}"
        )
    return more


def describe_growth(epoch: int, more: int, epochs: int, *, is_fresh: bool) -> str:
    """How a run goes on that has been made longer."""
    start = (
        "from the weights that were kept, with a fresh optimiser" if is_fresh else "where it was"
    )
    return (
        f"{more} more epochs: goes on after epoch {epoch} {start}; the learning rate's schedule"
        f" is stretched over all {epochs} epochs"
    )
