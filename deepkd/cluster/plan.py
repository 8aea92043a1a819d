"""The plan of a run on a cluster: its inputs on disk, cut into shards of about equal bytes."""

import math
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from deepkd.shards import Shard
from deepkd.video.sources import Source, as_source

SHARD_BYTES = 10**9
"""Bytes of the inputs of a shard: about 200 clips of ten seconds, some minutes of one core."""
SHARDS_PER_SLOT = 4
"""Shards for each one that can run at the same time, at least, so that all machines have work."""


class Share(NamedTuple):
    """The inputs of one shard."""

    shard: Shard
    sources: tuple[Source, ...]


class Plan:
    """The inputs of all shards, in a file, since there may be millions."""

    def __init__(self, file: Path) -> None:
        """Begin a plan in a new file."""
        self._base = sqlite3.connect(file, isolation_level=None)
        for command in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "CREATE TABLE inputs (path BLOB, problem TEXT, bytes INTEGER)",
        ):
            self._base.execute(command)
        self.count = self.bytes = 0

    def add(self, sources: Iterable[Source]) -> None:
        """Take the inputs, one by one."""
        self._base.execute("BEGIN")
        self._base.executemany("INSERT INTO inputs VALUES (?, ?, ?)", map(self._row, sources))
        self._base.execute("COMMIT")

    def _row(self, source: Source) -> tuple[bytes, str, int]:
        size = _size(source)
        self.count += 1
        self.bytes += size
        return os.fsencode(source.path), source.problem, size

    def shards_for(self, slots: int) -> int:
        """How many shards to cut, when this many can run at the same time."""
        wanted = max(self.bytes / SHARD_BYTES, min(self.count / 4, SHARDS_PER_SLOT * slots), 1)
        return math.ceil(wanted)

    def cut(self, count: int) -> Iterator[Share]:
        """All shards, those with the most bytes first; each input is in that of its path's hash."""
        self._base.create_function(
            "shard", 1, lambda path: Shard.of(os.fsdecode(path), count).number, deterministic=True
        )
        self._base.execute("CREATE TABLE cut AS SELECT shard(path) AS shard, * FROM inputs")
        self._base.execute("CREATE INDEX by_shard ON cut (shard)")
        query = "SELECT shard FROM cut GROUP BY shard ORDER BY SUM(bytes) DESC"
        filled = [number for (number,) in self._base.execute(query)]
        for number in [*filled, *sorted({*range(1, count + 1)} - {*filled})]:
            yield Share(Shard(number, count), tuple(self._sources(number)))

    def _sources(self, shard: int) -> Iterator[Source]:
        query = "SELECT path, problem FROM cut WHERE shard = ? ORDER BY rowid"
        for path, problem in self._base.execute(query, (shard,)):
            name = os.fsdecode(path)
            yield Source(Path(name), problem) if problem else as_source(name)

    def close(self) -> None:
        """Close the file."""
        self._base.close()


def _size(source: Source) -> int:
    """Bytes of an input; 0 where they are unknown."""
    try:
        return 0 if source.problem else os.stat(source.path).st_size
    except (OSError, ValueError):
        return 0
