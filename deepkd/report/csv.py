"""CSV: one row a video, for a spreadsheet."""

from typing import TextIO

from deepkd.report import Provenance
from deepkd.scoring.verdict import Verdict
from deepkd.text import csv_writer, visible

COLUMNS = ("path", "verdict", "score", "reason", "people", "duration_s", "fps", "frames_sampled", "total_ms", "model")
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins like this."""


def cell(text: object) -> str:
    """Text that a spreadsheet shows and does not run: an apostrophe goes before what looks like a formula."""
    shown = visible(text)
    return f"'{shown}" if shown.lstrip().startswith(FORMULA) else shown


class CsvReport:
    """Writes each row as it comes; a missing value is an empty cell."""

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._model = cell(provenance.model)
        self._writer = csv_writer(out)
        self._writer.writerow(COLUMNS)

    def add(self, verdict: Verdict) -> None:
        """Write one row."""
        entry = verdict.to_dict()
        numbers = [entry[key] for key in ("duration_s", "fps", "frames_sampled")]
        head = (cell(verdict.path), entry["verdict"], entry["score"], cell(verdict.reason), len(verdict.tracks))
        self._writer.writerow([*head, *numbers, entry["timing_ms"]["total"], self._model])
        self.out.flush()

    def close(self) -> None:
        """Nothing is left to write."""
