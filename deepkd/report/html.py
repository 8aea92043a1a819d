"""HTML: one self-contained page with the evidence, which asks no network for anything."""

import base64
import datetime
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from jinja2 import BaseLoader, ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from deepkd import __version__
from deepkd.languages import ENGLISH, Language, language
from deepkd.report import Provenance
from deepkd.report.card import model_doubt, model_facts, model_limits
from deepkd.report.console import percent
from deepkd.report.heat import heat_png, strongest
from deepkd.report.origin import origin_section
from deepkd.report.plain import LABELS, grade_rules, name_grade, summarize
from deepkd.report.timeline import timeline
from deepkd.scoring.passages import ShotVerdict
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thumbnails import SHOWN
from deepkd.scoring.verdict import Label, TrackVerdict, Verdict
from deepkd.scoring.wording import clock, count_frames, name_span, person_name
from deepkd.text import visible

DETAILED = 200
"""Inputs shown with their evidence; further ones have a row in the table only, so that the page
still opens."""

PICTURES = 3000
"""Faces that the lists of frames show at most; further rows have figures only, for the same
reason."""

ICONS = {
    Label.FAKE: "▲",
    Label.REAL: "●",
    Label.INCONCLUSIVE: "◆",
    Label.NO_FACE: "○",
    Label.ERROR: "✕",
}
"""A shape for each verdict, since some readers see no colours."""


LIBRARIES = ("av", "numpy", "onnxruntime", "opencv-python-headless")
"""Packages whose versions may change a score."""


class HtmlReport:
    """Collects what the page shows, and writes it once closed."""

    shows_faces = True
    encoding = "utf-8"

    def __init__(self, out: TextIO, provenance: Provenance) -> None:
        self.out = out
        self._provenance = provenance
        self._language = language(provenance.language)
        self._count: Counter[Label] = Counter()
        self._clips: list[dict[str, Any]] = []
        self._has_sound = False
        self._room = PICTURES

    def add(self, verdict: Verdict) -> None:
        """Keep what the page needs of a verdict."""
        in_detail = len(self._clips) < DETAILED
        file = ""
        if in_detail and verdict.frames_sampled:
            file = _fingerprint(verdict.path, self._language)
        thresholds = self._provenance.thresholds
        self.add_described(
            describe(verdict, thresholds, self._language, file=file, in_detail=in_detail)
        )

    def add_described(self, clip: dict[str, Any]) -> None:
        """Keep the result of `describe`, made in the language of the report."""
        self._count[Label(clip["label"])] += 1
        self._has_sound |= bool(clip["has_sound"])
        rows = [*self._list_frames(clip["frames"])]
        self._clips.append({**clip, "number": len(self._clips) + 1, "frames": rows})

    def _list_frames(self, frames: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The rows of the appendix, with faces as long as the page has room for them."""
        for frame in frames:
            face = frame.get("face", "") if self._room else ""
            self._room -= bool(face)
            yield {**frame, "face": face}

    def close(self) -> None:
        """Write the page."""
        say, made = self._language.say, datetime.datetime.now(datetime.UTC)
        date = self._language.date(made)
        provenance = self._provenance
        page = _load_page(self._language).stream(
            language=self._language,
            clips=self._clips,
            counts=[
                (make_badge(label, self._language), self._count[label])
                for label in Label
                if self._count[label]
            ],
            any_sound=self._has_sound,
            grades=[*grade_rules(self._language)] if provenance.thresholds else [],
            model=model_facts(provenance, self._language),
            model_name=visible(provenance.model),
            limits=model_limits(provenance),
            doubt=self._language.repeat(model_doubt(provenance.metadata)),
            settings={
                key: visible(value)
                for key, value in provenance.settings.items()
                if value is not None
            },
            versions=[("deepkd", __version__), *((name, version(name)) for name in LIBRARIES)],
            paper={
                "title": say("deepkd report, {date}", date=date),
                "file": self._clips[0]["name"] if len(self._clips) == 1 else "",
                "foot": say("Model {name}", name=visible(provenance.model)),
            },
            made=date,
            version=__version__,
        )  # fmt: skip
        self.out.writelines(page)
        self.out.flush()


def describe(
    verdict: Verdict,
    thresholds: Mapping[str, float],
    language: Language = ENGLISH,
    *,
    file: str,
    in_detail: bool = True,
) -> dict[str, Any]:
    """What a page shows of a verdict, as plain values for JSON.

    Args:
        verdict: with thumbnails, to have them shown.
        thresholds: `real` and `fake`, or empty, as of `Provenance`.
        language: of the page.
        file: which file was judged, see `describe_file`; "" is not shown.
        in_detail: with the evidence of each person.
    """
    clip = _Clip(verdict, language, thresholds)
    return clip.row() | (clip.details() | {"file": file} if in_detail else {})


@cache
def _load_page(language: Language) -> Template:
    """The page of a report, compiled once for all reports of a process."""
    return make_environment(language).get_template("report.html")


def make_environment(language: Language = ENGLISH, *more: BaseLoader) -> Environment:
    """Templates of reports and of `more`, with `t` for a message and `n` for one with a number."""
    env = Environment(
        loader=ChoiceLoader([*more, PackageLoader("deepkd.report")]), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    env.globals |= {"t": language.say, "n": language.count}
    env.filters["css"] = _css_string
    return env


def _css_string(text: str) -> Markup:
    """Text as a string of a style sheet, from which nothing can break out."""
    safe = "".join(c if c.isascii() and c.isalnum() else f"\\{ord(c):x} " for c in text)
    return Markup('"{}"').format(Markup(safe))


def make_badge(label: Label, language: Language = ENGLISH) -> dict[str, str]:
    """The name, colour and shape of a verdict."""
    return {"name": language.say(LABELS[label]), "kind": label.lower(), "icon": ICONS[label]}


class _Clip:
    """What the page shows of one input."""

    def __init__(self, verdict: Verdict, language: Language, thresholds: Any) -> None:
        self.verdict, self.language, self.thresholds = verdict, language, thresholds

    def row(self) -> dict[str, Any]:
        """Of every input."""
        verdict, language = self.verdict, self.language
        return {
            "label": str(verdict.label),
            "name": visible(verdict.path),
            "badge": make_badge(verdict.label, language),
            "score": percent(verdict.score, language),
            "reason": visible(verdict.explain(language)),
            "summary": summarize(verdict, language),
            "has_sound": verdict.has_sound,
            "in_detail": False,
            "frames": [],
        }

    def details(self) -> dict[str, Any]:
        """Of an input shown with its evidence."""
        verdict, language = self.verdict, self.language
        return {
            "in_detail": True,
            "grade": name_grade(verdict.grade, language),
            "facts": _facts(verdict, language),
            "shots": [self._shot(shot) for shot in verdict.shots],
            "people": [self._person(track) for track in verdict.tracks],
            "origin": origin_section(verdict, language),
            "frames": [*self._frames()],
        }

    def _shot(self, shot: ShotVerdict) -> dict[str, Any]:
        return {
            "time": name_span(shot.start_s, shot.end_s, self.language),
            "badge": make_badge(shot.label, self.language),
            "score": percent(shot.score, self.language),
            "people": ", ".join(person_name(number, self.language) for number in shot.people),
            "suspicious": ", ".join(name_span(*span, self.language) for span in shot.suspicious_s),
        }

    def _person(self, track: TrackVerdict) -> dict[str, Any]:
        seen = partial(self._face, track, strongest(track.frames))
        shown = sorted(
            (frame for frame in track.frames if frame.thumbnail), key=lambda frame: -frame.logit
        )
        half = min(SHOWN, (len(shown) + 1) // 2)
        duration_s = self.verdict.duration_s or 0.0
        return {
            "title": self._title(track),
            "badge": make_badge(track.label, self.language),
            "score": percent(track.score, self.language),
            "reason": visible(track.explain(self.language)),
            "grade": name_grade(track.grade, self.language),
            "timeline": (
                timeline(track, duration_s, self.thresholds, self.language)
                if len(track.frames) > 1
                else ""
            ),
            "most": [seen(frame) for frame in shown[:half]],
            "least": [seen(frame) for frame in shown[half:]],
            "is_located": any(frame.evidence is not None for frame in shown),
        }

    def _title(self, track: TrackVerdict) -> str:
        """The person's name; with the seconds where the person is seen more than once."""
        name = person_name(track.person, self.language)
        name = name[0].upper() + name[1:]
        if sum(other.person == track.person for other in self.verdict.tracks) < 2:
            return name
        span = name_span(track.frames[0].t_s, track.frames[-1].t_s, self.language)
        return f"{name}, {span}"

    def _face(self, track: TrackVerdict, limit: float, frame: FrameScore) -> dict[str, Any]:
        heat = b"" if frame.evidence is None else heat_png(frame.evidence, limit)
        name, time = person_name(track.person, self.language), clock(frame.t_s, self.language)
        return {
            "data": base64.b64encode(frame.thumbnail).decode(),
            "heat": base64.b64encode(heat).decode(),
            "time": time,
            "t_s": round(frame.t_s, 3),
            "score": percent(frame.score, self.language),
            "flaw": self.language.repeat(frame.flaw or ""),
            "alt": self.language.say("Face of {person} at {time}", person=name, time=time),
        }

    def _frames(self) -> Iterator[dict[str, Any]]:
        """Every sampled frame and every face in it, in order of time."""
        faces = [(f.t_s, track.person, f) for track in self.verdict.tracks for f in track.frames]
        empty = {*self.verdict.sampled_s} - {t_s for t_s, _, _ in faces}
        rows: list[tuple[float, int, FrameScore | None]] = [(t_s, -1, None) for t_s in empty]
        for t_s, person, frame in sorted([*rows, *faces], key=lambda row: row[:2]):
            yield {
                "time": clock(t_s, self.language),
                "t_s": round(t_s, 3),
                "who": person_name(person, self.language) if frame else "",
                "score": percent(frame.score, self.language) if frame else "-",
                "face": base64.b64encode(frame.small_thumbnail).decode() if frame else "",
                "remark": self._remark(frame),
            }

    def _remark(self, frame: FrameScore | None) -> str:
        say = self.language.say
        if frame is None:
            return say("no face that counts")
        if frame.flaw:
            return say("left out: {flaw}", flaw=self.language.repeat(frame.flaw))
        return say("closer look") if frame.is_closer else ""


def _facts(verdict: Verdict, language: Language) -> str:
    """One line about the input: length, frame rate, frames looked at."""
    if not verdict.frames_sampled:
        return ""
    say, length = language.say, clock(verdict.duration_s or 0.0, language)
    parts = [say("{length} long", length=length) if verdict.duration_s else say("still image")]
    parts += [say("{fps:.4g} frames per second", fps=verdict.fps)] if verdict.fps else []
    frames = count_frames(verdict.frames_sampled, language)
    parts += [say("{frames} looked at", frames=frames)] if verdict.duration_s else []
    total_s = verdict.timing_ms.get("total", 0) / 1000
    return ", ".join([*parts, say("judged in {total:.1f} s", total=total_s)])


def _fingerprint(path: Path, language: Language) -> str:
    """Which file was judged, for whoever has to show it later; "" where it is gone."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return describe_file(file.tell(), digest, language)
    except OSError:
        return ""


def describe_file(size: int, sha256: str, language: Language = ENGLISH) -> str:
    """The size of a file, bytes, and the hash of its content."""
    return language.say("{size:,} bytes, SHA-256 {digest}", size=size, digest=sha256)
