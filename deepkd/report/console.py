"""The console: a table on a terminal, plain lines in a pipe."""

from collections import Counter
from typing import TextIO

from deepkd.languages import ENGLISH, Language
from deepkd.report import Provenance
from deepkd.report.origin import origin_sentence
from deepkd.scoring.verdict import Label, TrackVerdict, Verdict
from deepkd.scoring.wording import clock
from deepkd.text import visible

STYLES = {
    Label.FAKE: "bold red",
    Label.REAL: "green",
    Label.INCONCLUSIVE: "yellow",
    Label.NO_FACE: "cyan",
    Label.ERROR: "magenta",
}
PEOPLE = 8
"""People that a clip's rows list at most."""


def console_report(out: TextIO, provenance: Provenance) -> "_Lines | _Table":
    """A table on a terminal, else lines of verdict, score, path and reason, with tabs."""
    return _Table(out, provenance) if out.isatty() else _Lines(out)


class _Lines:
    """One line a video as soon as it is judged."""

    def __init__(self, out: TextIO) -> None:
        self.out = out

    def add(self, verdict: Verdict) -> None:
        texts = (visible(verdict.path), visible(verdict.reason))
        score = "-" if verdict.score is None else f"forgery {percent(verdict.score)}"
        self.out.write("\t".join((verdict.label, score, *texts)) + "\n")
        self.out.flush()

    def close(self) -> None:
        pass


class _Table:
    """A table of all videos, and of each person in those with several, when all are judged."""

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table

        self._console = Console(file=out)
        self._count: Counter[Label] = Counter()
        self._model = provenance.model
        self._has_sound = False
        self._table = Table(box=SIMPLE_HEAD, pad_edge=False)
        self._table.add_column("Verdict", no_wrap=True)
        self._table.add_column("Forgery", justify="right", no_wrap=True)
        self._table.add_column("Input", overflow="fold", ratio=2)
        self._table.add_column("Why", overflow="fold", ratio=3)

    def add(self, verdict: Verdict) -> None:
        from rich.text import Text

        self._count[verdict.label] += 1
        self._has_sound |= bool(verdict.has_sound and verdict.tracks)
        self._row(verdict.label, verdict.score, visible(verdict.path), visible(verdict.reason))
        if len(verdict.tracks) > 1:
            for track in verdict.tracks[:PEOPLE]:
                self._row(
                    track.label,
                    track.score,
                    f"  {track.name}, {_describe_times(track)}",
                    track.reason,
                    dim=True,
                )
        if about := origin_sentence(verdict):
            self._table.add_row("", "", "  content credentials", Text(about), style="dim")

    def _row(
        self, label: Label, score: float | None, name: str, why: str, *, dim: bool = False
    ) -> None:
        from rich.text import Text

        style = "dim" if dim else ""
        texts = (Text(percent(score), style=style), Text(name, style=style), Text(why, style=style))
        self._table.add_row(Text(f"  {label}" if dim else label, style=STYLES[label]), *texts)

    def close(self) -> None:
        self._console.print(self._table)
        if sum(self._count.values()) > 1:
            counts = ", ".join(f"{count} {label}" for label, count in self._count.items())
            self._console.print(
                f"{counts}; judged by {visible(self._model)}", markup=False, highlight=False
            )
        if self._has_sound:
            self._console.print("Sound was not examined.", style="dim")
        if self._count[Label.FAKE]:
            self._console.print("FAKE is a reason to look closer, never a proof.", style="dim")


def percent(score: float | None, language: Language = ENGLISH) -> str:
    """A probability for people: `97%`, a dash where there is none, and never a certainty."""
    if score is None:
        return "-"
    return language.number(min(max(round(score * 100), 1), 99) / 100, ".0%")


def _describe_times(track: TrackVerdict) -> str:
    first, last = track.frames[0].t_s, track.frames[-1].t_s
    return f"seen at {clock(first)}" if first == last else f"seen {clock(first)} to {clock(last)}"
