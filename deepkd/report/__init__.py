"""Showing results to people and programs. Never imports torch.

A report of verdicts is a class that takes them one by one (`Report`) and a line in `REPORTS`.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from deepkd.errors import UsageError

if TYPE_CHECKING:
    from deepkd.scoring.verdict import Verdict


@dataclass(frozen=True)
class Provenance:
    """What the verdicts of a report were made with."""

    model: str
    sha256: str
    """Of the model file, hex."""
    params: int
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the model file says about itself."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The resolved settings of the command."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """`real` and `fake`: the calibrated probabilities that decided; empty under a rule that has its
    own."""

    def to_dict(self) -> dict[str, Any]:
        """The `model` of schema deepkd.detect/1."""
        return {"name": self.model, "sha256": self.sha256, "params": self.params}


class Report(Protocol):
    """Takes verdicts one by one and writes them to the stream it was made with."""

    def add(self, verdict: "Verdict") -> None:
        """Take one verdict; a format that can stream has written it on return."""
        ...

    def close(self) -> None:
        """Write what is left to write. The stream stays open."""
        ...


REPORTS = {
    "table": "deepkd.report.console:console_report",
    "json": "deepkd.report.json:JsonReport",
    "jsonl": "deepkd.report.jsonl:JsonLinesReport",
    "csv": "deepkd.report.csv:CsvReport",
    "html": "deepkd.report.html:HtmlReport",
}
"""Name (and file suffix) -> `module:maker` of a `Report`, called with a stream and a
`Provenance`."""


def open_report(name: str, out: TextIO, provenance: Provenance) -> Report:
    """The report called `name` (a key of `REPORTS`), writing to `out`."""
    module, _, maker = REPORTS[name].partition(":")
    return cast(Report, getattr(importlib.import_module(module), maker)(out, provenance))


def report_name(path: Path) -> str:
    """The report that a file's suffix asks for.

    Raises:
        UsageError: no report is written to such files.
    """
    name = path.suffix.lower().lstrip(".")
    if name not in REPORTS or name == "table":
        known = ", ".join(f".{name}" for name in REPORTS if name != "table")
        raise UsageError(f"{path}: no report has the suffix '{path.suffix}'; choose from {known}")
    return name
