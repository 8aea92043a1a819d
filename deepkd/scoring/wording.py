"""Wording: the sentence for each reason code of a rule."""

from collections.abc import Sequence

from deepkd.scoring.rules import Code, Decision, Reason, TrackDecision

PHRASES = {
    Code.FORGED: "looks forged to the model in {frames}",
    Code.FORGED_MOSTLY: (
        "looks forged to the model in {frames}, most of all from {start_s} to {end_s}"
    ),
    Code.FORGED_PART: "looks forged from {start_s} to {end_s}",
    Code.FORGED_PART_UNSURE: "looks forged from {start_s} to {end_s}, but not in the rest",
    Code.FORGED_BY_ONE_FRAME: ("would look forged, but that hangs on one frame alone (at {at_s})"),
    Code.REAL_BY_ONE_FRAME: "would look real, but that hangs on one frame alone (at {at_s})",
    Code.FORGED_BY_ENCODING: (
        "would look forged, but that hangs on how the picture was saved (harmless changes give"
        " {low:.0%} to {high:.0%})"
    ),
    Code.REAL_BY_ENCODING: (
        "would look real, but that hangs on how the picture was saved (harmless changes give"
        " {low:.0%} to {high:.0%})"
    ),
    Code.NO_SIGN: "shows the model no sign of forgery in {frames}",
    Code.BETWEEN: (
        "is neither clearly real (up to {real:.1%}) nor clearly forged (from {fake:.1%})"
    ),
    Code.TOO_FEW_FRAMES: "is seen in too few frames to judge ({count}; {needed} are needed)",
    Code.FLAWED: "cannot be judged, the face is {flaw}",
    Code.FLAWED_OFTEN: "cannot be judged, the face is {flaw} in {count} of {total} frames",
    Code.MEAN_SCORE: "has a mean score of {score:.2f}",
}
"""Code of a person's reason -> what is said of the person. A value in seconds (`_s`) is shown as
a time, `frames` as a number of frames."""


def phrase(reason: Reason) -> str:
    """What is said of one person: "looks forged from 0:03.2 to 0:06.8"."""
    shown = {
        name: clock(float(value)) if name.endswith("_s") else value
        for name, value in reason.values.items()
    }
    if "frames" in shown:
        shown["frames"] = count_frames(int(shown["frames"]))
    return PHRASES[reason.code].format(**shown)


def sentence(decision: Decision) -> str:
    """What is said of a clip: "2 people; person 1 looks forged from 0:03.2 to 0:06.8"."""
    if decision.code is Code.NO_FACE:
        return "no face was found"
    if decision.code is Code.UPSTREAM:
        return f"upstream rule: {'; '.join(map(_named_phrase, decision.named))}"
    return _people(decision.tracks, decision.named)


def _people(tracks: Sequence[TrackDecision], named: Sequence[TrackDecision]) -> str:
    """The number of people, those who decide, and those who cannot be judged."""
    # A track of a single frame may be a slip of the face detector.
    tracks = [track for track in tracks if len(track.frames) > 1 or track in named] or tracks
    if len(tracks) == 1:
        return f"1 person, who {phrase(tracks[0].reason)}"
    unjudged = [track for track in tracks if track.score is None and track not in named]
    parts = [f"{len(tracks)} people", *map(_named_phrase, (*named[:3], *unjudged[:1]))]
    hidden = len(named[3:]) + len(unjudged[1:])
    return "; ".join(parts) + (f"; and {hidden} more" if hidden else "")


def _named_phrase(track: TrackDecision) -> str:
    return f"{person_name(track.id)} {phrase(track.reason)}"


def person_name(id: int) -> str:
    """What people are called in reasons and reports."""
    return f"person {id + 1}"


def count_frames(count: int) -> str:
    """As in "1 frame" and "16 frames"."""
    return f"{count} frame{'' if count == 1 else 's'}"


def clock(t_s: float) -> str:
    """Seconds as minutes and seconds: 63.24 is "1:03.2"."""
    tenths = round(t_s * 10)
    return f"{tenths // 600}:{tenths % 600 // 10:02d}.{tenths % 10}"
