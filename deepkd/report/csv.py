"""CSV: one row a video, for a spreadsheet."""

from typing import TextIO

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
        self._model = cell(provenance.model)
        self._writer = csv_writer(out)
        self._writer.writerow(COLUMNS)

    def add(self, verdict: Verdict) -> None:
        """Write one row."""
        entry = verdict.to_dict()
        numbers = [entry[key] for key in ("duration_s", "fps", "frames_sampled")]
        head = (
            cell(verdict.path),
            entry["verdict"],
            entry["score"],
            cell(verdict.reason),
            len(verdict.tracks),
        )
        self._writer.writerow([*head, *numbers, entry["timing_ms"]["total"], self._model])
        self.out.flush()

    def close(self) -> None:
        """Nothing is left to write."""
