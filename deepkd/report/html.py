"""HTML: one self-contained page with the evidence, which asks no network for anything."""

import base64
import datetime
import hashlib
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined

from deepkd import __version__
from deepkd.report import Provenance
from deepkd.report.card import model_doubt, model_facts, model_limits
from deepkd.report.console import percent
from deepkd.report.heat import heat_png, strongest
from deepkd.report.timeline import timeline
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thumbnails import SHOWN
from deepkd.scoring.verdict import Label, TrackVerdict, Verdict
from deepkd.scoring.wording import clock
from deepkd.text import visible

DETAILED = 200
"""Inputs shown with their evidence; further ones have a row in the table only, so that the page
still opens."""

ICONS = {
    Label.FAKE: "▲",
    Label.REAL: "●",
    Label.INCONCLUSIVE: "◆",
    Label.NO_FACE: "○",
    Label.ERROR: "✕",
}
"""A shape for each verdict, since some readers see no colours."""


class HtmlReport:
    """Collects what the page shows, and writes it once closed."""

    shows_faces = True
    encoding = "utf-8"

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._provenance = provenance
        self._count: Counter[Label] = Counter()
        self._clips: list[dict[str, Any]] = []

    def add(self, verdict: Verdict) -> None:
        """Keep what the page needs of a verdict."""
        in_detail = len(self._clips) < DETAILED
        file = _fingerprint(verdict.path) if in_detail and verdict.frames_sampled else ""
        thresholds = self._provenance.thresholds
        self.add_described(describe(verdict, thresholds, file=file, in_detail=in_detail))

    def add_described(self, clip: dict[str, Any]) -> None:
        """Keep the result of `describe`."""
        self._count[Label(clip["label"])] += 1
        self._clips.append(clip)

    def close(self) -> None:
        """Write the page."""
        page = (
            make_environment()
            .get_template("report.html")
            .stream(
                clips=self._clips,
                counts=[
                    (make_badge(label), self._count[label]) for label in Label if self._count[label]
                ],
                model=model_facts(self._provenance),
                model_name=visible(self._provenance.model),
                limits=model_limits(self._provenance),
                doubt=model_doubt(self._provenance.metadata),
                settings={
                    key: visible(value)
                    for key, value in self._provenance.settings.items()
                    if value is not None
                },
                made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
                version=__version__,
            )
        )
        self.out.writelines(page)
        self.out.flush()


def make_environment(*more: BaseLoader) -> Environment:
    """The templates of reports, and those of `more`."""
    return Environment(
        loader=ChoiceLoader([*more, PackageLoader("deepkd.report")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip


def describe(
    verdict: Verdict, thresholds: Mapping[str, float], *, file: str, in_detail: bool = True
) -> dict[str, Any]:
    """What a page shows of a verdict, as plain values for JSON.

    Args:
        verdict: with thumbnails, to have them shown.
        thresholds: `real` and `fake`, or empty, as of `Provenance`.
        file: which file was judged, see `describe_file`; "" is not shown.
        in_detail: with the evidence of each person.
    """
    return {
        "name": visible(verdict.path),
        "label": str(verdict.label),
        "badge": make_badge(verdict.label),
        "score": percent(verdict.score),
        "reason": visible(verdict.reason),
        "facts": _facts(verdict),
        "file": file,
        "people": (
            [_person(track, verdict, thresholds) for track in verdict.tracks] if in_detail else []
        ),
        "in_detail": in_detail,
    }


def make_badge(label: Label) -> dict[str, str]:
    """The name, colour and shape of a verdict."""
    return {"name": label.replace("_", " "), "kind": label.lower(), "icon": ICONS[label]}


def _facts(verdict: Verdict) -> str:
    """One line about the input: length, frame rate, frames looked at."""
    if not verdict.frames_sampled:
        return ""
    parts = [f"{clock(verdict.duration_s)} long"] if verdict.duration_s else ["still image"]
    parts += [f"{verdict.fps:.4g} frames per second"] if verdict.fps else []
    count = verdict.frames_sampled
    parts += [f"{count} frame{'' if count == 1 else 's'} looked at"] if verdict.duration_s else []
    return ", ".join([*parts, f"judged in {verdict.timing_ms.get('total', 0) / 1000:.1f} s"])


def _fingerprint(path: Path) -> str:
    """Which file was judged, for whoever has to show it later; "" where it is gone."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return describe_file(file.tell(), digest)
    except OSError:
        return ""


def describe_file(size: int, sha256: str) -> str:
    """The size of a file, bytes, and the hash of its content."""
    return f"{size:,} bytes, SHA-256 {sha256}"


def _person(track: TrackVerdict, verdict: Verdict, thresholds: Any) -> dict[str, Any]:
    seen = partial(_face, track, strongest(track.frames))
    shown = sorted(
        (frame for frame in track.frames if frame.thumbnail), key=lambda frame: -frame.logit
    )
    half = min(SHOWN, (len(shown) + 1) // 2)
    return {
        "name": track.name,
        "badge": make_badge(track.label),
        "score": percent(track.score),
        "reason": visible(track.reason),
        "timeline": (
            timeline(track, verdict.duration_s or 0.0, thresholds) if len(track.frames) > 1 else ""
        ),
        "most": [seen(frame) for frame in shown[:half]],
        "least": [seen(frame) for frame in shown[half:]],
        "is_located": any(frame.evidence is not None for frame in shown),
        "frames": [
            (clock(frame.t_s), percent(frame.score), frame.flaw or "", round(frame.t_s, 3))
            for frame in track.frames
        ],
    }


def _face(track: TrackVerdict, limit: float, frame: FrameScore) -> dict[str, Any]:
    heat = b"" if frame.evidence is None else heat_png(frame.evidence, limit)
    return {
        "data": base64.b64encode(frame.thumbnail).decode(),
        "heat": base64.b64encode(heat).decode(),
        "time": clock(frame.t_s),
        "t_s": round(frame.t_s, 3),
        "score": percent(frame.score),
        "flaw": frame.flaw or "",
        "alt": f"Face of {track.name} at {clock(frame.t_s)}",
    }
