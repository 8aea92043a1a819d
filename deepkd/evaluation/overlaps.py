"""Overlaps: which originals and people of what is evaluated were seen before, in other splits or in a training."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from deepkd.data.families import UNLISTED_KEY, known_families, known_people


class Shown(Protocol):
    """A crop or a clip: where it comes from, and who is in it."""

    @property
    def original(self) -> str:
        """The real video."""
        ...

    @property
    def identities(self) -> tuple[str, ...]:
        """The people, where known."""
        ...

    @property
    def split(self) -> str:
        """Its split, or empty."""
        ...


@dataclass(frozen=True)
class Overlap:
    """How many of the evaluated originals, or people, are elsewhere too."""

    kind: str
    """`originals` or `people`."""
    place: str
    """Such as `split train`, or `training`."""
    here: int
    """How many are evaluated; 0 people where the data names none."""
    shared: int | None
    """How many of them are there too; None where nobody knows."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def names_in(rows: Iterable[Shown]) -> dict[str, set[str]]:
    """The `originals` and the `people` of some rows."""
    rows = list(rows)
    return {"originals": {row.original for row in rows}, "people": {name for row in rows for name in row.identities}}


def overlaps_with_splits(evaluated: Sequence[Shown], everything: Iterable[Shown], split: str) -> tuple[Overlap, ...]:
    """What the evaluated rows of one split share with each other split of the same data.

    Args:
        evaluated: the rows that are evaluated.
        everything: all rows of the data.
        split: the split that is evaluated; `all` leaves nothing to compare with.
    """
    others: dict[str, list[Shown]] = {}
    for row in everything if split != "all" else ():
        if row.split != split:
            others.setdefault(row.split, []).append(row)
    here = names_in(evaluated)
    found = []
    for name in sorted(others):
        there = names_in(others[name])
        place = f"split {name}" if name else "no split"
        for kind, names in here.items():
            unknown = kind == "people" and not (names and there[kind])
            found.append(Overlap(kind, place, len(names), None if unknown else len(names & there[kind])))
    return tuple(found)


def overlaps_with_training(recipe: dict[str, Any], evaluated: Sequence[Shown]) -> tuple[Overlap, ...]:
    """What the evaluated rows share with the training data that a model's recipe lists."""
    here = names_in(evaluated)
    known = {"originals": known_families, "people": known_people}
    found = {kind: known[kind](recipe, names) for kind, names in here.items()}
    partly = UNLISTED_KEY in recipe  # then nothing found does not mean that nothing was seen
    return tuple(
        Overlap(kind, "training", len(here[kind]), None if shared is None or (partly and not shared) else len(shared))
        for kind, shared in found.items()
    )
