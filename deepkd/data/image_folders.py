"""Image folders: `SPLIT/CLASS/` with pictures below, read in place of an index."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from deepkd.data.clips import FAKE, FOLDER_LABELS, REAL, SPLITS, UNLABELLED
from deepkd.data.index import CropRow
from deepkd.data.originals import RealPaths
from deepkd.errors import DataError
from deepkd.video.sources import find_sources
from deepkd.video.suffixes import CROP_SUFFIXES, VIDEO_SUFFIXES


def is_image_folder(root: Path) -> bool:
    """Whether `root` holds a folder with the name of a split; reads names only."""
    return root.is_dir() and any(
        entry.name.lower() in SPLITS and entry.is_dir() for entry in root.iterdir()
    )


def holds_videos(root: Path) -> bool:
    """Whether there is a video in `root` or below, so that its folders are those of clips."""
    return any(source.path.suffix.lower() in VIDEO_SUFFIXES for source in find_sources([str(root)]))


def read_image_folder(root: Path) -> list[CropRow]:
    """Read the pictures of `root/SPLIT/CLASS/` and below as rows of an index.

    A split is called train, val, test or the like. A class is called real or original, fake or
    manipulated; any other two names are taken as REAL and FAKE in alphabetical order. A folder
    between the class and the picture names the forgery's method. The original of a forgery is the
    real picture of the same split and the same path below its class, else the only one that shares
    the longest end of that path, at least the file name. Pictures in a folder called unlabelled
    have no label.

    Raises:
        DataError: there are no pictures, or the folders do not name two classes.
    """
    names = [
        path
        for path in _find_pictures(root)
        if len(path.parts) > 2 and path.parts[0].lower() in SPLITS
    ]
    if not names:
        raise DataError(
            f"{root}: has no pictures in SPLIT/CLASS/, such as train/real/1.png, and no index.csv"
        )
    folders = {path.parts[1] for path in names}
    unlabelled = {name: "" for name in folders if name.lower() in UNLABELLED}
    labels = {**_label_classes(root, folders - unlabelled.keys()), **unlabelled}
    rows = [_make_row(path, labels[path.parts[1]]) for path in names]
    return list(_link_to_reals(rows))


def _find_pictures(root: Path) -> Iterator[PurePosixPath]:
    for source in find_sources([str(root)]):
        if source.path.suffix.lower() in CROP_SUFFIXES and not source.problem:
            yield PurePosixPath(source.path.relative_to(root))


def _label_classes(root: Path, classes: set[str]) -> dict[str, str]:
    """Name of a class's folder -> REAL or FAKE."""
    if all(name.lower() in FOLDER_LABELS for name in classes):
        return {name: FOLDER_LABELS[name.lower()] for name in classes}
    if len(classes) != 2 or any(name.lower() in FOLDER_LABELS for name in classes):
        known = f"{', '.join(sorted(classes)[:8])}{', ...' if len(classes) > 8 else ''}"
        advice = "rename them real and fake; train, distill and evaluate take more than two"
        raise DataError(
            f"{root}: has the classes {known}; it takes two, e.g. real and fake: {advice}"
        )
    return dict(zip(sorted(classes), (REAL, FAKE), strict=True))


def _make_row(path: PurePosixPath, label: str) -> CropRow:
    method = "/".join(path.parts[2:-1]) if label == FAKE else ""
    name = str(path)
    return CropRow(name, label, name, name, method=method, split=SPLITS[path.parts[0].lower()])


def _link_to_reals(rows: Sequence[CropRow]) -> Iterator[CropRow]:
    """Give each forgery the real picture of the same path in its split as its original."""
    reals = RealPaths()
    for row in rows:
        if row.label == REAL:
            reals.add(_strip_path(row), row.file, (row.split,))
    for row in rows:
        same = reals.find(_strip_path(row), (row.split,)) if row.label == FAKE else []
        yield replace(row, original=same[0]) if len(same) == 1 else row


def _strip_path(row: CropRow) -> tuple[str, ...]:
    """The path of a picture below its class, without the ending."""
    return PurePosixPath(*PurePosixPath(row.file).parts[2:]).with_suffix("").parts
