"""Scores: the logits of several models on the same crops, each crop decoded once."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np

from deepkd.data.index import CropRow
from deepkd.errors import ModelError
from deepkd.evaluation.metrics import Array
from deepkd.images import Image
from deepkd.machine import cores
from deepkd.scoring.model import CropModel

Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


def scale_progress(progress: Progress | None, before: int, total: int) -> Progress | None:
    """Progress of a part as progress of the whole."""
    return None if progress is None else lambda done, _: progress(before + done, total)


class Crops(Protocol):
    """What is evaluated: rows of an index and their images, decoded on demand (a `CropSet`)."""

    @property
    def rows(self) -> list[CropRow]:
        """What is known of each crop."""
        ...

    def image(self, index: int) -> Image:
        """RGB, uint8, (height, width, 3)."""
        ...


def logits_of(
    models: Sequence[CropModel],
    crops: Crops,
    indices: Sequence[int],
    *,
    batch: int,
    progress: Progress | None = None,
    checked: int | None = None,
) -> list[Array]:
    """Logits of every model, (N,) each; memory holds two batches of images whatever N is.

    Args:
        models: each sees the crops in its own input format.
        crops: where the images come from.
        indices: of the rows to score, in this order.
        batch: crops decoded and scored together.
        progress: told after each batch.
        checked: how many models, from the first, must give finite logits; all unless given.

    Raises:
        DataError: a crop cannot be read.
        ModelError: a model that is checked gives a logit that is not finite.
    """
    parts: list[list[Array]] = [[] for _ in models]
    done = 0
    for images in _batches(crops, indices, batch):
        for part, model in zip(parts, models, strict=True):
            part.append(np.asarray(model.logits(images), float))
        done += len(images)
        if progress:
            progress(done, len(indices))
    found = [np.concatenate(part) for part in parts]
    for model, logits in list(zip(models, found, strict=True))[:checked]:
        _check_finite(model, logits, crops, indices)
    return found


def _batches(crops: Crops, indices: Sequence[int], batch: int) -> Iterator[list[Image]]:
    """Decoded images of `indices` in order; the next batch is decoded while this is scored."""
    parts = [indices[start : start + batch] for start in range(0, len(indices), batch)]
    with ThreadPoolExecutor(max_workers=cores()) as decoders:
        coming = [decoders.submit(crops.image, index) for index in parts[0]]
        for following in [*parts[1:], []]:
            images = [image.result() for image in coming]
            coming = [decoders.submit(crops.image, index) for index in following]
            yield images


def _check_finite(model: CropModel, logits: Array, crops: Crops, indices: Sequence[int]) -> None:
    wrong = np.flatnonzero(~np.isfinite(logits))
    if len(wrong):
        first = crops.rows[indices[wrong[0]]].file
        raise ModelError(
            f"{model.name}: {len(wrong)} of {len(logits)} scores are not finite, first for {first};"
            " the model is damaged or did not train"
        )
