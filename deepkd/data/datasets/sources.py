"""Sources: the folders, files and lists that a user names, read as one list of labelled clips."""

import dataclasses
import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from deepkd.data.clips import Clip, Warn
from deepkd.data.datasets.folders import read_file
from deepkd.data.datasets.lists import read_list
from deepkd.data.originals import link_families
from deepkd.errors import ConfigError, DataError
from deepkd.settings.choices import LAYOUTS
from deepkd.stores import is_stored
from deepkd.video.sources import find_sources


def find_clips(
    names: Iterable[str],
    *,
    dataset: str = "auto",
    stdin: BinaryIO | None = None,
    warn: Warn | None = None,
) -> list[Clip]:
    """Find the clips behind the names that a user gives, each once, with unique `video` names.

    Args:
        names: data set folders, single files, `.csv` lists (`path,label[,original]`), globs, or `-`
            (from `stdin`).
        dataset: a name of `LAYOUTS` for folders, or `auto`.
        stdin: where `-` reads paths from, one a line.
        warn: called with each warning, e.g. of clips that a list names and that are not on disk.

    Raises:
        ConfigError: the data set's name is unknown.
        UsageError: a name is a URL.
        DataError: a data set's own list is damaged, or there are no clips at all.
    """
    if dataset != "auto" and dataset not in LAYOUTS:
        raise ConfigError(f"unknown dataset '{dataset}'; choose from auto, {', '.join(LAYOUTS)}")
    names, warn = list(names), warn or _ignore
    batches = (batch for name in names for batch in _read_batches(name, dataset, stdin, warn))
    clips = link_families(_make_distinct(batches), warn)
    if not clips:
        raise DataError(
            f"{', '.join(names)}: no videos or images found; give a folder, a file or a .csv list"
        )
    return clips


def _ignore(message: str) -> None:
    pass


def _read_batches(
    name: str, dataset: str, stdin: BinaryIO | None, warn: Warn
) -> Iterator[tuple[str, list[Clip]]]:
    """(short name of the source, its clips) for every folder, list or file behind one name."""
    path = Path(name)
    if "\0" not in name and path.is_dir():
        layout = detect_layout(path) if dataset == "auto" else dataset
        yield path.resolve().name, LAYOUTS.load(layout).read(path, warn)
    elif path.suffix.lower() == ".csv" and path.is_file():
        yield path.stem, read_list(path)
    elif not os.path.lexists(name.replace("\0", "?")) and (
        found := sorted(glob.glob(name, recursive=True))
    ):
        for each in found:
            yield from _read_batches(each, dataset, stdin, warn)
    else:
        for source in find_sources([name], stdin=stdin):
            yield source.path.absolute().parent.name, [read_file(source)]


def detect_layout(folder: Path) -> str:
    """The name of the first layout that fits a folder; `folder` always fits."""
    return next(name for name in LAYOUTS if LAYOUTS.load(name).fits(folder))


def _make_distinct(batches: Iterable[tuple[str, list[Clip]]]) -> list[Clip]:
    """Each file once; names that an earlier source uses for other clips get a prefix."""
    files: set[Path] = set()
    videos: set[str] = set()
    result: list[Clip] = []
    for source, batch in batches:
        fresh = []
        for clip in batch:
            is_kept = clip.problem or is_stored(clip.path)
            place = clip.path.absolute() if is_kept else clip.path.resolve()
            if place not in files:
                files.add(place)
                fresh.append(clip)
        for clip in _add_prefix(fresh, source, videos):
            result.append(_number(clip, videos))
            videos.add(result[-1].video)
    return result


def _add_prefix(clips: list[Clip], source: str, taken: set[str]) -> list[Clip]:
    """Rename all clips of a source if one of their names is taken by another source."""
    prefix, count = "", 1
    while any(prefix + clip.video in taken for clip in clips):
        prefix, count = (f"{source}/" if count == 1 else f"{source}-{count}/"), count + 1
    return [_rename(clip, prefix) for clip in clips] if prefix else clips


def _rename(clip: Clip, prefix: str) -> Clip:
    donors = tuple(prefix + donor for donor in clip.donors)
    return dataclasses.replace(
        clip, video=prefix + clip.video, original=prefix + clip.original, donors=donors
    )


def _number(clip: Clip, taken: set[str]) -> Clip:
    """Number a clip whose name its own source has twice; both stay one family."""
    video, count = clip.video, 1
    while video in taken:
        video, count = f"{clip.video}~{count + 1}", count + 1
    return clip if video == clip.video else dataclasses.replace(clip, video=video)
