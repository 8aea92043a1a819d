"""Splits without leaks: a family, an original with all its forgeries, lies in one split.

The shares of train, val and test are shares of the families. A hash of the family's name draws its
split, so that the same clips go to the same split on every machine, and clips added later move no
others, unless they join two families.

Splits that a data set ships stay as they are. Clips that are in none of them, but belong to the
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


class Kin(Protocol):
    """A clip or a crop with the name of its original."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def original(self) -> str: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102


class InSplit(Kin, Protocol):
    """Anything that lies in a split: a clip, or a row of an index."""

    @property
    def video(self) -> str: ...  # noqa: D102
    @property
    def split(self) -> str: ...  # noqa: D102


@dataclass(frozen=True)
class Splits:
    """Clips with their splits, and how the splits were made."""

    clips: list[Clip]
    """In the order given. `split` is train, val or test, or empty for clips without a label and
    for those left out."""
    unit: str
    """What lies in one split as a whole: `identity` (people and originals) or `original`."""
    families: int
    left_out: tuple[str, ...]
    """Videos of no split, because an official val or test split holds clips of their family."""
    overlaps: tuple[str, ...]
    """What lies in two splits all the same, one sentence each; empty when nothing leaks."""


def make_splits(
    clips: Sequence[Clip], *, val_share: float = 0.1, test_share: float = 0.1, unit: str = "auto"
) -> Splits:
    """Assign every labelled clip to train, val or test.

    Args:
        clips: of one or more data sets.
        val_share: share of the families that go to val, for data sets that ship no val split; 0 to
            1.
        test_share: likewise for test.
        unit: `original` keeps an original and its forgeries together, `identity` also all clips of
            the same people, where known; `auto` is identity, unless one family would then be larger
            than the training share.

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
    families = _group_families(labelled, identities=unit != "original")
    if unit == "auto":
        largest = max(map(len, families), default=0)
        unit = "identity" if largest <= (1 - val_share - test_share) * len(labelled) else "original"
        families = families if unit == "identity" else _group_families(labelled, identities=False)
    return _assign_splits(clips, families, (val_share, test_share), unit)


def _assign_splits(
    clips: Sequence[Clip], families: list[list[Clip]], shares: tuple[float, float], unit: str
) -> Splits:
    shipped = {(clip.dataset, clip.split) for clip in clips if clip.split}
    chosen: dict[str, str] = {}
    for family in families:
        official = {clip.split for clip in family if clip.split in ("val", "test")}
        drawn = _draw_split(family, shares, shipped, unit)
        chosen |= {clip.video: _choose_split(clip, drawn, bool(official)) for clip in family}
    result = [dataclasses.replace(clip, split=chosen.get(clip.video, "")) for clip in clips]
    left_out = tuple(clip.video for clip in result if clip.label and not clip.split)
    return Splits(result, unit, len(families), left_out, tuple(find_overlaps(result)))


def _choose_split(clip: Clip, drawn: str, has_official_family: bool) -> str:
    """The clip's own split if its family has official val or test clips; else the drawn one."""
    return clip.split if clip.split in ("val", "test") or has_official_family else drawn


def _draw_split(
    family: list[Clip], shares: tuple[float, float], shipped: set[tuple[str, str]], unit: str
) -> str:
    """Draw a split by the hash of the family's name, among those that its data set does not ship.

    A family of one or more people is named after the first of them, so that the draw stays the
    same when clips of them are added or removed.
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


def _group_families(clips: Sequence[Clip], *, identities: bool) -> list[list[Clip]]:
    """Group clips that share an original, a donor or (if asked) a person, also through others."""
    parent: dict[tuple[str, str, str], tuple[str, str, str]] = {}

    def root(key: tuple[str, str, str]) -> tuple[str, str, str]:
        parent.setdefault(key, key)
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    dataset_of = _make_dataset_finder(clips)
    families = defaultdict(list)
    for clip in clips:
        first, *others = (
            ("clip", dataset_of(clip, name), name)
            for name in (clip.original, clip.video, *clip.donors)
        )
        for key in others + [
            ("person", clip.dataset, name) for name in clip.identities if identities
        ]:
            parent[root(key)] = root(first)
    for clip in clips:
        families[root(("clip", dataset_of(clip, clip.original), clip.original))].append(clip)
    return list(families.values())


def _make_dataset_finder(items: Sequence[InSplit]) -> Callable[[InSplit, str], str]:
    """Make a function (item, name of a clip) -> the data set of the clip with that name.

    It is the item's own data set if that has the clip, else the one that has it.
    """
    own = {(item.dataset, item.video) for item in items}
    own |= {(item.dataset, item.original) for item in items if item.label == REAL}
    others = {item.video: item.dataset for item in items}
    return lambda item, name: (
        item.dataset if (item.dataset, name) in own else others.get(name, item.dataset)
    )


KINDS = ("originals", "people")
"""What must lie in one split; donors count as originals."""


def find_overlaps(items: Iterable[InSplit], kinds: Sequence[str] = KINDS) -> list[str]:
    """Find what lies in more than one split.

    Args:
        items: clips, or rows of an index.
        kinds: of `KINDS`.

    Returns:
        One sentence for each kind, data set and pair of splits.
    """
    items = list(items)
    dataset_of = _make_dataset_finder(items)
    places: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for item in items:
        for kind, names in _list_contents(item).items():
            for name in names if item.split and kind in kinds else ():
                places[
                    (kind, dataset_of(item, name) if kind == "originals" else item.dataset, name)
                ].add(item.split)
    shared: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (kind, dataset, name), splits in places.items():
        if len(splits) > 1:
            shared[(kind, dataset, " and ".join(sorted(splits, key=_rank_split)))].append(name)
    return [
        f"{len(names)} {kind} of {dataset or 'the index'} in both {splits}, e.g. {names[0]}"
        for (kind, dataset, splits), names in shared.items()
    ]


def _list_contents(item: InSplit) -> dict[str, tuple[str, ...]]:
    """Kind -> what of that kind is in an item."""
    originals = (item.original, *getattr(item, "donors", ()))
    return {"originals": originals, "people": getattr(item, "identities", ())}


def _rank_split(split: str) -> int:
    return SPLIT_NAMES.index(split) if split in SPLIT_NAMES else len(SPLIT_NAMES)


def family_of(items: Iterable[Kin]) -> Callable[[Kin], tuple[str, str]]:
    """Make a function item -> the name of its family: its original, and the data set of that.

    It is the item's own data set, unless that has no real items and exactly one other data set has
    the original. So originals of one name in two data sets are two families.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.label == REAL:
            owners[item.original].add(item.dataset)
    with_reals = {dataset for datasets in owners.values() for dataset in datasets}

    def family(item: Kin) -> tuple[str, str]:
        known = owners.get(item.original, set())
        is_foreign = item.dataset not in with_reals and len(known) == 1
        return item.original, min(known) if is_foreign else item.dataset

    return family
