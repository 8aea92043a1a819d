"""Checkpointing: the files of a run folder, and what may change when a run is resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepkd.config import Config
from deepkd.errors import ConfigError, OutputError
from deepkd.outputs import check_folder, writing
from deepkd.training.endings import tells_of_death

STATE_FILE = "last.pt"
METRICS_FILE = "metrics.jsonl"
CONFIG_FILE = "config.json"
FREE_TO_CHANGE = {"data", "device", "workers", "checkpoint_every", "precision", "compile"}
"""Settings that may differ when a run is resumed."""


def start_folder(run: Path, config: Config, *, resume: bool) -> None:
    """Make a new run folder with its settings and no metrics yet.

    Raises:
        OutputError: the folder holds a run already, or cannot be written.
    """
    if (run / CONFIG_FILE).exists() and not resume:
        raise OutputError(f"{run}: holds a run already; give --resume to go on, or another --out")
    metrics = run / METRICS_FILE
    lines = metrics.read_text(encoding="utf-8").splitlines() if metrics.exists() else []
    if len(lines) > 1:  # one may be all that a kill left
        raise OutputError(
            f"{run}: holds a run without its {STATE_FILE}, to go on from; give another --out"
        )
    check_folder(run)
    config.save(run / CONFIG_FILE)
    metrics.write_text("", encoding="utf-8")


def add_metrics(run: Path, line: Mapping[str, Any]) -> None:
    """Append the line of an epoch."""
    with (run / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_metrics(run: Path, epochs: int) -> None:
    """Keep the lines of the first epochs."""
    path = run / METRICS_FILE
    done = path.read_text(encoding="utf-8").splitlines()[:epochs]
    path.write_text("".join(line + "\n" for line in done), encoding="utf-8")


def save_state(run: Path, content: Mapping[str, Any]) -> None:
    """Write what a run resumes from, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with writing(run / STATE_FILE) as path:
            torch.save(content, path)
    except RuntimeError as error:  # what torch makes of a full disk
        if tells_of_death(error):
            raise
        reason = f"its checkpoint cannot be written ({str(error).splitlines()[0]})"
        raise OutputError(
            f"{run}: {reason}; the one before is whole: make room and --resume"
        ) from error


def load_state(
    run: Path, config: Config, given: Mapping[str, str], device: torch.device
) -> dict[str, Any]:
    """Read what a run resumes from.

    Args:
        run: its folder.
        config: the settings to resume with.
        given: what the training has besides settings -> a hash of it.
        device: where tensors go.

    Raises:
        ConfigError: the run was started with other settings, crops or teachers.
    """
    # Settings that the run did not know of yet had the effect of their defaults.
    before = type(config)().recorded() | json.loads((run / CONFIG_FILE).read_text(encoding="utf-8"))
    now = config.recorded()
    changed = [key for key in now if key not in FREE_TO_CHANGE and now[key] != before[key]]
    if changed:
        values = ", ".join(f"{key} was {before[key]!r}, now {now[key]!r}" for key in changed)
        raise ConfigError(
            f"{run}: was started with other settings ({values}); use them, or another --out"
        )
    content: dict[str, Any] = torch.load(run / STATE_FILE, map_location=device, weights_only=True)
    then = content.get("given", {})
    if other := [name for name in then if then[name] != given.get(name)]:
        raise ConfigError(
            f"{run}: was started with other {' and '.join(other)}; use them, or another --out"
        )
    return content
