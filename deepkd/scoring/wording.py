"""Wording: the sentence for each reason code of a rule, and for each state of credentials."""

from collections.abc import Sequence

from deepkd.origin.credentials import Credentials, State
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
        return f"upstream rule: {'; '.join(map(_describe_person, decision.named))}"
    return _people(decision.tracks, decision.named)


def _people(tracks: Sequence[TrackDecision], named: Sequence[TrackDecision]) -> str:
    """The number of people, those who decide, and those who cannot be judged."""
    # A track of a single frame may be a slip of the face detector.
    tracks = [track for track in tracks if len(track.frames) > 1 or track in named] or tracks
    if len(tracks) == 1:
        return f"1 person, who {phrase(tracks[0].reason)}"
    unjudged = [track for track in tracks if track.score is None and track not in named]
    parts = [f"{len(tracks)} people", *map(_describe_person, (*named[:3], *unjudged[:1]))]
    hidden = len(named[3:]) + len(unjudged[1:])
    return "; ".join(parts) + (f"; and {hidden} more" if hidden else "")


def _describe_person(track: TrackDecision) -> str:
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


CREDENTIALS = {
    State.NONE: (
        "The file has no content credentials. That says nothing about it: most sites remove them."
    ),
    State.ELSEWHERE: (
        "The file says that its content credentials are at {address}. deepkd did not ask there."
    ),
    State.UNREADABLE: "The file has content credentials that cannot be read: {problems}.",
    State.INVALID: (
        "The file has content credentials that do not hold: {problems}. What they say cannot be"
        " relied on."
    ),
    State.VALID: (
        "The file is as it was when its content credentials were signed. They name {signer} as the"
        " signer, which is not confirmed: anybody can sign under this name."
    ),
    State.TRUSTED: (
        "The file is as it was when its content credentials were signed by {signer}, whom the given"
        " trust anchors confirm."
    ),
}
"""State of content credentials -> what is said of them."""
UNEXAMINED = "Content credentials (C2PA) were not examined; to do so: {hint}."
INSTALL_PROVENANCE = "pip install 'deepkd[provenance]'"
NO_SIGNER = "nobody"
GENERATED = (
    "They say that an AI generator made the file or parts of it. This is their claim; the verdict"
    " and its score do not depend on it."
)
MADE_BY, CLAIMED = "They were made with {tool}.", "Edits that they claim: {actions}."
PROBLEMS = {
    "mismatch": "the file or the credentials were changed after signing",
    "expired": "the certificate of the signer was not valid any more",
    "outsideValidity": "the certificate of the signer was not valid when it signed",
    "revoked": "the certificate of the signer was revoked",
    "invalid": "the certificate of the signer is not one for content credentials",
}
"""Last word of a C2PA code -> what it means."""
BEGINNINGS = {"c2pa.created", "c2pa.opened"}
"""Actions that every file begins with, and that edit nothing."""


def describe_credentials(credentials: Credentials | None) -> list[str]:
    """Sentences about the content credentials of a file; None is said of those not examined."""
    if credentials is None:
        return [UNEXAMINED.format(hint=INSTALL_PROVENANCE)]
    problems = dict.fromkeys(
        PROBLEMS.get(code.rpartition(".")[2], code) for code in credentials.problems
    )
    sentences = [
        CREDENTIALS[credentials.state].format(
            problems=", ".join(problems),
            signer=credentials.signer or NO_SIGNER,
            address=credentials.address,
        )
    ]
    if credentials.says_generated:
        sentences.append(GENERATED)
    if credentials.tool:
        sentences.append(MADE_BY.format(tool=credentials.tool))
    edits = [action for action in credentials.actions if action not in BEGINNINGS]
    if edits:
        shown = (edit.removeprefix("c2pa.").replace("_", " ") for edit in edits)
        sentences.append(CLAIMED.format(actions=", ".join(shown)))
    return sentences
