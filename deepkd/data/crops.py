"""Crop sets: a labelled index over a folder of images or over tar shards, read in place."""

import hashlib
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.data.image_folders import is_image_folder, read_image_folder
from deepkd.data.index import INDEX_NAME, CropRow, line_of, read_index
from deepkd.data.splits import Kin, family_of
from deepkd.errors import DataError
from deepkd.images import Image


class Shards:
    """Files in uncompressed tar archives, read by position from any thread or process."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._members: dict[str, dict[str, tuple[int, int]]] = {}

    def members(self, shard: str) -> dict[str, tuple[int, int]]:
        """File name -> (offset, size) in bytes.

        Raises:
            DataError: the shard is missing or not a tar archive.
        """
        if shard not in self._members:
            try:
                with tarfile.open(self.root / shard, "r:") as archive:
                    self._members[shard] = {
                        m.name: (m.offset_data, m.size) for m in archive if m.isfile()
                    }
            except (OSError, ValueError, tarfile.TarError) as error:
                raise DataError(
                    f"{self.root / shard}: not a readable tar shard ({error})"
                ) from error
        return self._members[shard]

    def read(self, shard: str, name: str) -> bytes:
        """The content of one file of a shard."""
        offset, size = self.members(shard)[name]
        with (self.root / shard).open("rb") as file:
            file.seek(offset)
            return file.read(size)


@dataclass
class CropSet:
    """Rows of an index and their images."""

    root: Path
    rows: list[CropRow]
    weights: dict[str, float] = field(default_factory=dict)
    """Weight of each data set (column `dataset`) when crops are drawn. The default is the square
    root of its number of crops."""

    @cached_property
    def shards(self) -> Shards:
        """The tar shards of the set, opened on first use."""
        return Shards(self.root)

    @cached_property
    def labels(self) -> npt.NDArray[np.float32]:
        """1 for FAKE, 0 for REAL, NaN without a label; (rows,)."""
        values = {"FAKE": 1.0, "REAL": 0.0, "": np.nan}
        return np.array([values[row.label] for row in self.rows], np.float32)

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, index: int) -> Image:
        """One crop: RGB, uint8, (height, width, 3).

        Raises:
            DataError: the file cannot be read, or is not an image.
        """
        row = self.rows[index]
        path = self.root / row.shard / row.file
        try:
            content = self.shards.read(row.shard, row.file) if row.shard else path.read_bytes()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror})") from error
        try:
            decoded = (
                cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
                if content
                else None
            )
        except cv2.error:  # too large for memory
            decoded = None
        if decoded is None:
            raise DataError(f"{path}: not an image; extract it again or drop its row")
        return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)

    def listed_rows(self) -> list[CropRow]:
        """The rows as their index lists them."""
        return self.rows

    def subset(self, indices: Sequence[int]) -> "CropSet":
        """The set with only these rows."""
        return replace(self, rows=[self.rows[index] for index in indices])

    def index_sha256(self) -> str:
        """Hash of the names and labels of this set; a trained model stores it."""
        names = "\n".join(sorted(f"{row.file},{row.label}" for row in self.rows))
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()


def load_crops(data_dir: Path, split: str | None = None, *, limit: int | None = None) -> CropSet:
    """Load the crops of an index or of an image folder, and check that all files exist.

    Args:
        data_dir: a folder with `index.csv`, that file, or a folder of pictures in SPLIT/CLASS/ (see
            `read_image_folder`).
        split: keep only rows of this split; None keeps all.
        limit: keep about this many rows, whole families (an original with its forgeries) in a fixed
            order.

    Raises:
        DataError: no index, a bad row (with its line), a missing file, or nothing left.
    """
    root = data_dir if data_dir.is_dir() else data_dir.parent
    rows = load_rows(data_dir)
    crops = CropSet(root, rows)
    _check_files(crops, data_dir / INDEX_NAME if data_dir.is_dir() else data_dir)
    if split is not None:
        crops = CropSet(root, [row for row in rows if row.split == split])
        if not crops.rows:
            known = ", ".join(sorted({row.split or "(none)" for row in rows}))
            raise DataError(
                f"{data_dir}: split '{split}' has no rows; its splits are {known}; --split all"
                " takes every row in commands that have it, training needs rows of train and val"
            )
    if limit is not None and limit < len(crops):
        crops = CropSet(root, list(whole_families(crops.rows, limit)))
    return crops


def load_rows(data_dir: Path) -> list[CropRow]:
    """Load the rows of all splits of an index or an image folder; files are not checked.

    Raises:
        DataError: no index, or a bad row (with its line).
    """
    indexed = (
        not data_dir.is_dir() or (data_dir / INDEX_NAME).exists() or not is_image_folder(data_dir)
    )
    return read_index(data_dir) if indexed else read_image_folder(data_dir)


def _check_files(crops: CropSet, index: Path) -> None:
    for row in crops.rows:
        known = (
            row.file in crops.shards.members(row.shard)
            if row.shard
            else (crops.root / row.file).is_file()
        )
        if not known:
            where = crops.root / row.shard if row.shard else crops.root
            raise DataError(
                f"{index}:{line_of(index, row)}: {row.file} is not in {where}; extract again"
            )


Member = TypeVar("Member", bound=Kin)


def whole_families(members: Iterable[Member], limit: int) -> Iterator[Member]:
    """About `limit` of the members, as whole families, always the same ones.

    A family is an original with its forgeries.
    """
    members = list(members)
    family = family_of(members)
    families: dict[tuple[str, str], list[Member]] = {}
    for member in members:
        families.setdefault(family(member), []).append(member)
    taken = 0
    for key in sorted(families, key=lambda key: (_digest(key[0]), key)):
        if taken >= limit:
            return
        taken += len(families[key])
        yield from families[key]


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "replace")).digest()
