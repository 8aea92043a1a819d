"""The index of a folder of crops: `index.csv`, one row per crop."""

import csv
import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from deepkd.data.clips import FAKE, SPLITS, Clip, parse_label
from deepkd.errors import DataError
from deepkd.outputs import write_whole
from deepkd.text import TableReader, csv_writer, open_text

INDEX_NAME = "index.csv"
LABELS = ("REAL", "FAKE", "")
"""Labels that a row may have; empty where the label is unknown."""


@dataclass(frozen=True)
class CropRow:
    """One row of the index: a crop file, its label and where it comes from."""

    file: str
    """Path relative to the index, or the name of a member of `shard`."""
    label: str
    """REAL, FAKE, or empty where it is unknown."""
    video: str = ""
    """The clip that the crop was taken from; crops of one clip are judged together."""
    original: str = ""
    """The real clip that a forgery was made from. A split holds all forgeries of an original."""
    dataset: str = ""
    method: str = ""
    split: str = ""
    t_s: float | None = None
    """Time in the clip, seconds."""
    face_px: float | None = None
    """Side of the square in pixels of the frame."""
    shard: str = ""
    """The tar file that holds it, relative to the index; empty for a file of its own."""
    track: int | None = None
    face_probability: float | None = None
    landmarks: tuple[float, ...] | None = None
    """x, y of the eyes, the nose and the corners of the mouth, pixels of the crop: ten numbers."""
    identities: tuple[str, ...] = ()
    """The people in the clip, where known; separated by semicolons in the file."""


_NUMBER_COLUMNS = {"t_s": float, "face_px": float, "track": int, "face_probability": float}


def read_index(path: Path) -> list[CropRow]:
    """Read the rows of a crop index.

    Only the columns `file` and `label` are required; unknown ones are ignored. A missing `video` is
    the file's stem, a missing `original` the video.

    Args:
        path: the folder of crops, or its `index.csv`.

    Raises:
        DataError: the index cannot be read, has no rows, lacks a column or has it twice, or a row
            has too many cells, an unknown label, a wrong number or the file of another row; with
            file and line.
    """
    path = path / INDEX_NAME if path.is_dir() else path
    try:
        with open_text(path) as file:
            rows = list(_read_rows(path, TableReader(path, file)))
    except OSError as error:
        raise DataError(
            f"{path}: cannot be read ({error.strerror}); `deepkd extract` writes an index"
        ) from error
    except csv.Error as error:
        raise DataError(f"{path}: not a CSV file ({error})") from error
    if not rows:
        raise DataError(
            f"{path}: the index has no rows; `deepkd extract` found no faces, or was interrupted"
        )
    return rows


def line_of(path: Path, row: CropRow) -> int:
    """Find the line of a row in an index file, counted from 1; 0 where it is gone."""
    with open_text(path) as file:
        same = (
            line
            for line, one in TableReader(path, file).rows()
            if (one["file"], one.get("shard") or "") == (row.file, row.shard)
        )
        return next(same, 0)


def _read_rows(path: Path, reader: TableReader) -> Iterable[CropRow]:
    reader.require("file", "label", hint="an index starts with the line `file,label,...`")
    folder = os.path.abspath(path.parent)
    seen: dict[tuple[str, str], int] = {}
    for line, values in reader.rows():
        where = f"{path}:{line}"
        row = _parse_row(values, where)
        before = seen.setdefault(_locate(row, folder), line)
        if before != line:
            raise DataError(
                f"{where}: {row.file} is listed already in line {before}; remove one of them"
            )
        yield row


def _locate(row: CropRow, folder: str) -> tuple[str, str]:
    """The shard and the file of a row, each as one path however the row writes it."""
    place = os.path.normpath(os.path.join(folder, row.shard or row.file))
    return (place, row.file) if row.shard else ("", place)


def _parse_row(values: Mapping[str, str | None], where: str) -> CropRow:
    known = {item.name: values.get(item.name) or "" for item in fields(CropRow)}
    if None in values.values():
        raise DataError(f"{where}: the line is too short; the index was cut off")
    if not known["file"]:
        raise DataError(f"{where}: the column file is empty")
    hidden = next((name for name in ("file", "shard") if "\0" in known[name]), None)
    if hidden:
        raise DataError(
            f"{where}: the {hidden} has a NUL byte, which no file can have; extract again or drop"
            " the line"
        )
    video = known["video"] or Path(known["file"]).stem
    numbers = {
        name: _parse_number(known[name], name, kind, where)
        for name, kind in _NUMBER_COLUMNS.items()
    }
    people = tuple(name.strip() for name in known["identities"].split(";") if name.strip())
    lists = {"landmarks": _parse_landmarks(known["landmarks"], where), "identities": people}
    texts = known | {
        "label": parse_label(known["label"], where) if known["label"].strip() else "",
        "video": video,
        "original": known["original"] or video,
    }
    return CropRow(**(texts | numbers | lists))  # type: ignore[arg-type]


def _parse_landmarks(text: str, where: str) -> tuple[float, ...] | None:
    if not text:
        return None
    numbers = tuple(_parse_number(part, "landmarks", float, where) or 0.0 for part in text.split())
    if len(numbers) != 10:
        raise DataError(f"{where}: landmarks='{text}' are not ten numbers, x and y of five points")
    return numbers


def _parse_number(text: str, name: str, kind: type[float] | type[int], where: str) -> float | None:
    if not text:
        return None
    try:
        number = kind(text.replace(",", "."))  # as spreadsheets of many countries write it
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {name}='{text}' is not a number")
    return number


def write_index(path: Path, rows: Iterable[CropRow]) -> None:
    """Write an index, whole or not at all.

    Args:
        path: the folder of crops, or its `index.csv`.
        rows: in the order to write.

    Raises:
        OutputError: it cannot be written.
    """
    path = path / INDEX_NAME if path.is_dir() else path
    names = [item.name for item in fields(CropRow)]
    with (
        write_whole(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv_writer(file)
        writer.writerow(names)
        writer.writerows([_format_cell(getattr(row, name)) for name in names] for row in rows)


def _format_cell(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    return (
        ";".join(value)
        if value and isinstance(value[0], str)
        else " ".join(f"{number:g}" for number in value)
    )


def label_clips(clips: Sequence[Clip]) -> list[Clip]:
    """Label crops that are read as clips: by the row of the `index.csv` in a folder above them.

    Such a clip also gets the original, split and people of its row. Clips that are FAKE without an
    index stay as they are.

    Raises:
        DataError: an index is damaged.
    """
    rows_in = cache(_read_rows_by_path)
    result = []
    for clip in clips:
        path = Path(os.path.abspath(clip.path))
        rows = (rows_in(folder).get(str(path.relative_to(folder))) for folder in path.parents)
        row = None if clip.label == FAKE or clip.problem else next(filter(None, rows), None)
        result.append(_label_clip(clip, row) if row else clip)
    return result


def _label_clip(clip: Clip, row: CropRow) -> Clip:
    return dataclasses.replace(
        clip,
        label=row.label or clip.label,
        original=row.original,
        dataset=row.dataset or clip.dataset,
        split=SPLITS.get(row.split.lower(), ""),
        identities=row.identities,
    )


def _read_rows_by_path(folder: Path) -> Mapping[str, CropRow]:
    """Path of a crop below the folder -> its row; empty if the folder has no index of crops."""
    index = folder / INDEX_NAME
    if not os.path.isfile(index):
        return {}
    try:
        with open_text(index) as file:
            names = TableReader(index, file).names
    except (OSError, csv.Error) as error:
        raise DataError(
            f"{index}: cannot be read ({error}); it may say which pictures are forged"
        ) from error
    if not {"file", "label"} <= set(names):
        return {}
    return {os.path.normpath(row.file): row for row in read_index(index) if not row.shard}
