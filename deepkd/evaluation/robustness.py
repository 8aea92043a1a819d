"""Robustness: the same crops under every corruption and level, kept so that a run resumes."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import deepkd
from deepkd.data.corruptions import SUITE, Step
from deepkd.data.corruptions import corrupt as perturb
from deepkd.data.crops import CropSet
from deepkd.data.index import CropRow
from deepkd.evaluation.figures import crops_and_videos, figures_of
from deepkd.evaluation.journal import Journal
from deepkd.evaluation.metrics import Array
from deepkd.evaluation.results import Condition
from deepkd.evaluation.scores import Crops, Progress, logits_of, scale_progress
from deepkd.images import Image
from deepkd.journal import content_key
from deepkd.scoring.model import CropModel
from deepkd.settings.evaluation import EvaluateConfig

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
    """Score every labelled crop with every model under some corruptions at some levels.

    A crop is corrupted once for all models.

    Args:
        models: each sees the crops in its own input format.
        crops: rows without a label are left out.
        conditions: perturbations of `CORRUPTIONS` and their levels.
        config: batch, threshold, resamples, seed.
        folder: where finished conditions are kept for a second run, or None.
        overwrite: begin anew what is kept.
        progress: told (crops done, crops in all) over all conditions.

    Raises:
        DataError, ModelError: as `logits_of`.
        OutputError: the folder holds other results, or cannot be written.
    """
    indices = [index for index, row in enumerate(crops.rows) if row.label]
    kept = Journal(folder, lambda: _subject(crops, indices, config), KEYS, overwrite=overwrite)
    shas = identities(models)
    for number, (name, level) in enumerate(conditions):
        missing = {
            sha: model
            for sha, model in zip(shas, models, strict=True)
            if (sha, name, level) not in kept.found
        }
        if missing:
            shown = scale_progress(progress, number * len(indices), len(conditions) * len(indices))
            corrupted = CorruptedCrops(crops, name, level, config.seed)
            _score(missing, corrupted, indices, kept, batch=config.batch, progress=shown)
    rows = tuple(crops.rows[index] for index in indices)
    return [
        tuple(
            _condition(model, rows, *key, np.array(kept.found[sha, *key], float), config)
            for key in conditions
        )
        for sha, model in zip(shas, models, strict=True)
    ]


def _score(
    models: Mapping[str, CropModel],
    crops: CorruptedCrops,
    indices: Sequence[int],
    kept: Journal,
    *,
    batch: int,
    progress: Progress | None,
) -> None:
    """Keep the logits of models, by their identity, on corrupted crops."""
    found = logits_of([*models.values()], crops, indices, batch=batch, progress=progress)
    for sha, logits in zip(models, found, strict=True):
        kept.add(sha, crops.name, crops.level, result=logits.tolist())


def identities(models: Sequence[CropModel]) -> list[str]:
    """What identifies each model: the hash of its weights (else its name), and its input."""
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
    return Condition.of(name, level, crops=crops, videos=videos, logits=logits)


def _content(crops: Crops, row: CropRow) -> str:
    """What identifies a crop: size and ends of its file, or its place in its shard."""
    if not isinstance(crops, CropSet):
        return ""
    return (
        str(crops.shards.members(row.shard)[row.file])
        if row.shard
        else content_key(crops.root / row.file, row.file)
    )


def _subject(crops: Crops, indices: Sequence[int], config: EvaluateConfig) -> dict[str, object]:
    """What the kept logits belong to."""
    rows = [crops.rows[index] for index in indices]
    names = "\n".join(f"{row.shard},{row.file},{row.label},{_content(crops, row)}" for row in rows)
    return {
        "deepkd": deepkd.__version__,
        "suite": SUITE,
        "crops": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "seed": config.seed,
    }
