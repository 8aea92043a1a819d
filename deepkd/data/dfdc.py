"""The Deepfake Detection Challenge: its parts, test set and preview, each with a list of its clips."""

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from deepkd.data.clips import FAKE, SPLITS, Clip, Warn, holds_classes, parse_label, videos_below
from deepkd.errors import DataError
from deepkd.text import csv_rows, open_csv
from deepkd.video.sources import find_sources

DFDC_LISTS = ("metadata.json", "labels.csv", "dataset.json")
"""What the lists are called, the one that counts where a folder has several first."""
_HINT = "repair it, or use --dataset folder to go without it"


def is_dfdc(root: Path) -> bool:
    """Whether a folder has such a list, or parts that have; folders of classes without a list above them go first."""
    if any((root / name).is_file() for name in DFDC_LISTS):
        return True
    return not holds_classes(root) and bool(_lists(root))


def _lists(root: Path, depth: int = 3) -> list[Path]:
    """The label files at most `depth` folders below, those of the nearest folder of each branch only."""
    try:
        entries = sorted(os.scandir(root), key=lambda entry: entry.name)
    except OSError:
        return []
    here = [Path(entry.path) for entry in entries if entry.name in DFDC_LISTS and entry.is_file()]
    if here or not depth:
        return sorted(here, key=lambda path: DFDC_LISTS.index(path.name))[:1]
    return [
        path for entry in entries if entry.is_dir() for path in _lists(Path(entry.path), depth - 1)
    ]


def read_dfdc(root: Path, warn: Warn) -> list[Clip]:
    """Train parts and Kaggle's sample (`metadata.json`), the test set (`labels.csv`), the preview (`dataset.json`)."""
    lists = _lists(root)
    if not lists:
        raise DataError(
            f"{root}: has no {', '.join(DFDC_LISTS)}; give a DFDC folder, or --dataset folder"
        )
    clips = [clip for path in lists for clip in _part(path, warn)]
    unlisted = _unlisted(root, clips)
    if unlisted:
        warn(
            f"{root}: {len(unlisted)} videos are in none of its lists ({', '.join(DFDC_LISTS)}),"
            f" e.g. {unlisted[0]}; they are left out: list them, give their folders by themselves,"
            " or use --dataset folder"
        )
    return clips


def _unlisted(root: Path, clips: Iterable[Clip]) -> list[Path]:
    """The videos in a folder and below that are none of the clips, also by another path."""
    listed = {clip.path for clip in clips}
    others = [path for path in videos_below([root], lambda problem: None) if path not in listed]
    places = {os.path.realpath(path) for path in listed} if others else set()
    return [path for path in others if os.path.realpath(path) not in places]


def _part(path: Path, warn: Warn) -> list[Clip]:
    rows = _rows(path)
    moved: dict[str, Path] | None = None
    clips, missing = [], []
    for name, row in rows.items():
        file = path.parent / name
        if not os.path.lexists(file):
            if moved is None:
                moved = _moved(path.parent, rows)
            file = moved.get(name, file)
        if os.path.isdir(file):
            raise DataError(f"{path}: '{name}' is a folder, not a clip; {_HINT}")
        if os.path.lexists(file):
            clips.append(_clip(file, name, row, path))
        else:
            missing.append(name)
    if missing:
        warn(
            f"{path}: {len(missing)} of {len(rows)} clips are not on disk, e.g. {missing[0]}; they"
            " are left out"
        )
    return clips


def _moved(root: Path, listed: Iterable[str]) -> dict[str, Path]:
    """Name of a file in a subfolder that no list names as it lies there -> its path; one of each name."""
    known = {root / name for name in listed}
    found: dict[str, list[Path]] = defaultdict(list)
    for source in find_sources([str(root)]):
        if source.path not in known:
            found[source.path.name].append(source.path)
    return {name: paths[0] for name, paths in found.items() if len(paths) == 1}


def _rows(path: Path) -> dict[str, dict[str, Any]]:
    """What a list says of each of its clips, by name."""
    rows: dict[str, dict[str, Any]] = {}
    seen: dict[str, str] = {}
    for line, name, row in _csv_rows(path) if path.suffix == ".csv" else _json_rows(path):
        where, file = f"{path}:{line}" if line else str(path), os.path.normpath(name)
        if file in seen:
            raise DataError(f"{where}: '{name}' is listed already {seen[file]}; remove one of them")
        seen[file] = f"in line {line}" if line else f"as '{name}'"
        rows[name] = row
    return rows


def _csv_rows(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """(line, name of a clip, what it says) of a `labels.csv`."""
    split = "val" if "valid" in path.parent.name.lower() else "test"
    try:
        with open_csv(path) as file:
            reader = csv.DictReader(file)
            if not {"filename", "label"} <= set(reader.fieldnames or ()):
                raise DataError(f"{path}:1: needs the columns filename,label; {_HINT}")
            for line, row in csv_rows(path, reader):
                name, label = row["filename"], row["label"]
                if name is None or label is None:
                    raise DataError(f"{path}:{line}: the line is too short; {_HINT}")
                yield line, name, {"label": label, "split": split}
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: not readable as CSV ({error}); {_HINT}") from error


def _json_rows(path: Path) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """Likewise of a `metadata.json` or `dataset.json`, without lines."""
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
    """A table of JSON that remembers the names that it has more than once, of which the last one would count."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.twice = [
            name for name, count in Counter(name for name, _ in pairs).items() if count > 1
        ]


def _clip(file: Path, name: str, row: dict[str, Any], listing: Path) -> Clip:
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
