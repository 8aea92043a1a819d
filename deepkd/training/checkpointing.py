"""Checkpointing: the files of a run folder, and what may change when a run is resumed."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from deepkd.config import Config
from deepkd.errors import ConfigError, OutputError
from deepkd.outputs import write_whole
from deepkd.settings.training import TrainingConfig
from deepkd.training.endings import tells_of_death
from deepkd.training.resuming import check_settings

STATE_FILE = "last.pt"
METRICS_FILE = "metrics.jsonl"
CONFIG_FILE = "config.json"


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
    config.save(run / CONFIG_FILE)
    metrics.write_text("", encoding="utf-8")


def add_metrics(run: Path, line: Mapping[str, object]) -> None:
    """Append the line of an epoch."""
    with (run / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def cut_metrics(run: Path, epochs: int) -> None:
    """Keep the lines of the first epochs."""
    path = run / METRICS_FILE
    done = path.read_text(encoding="utf-8").splitlines()[:epochs]
    path.write_text("".join(line + "\n" for line in done), encoding="utf-8")


def save_state(run: Path, content: Mapping[str, object]) -> None:
    """Write what a run resumes from, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        with write_whole(run / STATE_FILE) as path:
            torch.save(content, path)
    except RuntimeError as error:  # what torch makes of a full disk
        if tells_of_death(error):
            raise
        reason = f"its checkpoint cannot be written ({str(error).splitlines()[0]})"
        raise OutputError(
            f"{run}: {reason}; the one before is whole: make room and --resume"
        ) from error


def load_state(
    run: Path, config: TrainingConfig, given: Mapping[str, str], device: torch.device
) -> tuple[dict[str, Any], int]:
    """Read what a run resumes from, and how many epochs it has more than before.

    Args:
        run: its folder.
        config: the settings to resume with.
        given: what the training has besides settings -> a hash of it.
        device: where tensors go.

    Raises:
        ConfigError: the run was started with other settings, crops or teachers.
    """
    more = check_settings(config, run / CONFIG_FILE)
    content: dict[str, Any] = torch.load(run / STATE_FILE, map_location=device, weights_only=True)
    if "best_auc" in content["state"]:  # what it was called when AUC alone chose
        content["state"]["best_score"] = content["state"].pop("best_auc")
    then = content.get("given", {})
    if other := [name for name in then if then[name] != given.get(name)]:
        raise ConfigError(
            f"{run}: was started with other {' and '.join(other)}; use them, or another --out"
        )
    return content, more
