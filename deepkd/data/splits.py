"""Splits that do not leak: a family (an original and all that was made from it) lies in one split as a whole.

    train, val, test = shares of the families, by a hash of the family's name: the same clips always
    go to the same split, on every machine, and clips added later do not move those that are there
    (unless they join two families).

Splits that a data set ships are kept as they are. Clips that are in none of them, but belong to the
family of an official val or test clip, are left out of all splits.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from deepkd.data.chance import share_of
from deepkd.data.clips import REAL, Clip
from deepkd.errors import ConfigError

SPLIT_NAMES = ("train", "val", "test")
SPLIT_UNITS = ("auto", "identity", "original")


class InSplit(Protocol):
    """Anything that lies in a split: a clip, or a row of an index."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def video(self) -> str: ...  # noqa: D102
    @property
    def original(self) -> str: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Splits:
    """Clips with their splits, and how they came about."""

    clips: list[Clip]
    """In the order given; `split` is train, val or test, or empty for unlabelled clips and those
    left out."""
    unit: str
    """What is never parted: `identity` (people and originals) or `original`."""
    families: int
    left_out: tuple[str, ...]
    """Videos of no split, because an official val or test split holds their relatives."""
    overlaps: tuple[str, ...]
    """What lies in two splits all the same, a sentence each; empty when nothing leaks."""


def make_splits(
    clips: Sequence[Clip], *, val_share: float = 0.1, test_share: float = 0.1, unit: str = "auto"
) -> Splits:
    """Assign every labelled clip to train, val or test.

    Args:
        clips: of one or more data sets.
        val_share: share of the families that go to val, for data sets that ship no val split; 0 to
            1.
        test_share: likewise for test.
        unit: `original` keeps an original and its forgeries together, `identity` also everything
            that shows the same people, where known; `auto` is identity, unless that would leave
            more than the training share in one piece.

    Raises:
        ConfigError: an unknown unit, or shares that leave nothing for training.
    """
    if unit not in SPLIT_UNITS:
        raise ConfigError(f"unknown split_by '{unit}'; choose from {', '.join(SPLIT_UNITS)}")
    if val_share + test_share >= 1:
        raise ConfigError(
            f"val_share + test_share = {val_share + test_share:g}: must leave something for"
            " training"
        )
    labelled = [clip for clip in clips if clip.label]
    families = _families(labelled, identities=unit != "original")
    if unit == "auto":
        largest = max(map(len, families), default=0)
        unit = "identity" if largest <= (1 - val_share - test_share) * len(labelled) else "original"
        families = families if unit == "identity" else _families(labelled, identities=False)
    return _assigned(clips, families, (val_share, test_share), unit)


def _assigned(
    clips: Sequence[Clip], families: list[list[Clip]], shares: tuple[float, float], unit: str
) -> Splits:
    shipped = {(clip.dataset, clip.split) for clip in clips if clip.split}
    chosen: dict[str, str] = {}
    for family in families:
        official = {clip.split for clip in family if clip.split in ("val", "test")}
        drawn = _drawn(family, shares, shipped, unit)
        chosen |= {clip.video: _split(clip, drawn, bool(official)) for clip in family}
    result = [dataclasses.replace(clip, split=chosen.get(clip.video, "")) for clip in clips]
    left_out = tuple(clip.video for clip in result if clip.label and not clip.split)
    return Splits(result, unit, len(families), left_out, tuple(find_overlaps(result)))


def _split(clip: Clip, drawn: str, official_relatives: bool) -> str:
    """The official split if it is val or test; within a family that has those, no other; else the one drawn."""
    return clip.split if clip.split in ("val", "test") or official_relatives else drawn


def _drawn(
    family: list[Clip], shares: tuple[float, float], shipped: set[tuple[str, str]], unit: str
) -> str:
    """The split that the hash of the family's name draws, among those that its data set does not ship.

    Its name is that of one of its people, where they make it one: more clips of them come and go.
    """
    first = min(family, key=lambda clip: (clip.dataset, clip.original))
    people = sorted(
        {name for clip in family if clip.dataset == first.dataset for name in clip.identities}
    )
    draw = share_of(
        f"{first.dataset}/{people[0] if people and unit == 'identity' else first.original}"
    )
    val_share, test_share = shares
    test_share = 0.0 if (first.dataset, "test") in shipped else test_share
    val_share = 0.0 if (first.dataset, "val") in shipped else val_share
    return "test" if draw < test_share else "val" if draw < test_share + val_share else "train"


def _families(clips: Sequence[Clip], *, identities: bool) -> list[list[Clip]]:
    """Connected components: clips that share an original, a donor or (if asked) a person, directly or by others."""
    parent: dict[tuple[str, str, str], tuple[str, str, str]] = {}

    def root(key: tuple[str, str, str]) -> tuple[str, str, str]:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    home = _homes(clips)
    families = defaultdict(list)
    for clip in clips:
        first, *others = (
            ("clip", home(clip, name), name) for name in (clip.original, clip.video, *clip.donors)
        )
        for key in others + [
            ("person", clip.dataset, name) for name in clip.identities if identities
        ]:
            parent[root(key)] = root(first)
    for clip in clips:
        families[root(("clip", home(clip, clip.original), clip.original))].append(clip)
    return list(families.values())


def _homes(items: Sequence[InSplit]) -> Callable[[InSplit, str], str]:
    """A function (item, name of a clip) -> the data set of the clip of that name: the item's, unless another has it."""
    own = {(item.dataset, item.video) for item in items}
    own |= {(item.dataset, item.original) for item in items if item.label == REAL}
    others = {item.video: item.dataset for item in items}
    return lambda item, name: (
        item.dataset if (item.dataset, name) in own else others.get(name, item.dataset)
    )


KINDS = ("originals", "people")
"""What must not lie in two splits; donors count as originals."""


def find_overlaps(items: Iterable[InSplit], kinds: Sequence[str] = KINDS) -> list[str]:
    """A sentence on each kind of thing that lies in more than one split."""
    items = list(items)
    home = _homes(items)
    places: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for item in items:
        for kind, names in _contents(item).items():
            for name in names if item.split and kind in kinds else ():
                places[(kind, home(item, name) if kind == "originals" else item.dataset, name)].add(
                    item.split
                )
    shared: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (kind, dataset, name), splits in places.items():
        if len(splits) > 1:
            shared[(kind, dataset, " and ".join(sorted(splits, key=_order)))].append(name)
    return [
        f"{len(names)} {kind} of {dataset or 'the index'} in both {splits}, e.g. {names[0]}"
        for (kind, dataset, splits), names in shared.items()
    ]


def _contents(item: InSplit) -> dict[str, tuple[str, ...]]:
    """What must not lie in two splits, by kind."""
    originals = (item.original, *getattr(item, "donors", ()))
    return {"originals": originals, "people": getattr(item, "identities", ())}


def _order(split: str) -> int:
    return SPLIT_NAMES.index(split) if split in SPLIT_NAMES else len(SPLIT_NAMES)
