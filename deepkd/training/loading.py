"""Loading: the parts of each batch that a process computes, read and augmented by workers."""

import os
import signal
from collections.abc import Iterator

import torch
from torch.utils.data import DataLoader

from deepkd.data.class_views import ClassViews
from deepkd.data.views import Batch, CropDataset, SampleKey, collate
from deepkd.errors import ConfigError, DataError
from deepkd.training.endings import death
from deepkd.training.processes import DistributedContext


def check_parts(
    batches: list[list[SampleKey]], context: DistributedContext, accumulate: int
) -> None:
    """Make sure, before any work, that no part of a batch is empty.

    Raises:
        ConfigError: a batch has fewer samples than there are parts of it.
    """
    fewest = min(map(len, batches))
    if fewest < context.world * accumulate:
        advice = (
            "lower --accumulate, start fewer processes or, where there are crops for it, raise"
            " --batch"
        )
        parts = f"processes x accumulate ({context.world} x {accumulate})"
        raise ConfigError(
            f"a batch has {fewest} samples (a pair is one), fewer than {parts}; {advice}"
        )


def load_batches(
    dataset: CropDataset | ClassViews,
    batches: list[list[SampleKey]],
    context: DistributedContext,
    *,
    accumulate: int,
    workers: int,
) -> Iterator[Batch]:
    """Load this process's share of each batch, in `accumulate` parts one after the other.

    Raises:
        DataError: a crop cannot be read.
        TrainingError: a worker has died while it handed over a batch.
    """
    parts = []
    for batch in batches:
        own = _part(batch, context.rank, context.world)
        parts += [_part(own, index, accumulate) for index in range(accumulate)]
    try:
        yield from DataLoader(
            dataset,
            batch_sampler=parts,
            collate_fn=collate,
            num_workers=workers,
            worker_init_fn=_begin,
        )
    except DataError as error:
        # What a worker raises comes as the text of its whole traceback, whose last line names the
        # class again.
        raise DataError(
            str(error).rpartition(f"{DataError.__module__}.DataError: ")[2].strip()
        ) from error
    except (
        ConnectionError,
        EOFError,
    ) as error:  # its end of the line is gone, before its death has been noted
        raise death(error) from error


def _part(samples: list[SampleKey], index: int, parts: int) -> list[SampleKey]:
    """One of `parts` consecutive, nearly equal runs; alternating labels stay balanced."""
    return samples[index * len(samples) // parts : (index + 1) * len(samples) // parts]


def _begin(_: int) -> None:
    """Give a worker one thread, and keep Ctrl-C and signals to the group away from it."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):  # not on Windows
        os.setpgid(0, 0)
