"""Kinship: the family of a clip or a crop, an original with its forgeries, which two data sets may call alike."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Protocol

from deepkd.data.clips import REAL


class Kin(Protocol):
    """A clip or a crop that knows the real video it comes from."""

    @property
    def label(self) -> str: ...  # noqa: D102
    @property
    def original(self) -> str: ...  # noqa: D102
    @property
    def dataset(self) -> str: ...  # noqa: D102


def family_of(items: Iterable[Kin]) -> Callable[[Kin], tuple[str, str]]:
    """A function item -> the name of its family among these: its original, and the data set of that.

    That is the item's data set, unless this has no real ones and a single other data set has the
    original.
    """
    owners: dict[str, set[str]] = defaultdict(set)
    for item in items:
        if item.label == REAL:
            owners[item.original].add(item.dataset)
    with_reals = {dataset for datasets in owners.values() for dataset in datasets}

    def family(item: Kin) -> tuple[str, str]:
        known = owners.get(item.original, set())
        strange = item.dataset not in with_reals and len(known) == 1
        return item.original, min(known) if strange else item.dataset

    return family
