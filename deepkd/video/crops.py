"""Crops: the square around a face that a model sees, the rule that frames it, and the index that lists them."""

import csv
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError
from deepkd.images import Image
from deepkd.outputs import writing
from deepkd.text import csv_rows, csv_writer, open_csv
from deepkd.video.faces import Face
from deepkd.video.frames import Frame

INDEX_NAME = "index.csv"
LABELS = ("REAL", "FAKE", "")
"""What a row may be labelled; empty where nobody knows."""


@dataclass(frozen=True)
class CropRule:
    """How to frame the square around a face; it belongs to a model's input format.

    The side is `scale` times the reference length of the detector's box, and the centre lies
    `shift_y` times the box height below the centre of the box. What lies outside the frame is
    black.
    """

    name: str
    reference: str = "height"
    """`height`, `width` or `longer` side of the box."""
    scale: float = 1.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Crop:
    """The square of one face of one frame."""

    image: Image
    """RGB, uint8, (face_px, face_px, 3)."""
    t_s: float
    """Time of its frame, seconds."""
    face: Face
    source_px: float
    """Side of the square in pixels of the frame: how much detail the crop can hold."""
    landmarks: npt.NDArray[np.float32]
    """The face's landmarks in pixels of the crop, (5, 2)."""


def crop_square(
    box: tuple[float, float, float, float], rule: CropRule
) -> tuple[float, float, float]:
    """The square that `rule` frames around a box (x, y, width, height): x, y of its top left corner and its side."""
    x, y, width, height = box
    reference = {"height": height, "width": width, "longer": max(width, height)}[rule.reference]
    side = rule.scale * reference
    return x + width / 2 - side / 2, y + height / 2 + rule.shift_y * height - side / 2, side


def crop_face(frame: Frame, face: Face, *, face_px: int, rule: CropRule) -> Crop:
    """The square of a face at (face_px, face_px, 3), RGB uint8; what lies outside the frame is black.

    Shrinks by area averaging, enlarges bilinearly.
    """
    x, y, side = crop_square(face.box, rule)
    window_px = max(1, round(side))
    source = _window(frame.image, round(x), round(y), window_px)
    how = cv2.INTER_AREA if source.shape[0] > face_px else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(source, (face_px, face_px), interpolation=how), np.uint8)
    landmarks = (face.landmarks - np.array((round(x), round(y)), np.float32)) * np.float32(
        face_px / window_px
    )
    return Crop(image, frame.t_s, face, side, landmarks)


def _window(image: Image, x: int, y: int, side: int) -> Image:
    """The square window at (x, y), black where it leaves the image: (side, side, 3)."""
    height, width = image.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    inside = image[top : max(top, bottom), left : max(left, right)]
    if inside.shape[:2] == (side, side):
        return inside
    window = np.zeros((side, side, 3), np.uint8)
    if inside.size:
        window[top - y : bottom - y, left - x : right - x] = inside
    return window


@dataclass(frozen=True)
class CropRow:
    """One line of the index: a crop file, its label and where it comes from."""

    file: str
    """Path relative to the index, or the name of a member of `shard`."""
    label: str
    """REAL, FAKE, or empty where nobody knows."""
    video: str = ""
    """The clip that the crop was taken from; crops of one clip are judged together."""
    original: str = ""
    """The real clip that a forgery was made from; splits never part a family."""
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
    """The people in the clip, where known; parted by semicolons in the index."""


_NUMBERS = {"t_s": float, "face_px": float, "track": int, "face_probability": float}


def read_index(path: Path) -> list[CropRow]:
    """The rows of a crop index.

    Only the columns `file` and `label` are required; unknown ones are ignored. A missing `video` is
    the file's stem, a missing `original` the video.

    Args:
        path: the folder of crops, or its `index.csv`.

    Raises:
        DataError: with file and line, for an unreadable index, missing columns or ones there twice,
            too many cells, an unknown label, a duplicate row, a wrong number, or no rows at all.
    """
    path = path / INDEX_NAME if path.is_dir() else path
    try:
        with open_csv(path) as file:
            rows = list(_read_rows(path, csv.DictReader(file)))
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
    """The line of an index file that a row of it stands on, counted from 1; 0 where it is not there any more."""
    with open_csv(path) as file:
        reader = csv.DictReader(file)
        same = (
            reader.line_num
            for one in reader
            if (one["file"], one.get("shard") or "") == (row.file, row.shard)
        )
        return next(same, 0)


def _read_rows(path: Path, reader: "csv.DictReader[str]") -> Iterable[CropRow]:
    missing = [name for name in ("file", "label") if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{path}:1: no column {' or '.join(missing)}; an index starts with the line"
            " `file,label,...`"
        )
    folder = os.path.abspath(path.parent)
    seen: dict[tuple[str, str], int] = {}
    for line, values in csv_rows(path, reader):
        where = f"{path}:{line}"
        row = _row(values, where)
        before = seen.setdefault(_place(row, folder), line)
        if before != line:
            raise DataError(
                f"{where}: {row.file} is listed already in line {before}; remove one of them"
            )
        yield row


def _place(row: CropRow, folder: str) -> tuple[str, str]:
    """The file of a row however it is written, as one of an index in this folder: (shard, name)."""
    place = os.path.normpath(os.path.join(folder, row.shard or row.file))
    return (place, row.file) if row.shard else ("", place)


def _row(values: Mapping[str, str | None], where: str) -> CropRow:
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
    if known["label"].upper() not in LABELS:
        raise DataError(
            f"{where}: unknown label '{known['label']}'; choose from REAL, FAKE or nothing"
        )
    video = known["video"] or Path(known["file"]).stem
    numbers = {name: _number(known[name], name, kind, where) for name, kind in _NUMBERS.items()}
    people = tuple(name.strip() for name in known["identities"].split(";") if name.strip())
    lists = {"landmarks": _landmarks(known["landmarks"], where), "identities": people}
    texts = known | {
        "label": known["label"].upper(),
        "video": video,
        "original": known["original"] or video,
    }
    return CropRow(**(texts | numbers | lists))  # type: ignore[arg-type]


def _landmarks(text: str, where: str) -> tuple[float, ...] | None:
    if not text:
        return None
    numbers = tuple(_number(part, "landmarks", float, where) or 0.0 for part in text.split())
    if len(numbers) != 10:
        raise DataError(f"{where}: landmarks='{text}' are not ten numbers, x and y of five points")
    return numbers


def _number(text: str, name: str, kind: type[float] | type[int], where: str) -> float | None:
    if not text:
        return None
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{where}: {name}='{text}' is not a number")
    return number


def write_index(path: Path, rows: Iterable[CropRow]) -> None:
    """Write an index, whole or not at all: beside, then renamed.

    Args:
        path: the folder of crops, or its `index.csv`.
        rows: in the order to write.

    Raises:
        OutputError: it cannot be written.
    """
    path = path / INDEX_NAME if path.is_dir() else path
    names = [item.name for item in fields(CropRow)]
    with (
        writing(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv_writer(file)
        writer.writerow(names)
        writer.writerows([_cell(getattr(row, name)) for name in names] for row in rows)


def _cell(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    return (
        ";".join(value)
        if value and isinstance(value[0], str)
        else " ".join(f"{number:g}" for number in value)
    )


CROP_RULES = {
    rule.name: rule
    for rule in (
        CropRule("dfdc", reference="height", scale=0.84, shift_y=0.08),
        CropRule("tight", reference="longer", scale=1.0),
        CropRule("margin", reference="longer", scale=1.3),
    )
}
"""`dfdc`: framed like the published DFDC crops (measured against MTCNN boxes); `tight`: the box
made square."""
