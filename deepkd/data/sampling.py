"""SAMPLINGS: how an epoch's batches are drawn from a crop set; the same seed and epoch give the same batches."""

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from deepkd.data.crops import CropSet, SampleKey
from deepkd.data.index import CropRow
from deepkd.data.splits import family_of
from deepkd.errors import DataError

Draw = list[tuple[int, ...]]
"""Samples in order; each is a tuple of row numbers that share a geometry."""


def shuffled(crops: CropSet, rng: np.random.Generator) -> Draw:
    """Every crop once."""
    return [(int(row),) for row in rng.permutation(len(crops))]


def balanced(crops: CropSet, rng: np.random.Generator) -> Draw:
    """As many real as forged crops, alternating: each of the rarer label once, as many of the other."""
    real, fake = _rows_by_label(crops)
    count = min(len(real), len(fake))
    halves = (rng.permutation(real)[:count], rng.permutation(fake)[:count])
    return [(int(row),) for couple in zip(*halves, strict=True) for row in couple]


def paired(crops: CropSet, rng: np.random.Generator) -> Draw:
    """Each original that has a forgery once, with one of its forgeries, both of the same moment and moved alike.

    A batch of such pairs leaves the forgery as the only thing that tells its labels apart.
    """
    real: dict[tuple[str, str], list[int]] = defaultdict(list)
    fake: dict[tuple[str, str], list[int]] = defaultdict(list)
    family = family_of(crops.rows)
    for index, row in enumerate(crops.rows):
        (real if row.label == "REAL" else fake if row.label == "FAKE" else {}).setdefault(
            family(row), []
        ).append(index)
    both = sorted(real.keys() & fake.keys())
    if not both:
        raise DataError(
            "paired sampling needs originals with a forgery each, and there are none; use"
            " --sampling balanced"
        )
    return [
        _pair(crops, real[both[i]], int(rng.choice(fake[both[i]])), rng)
        for i in rng.permutation(len(both))
    ]


def _pair(crops: CropSet, real: list[int], fake: int, rng: np.random.Generator) -> tuple[int, int]:
    """A forgery with the real row of its track, or else of any, that is nearest to it in time; one of those alike."""
    distances = [_distance(crops.rows[row], crops.rows[fake]) for row in real]
    least = min(distances)
    return (
        int(rng.choice([row for row, its in zip(real, distances, strict=True) if its == least])),
        fake,
    )


def _distance(one: CropRow, other: CropRow) -> tuple[bool, float]:
    """Whether two crops are of different tracks, and the seconds between them; infinite where nobody knows."""
    seconds = math.inf if one.t_s is None or other.t_s is None else abs(one.t_s - other.t_s)
    return one.track != other.track, seconds


def labelled(crops: CropSet) -> CropSet:
    """Only the crops with a label, which are all that labels alone can teach from.

    Raises:
        DataError: they are not of both labels.
    """
    real, fake = _rows_by_label(crops)
    return crops.subset(sorted(real + fake))


def _rows_by_label(crops: CropSet) -> tuple[list[int], list[int]]:
    real = [index for index, row in enumerate(crops.rows) if row.label == "REAL"]
    fake = [index for index, row in enumerate(crops.rows) if row.label == "FAKE"]
    if not real or not fake:
        only = "REAL" if real else "FAKE" if fake else "unlabelled"
        raise DataError(f"training needs both labels, and these crops are all {only}")
    return real, fake


SAMPLINGS: dict[str, Callable[[CropSet, np.random.Generator], Draw]] = {
    "paired": paired,
    "balanced": balanced,
    "shuffled": shuffled,
}


def epoch_batches(
    crops: CropSet, sampling: str, *, batch: int, seed: int, epoch: int, self_blend: float = 0.0
) -> list[list[SampleKey]]:
    """The batches of one epoch, `batch` crops each; an incomplete last batch is dropped unless it is the only one.

    In a share `self_blend` of the pairs, the forgery is made from the real crop itself.
    """
    rng = np.random.default_rng((seed, epoch))
    draw = SAMPLINGS[sampling](crops, rng)
    keys = [SampleKey(rows, int(rng.integers(2**62))) for rows in draw]
    if self_blend:
        blends = rng.random(len(keys)) < self_blend
        keys = [replace(key, blend=bool(blend)) for key, blend in zip(keys, blends, strict=True)]
    per_batch = max(1, batch // len(draw[0]))
    batches = [keys[start : start + per_batch] for start in range(0, len(keys), per_batch)]
    return batches if len(batches) == 1 or len(batches[-1]) == per_batch else batches[:-1]
