"""Robustness: the same crops once more for every perturbation and level, kept as they come, so that a run can go on."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import deepkd
from deepkd.data.crops import CropSet
from deepkd.data.journal import content_key
from deepkd.data.perturbations import SUITE, Step, perturb
from deepkd.evaluation.journal import Journal
from deepkd.evaluation.metrics import Array
from deepkd.evaluation.results import Condition, crops_and_videos, figures_of
from deepkd.evaluation.scores import Crops, Progress, logits_of, within
from deepkd.images import Image
from deepkd.scoring.model import CropModel
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.video.crops import CropRow

KEYS = ("model", "perturbation", "level")
"""What tells one kept part from another: its result is the logits of all crops."""


@dataclass
class CorruptedCrops:
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


def measure_robustness(
    models: Sequence[CropModel],
    crops: Crops,
    conditions: Sequence[Step],
    config: EvaluateConfig,
    *,
    folder: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[tuple[Condition, ...]]:
    """Score every labelled crop with every model under some perturbations at some levels.

    A crop is perturbed once for all models that have not been scored on it yet.

    Args:
        models: each sees the crops in its own input format.
        crops: rows without a label are left out.
        conditions: perturbations of `PERTURBATIONS` and their levels.
        config: batch, threshold, resamples, seed.
        folder: where finished conditions of each model are kept, and where a second run, also one
            with further models, finds them; None keeps nothing.
        overwrite: begin anew what is kept.
        progress: told (crops done, crops in all) over all conditions.

    Returns:
        For each model its conditions, in the order given.

    Raises:
        DataError, ModelError: as `logits_of`.
        OutputError: the folder holds the results of other crops or settings, or cannot be written.
    """
    indices = [index for index, row in enumerate(crops.rows) if row.label]
    kept = Journal(folder, lambda: _subject(crops, indices, config), KEYS, overwrite=overwrite)
    shas = identities(models)
    for number, (name, level) in enumerate(conditions):
        waiting = {
            sha: model
            for sha, model in zip(shas, models, strict=True)
            if (sha, name, level) not in kept.found
        }
        if waiting:
            told = within(progress, number * len(indices), len(conditions) * len(indices))
            damaged = CorruptedCrops(crops, name, level, config.seed)
            found = logits_of(
                [*waiting.values()], damaged, indices, batch=config.batch, progress=told
            )
            for sha, logits in zip(waiting, found, strict=True):
                kept.add(sha, name, level, result=logits.tolist())
    rows = tuple(crops.rows[index] for index in indices)
    return [
        tuple(
            _condition(model, rows, *key, np.array(kept.found[sha, *key], float), config)
            for key in conditions
        )
        for sha, model in zip(shas, models, strict=True)
    ]


def identities(models: Sequence[CropModel]) -> list[str]:
    """What tells the models from others: the hash of the weights where there is one, else the name; and the input."""
    return [f"{getattr(model, 'sha256', model.name)} {model.format}" for model in models]


def _condition(
    model: CropModel,
    rows: tuple[CropRow, ...],
    name: str,
    level: float,
    logits: Array,
    config: EvaluateConfig,
) -> Condition:
    crops, videos = crops_and_videos(rows, logits, figures_of(model, config))
    return Condition(name, level, crops, videos, logits=logits)


def _content(crops: Crops, row: CropRow) -> str:
    """What tells a crop from another of its name: size and ends of its file, or its place in its shard."""
    if not isinstance(crops, CropSet):
        return ""
    return (
        str(crops.shards.members(row.shard)[row.file])
        if row.shard
        else content_key(crops.root / row.file, row.file)
    )


def _subject(crops: Crops, indices: Sequence[int], config: EvaluateConfig) -> dict[str, Any]:
    """What the kept logits belong to."""
    rows = [crops.rows[index] for index in indices]
    names = "\n".join(f"{row.shard},{row.file},{row.label},{_content(crops, row)}" for row in rows)
    return {
        "deepkd": deepkd.__version__,
        "suite": SUITE,
        "crops": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "seed": config.seed,
    }
