"""Robustness: the same crops once more for every perturbation and level, kept as they come, so that a run can go on."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import deepkd
from deepkd.errors import OutputError
from deepkd.evaluation.evaluation import Condition, crops_and_videos, figures_of
from deepkd.evaluation.metrics import Array
from deepkd.evaluation.perturbations import PERTURBATIONS, perturb
from deepkd.evaluation.scores import Crops, Progress, logits_of
from deepkd.scoring.model import CropModel, Image
from deepkd.settings import EvaluateConfig
from deepkd.video.crops import CropRow

KEPT_NAME = "robustness.jsonl"
"""In the output folder: a line that tells what is evaluated, then a line per finished perturbation and level."""


@dataclass
class Perturbed:
    """A set of crops, each of them perturbed when it is read."""

    crops: Crops
    name: str
    level: float
    seed: int

    @property
    def rows(self) -> list[CropRow]:
        """Those of the crops."""
        return self.crops.rows

    def image(self, index: int) -> Image:
        """RGB, uint8, (height, width, 3)."""
        row = self.crops.rows[index]
        key = f"{row.shard}/{row.file}"
        return perturb(self.crops.image(index), self.name, self.level, seed=self.seed, key=key)


class Kept:
    """The logits of finished conditions, in a file of the output folder, or in memory only."""

    def __init__(self, path: Path | None, subject: dict[str, Any]) -> None:
        """Open the file, or begin it.

        Args:
            path: the file; None keeps nothing.
            subject: what is evaluated, plain values; a file of another subject is refused.

        Raises:
            OutputError: it belongs to other models, crops or settings, or cannot be written.
        """
        self.path = path
        self.found: dict[tuple[str, float], list[Array]] = {}
        if path is None:
            return
        try:
            lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
            whole = [line for line in lines if line.endswith(b"\n")]
            if whole:
                self._load(path, whole, subject)
                if len(whole) < len(lines):  # a kill cut the last line short
                    path.write_bytes(b"".join(whole))
            else:
                path.write_text(json.dumps(subject) + "\n")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror}); choose another --out") from error

    def _load(self, path: Path, lines: list[bytes], subject: dict[str, Any]) -> None:
        with suppress(ValueError, KeyError, TypeError):
            if json.loads(lines[0]) == subject:
                for line in lines[1:]:
                    entry = json.loads(line)
                    key = (entry["perturbation"], float(entry["level"]))
                    self.found[key] = [np.array(logits, float) for logits in entry["logits"]]
                return
        raise OutputError(
            f"{path}: was begun with other models, crops or settings, or is damaged; choose another --out, "
            "or --overwrite it"
        )

    def add(self, name: str, level: float, logits: list[Array]) -> None:
        """Keep the logits of one condition, (N,) per model.

        Raises:
            OutputError: the file cannot be written.
        """
        self.found[name, level] = logits
        if self.path is None:
            return
        entry = {"perturbation": name, "level": level, "logits": [values.tolist() for values in logits]}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(entry, separators=(",", ":")) + "\n")
        except OSError as error:
            why = f"cannot be written ({error.strerror})"
            raise OutputError(f"{self.path}: {why}; make room, then run the same command again") from error


def measure_robustness(
    models: Sequence[CropModel],
    crops: Crops,
    names: Sequence[str],
    config: EvaluateConfig,
    *,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> list[tuple[Condition, ...]]:
    """Score every labelled crop with every model under every level of some perturbations.

    Args:
        models: each sees the crops in its own input format.
        crops: rows without a label are left out.
        names: perturbations of `PERTURBATIONS`.
        config: batch, threshold, resamples, seed.
        folder: where finished conditions are kept, and where a second run finds them; None keeps nothing.
        progress: told (crops done, crops in all) over all conditions.

    Returns:
        For each model its conditions, in the order of the registry.

    Raises:
        DataError, ModelError: as `logits_of`.
        OutputError: the folder holds the results of other models, crops or settings, or cannot be written.
    """
    indices = [index for index, row in enumerate(crops.rows) if row.label]
    kept = Kept(folder / KEPT_NAME if folder else None, _subject(models, crops, indices, config))
    conditions = [(name, float(level)) for name in names for level in PERTURBATIONS[name].levels]
    for number, (name, level) in enumerate(conditions):
        if (name, level) not in kept.found:
            told = _shifted(progress, number * len(indices), len(conditions) * len(indices))
            damaged = Perturbed(crops, name, level, config.seed)
            kept.add(name, level, logits_of(models, damaged, indices, batch=config.batch, progress=told))
    rows = tuple(crops.rows[index] for index in indices)
    return [
        tuple(_condition(model, rows, *key, kept.found[key][place], config) for key in conditions)
        for place, model in enumerate(models)
    ]


def _condition(
    model: CropModel, rows: tuple[CropRow, ...], name: str, level: float, logits: Array, config: EvaluateConfig
) -> Condition:
    found = crops_and_videos(rows, logits, figures_of(model, config))
    return Condition(name, PERTURBATIONS[name].title, level, *found)


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress within one condition as progress over all."""
    return None if progress is None else lambda done, _: progress(before + done, total)


def _subject(
    models: Sequence[CropModel], crops: Crops, indices: Sequence[int], config: EvaluateConfig
) -> dict[str, Any]:
    """What the kept logits belong to."""
    names = "\n".join(f"{row.shard},{row.file},{row.label}" for row in (crops.rows[index] for index in indices))
    return {
        "deepkd": deepkd.__version__,
        "models": [str(getattr(model, "sha256", model.name)) for model in models],
        "crops": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "seed": config.seed,
    }
