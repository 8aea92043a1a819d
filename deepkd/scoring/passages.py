"""Passages: the verdict of each shot of a clip, and the seconds in it that look forged."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deepkd.scoring.rules import (
    WHOLE,
    Criteria,
    Decision,
    TrackDecision,
    decide,
    find_forged_runs,
)
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label
from deepkd.settings.choices import RULES
from deepkd.video.shots import Span

Seconds = tuple[float, float]
"""First and last second."""


@dataclass(frozen=True)
class ShotVerdict:
    """One shot: what lies between two cuts."""

    start_s: float
    end_s: float
    label: Label
    score: float | None
    """Calibrated probability of forgery; None without enough evidence."""
    people: tuple[int, ...] = ()
    """The numbers of the people seen in it."""
    suspicious_s: tuple[Seconds, ...] = ()
    """The parts of it that look forged, in order of time."""

    def to_dict(self) -> dict[str, object]:
        """An entry of `shots` in schema deepkd.detect/1."""
        return {
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "verdict": str(self.label),
            "score": None if self.score is None else round(self.score, 4),
            "persons": list(self.people),
            "suspicious_s": [[round(t_s, 3) for t_s in span] for span in self.suspicious_s],
        }


def judge_shots(
    spans: Sequence[Span], decision: Decision, criteria: Criteria, *, rule: str
) -> tuple[ShotVerdict, ...]:
    """The verdict of each shot, by the rule of the clip on the faces of the shot alone.

    The verdict of the clip stands: where it is not FAKE, the shots are at most INCONCLUSIVE, since
    the worst of many shots looks worse than it is. A clip of one shot has one, with its verdict.
    """
    return tuple(
        _judge_shot(span, decision, criteria, rule, is_all=len(spans) == 1) for span in spans
    )


def _judge_shot(
    span: Span, clip: Decision, criteria: Criteria, rule: str, *, is_all: bool
) -> ShotVerdict:
    tracks = [track for track in clip.tracks if is_all or any(_frames_within(track, span))]
    faces = {
        track.id: track.frames if is_all else [*_frames_within(track, span)] for track in tracks
    }
    found = clip if is_all else decide(faces, criteria, rule=rule)
    label = found.label
    if label is Label.FAKE and clip.label is not Label.FAKE:
        label = Label.INCONCLUSIVE
    people = tuple(sorted({track.person for track in tracks}))
    seconds = () if clip.label is Label.REAL else _suspicious(found.tracks, criteria, rule)
    return ShotVerdict(span.start_s, span.end_s, label, found.score, people, tuple(seconds))


def _frames_within(track: TrackDecision, span: Span) -> Iterator[FrameScore]:
    return (frame for frame in track.frames if span.has(frame.t_s))


def _suspicious(
    tracks: Sequence[TrackDecision], criteria: Criteria, rule: str
) -> Sequence[Seconds]:
    if RULES.load(rule).has_own_thresholds:
        return ()
    return merge(span for track in tracks for span in _find_forged(track, criteria))


def _find_forged(track: TrackDecision, criteria: Criteria) -> Iterator[Seconds]:
    """The seconds in which a person looks forged: every run of frames, or all of a FAKE without."""
    if track.label is Label.REAL or track.score is None:
        return
    usable = [frame for frame in track.frames if frame.flaw is None]
    runs = find_forged_runs(usable, criteria)
    is_all = not runs or sum(map(len, runs)) >= WHOLE * len(usable)
    if track.label is Label.FAKE and is_all:
        runs = [usable]
    for run in runs:
        yield run[0].t_s, run[-1].t_s


def merge(spans: Iterator[Seconds]) -> list[Seconds]:
    """Parts in order of time, those that touch made one."""
    merged: list[Seconds] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def passages(shots: Sequence[ShotVerdict], decision: Decision) -> list[Seconds]:
    """The parts of a clip to name beside its reason; [] where the reason says as much.

    That is so where everything or nothing looks forged, and where the one part that does has its
    seconds in the reason.
    """
    seen = [shot for shot in shots if shot.people]
    found = [span for shot in seen for span in shot.suspicious_s]
    if len(found) == 1 and any(track.forged_s == found[0] for track in decision.named):
        return []
    is_part = len(shots) > 1 and not all(shot.suspicious_s for shot in seen)
    return found if is_part or len(found) > len(seen) else []
