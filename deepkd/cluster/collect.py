"""Collect: the parts of all shards as one report, with what is missing in it."""

import hashlib
import json
import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepkd.cluster.parts import PartFiles
from deepkd.cluster.reports import Add, check_report, open_report
from deepkd.errors import DataError, OutputError
from deepkd.outputs import check_outputs, scratch
from deepkd.report.csv import make_row
from deepkd.scoring.verdict import Label

NAMED = 20
"""Inputs and parts of a kind that are named at most; the rest is counted."""


class Names:
    """Names of inputs or parts: the first ones, and how many there are."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []

    def add(self, name: str) -> None:
        """Count one, and keep its name if it is one of the first."""
        self.count += 1
        if self.count <= NAMED:
            self.first.append(name)

    def join(self, others: "Names") -> None:
        """Count others, too."""
        self.first = (self.first + others.first)[:NAMED]
        self.count += others.count


@dataclass
class Collected:
    """What the parts hold, and what they lack."""

    tally: Counter[str] = field(default_factory=Counter)
    """Verdict -> inputs."""
    parts: int = 0
    models: set[str] = field(default_factory=set)
    """Name and hash of each model that judged."""
    missing: Names = field(default_factory=Names)
    """Parts that no folder holds, such as "part 3 of 4"."""
    unfinished: Names = field(default_factory=Names)
    """Files of parts whose run has not come to its end."""
    damaged: Names = field(default_factory=Names)
    """Lines that are no verdicts, as FILE:LINE."""
    twice: Names = field(default_factory=Names)
    """Inputs that were judged more than once; the later verdict counts."""
    failed: Names = field(default_factory=Names)
    """Inputs that could not be judged, with the reason."""

    @property
    def exit_code(self) -> int:
        """0: everything was judged; 3: something is missing or failed."""
        lacks = (self.missing, self.unfinished, self.damaged, self.failed)
        return 3 if any(names.count for names in lacks) else 0


def collect(
    folders: Sequence[Path], report: Path | None = None, *, overwrite: bool = False
) -> Collected:
    """Join the parts in some folders. An input that was judged twice comes once.

    The later verdict counts: within a part the later line, else that of the folder that is named
    later, and within a folder that of the part that comes later by name.

    Args:
        folders: where `deepkd detect --out` wrote.
        report: file to write; its suffix is one of `REPORTS` of `deepkd.cluster.reports`.
        overwrite: the report may be replaced.

    Raises:
        UsageError: the suffix is unknown, or takes a library that is not installed.
        DataError: a folder cannot be read, there are no parts, or one changes meanwhile.
        OutputError: the report exists, is one of the parts, or cannot be written.
    """
    if report:
        check_report(report)
    parts = find_parts(folders)
    read = [file for files in parts for file in (files.lines, files.journal)]
    check_outputs(files=[report], inputs=read, overwrite=overwrite)
    collected = Collected(parts=len(parts))
    _check_parts(parts, collected)
    spans = [_Span(files.lines) for files in parts]
    try:
        with scratch() as folder, closing(_Replaced(folder / "inputs.sqlite")) as replaced:
            _find_replaced(spans, replaced, collected)
            with open_report(report) if report else nullcontext() as add:
                _join(spans, replaced.numbers(), add, collected)
    except sqlite3.Error as error:
        raise OutputError(
            f"temporary files cannot be written ({error}); make room for them, or name another"
            " folder in TMPDIR"
        ) from error
    return collected


def find_parts(folders: Iterable[Path]) -> list[PartFiles]:
    """The parts in some folders.

    Raises:
        DataError: a folder cannot be read, or there are none.
    """
    parts: list[PartFiles] = []
    for folder in dict.fromkeys(folders):
        try:
            parts += PartFiles.find(folder)
        except OSError as error:
            raise DataError(f"{folder}: cannot be read ({error.strerror})") from error
    if not parts:
        raise DataError(
            f"{', '.join(map(str, folders))}: no parts; name a folder that 'deepkd detect --out'"
            " wrote to"
        )
    return parts


def _check_parts(parts: Sequence[PartFiles], collected: Collected) -> None:
    """Find the parts that are missing or unfinished in all of the folders."""
    finished = {files.shard for files in parts if files.is_finished()}
    present: dict[int, set[int]] = {}
    for files in parts:
        present.setdefault(files.shard.count, set()).add(files.shard.number)
        if files.shard not in finished:
            collected.unfinished.add(str(files.lines))
    for count, numbers in sorted(present.items()):
        for number in range(1, count + 1):
            if number not in numbers:
                collected.missing.add(f"part {number} of {count}")


class _Span:
    """The lines that a part has now; a run may add others meanwhile."""

    def __init__(self, path: Path) -> None:
        self.path = path
        status = path.stat()
        self._inode, self._end = status.st_ino, status.st_size

    def __iter__(self) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._inode or status.st_size < self._end:
                raise DataError(f"{self.path}: a run replaced it meanwhile; collect again")
            end = 0
            for line in file:
                end += len(line)
                if end > self._end or not line.endswith(b"\n"):
                    return
                yield line


class _Replaced:
    """The numbers of the lines that a later one replaces; on disk, since there may be millions."""

    def __init__(self, path: Path) -> None:
        self._base = sqlite3.connect(path, isolation_level=None)
        for command in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE latest (input BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID",
            "CREATE TABLE replaced (number INTEGER PRIMARY KEY)",
            "BEGIN",
        ):
            self._base.execute(command)

    def add(self, path: str, number: int) -> bool:
        """Note the line of an input.

        Returns:
            Whether it replaces an earlier one.
        """
        key = hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()[:16]
        query = "SELECT number FROM latest WHERE input = ?"
        earlier = self._base.execute(query, (key,)).fetchone()
        if earlier:
            self._base.execute("INSERT INTO replaced VALUES (?)", earlier)
        self._base.execute("INSERT OR REPLACE INTO latest VALUES (?, ?)", (key, number))
        return earlier is not None

    def numbers(self) -> Iterator[int]:
        """The numbers of the replaced lines, in order."""
        query = "SELECT number FROM replaced ORDER BY number"
        return (number for (number,) in self._base.execute(query))

    def close(self) -> None:
        """Close the file."""
        self._base.close()


def _entries(spans: Iterable[_Span]) -> Iterator[tuple[str, bytes, dict[str, Any] | None]]:
    """The place (FILE:LINE), the bytes and the values of each line; None if it is no verdict."""
    for span in spans:
        for number, line in enumerate(span, 1):
            yield f"{span.path}:{number}", line, _parse(line)


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line)
        make_row(entry, entry["path"] + entry["verdict"] + entry["reason"])
        _ = entry["model"]["name"] + entry["model"]["sha256"]
    except (ValueError, KeyError, TypeError):
        return None
    return dict(entry)


def _find_replaced(spans: Sequence[_Span], replaced: _Replaced, collected: Collected) -> None:
    for number, (place, _, entry) in enumerate(_entries(spans)):
        if entry is None:
            collected.damaged.add(place)
        elif replaced.add(entry["path"], number):
            collected.twice.add(entry["path"])


def _join(
    spans: Sequence[_Span], replaced: Iterator[int], add: Add | None, collected: Collected
) -> None:
    """Count and write the lines that no later one replaces."""
    skipped = next(replaced, None)
    for number, (_, line, entry) in enumerate(_entries(spans)):
        if number == skipped:
            skipped = next(replaced, None)
        elif entry is not None:
            _count(entry, collected)
            if add:
                add(line, entry)


def _count(entry: dict[str, Any], collected: Collected) -> None:
    collected.tally[entry["verdict"]] += 1
    collected.models.add(f"{entry['model']['name']} ({entry['model']['sha256'][:8]})")
    if entry["verdict"] == Label.ERROR:
        collected.failed.add(f"{entry['path']}: {entry['reason']}")
