"""Clips: one video with what is known about it, and those that folders named `real` and `fake` or a list tell of."""

import csv
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepkd.data.places import RealPlaces
from deepkd.errors import DataError, UsageError
from deepkd.text import open_csv
from deepkd.video.sources import Source, find_sources
from deepkd.video.suffixes import VIDEO_SUFFIXES

REAL, FAKE, UNKNOWN = "REAL", "FAKE", ""
LOOSE = "folder"
"""The `dataset` of clips that belong to none."""
Warn = Callable[[str], None]

FOLDER_LABELS = {"real": REAL, "original": REAL, "fake": FAKE, "manipulated": FAKE}
"""What folders of labelled clips are called, in any case."""
SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
"""What folders and lists call a split -> its name here."""


@dataclass(frozen=True)
class Clip:
    """One video or still image, and what its data set says about it."""

    path: Path
    label: str
    """REAL, FAKE, or empty where nobody knows."""
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
    """Other clips that went into it, such as the one that gave the face."""
    identities: tuple[str, ...] = ()
    """The people in it, where known."""
    problem: str = ""
    """Why it cannot even be tried; empty for a clip that can."""


def videos_below(folders: Iterable[Path], warn: Warn) -> Iterator[Path]:
    """The videos in some folders and below, in order of name; what cannot be reached is left out with a warning."""
    for source in find_sources([str(folder) for folder in folders]):
        if source.problem:
            warn(f"{source.path}: {source.problem}; it is left out")
        elif source.path.suffix.lower() in VIDEO_SUFFIXES:
            yield source.path


def read_folder(root: Path, warn: Warn) -> list[Clip]:
    """`real/` and `fake/` at any depth, optionally within `train/`, `val/`, `test/`; else unlabelled."""
    top = root.resolve()
    clips = []
    for source in find_sources([str(root)]):
        name = (
            PurePosixPath(top.name)
            if source.path == root
            else PurePosixPath(source.path.relative_to(root))
        )
        clips.append(
            loose_clip(
                source,
                str(name),
                (top.name, *name.parent.parts),
                top.parent.parts[1 - FOLDERS_ABOVE :],
            )
        )
    return clips


def holds_classes(root: Path) -> bool:
    """Whether there is a folder in `root` that is called like a class."""
    try:
        return any(
            name.lower() in FOLDER_LABELS and (root / name).is_dir() for name in os.listdir(root)
        )
    except OSError:
        return False


FOLDERS_ABOVE = 3
"""How many folders above a file that is named by itself may tell its class and its split:
`test/real/PERSON/`."""


def lone_clip(source: Source) -> Clip:
    """A clip that is named by itself."""
    place = Path(os.path.abspath(source.path))
    return loose_clip(source, source.path.name, (), place.parent.parts[-FOLDERS_ABOVE:])


def loose_clip(source: Source, name: str, folders: tuple[str, ...], above: tuple[str, ...]) -> Clip:
    """A clip that only the folders above it can say something about: the nearest with the name of a class or split.

    Args:
        source: the file.
        name: what to call it.
        folders: the folders that were given or found, the nearest last.
        above: those above them, of which only the one right above the folder of a class can name a
            split: others tell where the data lie, not what they are.
    """
    near = [folder.lower() for folder in reversed((*above, *folders))]
    known = next((at for at, folder in enumerate(near) if folder in FOLDER_LABELS), None)
    if known is None:
        return Clip(source.path, UNKNOWN, name, name, LOOSE, problem=source.problem)
    telling = near[: max(len(folders), known + 2)]
    split = next((SPLITS[folder] for folder in telling if folder in SPLITS), "")
    return Clip(
        source.path,
        FOLDER_LABELS[near[known]],
        name,
        name,
        LOOSE,
        split=split,
        problem=source.problem,
    )


def link_families(clips: list[Clip], warn: Warn) -> list[Clip]:
    """Clips whose `original` is the first of their family, as far as their data set tells.

    A loose forgery of unknown origin is a child of the real clip at the same place below the folder
    of its class, or else of the only one whose place ends alike, at least in the name; what was
    made from a forgery is a child of what that was made from.
    """
    linked = _linked(clips, warn)
    parents: dict[str, dict[str, str]] = {}
    for clip in linked:
        parents.setdefault(clip.dataset, {})[clip.video] = clip.original
    return [
        dataclasses.replace(clip, original=_first(clip.original, parents[clip.dataset]))
        for clip in linked
    ]


def _linked(clips: list[Clip], warn: Warn) -> list[Clip]:
    """The clips, loose forgeries with the real clip that they lie like; those of their own data and split go first."""
    reals, linked, unclear = RealPlaces(), [], []
    for clip in clips:
        if clip.label == REAL and clip.dataset == LOOSE:
            place, groups = _place(clip)
            reals.add(place, clip.original, *groups)
    for clip in clips:
        place, groups = _place(clip)
        alone = clip.label == FAKE and clip.dataset == LOOSE and clip.original == clip.video
        like = reals.like(place, *groups) if alone else []
        linked.append(dataclasses.replace(clip, original=like[0]) if len(like) == 1 else clip)
        unclear += [(clip.video, like)] if len(like) > 1 else []
    if unclear:
        name, like = unclear[0]
        warn(
            f"{len(unclear)} forgeries may be of several real clips, e.g. {name} of {like[0]} or"
            f" {like[1]}; each counts as a family of its own, so splits may part it from its"
            " original: lay it below its class as its original lies below real, or give a .csv"
            " list `path,label,original`"
        )
    return linked


def _place(clip: Clip) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Where a clip lies below the folder of its class, without its ending; the groups that it is in, the least first.

    A group is of one split next to the folder of its class, of all that is next to it, or of all
    clips.
    """
    *folders, name = Path(os.path.abspath(clip.path)).parts
    folders = [folder for folder in folders if folder.lower() not in SPLITS]
    known = max(
        (at for at, folder in enumerate(folders) if folder.lower() in FOLDER_LABELS), default=-1
    )
    above = "/".join(folders[: max(known, 0)])
    groups = [(above, clip.split), (above,), ()]
    return (*folders[known + 1 :], Path(name).stem), groups


def _first(name: str, parents: Mapping[str, str]) -> str:
    """Where a chain of originals begins; for a circle the same name, wherever it is entered."""
    seen: list[str] = []
    while name in parents and name not in seen:
        seen.append(name)
        name = parents[name]
    return min(seen[seen.index(name) :]) if name in seen else name


def read_list(path: Path) -> list[Clip]:
    """The clips of a CSV: `path,label[,original][,split][,method][,dataset][,donor]`, with paths relative to it.

    An `original` or a `donor` is a path of the list, a file name or its stem: that of a real clip,
    or of another where no real clip has it. It may be no clip of the list at all.

    Raises:
        DataError: with file and line, for missing columns, unknown labels or splits, files listed
            twice, and originals or donors that may be several clips.
    """
    seen: dict[str, int] = {}
    clips: dict[str, Clip] = {}
    named: dict[str, list[Clip]] = {}
    for line, row in _list_rows(path):
        file, where = os.path.normpath(row["path"]), f"{path}:{line}"
        if file in seen:
            raise DataError(f"{where}: {row['path']} is listed already in line {seen[file]}")
        seen[file] = line
        clips[where] = _listed(row, path, where)
        for name in {file, Path(file).name, Path(file).stem}:
            named.setdefault(name, []).append(clips[where])
    parents = {clip.video: _meant(clip, named, where) for where, clip in clips.items()}
    donors = {
        where: tuple(_meant(clip, named, where, donor) for donor in clip.donors)
        for where, clip in clips.items()
    }
    return [
        dataclasses.replace(clip, original=_first(clip.video, parents), donors=donors[where])
        for where, clip in clips.items()
    ]


def _meant(clip: Clip, named: Mapping[str, list[Clip]], where: str, donor: str = "") -> str:
    """The `video` that a listed clip's original (or donor) is, or its name as it is written where it is not listed."""
    name = os.path.normpath(donor or clip.original)
    found = named.get(name, [])
    reals = [other for other in found if other.label == REAL]
    meant = reals or found
    exact = [other for other in meant if os.path.normpath(other.video) == name]
    exact += [other for other in reals if other is clip and not donor]  # a real clip's own name
    if exact:
        return exact[0].video
    if (
        len(reals) > 1 or len({other.original for other in meant}) > 1
    ):  # forgeries of one original are one family
        names = " or ".join(other.video for other in meant[:2])
        what = f"donor '{donor}'" if donor else f"original '{clip.original}'"
        raise DataError(f"{where}: {what} may be {names}; give the path")
    return meant[0].video if meant else donor or clip.original


def _list_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, row) of each line of the list."""
    try:
        with open_csv(path) as file:
            reader = csv.DictReader(file)
            missing = [name for name in ("path", "label") if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}:1: no column {' or '.join(missing)}; start with"
                    " `path,label[,original]`"
                )
            return [
                (reader.line_num, {key: value or "" for key, value in row.items() if key})
                for row in reader
            ]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error


def _listed(row: dict[str, str], listing: Path, where: str) -> Clip:
    name, split, file = row["path"], row.get("split", "").lower(), listing.parent / row["path"]
    if split and split not in SPLITS:
        raise DataError(
            f"{where}: unknown split '{row['split']}'; choose from train, val, test or nothing"
        )
    problem = _list_problem(name, file)
    return Clip(
        file,
        parse_label(row["label"], where) if row["label"] else UNKNOWN,
        video=name,
        original=row.get("original", "") or name,
        dataset=row.get("dataset", "") or LOOSE,
        method=row.get("method", ""),
        split=SPLITS.get(split, ""),
        donors=(row["donor"],) if row.get("donor") else (),
        problem=f"{where}: {problem}" if problem else "",
    )


def _list_problem(name: str, file: Path) -> str:
    if not name:
        return "the path is empty"
    try:
        find_sources([name])
    except UsageError as error:
        return str(error)
    if file.is_dir():
        return "is a folder; list its files"
    return "" if os.path.lexists(file) else f"{file}: does not exist"


def parse_label(value: object, where: str) -> str:
    """REAL or FAKE from a word of any case, or from 1 (fake) and 0."""
    known = {"real": REAL, "fake": FAKE, "0": REAL, "1": FAKE, "false": REAL, "true": FAKE}
    try:
        return known[str(value).strip().lower()]
    except KeyError as error:
        raise DataError(
            f"{where}: unknown label '{value}'; choose from REAL, FAKE (or 0, 1)"
        ) from error
