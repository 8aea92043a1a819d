"""Mixtures: several data sets as one crop set, each drawn by its weight.

    share of a data set in an epoch = its weight / sum of all weights

A data set is what one folder holds under one name in the column `dataset` of its index. The weight
of a folder, and of a data set within its folder, is by default the square root of its number of
crops, so that thousands of photographs do not outweigh a few dozen clips.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepkd.data.classes import is_class_data, load_classes
from deepkd.data.crops import CropSet, load_crops, load_rows, whole_families
from deepkd.data.index import CropRow
from deepkd.errors import DataError
from deepkd.images import Image
from deepkd.settings.training import DataSource

Data = str | Path | DataSource | Sequence[str | Path | DataSource]
"""One or more folders of crops to train on."""


@dataclass
class MixedCrops(CropSet):
    """Crops of several folders. A row's `dataset` begins with the name of its folder."""

    parts: tuple[CropSet, ...] = ()
    places: tuple[tuple[int, int], ...] = ()
    """For each row, its part and its number in that part."""

    def image(self, index: int) -> Image:
        """One crop: RGB, uint8, (height, width, 3).

        Raises:
            DataError: the file cannot be read, or is not an image.
        """
        part, place = self.places[index]
        return self.parts[part].image(place)

    def subset(self, indices: Sequence[int]) -> "MixedCrops":
        """The set with only these rows."""
        rows, places = zip(*((self.rows[i], self.places[i]) for i in indices), strict=True)
        return replace(self, rows=list(rows), places=places)

    def listed_rows(self) -> list[CropRow]:
        """The rows with the data set that their index names, where it names one."""
        return [
            replace(row, dataset=row.dataset.partition("/")[2] or row.dataset) for row in self.rows
        ]

    def source(self, index: int) -> str:
        """The folder that a row comes from."""
        return self.rows[index].dataset.partition("/")[0]

    def index_sha256(self) -> str:
        """Hash of the names and labels of this set, and of the weights of its data sets."""
        names = "\n".join(sorted(f"{row.dataset},{row.file},{row.label}" for row in self.rows))
        weights = "\n".join(f"{name}={weight:.9g}" for name, weight in sorted(self.weights.items()))
        return hashlib.sha256(
            f"{names}\n\n{weights}".encode("utf-8", "surrogateescape")
        ).hexdigest()


def load_data(data: Data, split: str | None = None, *, limit: int | None = None) -> CropSet:
    """The crops of one or more folders.

    For one folder without weights this is `load_crops`. For several, `limit` is divided in
    proportion to their sizes.

    Raises:
        DataError: as `load_crops`; a folder is given twice; or a weight names a data set that its
            folder does not have.
    """
    sources = list_sources(data)
    if any(is_class_data(source.path) for source in sources):
        if len(sources) > 1 or sources[0].datasets:
            raise DataError(f"{sources[0].path}: pictures of classes are not mixed; give one")
        return load_classes(sources[0].path, split or "train+val+test", limit=limit)
    if len(sources) == 1 and sources[0].weight is None and not sources[0].datasets:
        return load_crops(sources[0].path, split, limit=limit)
    parts = [_draw_part(source, load_crops(source.path, split)) for source in sources]
    if limit is not None:
        total = sum(map(len, parts))
        limits = [max(1, math.ceil(limit * len(part) / total)) for part in parts]
        parts = [
            replace(part, rows=list(whole_families(part.rows, count)))
            for part, count in zip(parts, limits, strict=True)
        ]
    return mix(parts, sources)


def _draw_part(source: DataSource, part: CropSet) -> CropSet:
    """The crops of one source without the data sets of weight 0."""
    _check_names(source, part)
    rows = [row for row in part.rows if source.datasets.get(row.dataset, 1.0) > 0]
    if not rows:
        raise DataError(f"{source.path}: all of its data sets have the weight 0; leave it out")
    return replace(part, rows=rows)


def list_sources(data: Data) -> list[DataSource]:
    """One source for each folder that is given.

    Raises:
        DataError: no folder is given, or one is given twice.
    """
    several = [data] if isinstance(data, str | Path | DataSource) else list(data)
    sources = [s if isinstance(s, DataSource) else DataSource(Path(s)) for s in several]
    if not sources:
        raise DataError("no crops are given; name a folder with an index.csv by --data")
    count = Counter(source.folder().resolve() for source in sources)
    if twice := [str(path) for path, times in count.items() if times > 1]:
        raise DataError(
            f"{twice[0]}: given twice as --data; to draw it more often, give it a weight"
        )
    return sources


def _check_names(source: DataSource, part: CropSet) -> None:
    known = {row.dataset for row in part.rows}
    # A data set may be in one split only; other splits then ignore its weight.
    every = known if not set(source.datasets) - known else known | _names_in(source.path)
    if strange := sorted(set(source.datasets) - every):
        has = ", ".join(sorted(name or "(none)" for name in every))
        raise DataError(f"{source.path}: no data set '{strange[0]}' to weigh; it has {has}")


def _names_in(path: Path) -> set[str]:
    return {row.dataset for row in load_rows(path)}


def mix(parts: Sequence[CropSet], sources: Sequence[DataSource]) -> MixedCrops:
    """Join crop sets, with the weight of each data set.

    Args:
        parts: the crops of each source.
        sources: their names and weights.
    """
    members: list[tuple[CropRow, tuple[int, int]]] = []
    weights: dict[str, float] = {}
    for number, (part, name) in enumerate(zip(parts, _names(sources), strict=True)):
        source = sources[number]
        own = _weights_within(part, source)
        whole = math.sqrt(len(part)) if source.weight is None else source.weight
        for dataset, weight in own.items():
            weights[_join(name, dataset)] = whole * weight / sum(own.values())
        for place, row in enumerate(part.rows):
            members.append((replace(row, dataset=_join(name, row.dataset)), (number, place)))
    members.sort(key=lambda member: (member[0].dataset, member[0].shard, member[0].file))
    rows, places = zip(*members, strict=True)
    return MixedCrops(Path(), list(rows), weights, tuple(parts), places)


def _weights_within(part: CropSet, source: DataSource) -> dict[str, float]:
    """The weight of each data set of one source beside the others of that source."""
    sizes = Counter(row.dataset for row in part.rows)
    return {name: source.datasets.get(name, math.sqrt(size)) for name, size in sizes.items()}


def _join(source: str, dataset: str) -> str:
    return f"{source}/{dataset}" if dataset else source


def _names(sources: Iterable[DataSource]) -> list[str]:
    """The name of each folder; if two have the same name, the later one gets a number."""
    names: list[str] = []
    for source in sources:
        name = stem = source.folder().resolve().name.replace("/", "-") or "data"
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
