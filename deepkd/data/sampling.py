"""Samplings: how an epoch's batches are drawn; the same seed and epoch give the same batches."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

from deepkd.data.classes import ClassSet
from deepkd.data.crops import CropSet
from deepkd.data.pairs import Family, Pairing
from deepkd.data.splits import Kin, family_of
from deepkd.data.views import FACE_SWAP, NO_ROW, SELF_BLEND, SampleKey
from deepkd.errors import DataError
from deepkd.settings.choices import SAMPLINGS

Draw = list[tuple[int, ...]]
"""Samples in order; each is a tuple of row numbers that share a geometry."""
A = TypeVar("A")


def draw_shuffled(crops: CropSet, rng: np.random.Generator) -> Draw:
    """Every crop once; with several data sets the same number of crops, divided by weight."""
    return [(row,) for row in _share_out(_by_data_set(crops, range(len(crops))), crops, rng)]


def draw_balanced(crops: CropSet, rng: np.random.Generator) -> Draw:
    """Real and forged crops in turn: every crop of the rarer label, as many of the other."""
    real, fake = _rows_by_label(crops)
    count = min(len(real), len(fake))
    halves = [
        _share_out(_by_data_set(crops, rows), crops, rng, count=count) for rows in (real, fake)
    ]
    return [(row,) for couple in zip(*halves, strict=True) for row in couple]


def draw_paired(crops: CropSet, rng: np.random.Generator) -> Draw:
    """A real crop and a forgery of it for every original, both of the same moment.

    The two crops of a pair differ only in the forgery. An original without a forgery is drawn with
    NO_ROW: its partner is made while loading. A forgery without its original is drawn with a real
    crop of a similar source.

    Raises:
        DataError: no original has a forgery, and there are no landmarks to make one with.
    """
    pairing = Pairing(crops, rng)
    families: dict[str, list[Family]] = defaultdict(list)
    for family in pairing.families:
        families[family.dataset].append(family)
    return [pairing.draw(family) for family in _share_out(families, crops, rng)]


def _by_data_set(crops: CropSet, rows: Iterable[int]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        groups[crops.rows[row].dataset].append(row)
    return groups


def _share_out(
    groups: Mapping[str, Sequence[A]],
    crops: CropSet,
    rng: np.random.Generator,
    *,
    count: int | None = None,
) -> list[A]:
    """Draw `count` items (by default all) of data sets by weight, in random order.

    If a data set has fewer items than its share, they are repeated equally often.
    """
    count = sum(map(len, groups.values())) if count is None else count
    drawn: list[A] = []
    for name, share in _shares(crops, list(groups), count).items():
        items = groups[name]
        rounds = math.ceil(share / len(items))
        order = np.concatenate([rng.permutation(len(items)) for _ in range(max(1, rounds))])
        drawn += [items[place] for place in order[:share]]
    return drawn if len(groups) == 1 else [drawn[place] for place in rng.permutation(len(drawn))]


def _shares(crops: CropSet, names: Sequence[str], count: int) -> dict[str, int]:
    """How many of `count` draws each data set gets, by largest remainder."""
    sizes = Counter(row.dataset for row in crops.rows)
    weights = np.array([crops.weights.get(name, math.sqrt(sizes[name])) for name in names])
    exact = count * weights / weights.sum()
    shares = np.floor(exact).astype(int)
    for place in np.argsort(shares - exact, kind="stable")[: count - shares.sum()]:
        shares[place] += 1
    return dict(zip(names, shares.tolist(), strict=True))


def keep_labelled(crops: CropSet) -> CropSet:
    """Only the crops with a label.

    Raises:
        DataError: a label has no crop.
    """
    if isinstance(crops, ClassSet):
        return crops.labelled()
    real, fake = _rows_by_label(crops)
    return crops.subset(sorted(real + fake))


def _rows_by_label(crops: CropSet) -> tuple[list[int], list[int]]:
    real = [index for index, row in enumerate(crops.rows) if row.label == "REAL"]
    fake = [index for index, row in enumerate(crops.rows) if row.label == "FAKE"]
    if not real or not fake:
        only = "REAL" if real else "FAKE" if fake else "unlabelled"
        raise DataError(f"training needs both labels, and these crops are all {only}")
    return real, fake


@dataclass(frozen=True)
class PairShares:
    """Shares of the pairs of an epoch, 0 to 1, that are changed while loading."""

    self_blend: float = 0.0
    """The forgery is made from the real crop alone."""
    face_swap: float = 0.0
    """The forgery is the real crop with the face of another person of its data set."""
    same_encoding: float = 0.0
    """Both crops are shrunk, compressed and changed in the same way."""


def epoch_batches(
    crops: CropSet,
    sampling: str,
    *,
    batch: int,
    seed: int,
    epoch: int,
    pairs: PairShares = PairShares(),
) -> list[list[SampleKey]]:
    """The batches of one epoch, `batch` crops each.

    An incomplete last batch is dropped unless it is the only one. The partner of an original
    without a forgery is a self-blend or a face swap in the proportion of their shares, and a
    self-blend where both shares are 0.
    """
    rng = np.random.default_rng((seed, epoch))
    draw = SAMPLINGS.load(sampling)(crops, rng)
    donors = _Donors(crops)
    keys = [_key(rows, pairs, donors, rng) for rows in draw]
    per_batch = max(1, batch // len(draw[0]))
    batches = [keys[start : start + per_batch] for start in range(0, len(keys), per_batch)]
    return batches if len(batches) == 1 or len(batches[-1]) == per_batch else batches[:-1]


def _key(
    rows: tuple[int, ...], pairs: PairShares, donors: "_Donors", rng: np.random.Generator
) -> SampleKey:
    seed = int(rng.integers(2**62))
    if len(rows) < 2:
        return SampleKey(rows, seed)
    made, alike = rng.random(), bool(rng.random() < pairs.same_encoding)
    both = pairs.self_blend + pairs.face_swap
    if rows[1] == NO_ROW:
        made *= both
    if made >= both and rows[1] != NO_ROW:
        return SampleKey(rows, seed, same_encoding=alike)
    donor = donors.draw(rows[0], rng) if made < pairs.face_swap else NO_ROW
    if donor == NO_ROW and made < pairs.face_swap and rows[1] != NO_ROW:
        return SampleKey(rows, seed, same_encoding=alike)  # nobody to swap faces with
    forge = SELF_BLEND if donor == NO_ROW else FACE_SWAP
    return SampleKey(rows, seed, forge, donor, alike)


class _Donors:
    """Real crops by data set, as donors of faces for face swaps; looked for at the first draw."""

    def __init__(self, crops: CropSet) -> None:
        self._crops = crops
        self._rows = crops.rows

    @cached_property
    def _family(self) -> Callable[[Kin], tuple[str, str]]:
        return family_of(self._rows)

    @cached_property
    def _real(self) -> dict[str, list[int]]:
        real = [index for index, row in enumerate(self._rows) if row.label == "REAL"]
        return _by_data_set(self._crops, real)

    def draw(self, row: int, rng: np.random.Generator, *, tries: int = 8) -> int:
        """A real row of another person of the same data set, or NO_ROW if none is found."""
        target, others = self._rows[row], self._real[self._rows[row].dataset]
        for place in rng.integers(len(others), size=tries):
            donor = self._rows[others[place]]
            is_other = self._family(donor) != self._family(target)
            if is_other and not set(donor.identities) & set(target.identities):
                return others[place]
        return NO_ROW
