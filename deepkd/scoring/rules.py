"""Rules: from the scores of single faces to a decision and its reason code, without sentences.

    FrameScore     one face in one frame
    TrackDecision  one person over time
    Decision       one clip

`deepkd.scoring.wording` puts a decision into words.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import median

import numpy as np

from deepkd.errors import ModelError
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.evidence import MIN_PROBABILITY
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label, Thresholds
from deepkd.settings.choices import RULES

MIN_RUN, MIN_RUN_S = 3, 0.5
"""A forged part has at least this many frames in a row. In a closer look, where frames lie close
together and look alike, it also lasts at least this many seconds."""
ODD_RUN, SURE_RUN = 0.9, 0.98
"""Least probability of forgery in such a run that makes a person INCONCLUSIVE or FAKE whose mean
says otherwise. The best of many runs looks worse than it is: at 0.9 for FAKE, one of 21 real
FaceForensics++ clips was a false alarm."""
WHOLE = 0.8
"""A run that covers this share of a track is the track: its seconds are not named."""

People = Mapping[int, Sequence[FrameScore]]
"""Number of the person -> scores in order of time."""


class Code(StrEnum):
    """Why a rule decides as it does."""

    NO_FACE = "no-face"
    """Of a clip: nobody is seen."""
    PEOPLE = "people"
    """Of a clip: the people named in the decision decide."""
    UPSTREAM = "upstream"
    """Of a clip: the people named in the decision, by the rule `upstream`."""

    FORGED = "forged"
    FORGED_MOSTLY = "forged-mostly"
    FORGED_PART = "forged-part"
    FORGED_PART_UNSURE = "forged-part-unsure"
    FORGED_BY_ONE_FRAME = "forged-by-one-frame"
    REAL_BY_ONE_FRAME = "real-by-one-frame"
    FORGED_BY_ENCODING = "forged-by-encoding"
    REAL_BY_ENCODING = "real-by-encoding"
    NO_SIGN = "no-sign"
    BETWEEN = "between-thresholds"
    TOO_FEW_FRAMES = "too-few-frames"
    FLAWED = "flawed"
    FLAWED_OFTEN = "flawed-often"
    MEAN_SCORE = "mean-score"


BY_MEAN = {
    Code.FORGED: Code.FORGED_BY_ENCODING,
    Code.FORGED_MOSTLY: Code.FORGED_BY_ENCODING,
    Code.NO_SIGN: Code.REAL_BY_ENCODING,
}
"""What the mean of the frames decides -> the reason where that hangs on how they were saved."""


@dataclass(frozen=True)
class Reason:
    """The code of a person's reason, and the values that its sentence shows."""

    code: Code
    values: Mapping[str, float | str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class TrackDecision:
    """What a rule decides of one person."""

    id: int
    frames: tuple[FrameScore, ...]
    label: Label
    score: float | None
    """Calibrated probability of forgery; None without enough evidence."""
    reason: Reason
    forged_s: tuple[float, float] | None = None
    """First and last second of the part that looks forged, where it is only a part."""
    person: int = -1
    """The number of the person, whom several tracks may show; `decide` sets it."""


@dataclass(frozen=True)
class Decision:
    """What a rule decides of a clip."""

    label: Label
    score: float | None
    code: Code
    tracks: tuple[TrackDecision, ...] = ()
    named: tuple[TrackDecision, ...] = ()
    """The people whose reasons are the reason of the clip."""


@dataclass(frozen=True)
class Criteria:
    """What a rule judges by."""

    calibration: Calibration
    thresholds: Thresholds
    min_frames: int = 3
    """Frames without a flaw that a person must be seen in."""


@dataclass(frozen=True)
class Rule:
    """How the scores of people become a decision."""

    decide: Callable[[People, Criteria], Decision]
    has_own_thresholds: bool = False
    """It uses neither the model's calibration nor thresholds, and takes no closer look."""


def decide(
    faces: People, criteria: Criteria, *, rule: str, same: Mapping[int, int] | None = None
) -> Decision:
    """The decision on a clip by the named rule.

    Args:
        faces: track -> scores in order of time; tracks are numbered anew in this order.
        criteria: what to judge by.
        rule: a name of `RULES`.
        same: `FrameScore.track` -> the person whom the track shows; None for a person each.
            It changes nothing but the numbers of the people.

    Raises:
        ConfigError: there is no such rule.
        ModelError: a score is not finite.
    """
    chosen = RULES.load(rule)
    if not faces:
        return Decision(Label.NO_FACE, None, Code.NO_FACE)
    if not all(np.isfinite(frame.logit) for frames in faces.values() for frame in frames):
        raise ModelError(
            "the model gave a score that is no number; it is damaged or was trained badly"
        )
    people = dict(enumerate(frames for _, frames in sorted(faces.items())))
    return _with_people(chosen.decide(people, criteria), same)


def _with_people(decision: Decision, same: Mapping[int, int] | None) -> Decision:
    """The decision with the people's numbers, 0, 1, 2 ... in the order of their tracks."""
    numbers: dict[int, int] = {}
    people: dict[int, int] = {}
    for track in decision.tracks:
        number = track.id if same is None else same[track.frames[0].track]
        people[track.id] = numbers.setdefault(number, len(numbers))
    tracks, named = (
        tuple(dataclasses.replace(track, person=people[track.id]) for track in some)
        for some in (decision.tracks, decision.named)
    )
    return dataclasses.replace(decision, tracks=tracks, named=named)


def mean_logit(people: People, criteria: Criteria) -> Decision:
    """A person's score is the calibrated mean of frame logits; the most suspicious person decides.

    Tracks that the detector doubts (hands, masks) and that cannot be judged are left out where
    there are others. Where the largest face cannot be judged, REAL becomes INCONCLUSIVE.
    """
    clear = [
        frames for frames in people.values() if _is_certain(frames) or _is_enough(frames, criteria)
    ]
    numbered = enumerate(clear or people.values())
    tracks = tuple(_decide_track(id, tuple(frames), criteria) for id, frames in numbered)
    judged = [track for track in tracks if track.score is not None]
    if not judged:
        return Decision(Label.INCONCLUSIVE, None, Code.PEOPLE, tracks, tracks[:1])
    order = (Label.FAKE, Label.INCONCLUSIVE, Label.REAL)
    worst = min(judged, key=lambda track: (order.index(track.label), -(track.score or 0)))
    named = tuple(track for track in judged if track.label is worst.label)
    if worst.label is Label.REAL and (main := _find_unjudged_main(tracks, criteria)):
        named = (main, *named)
        return Decision(Label.INCONCLUSIVE, worst.score, Code.PEOPLE, tracks, named)
    return Decision(worst.label, worst.score, Code.PEOPLE, tracks, named)


MEAN_LOGIT = Rule(mean_logit)


def _is_certain(frames: Sequence[FrameScore]) -> bool:
    return median(frame.face_probability for frame in frames) >= MIN_PROBABILITY


def _is_enough(frames: Sequence[FrameScore], criteria: Criteria) -> bool:
    usable = sum(frame.flaw is None and not frame.is_closer for frame in frames)
    return usable >= criteria.min_frames


def _find_unjudged_main(
    tracks: Sequence[TrackDecision], criteria: Criteria
) -> TrackDecision | None:
    """The person with the largest face, where that person cannot be judged.

    Only people count who are seen long enough and are surely a face.
    """
    seen = [
        track
        for track in tracks
        if len(track.frames) >= criteria.min_frames and _is_certain(track.frames)
    ]
    main = max(seen, key=lambda track: median(frame.box[3] for frame in track.frames), default=None)
    return main if main and main.score is None else None


def _decide_track(id: int, frames: tuple[FrameScore, ...], criteria: Criteria) -> TrackDecision:
    return doubt_fragile(_decide_by_scores(id, frames, criteria), criteria)


def _decide_by_scores(id: int, frames: tuple[FrameScore, ...], criteria: Criteria) -> TrackDecision:
    usable = [frame for frame in frames if frame.flaw is None]
    if not _is_enough(frames, criteria):
        reason = _too_little(frames, criteria)
        return TrackDecision(id, frames, Label.INCONCLUSIVE, None, reason)
    even = [frame for frame in usable if not frame.is_closer] or usable
    score = _mean_score(even, criteria)
    label = criteria.thresholds.label(score)
    run = find_forged_run(usable, criteria)
    lone = _decisive(even, label, criteria)
    if label is Label.FAKE and not lone:
        return TrackDecision(id, frames, label, score, *_explain_forged(run, usable, criteria))
    if run and _mean_score(_without(run, 1), criteria) >= max(SURE_RUN, criteria.thresholds.fake):
        reason, span = _part(Code.FORGED_PART, run)
        return TrackDecision(id, frames, Label.FAKE, _mean_score(run, criteria), reason, span)
    if run and _mean_score(run, criteria) >= max(ODD_RUN, criteria.thresholds.fake):
        reason, span = _part(Code.FORGED_PART_UNSURE, run)
        return TrackDecision(id, frames, Label.INCONCLUSIVE, score, reason, span)
    if lone:
        return TrackDecision(id, frames, Label.INCONCLUSIVE, score, _by_one_frame(label, lone))
    return TrackDecision(id, frames, label, score, _not_forged(label, usable, criteria))


def doubt_fragile(track: TrackDecision, criteria: Criteria) -> TrackDecision:
    """The decision; INCONCLUSIVE where a harmless change of the pictures gives another label.

    It concerns what the mean decides. Each change moves it by its mean effect on the frames
    of which the variants were scored.
    """
    usable = [frame for frame in track.frames if frame.flaw is None and not frame.is_closer]
    checked = [(frame.logit, frame.variants) for frame in usable if frame.variants]
    if track.reason.code not in BY_MEAN or not checked:
        return track
    effects = np.mean([np.array(variants) - logit for logit, variants in checked], 0)
    mean = np.mean([frame.logit for frame in usable])
    scores = [float(criteria.calibration.probability(mean + effect)) for effect in (0, *effects)]
    if all(criteria.thresholds.label(score) is track.label for score in scores):
        return track
    reason = Reason(BY_MEAN[track.reason.code], {"low": min(scores), "high": max(scores)})
    return dataclasses.replace(track, label=Label.INCONCLUSIVE, reason=reason, forged_s=None)


def _decisive(frames: Sequence[FrameScore], label: Label, criteria: Criteria) -> FrameScore | None:
    """The one frame without which the mean would not give this FAKE or REAL; None without one."""
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


def _mean_score(frames: Sequence[FrameScore], criteria: Criteria) -> float:
    return float(criteria.calibration.probability(np.mean([frame.logit for frame in frames])))


def _explain_forged(
    run: Sequence[FrameScore], usable: Sequence[FrameScore], criteria: Criteria
) -> tuple[Reason, tuple[float, float] | None]:
    """Why the mean of all frames is FAKE; with seconds where the rest would not be FAKE alone."""
    rest = [frame for frame in usable if frame not in run]
    if (
        not run
        or len(run) >= WHOLE * len(usable)
        or _mean_score(rest, criteria) >= criteria.thresholds.fake
    ):
        return Reason(Code.FORGED, {"frames": len(usable)}), None
    return _part(Code.FORGED_MOSTLY, run, frames=len(usable))


def _part(
    code: Code, run: Sequence[FrameScore], **values: int
) -> tuple[Reason, tuple[float, float]]:
    """A reason that names the seconds of a run, and those seconds."""
    span = (run[0].t_s, run[-1].t_s)
    return Reason(code, {**values, "start_s": span[0], "end_s": span[1]}), span


def _by_one_frame(label: Label, frame: FrameScore) -> Reason:
    code = Code.FORGED_BY_ONE_FRAME if label is Label.FAKE else Code.REAL_BY_ONE_FRAME
    return Reason(code, {"at_s": frame.t_s})


def _not_forged(label: Label, usable: Sequence[FrameScore], criteria: Criteria) -> Reason:
    if label is Label.REAL:
        return Reason(Code.NO_SIGN, {"frames": len(usable)})
    limits = criteria.thresholds
    return Reason(Code.BETWEEN, {"real": limits.real, "fake": limits.fake})


def _too_little(frames: Sequence[FrameScore], criteria: Criteria) -> Reason:
    flaws = Counter(frame.flaw for frame in frames if frame.flaw)
    if flaws.total() < len(frames) < criteria.min_frames:
        return Reason(Code.TOO_FEW_FRAMES, {"count": len(frames), "needed": criteria.min_frames})
    worst, count = flaws.most_common(1)[0]
    if count == len(frames):
        return Reason(Code.FLAWED, {"flaw": worst})
    return Reason(Code.FLAWED_OFTEN, {"flaw": worst, "count": count, "total": len(frames)})


def find_forged_run(frames: Sequence[FrameScore], criteria: Criteria) -> list[FrameScore]:
    """The most suspicious of `find_forged_runs`; [] without one."""
    runs = find_forged_runs(frames, criteria)
    return max(runs, key=lambda run: np.mean([frame.logit for frame in run]), default=[])


def find_forged_runs(frames: Sequence[FrameScore], criteria: Criteria) -> list[list[FrameScore]]:
    """The runs of at least `MIN_RUN` frames over the threshold, in order of time.

    A median over three frames comes first: one odd frame makes no run, and one good frame breaks
    none.
    """
    if not frames:
        return []
    logits = np.array([frame.logit for frame in frames])
    padded = np.pad(logits, 1, mode="edge")
    smooth = np.sort([padded[:-2], padded[1:-1], padded[2:]], axis=0)[1]
    over = criteria.calibration.probability(smooth) >= criteria.thresholds.fake
    edges = np.flatnonzero(np.diff(np.r_[False, over, False]))
    runs = (list(frames[a:b]) for a, b in zip(edges[::2], edges[1::2], strict=True))
    return [run for run in runs if _is_run(run)]


def _is_run(frames: Sequence[FrameScore]) -> bool:
    is_closer = any(frame.is_closer for frame in frames)
    return len(frames) >= MIN_RUN and (not is_closer or frames[-1].t_s - frames[0].t_s >= MIN_RUN_S)


def odd_frames(frames: Sequence[FrameScore], criteria: Criteria) -> list[FrameScore]:
    """The frames of a person that look forged although the person does not.

    The most suspicious comes first.
    """
    usable = [frame for frame in frames if frame.flaw is None]
    if (
        len(usable) < criteria.min_frames
        or _decide_track(0, tuple(frames), criteria).label is Label.FAKE
    ):
        return []
    limit = max(ODD_RUN, criteria.thresholds.fake)
    return sorted(
        (frame for frame in usable if frame.score >= limit), key=lambda frame: -frame.logit
    )
