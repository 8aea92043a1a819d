"""Crops taken as pictures: what the index above them says of each."""

import csv
import dataclasses
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from deepkd.data.clips import FAKE, SPLITS, Clip
from deepkd.data.index import INDEX_NAME, CropRow, read_index
from deepkd.errors import DataError
from deepkd.text import open_csv


def as_indexed(clips: Sequence[Clip]) -> list[Clip]:
    """The clips, with label, original, split and people of those that an `index.csv` in a folder above them lists.

    What is FAKE without an index stays so.

    Raises:
        DataError: such an index is damaged.
    """
    rows_in = cache(_rows)
    result = []
    for clip in clips:
        path = Path(os.path.abspath(clip.path))
        rows = (rows_in(folder).get(str(path.relative_to(folder))) for folder in path.parents)
        row = None if clip.label == FAKE or clip.problem else next(filter(None, rows), None)
        result.append(_told_by(row, clip) if row else clip)
    return result


def _told_by(row: CropRow, clip: Clip) -> Clip:
    return dataclasses.replace(
        clip,
        label=row.label or clip.label,
        original=row.original,
        dataset=row.dataset or clip.dataset,
        split=SPLITS.get(row.split.lower(), ""),
        identities=row.identities,
    )


def _rows(folder: Path) -> Mapping[str, CropRow]:
    """Path of a crop below the folder -> its row, where the folder has an index of crops."""
    index = folder / INDEX_NAME
    if not os.path.isfile(index):
        return {}
    try:
        with open_csv(index) as file:
            names = next(csv.reader(file), [])
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{index}: cannot be read ({error}); it may say which pictures are forged"
        ) from error
    if not {"file", "label"} <= set(names):
        return {}
    return {os.path.normpath(row.file): row for row in read_index(index) if not row.shard}
