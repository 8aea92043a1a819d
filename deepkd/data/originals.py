"""Originals: the real file that a forgery was made from, as far as folders and names tell."""

import dataclasses
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path

from deepkd.data.clips import FAKE, FOLDER_LABELS, LOOSE, REAL, SPLITS, Clip, Warn


class RealPaths:
    """Real files by their paths below the folder of their class."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(dict)

    def add(self, path: Sequence[str], name: str, *groups: tuple[str, ...]) -> None:
        """Add a real file.

        Args:
            path: the folders below that of its class, and its name without the ending.
            name: the name that its forgeries get as their original.
            groups: the groups in which it can be found, such as its split.
        """
        for group, tail in product(groups, _list_tails(path)):
            names = self._names[group].setdefault(tail, [])
            if len(names) < 2 and name not in names:
                names.append(name)

    def find(self, path: Sequence[str], *groups: tuple[str, ...]) -> list[str]:
        """Find the real files of the same path, else those that share the longest end of it.

        Args:
            path: of a forgery, as for `add`.
            groups: where to look; the first one with a match counts.

        Returns:
            Their names: none, the only one, or two where there are two or more.
        """
        found = (self._names[group].get(tail) for tail in _list_tails(path) for group in groups)
        return next(filter(None, found), [])


def _list_tails(path: Sequence[str]) -> Iterator[str]:
    """The whole path and its ends, the longest first: `/a/b/1`, `a/b/1`, `b/1`, `1`."""
    parts = ["", *path]
    return ("/".join(parts[start:]) for start in range(len(parts)))


def link_families(clips: list[Clip], warn: Warn) -> list[Clip]:
    """Set the `original` of each clip to the first clip of its family.

    A forgery that belongs to no data set and names no original gets the real clip of the same path
    below the folder of its class, else the only one that shares the longest end of that path. A
    forgery of a forgery gets the original of that.

    Args:
        clips: of all sources.
        warn: called once if forgeries may be of several real clips.
    """
    linked = _link_to_reals(clips, warn)
    parents: dict[str, dict[str, str]] = {}
    for clip in linked:
        parents.setdefault(clip.dataset, {})[clip.video] = clip.original
    return [
        dataclasses.replace(clip, original=find_first(clip.original, parents[clip.dataset]))
        for clip in linked
    ]


def _link_to_reals(clips: list[Clip], warn: Warn) -> list[Clip]:
    """Give loose forgeries their real clips; those next to them and of their split go first."""
    reals, linked, unclear = RealPaths(), [], []
    for clip in clips:
        if clip.label == REAL and clip.dataset == LOOSE:
            path, groups = _split_path(clip)
            reals.add(path, clip.original, *groups)
    for clip in clips:
        path, groups = _split_path(clip)
        is_alone = clip.label == FAKE and clip.dataset == LOOSE and clip.original == clip.video
        found = reals.find(path, *groups) if is_alone else []
        linked.append(dataclasses.replace(clip, original=found[0]) if len(found) == 1 else clip)
        unclear += [(clip.video, found)] if len(found) > 1 else []
    if unclear:
        name, found = unclear[0]
        warn(
            f"{len(unclear)} forgeries may be of several real clips, e.g. {name} of {found[0]} or"
            f" {found[1]}; each counts as a family of its own, so splits may part it from its"
            " original: lay it below its class as its original lies below real, or give a .csv"
            " list `path,label,original`"
        )
    return linked


def _split_path(clip: Clip) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """A clip's path below the folder of its class, without the ending, and the clip's groups.

    The groups, the smallest first: the clips of one split next to the folder of the class, all
    clips next to it, and all clips.
    """
    *folders, name = Path(os.path.abspath(clip.path)).parts
    folders = [folder for folder in folders if folder.lower() not in SPLITS]
    known = max(
        (at for at, folder in enumerate(folders) if folder.lower() in FOLDER_LABELS), default=-1
    )
    above = "/".join(folders[: max(known, 0)])
    groups = [(above, clip.split), (above,), ()]
    return (*folders[known + 1 :], Path(name).stem), groups


def find_first(name: str, parents: Mapping[str, str]) -> str:
    """Follow a chain of originals to its first clip; in a circle, the first by name counts."""
    seen: list[str] = []
    while name in parents and name not in seen:
        seen.append(name)
        name = parents[name]
    return min(seen[seen.index(name) :]) if name in seen else name
