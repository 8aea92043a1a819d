"""Classes: pictures of any number of classes, in SPLIT/CLASS/ or as a sequence of samples.

Small pictures are decoded once and kept in memory.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.data.chance import share_of
from deepkd.data.clips import FOLDER_LABELS, SPLITS, UNLABELLED
from deepkd.data.crops import CropSet, whole_families
from deepkd.data.image_folders import is_image_folder
from deepkd.data.index import INDEX_NAME, CropRow
from deepkd.data.pictures import as_rgb
from deepkd.errors import DataError
from deepkd.images import Image
from deepkd.machine import cores
from deepkd.scoring.model import InputFormat
from deepkd.video.suffixes import CROP_SUFFIXES

ENDINGS = tuple(CROP_SUFFIXES)
KEPT_BYTES = 1 << 30
"""Decoded pictures of a set are kept in memory up to this size."""
HELD_OUT = 0.1
"""Share of the training pictures that validate where a data set has no split for it."""
TORCHVISION = "torchvision:"
"""How a path begins that means a data set of torchvision: `torchvision:CIFAR10:FOLDER`."""


@dataclass
class ClassSet(CropSet):
    """Pictures of any number of classes. The `label` of a row is the name of its class."""

    classes: tuple[str, ...] = ()
    samples: Sequence[tuple[Any, Any]] = field(default=(), repr=False)
    """Where pictures come from, if not from files: `samples[int(row.file)][0]`."""
    _kept: dict[int, npt.NDArray[np.uint8]] = field(default_factory=dict, repr=False)

    @property
    def labels(self) -> npt.NDArray[np.float32]:
        """The number of each row's class, NaN without a label; (rows,)."""
        places = {name: float(place) for place, name in enumerate(self.classes)} | {"": np.nan}
        return np.array([places[row.label] for row in self.rows], np.float32)

    def image(self, index: int) -> Image:
        """One picture: RGB, uint8, (height, width, 3).

        Raises:
            DataError: it cannot be read.
        """
        if not self.samples:
            return super().image(index)
        place = int(self.rows[index].file)
        return as_rgb(self.samples[place][0], f"sample {place}")

    def subset(self, indices: Sequence[int]) -> "ClassSet":
        """The same pictures, only some rows."""
        return replace(self, rows=[self.rows[index] for index in indices], _kept={})

    def is_small(self, size_px: int) -> bool:
        """Whether all pictures of this size, pixels, fit into the memory that is kept for them."""
        return len(self) * 3 * size_px**2 <= KEPT_BYTES

    def stack_pictures(self, size_px: int) -> npt.NDArray[np.uint8]:
        """All pictures, decoded once: RGB, uint8, (rows, size_px, size_px, 3)."""
        if size_px not in self._kept:
            resize = InputFormat(size=size_px).resize_crop
            with ThreadPoolExecutor(max_workers=cores()) as decoders:
                images = decoders.map(lambda index: resize(self.image(index)), range(len(self)))
                stack = np.empty((len(self), size_px, size_px, 3), np.uint8)
                for place, image in enumerate(images):
                    stack[place] = image
            self._kept[size_px] = stack
        return self._kept[size_px]

    def keep_labelled(self) -> "ClassSet":
        """Only the rows with a label.

        Raises:
            DataError: fewer than two classes are left.
        """
        rows = [index for index, row in enumerate(self.rows) if row.label]
        if len({self.rows[index].label for index in rows}) < 2:
            raise DataError("training needs pictures of at least two classes")
        return self if len(rows) == len(self.rows) else self.subset(rows)


def is_class_data(path: Path) -> bool:
    """Whether these are pictures of classes.

    That is a folder SPLIT/CLASS/ with more than two classes none of which is called real or fake,
    or a data set of torchvision.
    """
    if str(path).startswith(TORCHVISION):
        return True
    if not is_image_folder(path) or (path / INDEX_NAME).exists():
        return False
    names = {
        inner.name
        for entry in path.iterdir()
        if entry.name.lower() in SPLITS and entry.is_dir()
        for inner in entry.iterdir()
        if inner.is_dir() and inner.name.lower() not in UNLABELLED
    }
    return len(names) > 2 and not any(name.lower() in FOLDER_LABELS for name in names)


def class_names(path: Path) -> tuple[str, ...]:
    """The names of the classes of some data; () for crops that are REAL or FAKE."""
    return load_classes(path, "train+val", limit=1).classes if is_class_data(path) else ()


def load_classes(path: Path, split: str, *, limit: int | None = None) -> ClassSet:
    """Load one split of the pictures of a folder, or of a data set of torchvision.

    Where there is no split `val`, about a tenth of `train` is `val` and the rest `train`, always
    the same pictures; `train+val` is then all of it. Pictures in `SPLIT/unlabelled/` have no class.

    Args:
        path: the folder with SPLIT/CLASS/, or `torchvision:NAME:FOLDER`.
        split: train, val or test, or `train+val`.
        limit: keep about this number of pictures, in a fixed order.

    Raises:
        DataError: the data cannot be read, or has no such split.
    """
    is_folder = not str(path).startswith(TORCHVISION)
    whole = _read_folder(path) if is_folder else _read_torchvision(str(path))
    splits = {row.split for row in whole.rows}
    rows = whole.rows
    if "val" not in splits:
        rows = [_hold_out(row) for row in rows]
    kept = [row for row in rows if row.split in split.split("+")]
    if not kept:
        raise DataError(f"{path}: has no pictures of the split '{split}'; it has {sorted(splits)}")
    if limit is not None and limit < len(kept):
        kept = list(whole_families(kept, limit))
    return replace(whole, rows=kept)


def class_set(
    samples: Sequence[tuple[Any, Any]], classes: Sequence[str], *, split: str = "train"
) -> ClassSet:
    """Make a set of a sequence of (picture, number of its class), such as torchvision's.

    Args:
        samples: PIL images or uint8 arrays with their class; a class of None is unknown.
        classes: names of the classes.
        split: what the samples are for.

    Raises:
        DataError: a class has no name, or there are no samples.
    """
    labels = getattr(samples, "targets", None)
    if labels is None:
        labels = [samples[place][1] for place in range(len(samples))]
    numbers = [None if label is None else int(label) for label in labels]
    strange = [number for number in numbers if number is not None and number >= len(classes)]
    if not numbers or strange:
        wrong = f"class {strange[0]} has no name" if strange else "there are no samples"
        raise DataError(f"{wrong}; the classes are {', '.join(classes)}")
    rows = [
        CropRow(
            str(place),
            "" if number is None else classes[number],
            f"{split}/{place}",
            f"{split}/{place}",
            split=split,
        )
        for place, number in enumerate(numbers)
    ]
    return ClassSet(Path(), rows, classes=tuple(classes), samples=samples)


def _hold_out(row: CropRow) -> CropRow:
    held = row.split == "train" and row.label and share_of(row.original) < HELD_OUT
    return replace(row, split="val") if held else row


def _read_folder(root: Path) -> ClassSet:
    rows = []
    for folder in sorted(root.iterdir()):
        split = SPLITS.get(folder.name.lower(), "")
        for inner in sorted(folder.iterdir()) if split and folder.is_dir() else ():
            names = sorted(_list_pictures(str(inner))) if inner.is_dir() else ()
            for name in names:
                file = name[len(str(root)) + 1 :].replace(os.sep, "/")
                label = "" if inner.name.lower() in UNLABELLED else inner.name
                rows.append(CropRow(file, label, file, file, split=split))
    if not rows:
        raise DataError(f"{root}: has no pictures in SPLIT/CLASS/, such as train/cat/1.png")
    return ClassSet(root, rows, classes=tuple(sorted({row.label for row in rows} - {""})))


def _list_pictures(folder: str) -> Iterator[str]:
    """The paths of the pictures in a folder and below; `find_sources` is too slow for 70,000."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _list_pictures(entry.path)
            elif entry.name.lower().endswith(ENDINGS) and entry.is_file():
                yield entry.path


def _read_torchvision(text: str) -> ClassSet:
    """`torchvision:NAME:FOLDER`; nothing is downloaded."""
    from torchvision import datasets

    name, _, folder = text.removeprefix(TORCHVISION).partition(":")
    kind = getattr(datasets, name, None)
    if kind is None or not folder:
        raise DataError(f"{text}: takes torchvision:NAME:FOLDER, e.g. torchvision:CIFAR10:data")
    try:
        parts = {split: kind(folder, train=split == "train") for split in ("train", "test")}
    except (RuntimeError, OSError, TypeError) as error:
        raise DataError(f"{text}: cannot be read ({error}); nothing is downloaded") from error
    classes = tuple(map(str, parts["train"].classes))
    sets = [class_set(part, classes, split=split) for split, part in parts.items()]
    first = len(sets[0])
    later = [replace(row, file=str(first + int(row.file))) for row in sets[1].rows]
    return ClassSet(
        Path(), [*sets[0].rows, *later], classes=classes, samples=_Joined(list(parts.values()))
    )


class _Joined(Sequence[tuple[Any, Any]]):
    """Samples of several sequences, one after the other."""

    def __init__(self, parts: Sequence[Sequence[tuple[Any, Any]]]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __getitem__(self, place: Any) -> Any:
        for part in self.parts:
            if place < len(part):
                return part[place]
            place -= len(part)
        raise IndexError
