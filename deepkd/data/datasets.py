"""Data sets: what lies on disk, in each data set's own layout, as one list of labelled clips.

A new data set is one pair of functions and one line in `DATASETS`.
"""

import dataclasses
import glob
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from deepkd.data.clips import (
    FAKE,
    REAL,
    Clip,
    Warn,
    link_families,
    lone_clip,
    read_folder,
    read_list,
    videos_below,
)
from deepkd.data.dfdc import is_dfdc, read_dfdc
from deepkd.errors import ConfigError, DataError
from deepkd.video.sources import find_sources


@dataclass(frozen=True)
class Layout:
    """How one data set lies on disk."""

    fits: Callable[[Path], bool]
    """Whether a folder looks like it; looks at names only."""
    read: Callable[[Path, Warn], list[Clip]]


def find_clips(
    names: Iterable[str],
    *,
    dataset: str = "auto",
    stdin: BinaryIO | None = None,
    warn: Warn | None = None,
) -> list[Clip]:
    """The clips behind the names that a user gives, each once, with unique `video` names.

    Args:
        names: data set folders, single files, `.csv` lists (`path,label[,original]`), globs, or `-`
            (from `stdin`).
        dataset: a key of `DATASETS` for folders, or `auto`.
        stdin: where `-` reads paths from, one a line.
        warn: called with what is odd but not wrong, e.g. clips that a list names and the disk
            lacks.

    Raises:
        ConfigError: the data set's name is unknown.
        UsageError: a name is a URL.
        DataError: a data set's own list is damaged, or there are no clips at all.
    """
    if dataset != "auto" and dataset not in DATASETS:
        raise ConfigError(f"unknown dataset '{dataset}'; choose from auto, {', '.join(DATASETS)}")
    names, warn = list(names), warn or _quiet
    batches = (batch for name in names for batch in _batches(name, dataset, stdin, warn))
    clips = link_families(_distinct(batches), warn)
    if not clips:
        raise DataError(
            f"{', '.join(names)}: no videos or images found; give a folder, a file or a .csv list"
        )
    return clips


def _quiet(message: str) -> None:
    pass


def _batches(
    name: str, dataset: str, stdin: BinaryIO | None, warn: Warn
) -> Iterator[tuple[str, list[Clip]]]:
    """(short name of the source, its clips) for every folder, list or file behind one name."""
    path = Path(name)
    if "\0" not in name and path.is_dir():
        layout = detect_layout(path) if dataset == "auto" else dataset
        yield path.resolve().name, DATASETS[layout].read(path, warn)
    elif path.suffix.lower() == ".csv" and path.is_file():
        yield path.stem, read_list(path)
    elif not os.path.lexists(name.replace("\0", "?")) and (
        found := sorted(glob.glob(name, recursive=True))
    ):
        for each in found:
            yield from _batches(each, dataset, stdin, warn)
    else:
        for source in find_sources([name], stdin=stdin):
            yield source.path.absolute().parent.name, [lone_clip(source)]


def detect_layout(folder: Path) -> str:
    """The name of the first data set whose layout fits; `folder` fits always."""
    return next(name for name, layout in DATASETS.items() if layout.fits(folder))


def _distinct(batches: Iterable[tuple[str, list[Clip]]]) -> list[Clip]:
    """Every file once; where two sources use one name for different clips, the later source's names get a prefix."""
    files: set[Path] = set()
    videos: set[str] = set()
    result: list[Clip] = []
    for source, batch in batches:
        fresh = []
        for clip in batch:
            place = clip.path.absolute() if clip.problem else clip.path.resolve()
            if place not in files:
                files.add(place)
                fresh.append(clip)
        for clip in _prefixed(fresh, source, videos):
            result.append(_numbered(clip, videos))
            videos.add(result[-1].video)
    return result


def _prefixed(clips: list[Clip], source: str, taken: set[str]) -> list[Clip]:
    """The clips of one source, all renamed if one of their names is taken by another source."""
    prefix, count = "", 1
    while any(prefix + clip.video in taken for clip in clips):
        prefix, count = (f"{source}/" if count == 1 else f"{source}-{count}/"), count + 1
    return [_renamed(clip, prefix) for clip in clips] if prefix else clips


def _renamed(clip: Clip, prefix: str) -> Clip:
    donors = tuple(prefix + donor for donor in clip.donors)
    return dataclasses.replace(
        clip, video=prefix + clip.video, original=prefix + clip.original, donors=donors
    )


def _numbered(clip: Clip, taken: set[str]) -> Clip:
    """The clip under a name of its own, if its source has two clips of one name; they stay one family."""
    video, count = clip.video, 1
    while video in taken:
        video, count = f"{clip.video}~{count + 1}", count + 1
    return clip if video == clip.video else dataclasses.replace(clip, video=video)


# FaceForensics++

_FF_REAL, _FF_FAKE = "original_sequences", "manipulated_sequences"
_FF_COMPRESSIONS = ("raw", "c0", "c23", "c40")


def _ff_root(path: Path) -> Path | None:
    """The folder that holds the sequences, also when a folder inside them is given."""
    path = path.resolve()
    if any((path / name).is_dir() for name in (_FF_REAL, _FF_FAKE)):
        return path
    return next(
        (folder.parent for folder in (path, *path.parents) if folder.name in (_FF_REAL, _FF_FAKE)),
        None,
    )


def _read_faceforensics(folder: Path, warn: Warn) -> list[Clip]:
    """`original_sequences/SOURCE/COMPRESSION/videos/`, `manipulated_sequences/METHOD/COMPRESSION/videos/`."""
    root = _ff_root(folder)
    if root is None:
        raise DataError(
            f"{folder}: has no {_FF_REAL} or {_FF_FAKE}; give the FaceForensics++ folder"
        )
    splits = _ff_splits(root)
    tops = [root / _FF_REAL, root / _FF_FAKE] if root == folder.resolve() else [folder.resolve()]
    clips = (
        _ff_clip(path, root, splits)
        for path in videos_below([top for top in tops if top.is_dir()], warn)
    )
    return [clip for clip in clips if clip]


def _ff_clip(path: Path, root: Path, splits: dict[str, str]) -> Clip | None:
    kind, method, *rest = (*path.relative_to(root).parts[:-1], "")
    compression = next((part for part in rest if part in _FF_COMPRESSIONS), None)
    if compression is None:  # the masks lie in the same tree
        return None
    name, stem, suffix = path.name, path.stem, path.suffix
    target, donor, scene = _ff_names(stem) if kind == _FF_FAKE else (stem, "", "")
    people = (target, donor) if scene else re.findall(r"^(\d+)__", stem)
    return Clip(
        path,
        FAKE if kind == _FF_FAKE else REAL,
        video=(
            f"{method if kind == _FF_FAKE or method != 'youtube' else 'original'}/{compression}/{name}"
        ),
        original=(f"{target}__{scene}" if scene else target) + suffix,
        dataset="faceforensics",
        method=method if kind == _FF_FAKE else "",
        split=splits.get(target, ""),
        donors=(donor + suffix,) if donor and not scene else (),
        identities=tuple(f"actor-{person}" for person in people),
    )


def _ff_names(stem: str) -> tuple[str, str, str]:
    """Target, donor and (DeepFakeDetection only) scene: `953_974`, or `01_02__walking_outside__YVGY8LOK`."""
    match = re.fullmatch(r"(\d+)_(\d+)(?:__(.+)__\w+)?", stem)
    return (match[1], match[2], match[3] or "") if match else (stem, "", "")


def _ff_splits(root: Path) -> dict[str, str]:
    """Clip number -> split, from the official `{train,val,test}.json`: lists of pairs."""
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        for folder in (root, root / "splits", root / "dataset" / "splits"):
            path = folder / f"{split}.json"
            if path.is_file():
                splits |= dict.fromkeys(_ff_numbers(path), split)
    return splits


def _ff_numbers(path: Path) -> list[str]:
    hint = 'not a list of pairs such as ["953", "974"]'
    try:
        pairs = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {hint} ({error})") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, list) for pair in pairs):
        raise DataError(f"{path}: {hint}")
    return [str(number) for pair in pairs for number in pair]


# Celeb-DF

_CELEB = {"celeb-real": REAL, "youtube-real": REAL, "celeb-synthesis": FAKE}
_CELEB_TEST = "List_of_testing_videos.txt"


def _celeb_folders(root: Path) -> list[Path]:
    try:
        return sorted(
            path for path in root.iterdir() if path.name.lower() in _CELEB and path.is_dir()
        )
    except OSError:
        return []


def _read_celeb(root: Path, warn: Warn) -> list[Clip]:
    """`Celeb-real/`, `YouTube-real/`, `Celeb-synthesis/`; `List_of_testing_videos.txt` has 1 for REAL."""
    folders = _celeb_folders(root)
    if not folders:
        raise DataError(
            f"{root}: has no Celeb-real, YouTube-real or Celeb-synthesis; give the Celeb-DF folder"
        )
    tests = _celeb_tests(root)
    clips = [_celeb_clip(path, root, tests) for path in videos_below(folders, warn)]
    here = {clip.video.partition("/")[0].lower() + "/" + clip.path.name for clip in clips}
    missing = [name for name in ("/".join(key) for key in tests) if name not in here]
    if missing:
        warn(
            f"{root / _CELEB_TEST}: {len(missing)} of {len(tests)} clips are not on disk, e.g."
            f" {missing[0]}; they are left out"
        )
    return clips


def _celeb_clip(path: Path, root: Path, tests: dict[tuple[str, str], str]) -> Clip:
    folder, name = path.relative_to(root).parts[0], path.name
    label = _CELEB[folder.lower()]
    listed = tests.get((folder.lower(), name))
    if listed not in (None, label):
        raise DataError(
            f"{root / _CELEB_TEST}: {folder}/{name} is listed as {listed}; in this list 1 means"
            " REAL"
        )
    fake = re.fullmatch(r"(id\d+)_(id\d+)_(\d+)", path.stem) if label == FAKE else None
    people = fake.group(1, 2) if fake else re.findall(r"^(id\d+)_", path.stem)
    return Clip(
        path,
        label,
        video=f"{folder}/{name}",
        original=f"Celeb-real/{fake[1]}_{fake[3]}{path.suffix}" if fake else f"{folder}/{name}",
        dataset="celeb-df",
        method="Celeb-synthesis" if label == FAKE else "",
        split="test" if listed else "",
        identities=tuple(people),
    )


def _celeb_tests(root: Path) -> dict[tuple[str, str], str]:
    """(folder in lower case, file name) -> label, of the official test videos."""
    path = root / _CELEB_TEST
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    tests = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            flag, _, name = line.strip().partition(" ")
            if flag not in ("0", "1") or "/" not in name:
                raise DataError(f"{path}:{number}: not a line such as `1 YouTube-real/00170.mp4`")
            folder = PurePosixPath(name.strip())
            tests[(folder.parts[0].lower(), folder.name)] = REAL if flag == "1" else FAKE
    return tests


DATASETS = {
    "faceforensics": Layout(lambda folder: _ff_root(folder) is not None, _read_faceforensics),
    "celeb-df": Layout(lambda folder: bool(_celeb_folders(folder)), _read_celeb),
    "dfdc": Layout(is_dfdc, read_dfdc),
    "folder": Layout(lambda folder: True, read_folder),
}
"""Name -> layout, in the order in which `auto` tries them."""
