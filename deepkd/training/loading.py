"""Loading: what a process computes of each batch, read and augmented by workers."""

from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from deepkd.data.crops import Batch, CropDataset, SampleKey, collate
from deepkd.errors import ConfigError, DataError
from deepkd.training.processes import Place


def check_parts(batches: list[list[SampleKey]], place: Place, accumulate: int) -> None:
    """Make sure, before any work, that no part of a batch is empty.

    Raises:
        ConfigError: a batch has fewer samples than there are parts of it.
    """
    fewest = min(map(len, batches))
    if fewest < place.world * accumulate:
        advice = "lower --accumulate, start fewer processes or, where there are crops for it, raise --batch"
        parts = f"processes x accumulate ({place.world} x {accumulate})"
        raise ConfigError(f"a batch has {fewest} samples (a pair is one), fewer than {parts}; {advice}")


def loaded(
    dataset: CropDataset, batches: list[list[SampleKey]], place: Place, *, accumulate: int, workers: int
) -> Iterator[Batch]:
    """This process's share of each batch, in `accumulate` parts one after the other.

    Raises:
        DataError: a crop cannot be read.
    """
    parts = []
    for batch in batches:
        own = _part(batch, place.rank, place.world)
        parts += [_part(own, index, accumulate) for index in range(accumulate)]
    try:
        yield from DataLoader(
            dataset, batch_sampler=parts, collate_fn=collate, num_workers=workers, worker_init_fn=_one_thread
        )
    except DataError as error:
        # What a worker raises comes as the text of its whole traceback, whose last line names the class again.
        raise DataError(str(error).rpartition(f"{DataError.__module__}.DataError: ")[2].strip()) from error


def _part(samples: list[SampleKey], index: int, parts: int) -> list[SampleKey]:
    """One of `parts` consecutive, nearly equal runs, so that alternating labels stay balanced in each."""
    return samples[index * len(samples) // parts : (index + 1) * len(samples) // parts]


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
