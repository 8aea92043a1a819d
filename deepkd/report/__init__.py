"""Showing results to people and programs. Never imports torch.

A report of verdicts is a class that takes them one by one (`Report`) and a line in
`deepkd.settings.choices.REPORTS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, cast

from deepkd.errors import UsageError
from deepkd.settings.choices import REPORTS

if TYPE_CHECKING:
    from deepkd.pipeline import Detector
    from deepkd.scoring.model import Scorer
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
    language: str = "en"
    """Code of the language in which a report for readers is written, of
    `deepkd.languages.LANGUAGES`."""

    @classmethod
    def of(cls, detector: "Detector") -> "Provenance":
        """What the verdicts of a detector are made with; its model is a file."""
        scorer, limits = cast("Scorer", detector.scorer), detector.thresholds
        about = (scorer.name, scorer.sha256, scorer.params, scorer.metadata)
        return cls(*about, detector.config.as_dict(), limits.to_dict() if limits else {})

    def to_dict(self) -> dict[str, object]:
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


ReportMaker = Callable[[TextIO, Provenance], Report]
"""Makes a report that writes to a stream. It may declare `shows_faces` and `encoding`."""


def open_report(name: str, out: TextIO, provenance: Provenance) -> Report:
    """The report called `name` (of `REPORTS`), writing to `out`."""
    return REPORTS.load(name)(out, provenance)


def shows_faces(name: str) -> bool:
    """Whether the report called `name` (of `REPORTS`) shows pictures of faces."""
    return getattr(REPORTS.load(name), "shows_faces", False)


def find_encoding(name: str) -> str | None:
    """The encoding that the report called `name` declares in its text; None for the usual one."""
    return getattr(REPORTS.load(name), "encoding", None)


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
