"""Reports of collected verdicts: JSON Lines, CSV and Parquet.

A report is a function that opens a file, and a line in `REPORTS`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from deepkd.errors import OutputError, UsageError
from deepkd.outputs import scratch, write_whole
from deepkd.report.csv import COLUMNS, make_row
from deepkd.text import csv_writer, first_sentence

LINE_BYTES = 16 * 2**20
"""What DuckDB takes of a line at least; longer ones take more memory."""
FRAME = "STRUCT(t_s DOUBLE, box DOUBLE[], score DOUBLE, face_probability DOUBLE)"
TRACK = (
    "STRUCT(id BIGINT, verdict VARCHAR, score DOUBLE, first_s DOUBLE, last_s DOUBLE,"
    f" frames {FRAME}[], person BIGINT, evidence VARCHAR)"
)
COLUMN_TYPES = {
    "path": "VARCHAR",
    "verdict": "VARCHAR",
    "score": "DOUBLE",
    "reason": "VARCHAR",
    "duration_s": "DOUBLE",
    "fps": "DOUBLE",
    "frames_sampled": "BIGINT",
    "tracks": f"{TRACK}[]",
    "timing_ms": "STRUCT(total DOUBLE)",
    "model": "STRUCT(name VARCHAR, sha256 VARCHAR)",
    "evidence": "VARCHAR",
    "shots": "STRUCT(suspicious_s DOUBLE[][])[]",
    "provenance": "STRUCT(state VARCHAR)",
}
"""Key of a line -> its type in DuckDB; a key that a line of an earlier version lacks is null."""
QUERY = """
COPY (
  SELECT path, verdict, score, reason, people, duration_s, fps, frames_sampled,
    timing_ms.total AS total_ms, model.name AS model, model.sha256 AS model_sha256,
    person.id AS person, person.verdict AS person_verdict, person.score AS person_score,
    person.first_s AS first_s, person.last_s AS last_s, person.frames AS frames,
    persons, evidence, suspicious_s, provenance.state AS provenance,
    coalesce(person.person, person.id) AS person_number, person.evidence AS person_evidence
  FROM (
    SELECT *, len(tracks) AS people,
      len(list_distinct([coalesce(one.person, one.id) FOR one IN tracks])) AS persons,
      flatten([one.suspicious_s FOR one IN shots]) AS suspicious_s,
      unnest(CASE WHEN len(tracks) = 0 THEN [NULL] ELSE tracks END) AS person
    FROM read_json({lines}, format = 'newline_delimited', columns = {columns},
      maximum_object_size = {line_bytes})
  )
) TO {out} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 8192)
"""
"""One row per person; an input without people has one row, whose person is null. A group of rows is
held in memory."""


Add = Callable[[bytes, Mapping[str, Any]], object]
"""Takes a line, and what is in it."""


@contextmanager
def write_json_lines(path: Path) -> Iterator[Add]:
    """The lines as they are."""
    with path.open("wb") as file:
        yield lambda line, entry: file.write(line)


@contextmanager
def write_csv(path: Path) -> Iterator[Add]:
    """The rows that `deepkd detect --format csv` prints."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv_writer(file)
        writer.writerow(COLUMNS)
        yield lambda line, entry: writer.writerow(make_row(entry, entry["model"]["name"]))


@contextmanager
def write_parquet(path: Path) -> Iterator[Add]:
    """A row per person, with the frames as a list; made by DuckDB from a temporary file."""
    with scratch() as folder:
        longest = LINE_BYTES
        lines = folder / "lines.jsonl"
        with write_json_lines(lines) as write:

            def add(line: bytes, entry: Mapping[str, Any]) -> None:
                nonlocal longest
                longest = max(longest, len(line) + 1)
                write(line, entry)

            yield add
        _convert(lines, path.absolute(), folder, line_bytes=longest)


def _convert(lines: Path, out: Path, folder: Path, *, line_bytes: int) -> None:
    """Write the lines as Parquet, with one thread and little memory, in their order."""
    duckdb = import_duckdb()
    config = {"threads": 1, "memory_limit": "1GB", "temp_directory": str(folder)}
    quoted = {"lines": _quote(str(lines)), "out": _quote(str(out))}
    query = QUERY.format(columns=COLUMN_TYPES, line_bytes=line_bytes, **quoted)
    try:
        with duckdb.connect(config=config) as base:
            base.execute(query)
    except (duckdb.Error, UnicodeError) as error:
        raise OutputError(
            f"the Parquet file cannot be written ({first_sentence(error)}); --report takes .jsonl"
            " too"
        ) from error


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def import_duckdb() -> Any:
    """DuckDB, which comes with the extra `parquet`.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import duckdb
    except ModuleNotFoundError as error:
        raise UsageError(
            "a .parquet report needs DuckDB, which is not installed; pip install 'deepkd[parquet]'"
        ) from error
    return duckdb


def check_report(path: Path) -> None:
    """Make sure, before any work, that a file's suffix names a report that can be made.

    Raises:
        UsageError: it names none, or takes a library that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in REPORTS:
        raise UsageError(
            f"{path}: no report has the suffix '{path.suffix}'; choose from {', '.join(REPORTS)}"
        )
    if suffix == ".parquet":
        import_duckdb()


@contextmanager
def open_report(path: Path) -> Iterator[Add]:
    """A function that adds a line to a report; the file is whole or absent.

    Raises:
        OutputError: it cannot be written.
    """
    with write_whole(path) as beside, REPORTS[path.suffix.lower()](beside) as add:
        yield add


REPORTS: dict[str, Callable[[Path], AbstractContextManager[Add]]] = {
    ".jsonl": write_json_lines,
    ".csv": write_csv,
    ".parquet": write_parquet,
}
"""Suffix -> what opens a file and gives a function that adds a line to it."""
