"""Places: which real file a forgery was made from, as far as the folders and the names of both tell."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import product


class RealPlaces:
    """Real files by where they lie below the folder of their class."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(dict)

    def add(self, place: Sequence[str], name: str, *groups: tuple[str, ...]) -> None:
        """Note a real file.

        Args:
            place: the folders below that of its class and its name without the ending.
            name: what its forgeries are to know it by.
            groups: what it is looked for in, such as its split.
        """
        for group, tail in product(groups, _tails(place)):
            names = self._names[group].setdefault(tail, [])
            if len(names) < 2 and name not in names:
                names.append(name)

    def like(self, place: Sequence[str], *groups: tuple[str, ...]) -> list[str]:
        """The real files at the same place, else those whose places end alike: in most folders, at least in the name.

        Where several groups have some, those of the first. Of more than two, only two are told.
        """
        found = (self._names[group].get(tail) for tail in _tails(place) for group in groups)
        return next(filter(None, found), [])


def _tails(place: Sequence[str]) -> Iterator[str]:
    """The whole place, and what it ends in: `/a/b/1`, `a/b/1`, `b/1`, `1`."""
    parts = ["", *place]
    return ("/".join(parts[start:]) for start in range(len(parts)))
