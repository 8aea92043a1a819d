"""CSV: one row a video, for a spreadsheet."""

from collections.abc import Iterator, Mapping
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
    "persons",
    "evidence",
    "suspicious_s",
    "provenance",
)
"""`people` counts tracks; in `persons` one who returns after a cut counts once. `suspicious_s` is
such as `3.2-7.4; 12-15`."""


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
    """The cells of an entry of `videos` in schema deepkd.detect/1, in the order of `COLUMNS`.

    An entry of an earlier version lacks what the last three say.
    """
    head = [cell(entry["path"]), entry["verdict"], entry["score"], cell(entry["reason"])]
    numbers = [entry[key] for key in ("duration_s", "fps", "frames_sampled")]
    total_ms = entry["timing_ms"]["total"]
    row = [*head, len(entry["tracks"]), *numbers, total_ms, cell(model)]
    return [*row, _count_persons(entry), *_tell_more(entry)]


def _count_persons(entry: Mapping[str, Any]) -> int:
    tracks = entry["tracks"]
    return len({track["person"] if "person" in track else track["id"] for track in tracks})


def _tell_more(entry: Mapping[str, Any]) -> Iterator[str]:
    """Grade of the evidence, suspicious passages, and state of the content credentials."""
    spans = [span for shot in entry.get("shots") or () for span in shot["suspicious_s"]]
    yield cell(entry.get("evidence") or "")
    yield "; ".join(f"{start:.9g}-{end:.9g}" for start, end in spans)
    yield cell((entry.get("provenance") or {"state": ""})["state"])
