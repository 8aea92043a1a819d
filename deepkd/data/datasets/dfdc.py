"""DFDC, the Deepfake Detection Challenge: its parts, test set and preview, each with a list."""

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from deepkd.data.clips import FAKE, SPLITS, Clip, Layout, Warn, find_videos, parse_label
from deepkd.data.datasets.folders import has_class_folders
from deepkd.errors import DataError
from deepkd.text import TableReader, open_text
from deepkd.video.sources import find_sources

LIST_NAMES = ("metadata.json", "labels.csv", "dataset.json")
"""Names of the lists. Where a folder has several, the first counts."""
_HINT = "repair it, or use --dataset folder to go without it"


def is_dfdc(root: Path) -> bool:
    """Whether a folder has such a list, or has no folders of classes but a list further below."""
    if any((root / name).is_file() for name in LIST_NAMES):
        return True
    return not has_class_folders(root) and bool(_find_lists(root))


def _find_lists(root: Path, depth: int = 3) -> list[Path]:
    """Find the lists at most `depth` folders below, only the nearest of each branch."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return []
    here = [Path(entry.path) for entry in entries if entry.name in LIST_NAMES and entry.is_file()]
    if here or not depth:
        return sorted(here, key=lambda path: LIST_NAMES.index(path.name))[:1]
    return [
        path
        for entry in entries
        if entry.is_dir()
        for path in _find_lists(Path(entry.path), depth - 1)
    ]


def read_dfdc(root: Path, warn: Warn) -> list[Clip]:
    """Read the clips of all lists.

    Train parts and Kaggle's sample have a `metadata.json`, the test set a `labels.csv`, the preview
    a `dataset.json`. Clips that are not on disk and videos that no list names are left out with a
    warning.
    """
    lists = _find_lists(root)
    if not lists:
        raise DataError(
            f"{root}: has no {', '.join(LIST_NAMES)}; give a DFDC folder, or --dataset folder"
        )
    clips = [clip for path in lists for clip in _read_part(path, warn)]
    unlisted = _find_unlisted(root, clips)
    if unlisted:
        warn(
            f"{root}: {len(unlisted)} videos are in none of its lists ({', '.join(LIST_NAMES)}),"
            f" e.g. {unlisted[0]}; they are left out: list them, give their folders by themselves,"
            " or use --dataset folder"
        )
    return clips


def _find_unlisted(root: Path, clips: Iterable[Clip]) -> list[Path]:
    """Find the videos in a folder and below that are none of the clips, by any path."""
    listed = {clip.path for clip in clips}
    others = [path for path in find_videos([root], lambda problem: None) if path not in listed]
    places = {os.path.realpath(path) for path in listed} if others else set()
    return [path for path in others if os.path.realpath(path) not in places]


def _read_part(path: Path, warn: Warn) -> list[Clip]:
    rows = _read_rows(path)
    moved: dict[str, Path] | None = None
    clips, missing = [], []
    for name, row in rows.items():
        file = path.parent / name
        if not os.path.lexists(file):
            if moved is None:
                moved = _find_moved(path.parent, rows)
            file = moved.get(name, file)
        if os.path.isdir(file):
            raise DataError(f"{path}: '{name}' is a folder, not a clip; {_HINT}")
        if os.path.lexists(file):
            clips.append(_make_clip(file, name, row, path))
        else:
            missing.append(name)
    if missing:
        warn(
            f"{path}: {len(missing)} of {len(rows)} clips are not on disk, e.g. {missing[0]}; they"
            " are left out"
        )
    return clips


def _find_moved(root: Path, listed: Iterable[str]) -> dict[str, Path]:
    """Find listed files in subfolders: name -> path, for each name that only one file has."""
    known = {root / name for name in listed}
    found: dict[str, list[Path]] = defaultdict(list)
    for source in find_sources([str(root)]):
        if source.path not in known:
            found[source.path.name].append(source.path)
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def _read_rows(path: Path) -> dict[str, dict[str, Any]]:
    """Read a list: name of a clip -> what the list says about it."""
    rows: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for line, name, row in _read_csv(path) if path.suffix == ".csv" else _read_json(path):
        where, file = f"{path}:{line}" if line else str(path), os.path.normpath(name)
        if file in seen:
            raise DataError(f"{where}: '{name}' is listed already {seen[file]}; remove one of them")
        seen[file] = f"in line {line}" if line else f"as '{name}'"
        rows[name] = row
    return rows


def _read_csv(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Read a `labels.csv`: (line, name of a clip, what it says)."""
    split = "val" if "valid" in path.parent.name.lower() else "test"
    try:
        with open_text(path) as file:
            reader = TableReader(path, file)
            if not {"filename", "label"} <= {*reader.names}:
                raise DataError(
                    f"{path}:1: needs the columns filename,label, and has"
                    f" {','.join(reader.names) or 'none'}; {_HINT}"
                )
            for line, row in reader.rows():
                name, label = row["filename"], row["label"]
                if name is None or label is None:
                    raise DataError(f"{path}:{line}: the line is too short; {_HINT}")
                yield line, name, {"label": label, "split": split}
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not readable as CSV ({error}); {_HINT}") from error


def _read_json(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Read a `metadata.json` or `dataset.json`: (0, name of a clip, what it says)."""
    try:
        table = json.loads(path.read_bytes(), object_pairs_hook=_Table)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); {_HINT}") from error
    if not isinstance(table, _Table) or not all(isinstance(row, _Table) for row in table.values()):
        raise DataError(f"{path}: not a table of clips, {{name: {{label: ...}}}}; {_HINT}")
    if table.twice:
        raise DataError(f"{path}: '{table.twice[0]}' is listed twice; remove one of them")
    for name, row in table.items():
        if row.twice:
            raise DataError(f"{path}: '{name}' has '{row.twice[0]}' twice; remove one of them")
        yield 0, name, row


class _Table(dict[str, Any]):
    """A JSON table that knows which names it has twice; a dict keeps only the last."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = [
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        ]


def _make_clip(file: Path, name: str, row: dict[str, Any], listing: Path) -> Clip:
    label = parse_label(row.get("label", row.get("is_fake")), f"{listing}: {name}")
    split = str(row.get("split") or row.get("set") or "").lower()
    people = [row.get(key) for key in ("target_id", "swapped_id")]
    method = PurePosixPath(name).parts[0] if label == FAKE and "/" in name else ""
    return Clip(
        file,
        label,
        video=name,
        original=(
            str(row.get("original") or row.get("original_name") or name) if label == FAKE else name
        ),
        dataset="dfdc",
        method=method,
        split=SPLITS.get(split, ""),
        identities=tuple(str(person) for person in people if person is not None),
    )


DFDC = Layout(fits=is_dfdc, read=read_dfdc)
