"""The verdict on a clip, and on each person in it."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepkd.scoring.rules import Criteria, TrackDecision, decide
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label as Label
from deepkd.scoring.thumbnails import SHOWN
from deepkd.scoring.wording import count_frames, person_name, phrase, sentence
from deepkd.text import as_text


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

    @property
    def name(self) -> str:
        """What people are called in reasons and reports."""
        return person_name(self.id)

    def to_dict(self) -> dict[str, Any]:
        """The track of schema deepkd.detect/1."""
        return {
            "id": self.id,
            "verdict": str(self.label),
            "score": None if self.score is None else round(self.score, 4),
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

    @classmethod
    def from_failure(cls, path: Path, reason: str) -> "Verdict":
        """The answer for an input that cannot be judged."""
        return cls(Label.ERROR, None, reason, path=path)

    def with_notes(self) -> "Verdict":
        """The verdict whose reason also tells of frames without faces, and of warnings."""
        searched = ""
        if self.label is Label.NO_FACE:
            searched = f" in {count_frames(self.frames_sampled)}"
        notes = "".join(f"; note: {warning}" for warning in self.warnings)
        return dataclasses.replace(self, reason=self.reason + searched + notes)

    def with_few_thumbnails(self) -> "Verdict":
        """The verdict in which only a few faces of each person keep their thumbnail (`SHOWN`)."""
        return dataclasses.replace(self, tracks=tuple(map(_with_few_thumbnails, self.tracks)))

    def to_dict(self) -> dict[str, Any]:
        """An entry of `videos` in schema deepkd.detect/1; every text in it is valid UTF-8."""
        return {
            "path": as_text(self.path),
            "verdict": str(self.label),
            "score": None if self.score is None else round(self.score, 4),
            "reason": as_text(self.reason),
            "duration_s": None if self.duration_s is None else round(self.duration_s, 3),
            "fps": None if self.fps is None else round(self.fps, 3),
            "frames_sampled": self.frames_sampled,
            "tracks": [track.to_dict() for track in self.tracks],
            "timing_ms": {
                stage: round(self.timing_ms.get(stage, 0.0), 2)
                for stage in ("decode", "faces", "score", "total")
            },
        }


def judge(faces: Mapping[int, Sequence[FrameScore]], criteria: Criteria, *, rule: str) -> Judgement:
    """The judgement of a clip by the named rule, in words.

    Args:
        faces: person -> scores in order of time; people are numbered anew in this order.
        criteria: what to judge by.
        rule: a name of `RULES`.

    Raises:
        ConfigError: there is no such rule.
        ModelError: a score is not finite.
    """
    decision = decide(faces, criteria, rule=rule)
    tracks = tuple(map(_in_words, decision.tracks))
    return Judgement(decision.label, decision.score, sentence(decision), tracks)


def _in_words(track: TrackDecision) -> TrackVerdict:
    return TrackVerdict(
        track.id, track.frames, track.label, track.score, phrase(track.reason), track.forged_s
    )


def _with_few_thumbnails(track: TrackVerdict) -> TrackVerdict:
    ranked = sorted(track.frames, key=lambda frame: (frame.flaw is not None, frame.logit))
    usable = [frame for frame in ranked if frame.flaw is None] or ranked
    shown = {id(frame) for frame in (*usable[:SHOWN], *usable[-SHOWN:])}
    frames = (
        frame if id(frame) in shown else dataclasses.replace(frame, thumbnail=b"", evidence=None)
        for frame in track.frames
    )
    return dataclasses.replace(track, frames=tuple(frames))
