"""CSV: one row a video, for a spreadsheet."""

from collections.abc import Mapping
from typing import Any, TextIO

from deepkd.report import Provenance
from deepkd.scoring.verdict import Verdict
from deepkd.text import cell, csv_writer

COLUMNS = (
    "path",
    "verdict",
    "score",
    "reason",
    "people",
    "duration_s",
    "fps",
    "frames_sampled",
    "total_ms",
    "model",
)


class CsvReport:
    """Writes each row as it comes; a missing value is an empty cell."""

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._model = provenance.model
        self._writer = csv_writer(out)
        self._writer.writerow(COLUMNS)

    def add(self, verdict: Verdict) -> None:
        """Write one row."""
        self._writer.writerow(make_row(verdict.to_dict(), self._model))
        self.out.flush()

    def close(self) -> None:
        """Nothing is left to write."""


def make_row(entry: Mapping[str, Any], model: str) -> list[Any]:
    """The cells of an entry of `videos` in schema deepkd.detect/1, in the order of `COLUMNS`."""
    head = [cell(entry["path"]), entry["verdict"], entry["score"], cell(entry["reason"])]
    numbers = [entry[key] for key in ("duration_s", "fps", "frames_sampled")]
    total_ms = entry["timing_ms"]["total"]
    return [*head, len(entry["tracks"]), *numbers, total_ms, cell(model)]
