"""Leakage: evaluated originals and people that are also in other splits or in training data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deepkd.data.clips import Clip, Warn
from deepkd.data.crops import CropSet
from deepkd.data.families import (
    UNLISTED_KEY,
    find_known_families,
    find_known_names,
    find_known_people,
)
from deepkd.data.index import CropRow
from deepkd.data.splits import find_overlaps
from deepkd.documents import Document
from deepkd.errors import DataError


class Traceable(Protocol):
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
class Overlap(Document):
    """How many of the evaluated originals, or people, are also in another place."""

    kind: str
    """`originals` or `people`."""
    place: str
    """The other place: such as `split train`, or `training`."""
    here: int
    """Number of evaluated ones; 0 if the data names no people."""
    shared: int | None
    """Number of those that are also in `place`; None if unknown."""


def names_in(rows: Iterable[Traceable]) -> dict[str, set[str]]:
    """The `originals` and the `people` of some rows."""
    rows = list(rows)
    return {
        "originals": {row.original for row in rows},
        "people": {name for row in rows for name in row.identities},
    }


def overlaps_with_splits(
    evaluated: Sequence[Traceable], everything: Iterable[Traceable], split: str
) -> tuple[Overlap, ...]:
    """Originals and people that a split shares with each other split of the same data.

    Args:
        evaluated: the rows that are evaluated.
        everything: all rows of the data.
        split: the split that is evaluated; `all` leaves nothing to compare with.
    """
    others: dict[str, list[Traceable]] = {}
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
            found.append(
                Overlap(kind, place, len(names), None if unknown else len(names & there[kind]))
            )
    return tuple(found)


def overlaps_with_training(
    recipe: Mapping[str, Any], evaluated: Sequence[Traceable]
) -> tuple[Overlap, ...]:
    """Originals and people that rows share with the training data in a model's recipe."""
    here = names_in(evaluated)
    known = {"originals": find_known_families, "people": find_known_people}
    found = {kind: known[kind](recipe, names) for kind, names in here.items()}
    partly = UNLISTED_KEY in recipe  # then nothing found does not mean that nothing was seen
    return tuple(
        Overlap(
            kind,
            "training",
            len(here[kind]),
            None if shared is None or (partly and not shared) else len(shared),
        )
        for kind, shared in found.items()
    )


def find_training_shares(
    names: Sequence[str],
    models: Sequence[object],
    data: CropSet | list[Clip],
    *,
    allow: bool,
    warn: Warn,
) -> list[float | None]:
    """For each model the share of the originals that it was trained on; None where unknown.

    Args:
        names: names of the models.
        models: models to measure.
        data: crops or clips to measure on.
        allow: allow a model to be measured on its training data.
        warn: takes a warning for each incomplete list of training data, and for originals that
            share only a file name with a training original.

    Raises:
        DataError: a model was trained on some of the data, and `allow` is not set.
    """
    return [
        _measure_training_share(name, model, data, allow, warn)
        for name, model in zip(names, models, strict=True)
    ]


def _measure_training_share(
    name: str, model: object, data: CropSet | list[Clip], allow: bool, warn: Warn
) -> float | None:
    recipe = recipe_of(model)
    originals = {row.original for row in rows_of(data)}
    known = find_known_families(recipe, originals)
    if (
        known is None
        and isinstance(data, CropSet)
        and recipe.get("index_sha256") == data.index_sha256()
    ):
        known = sorted(originals)
    if known and not allow:
        raise DataError(
            f"{name} was trained on {len(known)} of these {len(originals)} originals, e.g."
            f" {known[0]}, so its figures would say nothing about new ones; choose another --split"
            " or --data, or add --allow-training-data"
        )
    alike = find_known_names(recipe, originals)
    if alike:
        warn(
            f"{len(alike)} of these {len(originals)} originals have the file name of one that"
            f" {name} was trained on, e.g. {alike[0]}; make sure that they are others"
        )
    if known is None or (not known and UNLISTED_KEY in recipe):
        warn(f"{name} does not list all of its training data; make sure that none of it is here")
        return None
    return len(known) / len(originals)


def check_held_out(
    train: CropSet, val: CropSet, earlier: Iterable[tuple[str, Mapping[str, Any]]], *, warn: Warn
) -> None:
    """Make sure, before any work, that training and validation data share no original.

    Args:
        train: training data.
        val: validation data.
        earlier: name of each start and teacher, and what is `list_inherited` from it.
        warn: takes a warning for people in both, and for starts and teachers whose training data
            includes validation data, or may do so.

    Raises:
        DataError: an original of `val` is in `train`, too.
    """
    rows = [*train.listed_rows(), *val.listed_rows()]
    if shared := find_overlaps(rows, ["originals"]):
        raise DataError(
            f"{'; '.join(shared)}: val would only say how well the training is remembered; give"
            " each original and all that is made from it one split, in the columns original and"
            " split of the index or by `deepkd extract`"
        )
    told = find_overlaps(rows, ["people"])
    for name, recipe in earlier:
        told += _warn_of_seen(name, recipe, val.rows)
    for message in dict.fromkeys(told):
        warn(message)


def _warn_of_seen(name: str, recipe: Mapping[str, Any], held_out: Sequence[CropRow]) -> list[str]:
    """Warnings for held-out rows that a start or a teacher was, or may be, trained on."""
    found = overlaps_with_training(recipe, held_out)
    seen = [
        f"{name} was trained on {one.shared} of the {one.here} {one.kind} of split val, which"
        " flatters the validation and the thresholds; hold out others"
        for one in found
        if one.shared
    ]
    unlisted = (
        f"{name} does not list all of its training data; make sure that none of it is in split val"
    )
    return seen or ([unlisted] if UNLISTED_KEY in recipe else [])


def rows_of(data: CropSet | list[Clip]) -> Sequence[CropRow] | Sequence[Clip]:
    """The row of each crop, or the clips."""
    return data.rows if isinstance(data, CropSet) else data


def recipe_of(model: object) -> dict[str, Any]:
    """The recipe in a model's metadata; empty if there is none."""
    return getattr(model, "metadata", {}).get("recipe") or {}
