"""Clips: one video or still with what its data set says about it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from deepkd.errors import DataError
from deepkd.video.sources import find_sources
from deepkd.video.suffixes import VIDEO_SUFFIXES

REAL, FAKE, UNKNOWN = "REAL", "FAKE", ""
LOOSE = "folder"
"""The `dataset` of clips that belong to no data set."""
Warn = Callable[[str], None]

FOLDER_LABELS = {"real": REAL, "original": REAL, "fake": FAKE, "manipulated": FAKE}
"""Name of a folder in lower case -> label of the clips in it."""
UNLABELLED = ("unlabelled", "unlabeled")
"""Names, in lower case, of a folder of pictures without a label, which only a teacher judges."""
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""Name that folders and lists give to a split -> its name here."""


@dataclass(frozen=True)
class Clip:
    """One video or still image, and what its data set says about it."""

    path: Path
    label: str
    """REAL, FAKE, or empty where it is unknown."""
    video: str = ""
    """Its name, unique among the clips found together."""
    original: str = ""
    """The real clip that a forgery was made from; a real clip's own name. The unit of splitting."""
    dataset: str = ""
    method: str = ""
    """How it was forged, where known; empty for real clips."""
    split: str = ""
    """train, val or test, where the data set ships a split; else empty."""
    donors: tuple[str, ...] = ()
    """Other clips that it was made from, such as the one that gave the face."""
    identities: tuple[str, ...] = ()
    """The people in it, where known."""
    problem: str = ""
    """Why it cannot be read; empty for a clip that can be tried."""


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk."""

    fits: Callable[[Path], bool]
    """Whether a folder looks like this data set; reads names only."""
    read: Callable[[Path, Warn], list[Clip]]
    """(folder, called with each warning) -> its clips. Raises a DataError that names the folder or
    the list that is wrong."""


def find_videos(folders: Iterable[Path], warn: Warn) -> Iterator[Path]:
    """Find the videos in some folders and below, in order of name.

    Args:
        folders: where to look.
        warn: called with each file or folder that cannot be reached; it is left out.
    """
    for source in find_sources([str(folder) for folder in folders]):
        if source.problem:
            warn(f"{source.path}: {source.problem}; it is left out")
        elif source.path.suffix.lower() in VIDEO_SUFFIXES:
            yield source.path


def parse_label(value: object, where: str) -> str:
    """Parse a label: a word in any case, or 1 (fake) and 0 (real).

    Args:
        value: what the list says.
        where: file and line, for the error.

    Raises:
        DataError: the value is no label.
    """
    known = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE, "false": REAL, "true": FAKE}
    try:
        return known[str(value).strip().lower()]
    except KeyError as error:
        raise DataError(
            f"{where}: unknown label '{value}'; choose from REAL, FAKE (or 0, 1)"
        ) from error
