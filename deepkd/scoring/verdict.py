"""From the scores of single faces to the verdict on a clip.

    FrameScore   one face in one frame
    TrackVerdict one person over time
    Verdict      one clip: what `deepkd detect` answers

A rule of `RULES` turns the first into the others.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import ConfigError, ModelError
from deepkd.scoring.calibration import Calibration, sigmoid
from deepkd.scoring.evidence import MIN_PROBABILITY
from deepkd.scoring.thresholds import Label as Label
from deepkd.scoring.thresholds import Thresholds as Thresholds
from deepkd.text import as_text

MIN_RUN, MIN_RUN_S = 3, 0.5
"""Frames in a row that must look forged before a part of a person's time is called forged; in a
closer look, where frames lie close together and so look alike, they must also last so many
seconds."""
ODD_RUN, SURE_RUN = 0.9, 0.98
"""How probable forgery must be in such a run to make a person INCONCLUSIVE or FAKE whose mean says
otherwise. The best of many runs looks worse than it is: at 0.9 for FAKE, one of 21 real
FaceForensics++ clips was a false alarm."""
WHOLE = 0.8
"""A run that covers this share of a track is the track: its seconds are not named."""

Box = tuple[float, float, float, float]
"""x, y, width, height, pixels of the upright frame."""


@dataclass(frozen=True)
class FrameScore:
    """One face in one frame."""

    t_s: float
    box: Box
    logit: float
    score: float
    """Calibrated probability of forgery."""
    face_probability: float
    flaw: str | None = None
    """Why this face does not count as evidence ("too small"); None when it does."""
    thumbnail: bytes = dataclasses.field(default=b"", repr=False)
    """The face as a small JPEG; empty where no report wants it."""
    evidence: npt.NDArray[np.float32] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )
    """The logit of each place of the face, (h, w), whose mean is `logit`; None where the model does
    not tell."""
    is_closer: bool = False
    """From a closer look at a moment that seemed forged: it tells of that moment, not of the
    whole."""

    def to_dict(self) -> dict[str, Any]:
        """The frame of schema deepkd.detect/1."""
        return {
            "t_s": round(self.t_s, 3),
            "box": [round(float(value), 1) for value in self.box],
            "score": round(self.score, 4),
            "face_probability": round(self.face_probability, 4),
        }


@dataclass(frozen=True)
class TrackVerdict:
    """One person over time."""

    id: int
    frames: tuple[FrameScore, ...]
    """In order of time, at least one."""
    verdict: Label
    score: float | None
    """Calibrated probability of forgery; None without enough evidence."""
    reason: str
    """What is said of this person: "looks forged from 0:03.2 to 0:06.8"."""
    forged_s: tuple[float, float] | None = None
    """First and last second of the part that looks forged, where it is only a part."""

    @property
    def name(self) -> str:
        """What people are called in reasons and reports."""
        return f"person {self.id + 1}"

    def to_dict(self) -> dict[str, Any]:
        """The track of schema deepkd.detect/1."""
        return {
            "id": self.id,
            "verdict": str(self.verdict),
            "score": None if self.score is None else round(self.score, 4),
            "first_s": round(self.frames[0].t_s, 3),
            "last_s": round(self.frames[-1].t_s, 3),
            "frames": [frame.to_dict() for frame in self.frames],
        }


@dataclass(frozen=True)
class Judgement:
    """What a rule makes of all the faces of a clip."""

    verdict: Label
    score: float | None
    reason: str
    tracks: tuple[TrackVerdict, ...] = ()


@dataclass(frozen=True)
class Verdict(Judgement):
    """One clip: what `deepkd detect` answers."""

    path: Path = Path()
    duration_s: float | None = None
    fps: float | None = None
    frames_sampled: int = 0
    timing_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """Milliseconds per stage: decode, faces, score, total."""
    warnings: tuple[str, ...] = ()

    @classmethod
    def failed(cls, path: Path, reason: str) -> "Verdict":
        """The answer for an input that cannot be judged."""
        return cls(Label.ERROR, None, reason, path=path)

    def to_dict(self) -> dict[str, Any]:
        """An entry of `videos` in schema deepkd.detect/1; every text in it is valid UTF-8."""
        return {
            "path": as_text(self.path),
            "verdict": str(self.verdict),
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


@dataclass(frozen=True)
class Criteria:
    """What a rule judges by."""

    calibration: Calibration
    thresholds: Thresholds
    min_frames: int = 3
    """Frames without a flaw that a person must be seen in."""


def judge(faces: Mapping[int, Sequence[FrameScore]], criteria: Criteria, *, rule: str) -> Judgement:
    """The judgement of a clip by the named rule.

    Args:
        faces: track -> its frames in order of time; people are numbered anew in this order.
        criteria: what to judge by.
        rule: a key of `RULES`.

    Raises:
        ConfigError: there is no such rule.
        ModelError: a score is not finite.
    """
    if rule not in RULES:
        raise ConfigError(f"unknown rule '{rule}'; choose from {', '.join(RULES)}")
    if not faces:
        return Judgement(Label.NO_FACE, None, "no face was found")
    if not all(np.isfinite(frame.logit) for frames in faces.values() for frame in frames):
        raise ModelError(
            "the model gave a score that is no number; it is damaged or was trained badly"
        )
    return RULES[rule](dict(enumerate(frames for _, frames in sorted(faces.items()))), criteria)


def _is_certain(frames: Sequence[FrameScore]) -> bool:
    return median(frame.face_probability for frame in frames) >= MIN_PROBABILITY


def mean_logit(faces: Mapping[int, Sequence[FrameScore]], criteria: Criteria) -> Judgement:
    """A person's score is the calibrated mean of frame logits; the most suspicious person decides.

    Tracks that the detector doubts (hands, masks) and that cannot be judged are left out where
    there are others. Nobody vouches for somebody larger in the picture who cannot be judged: REAL
    is INCONCLUSIVE then.
    """
    told = [
        frames for frames in faces.values() if _is_certain(frames) or _is_enough(frames, criteria)
    ]
    people = enumerate(told or faces.values())
    tracks = tuple(_judge_track(id, tuple(frames), criteria) for id, frames in people)
    judged = [track for track in tracks if track.score is not None]
    if not judged:
        return Judgement(Label.INCONCLUSIVE, None, _sentence(tracks, tracks[:1]), tracks)
    order = (Label.FAKE, Label.INCONCLUSIVE, Label.REAL)
    worst = min(judged, key=lambda track: (order.index(track.verdict), -(track.score or 0)))
    named = [track for track in judged if track.verdict is worst.verdict]
    if worst.verdict is Label.REAL and (main := _unjudged_main(tracks, criteria)):
        return Judgement(Label.INCONCLUSIVE, worst.score, _sentence(tracks, [main, *named]), tracks)
    return Judgement(worst.verdict, worst.score, _sentence(tracks, named), tracks)


def _unjudged_main(tracks: Sequence[TrackVerdict], criteria: Criteria) -> TrackVerdict | None:
    """The person whose face is largest, where that is nobody who was judged; seen long enough, and no doubt a face."""
    seen = [
        track
        for track in tracks
        if len(track.frames) >= criteria.min_frames and _is_certain(track.frames)
    ]
    main = max(seen, key=lambda track: median(frame.box[3] for frame in track.frames), default=None)
    return main if main and main.score is None else None


def _is_enough(frames: Sequence[FrameScore], criteria: Criteria) -> bool:
    return (
        sum(frame.flaw is None and not frame.is_closer for frame in frames) >= criteria.min_frames
    )


def _judge_track(id: int, frames: tuple[FrameScore, ...], criteria: Criteria) -> TrackVerdict:
    usable = [frame for frame in frames if frame.flaw is None]
    if not _is_enough(frames, criteria):
        return TrackVerdict(id, frames, Label.INCONCLUSIVE, None, _too_little(frames, criteria))
    even = [frame for frame in usable if not frame.is_closer] or usable
    score = _mean_score(even, criteria)
    label = criteria.thresholds.label(score)
    run = forged_run(usable, criteria)
    lone = _decisive(even, label, criteria)
    if label is Label.FAKE and not lone:
        return TrackVerdict(id, frames, label, score, *_forged_all_over(run, usable, criteria))
    if run and _mean_score(_without(run, 1), criteria) >= max(SURE_RUN, criteria.thresholds.fake):
        words, span = _from_to(run)
        return TrackVerdict(id, frames, Label.FAKE, _mean_score(run, criteria), words, span)
    if run and _mean_score(run, criteria) >= max(ODD_RUN, criteria.thresholds.fake):
        words, span = _from_to(run)
        return TrackVerdict(
            id, frames, Label.INCONCLUSIVE, score, f"{words}, but not in the rest", span
        )
    if lone:
        return TrackVerdict(id, frames, Label.INCONCLUSIVE, score, _on_one_frame(label, lone))
    return TrackVerdict(id, frames, label, score, _unforged(label, usable, criteria))


def _decisive(frames: Sequence[FrameScore], label: Label, criteria: Criteria) -> FrameScore | None:
    """The one frame without which the others' mean would not give this FAKE or REAL; None where none weighs so much."""
    if len(frames) < 2 or label is Label.INCONCLUSIVE:
        return None
    sign = 1 if label is Label.FAKE else -1
    others_label = criteria.thresholds.label(_mean_score(_without(frames, sign), criteria))
    return None if others_label is label else _most(frames, sign)


def _most(frames: Sequence[FrameScore], sign: int) -> FrameScore:
    """The most suspicious frame, or with the sign -1 the least suspicious one."""
    return max(frames, key=lambda frame: sign * frame.logit)


def _without(frames: Sequence[FrameScore], sign: int) -> list[FrameScore]:
    """All but that frame."""
    most = _most(frames, sign)
    return [frame for frame in frames if frame is not most]


def _on_one_frame(label: Label, frame: FrameScore) -> str:
    looks = "forged" if label is Label.FAKE else "real"
    return f"would look {looks}, but that hangs on one frame alone (at {clock(frame.t_s)})"


def _forged_all_over(
    run: Sequence[FrameScore], usable: Sequence[FrameScore], criteria: Criteria
) -> tuple[str, tuple[float, float] | None]:
    """What is said where the mean of all frames decides: seconds only where the others would not look forged alone."""
    rest = [frame for frame in usable if frame not in run]
    looks = f"looks forged to the model {_in_frames(usable)}"
    if (
        not run
        or len(run) >= WHOLE * len(usable)
        or _mean_score(rest, criteria) >= criteria.thresholds.fake
    ):
        return looks, None
    _, span = _from_to(run)
    return f"{looks}, most of all from {clock(span[0])} to {clock(span[1])}", span


def _from_to(run: Sequence[FrameScore]) -> tuple[str, tuple[float, float]]:
    span = (run[0].t_s, run[-1].t_s)
    return f"looks forged from {clock(span[0])} to {clock(span[1])}", span


def _mean_score(frames: Sequence[FrameScore], criteria: Criteria) -> float:
    return float(criteria.calibration.probability(np.mean([frame.logit for frame in frames])))


def forged_run(frames: Sequence[FrameScore], criteria: Criteria) -> list[FrameScore]:
    """The most suspicious run of at least `MIN_RUN` frames over the threshold; [] when there is none.

    A median over three frames comes first: one odd frame makes no run, and one good frame breaks
        none.
    """
    logits = np.array([frame.logit for frame in frames])
    padded = np.pad(logits, 1, mode="edge")
    smooth = np.sort([padded[:-2], padded[1:-1], padded[2:]], axis=0)[1]
    over = criteria.calibration.probability(smooth) >= criteria.thresholds.fake
    edges = np.flatnonzero(np.diff(np.r_[False, over, False]))
    runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if _is_run(frames[a:b])]
    if not runs:
        return []
    start, end = max(runs, key=lambda run: float(logits[run[0] : run[1]].mean()))
    return list(frames[start:end])


def _is_run(frames: Sequence[FrameScore]) -> bool:
    is_closer = any(frame.is_closer for frame in frames)
    return len(frames) >= MIN_RUN and (not is_closer or frames[-1].t_s - frames[0].t_s >= MIN_RUN_S)


def odd_frames(frames: Sequence[FrameScore], criteria: Criteria) -> list[FrameScore]:
    """The single frames of a person that look forged although the person does not; the most suspicious first."""
    usable = [frame for frame in frames if frame.flaw is None]
    if (
        len(usable) < criteria.min_frames
        or _judge_track(0, tuple(frames), criteria).verdict is Label.FAKE
    ):
        return []
    limit = max(ODD_RUN, criteria.thresholds.fake)
    return sorted(
        (frame for frame in usable if frame.score >= limit), key=lambda frame: -frame.logit
    )


def _too_little(frames: Sequence[FrameScore], criteria: Criteria) -> str:
    flaws = Counter(frame.flaw for frame in frames if frame.flaw)
    if flaws.total() < len(frames) < criteria.min_frames:
        return (
            f"is seen in too few frames to judge ({len(frames)}; {criteria.min_frames} are needed)"
        )
    worst, count = flaws.most_common(1)[0]
    where = "" if count == len(frames) else f" in {count} of {len(frames)} frames"
    return f"cannot be judged, the face is {worst}{where}"


def _unforged(label: Label, frames: Sequence[FrameScore], criteria: Criteria) -> str:
    if label is Label.REAL:
        return f"shows the model no sign of forgery {_in_frames(frames)}"
    limits = criteria.thresholds
    return (
        f"is neither clearly real (up to {limits.real:.1%}) nor clearly forged (from"
        f" {limits.fake:.1%})"
    )


def _in_frames(frames: Sequence[FrameScore]) -> str:
    return f"in {len(frames)} frame{'s' if len(frames) > 1 else ''}"


def _sentence(tracks: Sequence[TrackVerdict], named: Sequence[TrackVerdict]) -> str:
    """As in: 2 people; person 1 looks forged; person 2 cannot be judged, the face is too small."""
    tracks = [
        track for track in tracks if len(track.frames) > 1 or track in named
    ] or tracks  # one frame may be a slip
    if len(tracks) == 1:
        return f"1 person, who {tracks[0].reason}"
    silent = [track for track in tracks if track.score is None and track not in named]
    parts = [f"{len(tracks)} people"]
    parts += [f"{track.name} {track.reason}" for track in named[:3]]
    parts += [f"{track.name} {track.reason}" for track in silent[:1]]
    hidden = len(named[3:]) + len(silent[1:])
    return "; ".join(parts) + (f"; and {hidden} more" if hidden else "")


def clock(t_s: float) -> str:
    """Seconds as minutes and seconds: 63.24 is "1:03.2"."""
    tenths = round(t_s * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"


UPSTREAM_FACES, UPSTREAM_WINS, UPSTREAM_FAKE = 3, 0.55, 0.6


def upstream(faces: Mapping[int, Sequence[FrameScore]], criteria: Criteria) -> Judgement:
    """The rule published with Cross Efficient ViT (Coccomini et al., arXiv:2107.02612).

    At most 3 people; a person's score is the mean of sigmoid(logit) over all frames; the first over
    0.55 wins, else the mean of all; FAKE over 0.6. Like the published code it knows neither
    calibration nor thresholds, asks for no evidence, leaves out no face, and never answers
    INCONCLUSIVE.
    """
    tracks = []
    for id, frames in list(faces.items())[:UPSTREAM_FACES]:
        counted = tuple(dataclasses.replace(frame, flaw=None) for frame in frames)
        score = float(np.mean(sigmoid(np.array([frame.logit for frame in frames]))))
        label = Label.FAKE if score > UPSTREAM_FAKE else Label.REAL
        tracks.append(TrackVerdict(id, counted, label, score, f"has a mean score of {score:.2f}"))
    scores = [track.score or 0.0 for track in tracks]
    score = next((score for score in scores if score > UPSTREAM_WINS), float(np.mean(scores)))
    label = Label.FAKE if score > UPSTREAM_FAKE else Label.REAL
    people = "; ".join(f"{track.name} {track.reason}" for track in tracks)
    return Judgement(label, score, f"upstream rule: {people}", tuple(tracks))


RULES: dict[str, Callable[[Mapping[int, Sequence[FrameScore]], Criteria], Judgement]] = {
    "mean-logit": mean_logit,
    "upstream": upstream,
}
