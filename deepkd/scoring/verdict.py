"""The verdict on a clip, and on each person in it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepkd.languages import ENGLISH, Language
from deepkd.scoring.grades import Grade, grade
from deepkd.scoring.passages import ShotVerdict, judge_shots, passages
from deepkd.scoring.rules import Criteria, Decision, Reason, TrackDecision, decide
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label as Label
from deepkd.scoring.thumbnails import LISTED, SHOWN
from deepkd.scoring.wording import count_frames, person_name, phrase, sentence
from deepkd.settings.choices import RULES
from deepkd.text import as_text
from deepkd.video.shots import Span

if TYPE_CHECKING:
    from deepkd.origin.credentials import Credentials
    from deepkd.origin.origin import Origin


@dataclass(frozen=True)
class TrackVerdict:
    """One person over time."""

    id: int
    frames: tuple[FrameScore, ...]
    """In order of time, at least one."""
    label: Label
    score: float | None
    """Calibrated probability of forgery; None without enough evidence."""
    reason: str
    """What is said of this person: "looks forged from 0:03.2 to 0:06.8"."""
    forged_s: tuple[float, float] | None = None
    """First and last second of the part that looks forged, where it is only a part."""
    person: int = 0
    """The number of the person, from 0; several tracks may show one person."""
    grade: Grade | None = None
    """Evidence of forgery; None under a rule without calibrated scores."""
    why: Reason | None = None
    """The code behind `reason`."""

    @property
    def name(self) -> str:
        """What people are called in reasons and reports."""
        return person_name(self.person)

    def explain(self, language: Language = ENGLISH) -> str:
        """`reason` in a language."""
        return phrase(self.why, language) if self.why else self.reason

    def to_dict(self) -> dict[str, Any]:
        """The track of schema deepkd.detect/1."""
        return {
            "id": self.id,
            "person": self.person,
            "verdict": str(self.label),
            "score": None if self.score is None else round(self.score, 4),
            "evidence": None if self.grade is None else str(self.grade),
            "first_s": round(self.frames[0].t_s, 3),
            "last_s": round(self.frames[-1].t_s, 3),
            "frames": [frame.to_dict() for frame in self.frames],
        }


@dataclass(frozen=True)
class Judgement:
    """A decision in words."""

    label: Label
    score: float | None
    reason: str
    tracks: tuple[TrackVerdict, ...] = ()
    shots: tuple[ShotVerdict, ...] = dataclasses.field(default=(), kw_only=True)
    """The parts between cuts, in order of time."""
    grade: Grade | None = dataclasses.field(default=Grade.NOT_EXAMINABLE, kw_only=True)
    """Evidence of forgery; None under a rule without calibrated scores."""
    decision: Decision | None = dataclasses.field(
        default=None, repr=False, compare=False, kw_only=True
    )
    """The codes behind `reason`."""


@dataclass(frozen=True)
class Verdict(Judgement):
    """The answer of `deepkd.detect` for one clip.

    `label` is FAKE, REAL, INCONCLUSIVE, NO_FACE or ERROR. `score` is the calibrated probability of
    forgery, or None. `reason` says why, in one sentence. `tracks` has a verdict for each person.

    Example:
        >>> verdict = deepkd.detect("clip.mp4")
        >>> print(verdict.reason)  # doctest: +ELLIPSIS
        1 person, who ...
        >>> verdict.to_dict()["verdict"] == verdict.label
        True
    """

    path: Path = Path()
    duration_s: float | None = None
    fps: float | None = None
    frames_sampled: int = 0
    timing_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Milliseconds per stage: decode, faces, score, total."""
    warnings: tuple[str, ...] = ()
    has_sound: bool | None = None
    """Whether the file has sound, which is not examined; None where it cannot be read. A sound
    stream of silence is none."""
    sampled_s: tuple[float, ...] = ()
    """The times of the evenly sampled frames, seconds."""
    provenance: "Credentials | None" = None
    """What the file says of its own making; None where that was not examined."""
    origin: "Origin | None" = None
    """Where the clip was fetched from; None for a file."""

    @classmethod
    def from_failure(cls, path: Path, reason: str) -> "Verdict":
        """The answer for an input that cannot be judged."""
        return cls(Label.ERROR, None, reason, path=path)

    def with_notes(self) -> "Verdict":
        """The verdict whose reason also tells of frames without faces, and of warnings."""
        return dataclasses.replace(self, reason=self.explain())

    def explain(self, language: Language = ENGLISH) -> str:
        """`reason` in a language; what was said by another program stays as it is."""
        if self.decision is None:
            return self.reason
        said = sentence(self.decision, passages(self.shots, self.decision), language)
        if self.label is Label.NO_FACE:
            frames = count_frames(self.frames_sampled, language)
            said = language.say("{what} in {frames}", what=said, frames=frames)
        notes = (language.say("note: {what}", what=language.repeat(n)) for n in self.warnings)
        return "; ".join([said, *notes])

    def with_few_thumbnails(self) -> "Verdict":
        """The verdict in which few faces keep their pictures: see `SHOWN` and `LISTED`."""
        decision = self.decision and dataclasses.replace(
            self.decision,
            tracks=tuple(map(_without_pictures, self.decision.tracks)),
            named=tuple(map(_without_pictures, self.decision.named)),
        )
        listed = _spread([frame for track in self.tracks for frame in track.frames])
        tracks = tuple(_with_few_thumbnails(track, listed) for track in self.tracks)
        return dataclasses.replace(self, tracks=tracks, decision=decision)

    def to_dict(self) -> dict[str, Any]:
        """An entry of `videos` in schema deepkd.detect/1; every text in it is valid UTF-8.

        `provenance` and `origin` are there only where they are known.
        """
        about = {"provenance": self.provenance, "origin": self.origin}
        return {
            "path": as_text(self.path),
            "verdict": str(self.label),
            "score": None if self.score is None else round(self.score, 4),
            "reason": as_text(self.reason),
            "evidence": None if self.grade is None else str(self.grade),
            "duration_s": None if self.duration_s is None else round(self.duration_s, 3),
            "fps": None if self.fps is None else round(self.fps, 3),
            "frames_sampled": self.frames_sampled,
            "has_sound": self.has_sound,
            "shots": [shot.to_dict() for shot in self.shots],
            "tracks": [track.to_dict() for track in self.tracks],
            "timing_ms": {
                stage: round(self.timing_ms.get(stage, 0.0), 2)
                for stage in ("decode", "faces", "score", "total")
            },
            **{key: value.to_dict() for key, value in about.items() if value is not None},
        }


def judge(
    faces: Mapping[int, Sequence[FrameScore]],
    criteria: Criteria,
    *,
    rule: str,
    same: Mapping[int, int] | None = None,
    spans: Sequence[Span] = (),
) -> Judgement:
    """The judgement of a clip by the named rule, in words.

    Args:
        faces: track -> scores in order of time; tracks are numbered anew in this order.
        criteria: what to judge by.
        rule: a name of `RULES`.
        same: number of a track -> the person whom it shows; None for a person each.
        spans: the shots of the clip.

    Raises:
        ConfigError: there is no such rule.
        ModelError: a score is not finite.
    """
    decision = decide(faces, criteria, rule=rule, same=same)
    shots = judge_shots(spans, decision, criteria, rule=rule)
    is_graded = not RULES.load(rule).has_own_thresholds
    return Judgement(
        decision.label,
        decision.score,
        sentence(decision, passages(shots, decision)),
        tuple(_in_words(track, is_graded=is_graded) for track in decision.tracks),
        shots=shots,
        grade=_grade_clip(decision) if is_graded else None,
        decision=decision,
    )


def _in_words(track: TrackDecision, *, is_graded: bool) -> TrackVerdict:
    return TrackVerdict(
        track.id, track.frames, track.label, track.score, phrase(track.reason), track.forged_s,
        track.person, _grade_track(track) if is_graded else None, track.reason,
    )  # fmt: skip


def _grade_track(track: TrackDecision) -> Grade:
    start_s, end_s = track.forged_s or (0.0, float("inf"))
    usable = [f for f in track.frames if f.flaw is None and start_s <= f.t_s <= end_s]
    has_odd_part = track.forged_s is not None
    return grade(track.label, track.score, len(usable), has_odd_part=has_odd_part)


def _grade_clip(decision: Decision) -> Grade:
    """The strongest grade of those who decide; it is not examinable where one of them is."""
    grades = [_grade_track(track) for track in decision.named]
    if not grades or Grade.NOT_EXAMINABLE in grades:
        return Grade.NOT_EXAMINABLE
    return min(grades, key=[*Grade].index)


def _without_pictures(track: TrackDecision) -> TrackDecision:
    """The decision with what words need of its frames: whether there are several."""
    frames = (
        dataclasses.replace(frame, thumbnail=b"", small_thumbnail=b"", evidence=None)
        for frame in track.frames[:2]
    )
    return dataclasses.replace(track, frames=tuple(frames))


def _spread(frames: Sequence[FrameScore]) -> set[int]:
    """The frames that keep their small picture, by `id`: all, or `LISTED` spread over the clip."""
    ordered = sorted(frames, key=lambda frame: frame.t_s)
    step = max(1.0, len(ordered) / LISTED)
    return {id(ordered[int(place * step)]) for place in range(min(len(ordered), LISTED))}


def _with_few_thumbnails(track: TrackVerdict, listed: set[int]) -> TrackVerdict:
    ranked = sorted(track.frames, key=lambda frame: (frame.flaw is not None, frame.logit))
    usable = [frame for frame in ranked if frame.flaw is None] or ranked
    shown = {id(frame) for frame in (*usable[:SHOWN], *usable[-SHOWN:])}
    frames = (
        dataclasses.replace(
            frame,
            thumbnail=frame.thumbnail if id(frame) in shown else b"",
            evidence=frame.evidence if id(frame) in shown else None,
            small_thumbnail=frame.small_thumbnail if id(frame) in listed else b"",
        )
        for frame in track.frames
    )
    return dataclasses.replace(track, frames=tuple(frames))
