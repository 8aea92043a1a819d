"""Lists of clips: CSV files `path,label[,original][,split][,method][,dataset][,donor]`.

Paths are relative to the list.
"""

import csv
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

from deepkd.data.clips import LOOSE, REAL, SPLITS, UNKNOWN, Clip, parse_label
from deepkd.data.originals import find_first
from deepkd.errors import DataError, UsageError
from deepkd.text import TableReader, open_text
from deepkd.video.sources import find_sources


def read_list(path: Path) -> list[Clip]:
    """Read the clips of a list.

    An `original` or a `donor` is the path, the file name or the stem of a clip of the list. Where
    several clips have that name, a real one is meant. It can also be a clip that is not listed.

    Args:
        path: of the CSV file.

    Raises:
        DataError: a column is missing, a label or a split is unknown, a file is listed twice, or an
            original or a donor may be several clips; with file and line.
    """
    seen: dict[str, int] = {}
    clips: dict[str, Clip] = {}
    named: dict[str, list[Clip]] = {}
    for line, row in _read_rows(path):
        file, where = os.path.normpath(row["path"]), f"{path}:{line}"
        if file in seen:
            raise DataError(f"{where}: {row['path']} is listed already in line {seen[file]}")
        seen[file] = line
        clips[where] = _parse_row(row, path, where)
        for name in {file, Path(file).name, Path(file).stem}:
            named.setdefault(name, []).append(clips[where])
    parents = {clip.video: _resolve_name(clip, named, where) for where, clip in clips.items()}
    donors = {
        where: tuple(_resolve_name(clip, named, where, donor) for donor in clip.donors)
        for where, clip in clips.items()
    }
    return [
        dataclasses.replace(clip, original=find_first(clip.video, parents), donors=donors[where])
        for where, clip in clips.items()
    ]


def _resolve_name(clip: Clip, named: Mapping[str, list[Clip]], where: str, donor: str = "") -> str:
    """The `video` of a clip's original (or donor), or the name as written if it is not listed."""
    name = os.path.normpath(donor or clip.original)
    found = named.get(name, [])
    reals = [other for other in found if other.label == REAL]
    meant = reals or found
    exact = [other for other in meant if os.path.normpath(other.video) == name]
    exact += [other for other in reals if other is clip and not donor]  # a real clip's own name
    if exact:
        return exact[0].video
    # Forgeries of one original are one family.
    if len(reals) > 1 or len({other.original for other in meant}) > 1:
        names = " or ".join(other.video for other in meant[:2])
        what = f"donor '{donor}'" if donor else f"original '{clip.original}'"
        raise DataError(f"{where}: {what} may be {names}; give the path")
    return meant[0].video if meant else donor or clip.original


def _read_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """(line, row) of each line of the list."""
    try:
        with open_text(path) as file:
            reader = TableReader(path, file)
            reader.require("path", "label", hint="start with `path,label[,original]`")
            return [
                (line, {key: value or "" for key, value in row.items()})
                for line, row in reader.rows()
            ]
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from error


def _parse_row(row: dict[str, str], listing: Path, where: str) -> Clip:
    name, split, file = row["path"], row.get("split", "").lower(), listing.parent / row["path"]
    if split and split not in SPLITS:
        raise DataError(
            f"{where}: unknown split '{row['split']}'; choose from train, val, test or nothing"
        )
    problem = _find_problem(name, file)
    return Clip(
        file,
        parse_label(row["label"], where) if row["label"].strip() else UNKNOWN,
        video=name,
        original=row.get("original", "") or name,
        dataset=row.get("dataset", "") or LOOSE,
        method=row.get("method", ""),
        split=SPLITS.get(split, ""),
        donors=(row["donor"],) if row.get("donor") else (),
        problem=f"{where}: {problem}" if problem else "",
    )


def _find_problem(name: str, file: Path) -> str:
    if not name:
        return "the path is empty"
    try:
        find_sources([name])
    except UsageError as error:
        return str(error)
    if file.is_dir():
        return "is a folder; list its files"
    return "" if os.path.lexists(file) else f"{file}: does not exist"
