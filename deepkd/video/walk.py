"""Walk: what lies in folders, with one look at each folder and none at its files."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from deepkd.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES


def walk(top: Path) -> Iterator[tuple[Path, str]]:
    """Files with a known suffix below `top`, by name; linked folders come once.

    Returns:
        Each path, with its problem; that of a file is empty, since nothing has looked at it.
    """
    seen: set[tuple[int, int]] = set()
    waiting, folders = [str(top)], {str(top)}
    while waiting:
        name = waiting.pop()
        path = Path(name)
        if name not in folders:
            yield path, ""
            continue
        folders.remove(name)
        try:
            status = path.stat()
            names, inner = _children(name)
        except OSError as error:
            yield path, f"the folder cannot be read ({error.strerror})"
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            waiting += sorted(names, reverse=True)
            folders |= inner
        elif path.resolve() in (path.parent / "x").resolve().parents:
            yield path, "is a link back to a folder above it; it was not followed"


def _children(folder: str) -> tuple[list[str], set[str]]:
    """The paths of the inputs and folders in a folder, without hidden ones; and of the folders."""
    names, folders = [], set()
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.add(entry.path)
            elif not is_wanted(entry.name):
                continue
            names.append(entry.path)
    return names, folders


def folders_in(parent: str) -> set[str]:
    """The names of the folders in a folder."""
    try:
        with os.scandir(parent or os.curdir) as entries:
            return {entry.name for entry in entries if _is_folder(entry)}
    except OSError:
        return set()


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def folders_below(tops: Iterable[str]) -> Iterator[str]:
    """The folders and all below them, without hidden ones; linked folders come once."""
    seen: set[tuple[int, int]] = set()
    waiting = sorted(tops, reverse=True)
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder or os.curdir)
            names = [
                entry.name for entry in os.scandir(folder or os.curdir) if os.path.isdir(entry.path)
            ]
        except OSError:
            continue
        if (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            waiting += sorted(
                (os.path.join(folder, n) for n in names if not n.startswith(".")), reverse=True
            )
            yield folder


def is_wanted(name: str) -> bool:
    """Whether a name ends as that of a video or image."""
    suffix = os.path.splitext(name)[1].lower()
    return suffix in VIDEO_SUFFIXES or suffix in IMAGE_SUFFIXES
