"""Pairs: which real crop and which forgery are trained on together."""

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np

from deepkd.data.crops import CropSet
from deepkd.data.index import CropRow
from deepkd.data.splits import family_of
from deepkd.data.views import NO_ROW
from deepkd.errors import DataError

CANDIDATES = 4
"""Real rows to choose from as partner of a forgery without an original: the nearest in size."""


@dataclass
class Family:
    """The rows of an original: its real crops and those of its forgeries."""

    dataset: str
    real: list[int] = field(default_factory=list)
    fake: list[int] = field(default_factory=list)


class Pairing:
    """Finds a partner for every family of a crop set."""

    def __init__(self, crops: CropSet, rng: np.random.Generator) -> None:
        """Group the rows.

        Raises:
            DataError: no original has a forgery, and there are no landmarks to make one with.
        """
        self._rows, self._weights, self._rng = crops.rows, crops.weights, rng
        self._real: dict[str, list[int]] = defaultdict(list)
        self.families = self._find_families()
        has_landmarks = any(row.landmarks for row in self._rows)
        has_pairs = any(family.real and family.fake for family in self.families)
        if not self._real or not (has_pairs or has_landmarks):
            raise DataError(
                "paired sampling needs originals with a forgery each, or real crops whose landmarks"
                " are in the index, and there are none; use --sampling balanced"
            )
        self._stills = self._find_stills()

    def _find_families(self) -> list[Family]:
        """Families in order of their names, those without a real crop last."""
        family_name = family_of(self._rows)
        families: dict[tuple[str, str], Family] = {}
        for index, row in enumerate(self._rows):
            if row.label not in ("REAL", "FAKE"):
                continue
            name = family_name(row)
            family = families.setdefault(name, Family(name[1]))
            (family.real if row.label == "REAL" else family.fake).append(index)
            if row.label == "REAL":
                self._real[row.dataset].append(index)
        return [
            families[name] for name in sorted(families, key=lambda n: (not families[n].real, n))
        ]

    def draw(self, family: Family) -> tuple[int, int]:
        """A real row and a forged one, or NO_ROW for a forgery that is still to be made."""
        if not family.fake:
            return int(self._rng.choice(family.real)), NO_ROW
        fake = int(self._rng.choice(family.fake))
        if not family.real:
            return self._draw_like(fake), fake
        return self._draw_nearest(family.real, fake), fake

    def _draw_nearest(self, real: list[int], fake: int) -> int:
        """The real row nearest in time, of the forgery's track if there is one.

        Of several rows at the same distance one is drawn.
        """
        distances = [_distance(self._rows[row], self._rows[fake]) for row in real]
        least = min(distances)
        near = [row for row, its in zip(real, distances, strict=True) if its == least]
        return int(self._rng.choice(near))

    def _draw_like(self, fake: int) -> int:
        """A real row of a similar source, with a face of similar size in that source."""
        names = self._sources_like(self._rows[fake].dataset)
        weights = np.array([self._weight(name) for name in names])
        name = names[int(self._rng.choice(len(names), p=weights / weights.sum()))]
        rows = self._real[name]
        candidates = [rows[place] for place in self._rng.integers(len(rows), size=CANDIDATES)]
        return min(candidates, key=lambda row: _size_ratio(self._rows[row], self._rows[fake]))

    def _sources_like(self, dataset: str) -> list[str]:
        """Data sets with real rows: this one, or else the most similar ones.

        Those are of the same folder and kind (stills or clips), or else of the folder, or else any.
        """
        folder = dataset.partition("/")[0]
        names = list(self._real)
        near = [name for name in names if name.partition("/")[0] == folder or "/" not in dataset]
        alike = [name for name in near if (name in self._stills) == (dataset in self._stills)]
        same = [name for name in names if name == dataset]
        return same or alike or near or names

    def _weight(self, dataset: str) -> float:
        return self._weights.get(dataset, math.sqrt(len(self._real[dataset])))

    def _find_stills(self) -> set[str]:
        """The data sets that hold single pictures, not several frames of a clip."""
        rows: dict[str, list[CropRow]] = defaultdict(list)
        for row in self._rows:
            rows[row.dataset].append(row)
        return {
            name
            for name, own in rows.items()
            if all(row.t_s == 0 for row in own) and len(own) < 2 * len({r.original for r in own})
        }


def _distance(one: CropRow, other: CropRow) -> tuple[bool, float]:
    """Whether two crops are of different tracks; the seconds between them, infinite if unknown."""
    is_timed = one.t_s is not None and other.t_s is not None
    seconds = abs((one.t_s or 0.0) - (other.t_s or 0.0)) if is_timed else math.inf
    return one.track != other.track, seconds


def _size_ratio(one: CropRow, other: CropRow) -> float:
    """Distance of two face sizes in their sources: |log2 of their ratio|; 0 if unknown."""
    if not one.face_px or not other.face_px:
        return 0.0
    return abs(math.log2(one.face_px / other.face_px))
