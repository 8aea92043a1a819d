"""Wording: the sentence for each reason code of a rule, in the reader's language."""

from collections.abc import Sequence

from deepkd.languages import ENGLISH, Language, message
from deepkd.origin.credentials import Credentials, State
from deepkd.scoring.grades import Grade
from deepkd.scoring.rules import Code, Decision, Reason, TrackDecision

PHRASES = {
    Code.FORGED: message("looks forged to the model in {frames}"),
    Code.FORGED_MOSTLY: message(
        "looks forged to the model in {frames}, most of all from {start_s} to {end_s}"
    ),
    Code.FORGED_PART: message("looks forged from {start_s} to {end_s}"),
    Code.FORGED_PART_UNSURE: message("looks forged from {start_s} to {end_s}, but not in the rest"),
    Code.FORGED_BY_ONE_FRAME: message(
        "would look forged, but that hangs on one frame alone (at {at_s})"
    ),
    Code.REAL_BY_ONE_FRAME: message(
        "would look real, but that hangs on one frame alone (at {at_s})"
    ),
    Code.FORGED_BY_ENCODING: message(
        "would look forged, but that hangs on how the picture was saved (harmless changes give"
        " {low:.0%} to {high:.0%})"
    ),
    Code.REAL_BY_ENCODING: message(
        "would look real, but that hangs on how the picture was saved (harmless changes give"
        " {low:.0%} to {high:.0%})"
    ),
    Code.NO_SIGN: message("shows the model no sign of forgery in {frames}"),
    Code.BETWEEN: message(
        "is neither clearly real (up to {real:.1%}) nor clearly forged (from {fake:.1%})"
    ),
    Code.TOO_FEW_FRAMES: message(
        "is seen in too few frames to judge ({count}; {needed} are needed)"
    ),
    Code.FLAWED: message("cannot be judged, the face is {flaw}"),
    Code.FLAWED_OFTEN: message("cannot be judged, the face is {flaw} in {count} of {total} frames"),
    Code.MEAN_SCORE: message("has a mean score of {score:.2f}"),
}
"""Code of a person's reason -> what is said of the person. A value in seconds (`_s`) is shown as
a time, `frames` as a number of frames."""
GRADES = {
    Grade.STRONG: message("strong"),
    Grade.MODERATE: message("moderate"),
    Grade.WEAK: message("weak"),
    Grade.NONE: message("none"),
    Grade.NOT_EXAMINABLE: message("not examinable"),
}
"""Grade -> what it is called."""
NAMED = 3
"""Passages that a sentence names at most."""


def phrase(reason: Reason, language: Language = ENGLISH) -> str:
    """What is said of one person: "looks forged from 0:03.2 to 0:06.8"."""
    shown = {
        name: clock(float(value), language) if name.endswith("_s") else _repeat(value, language)
        for name, value in reason.values.items()
    }
    if "frames" in shown:
        shown["frames"] = count_frames(int(reason.values["frames"]), language)
    return language.say(PHRASES[reason.code], **shown)


def _repeat(value: float | str, language: Language) -> float | str:
    return language.repeat(value) if isinstance(value, str) else value


def sentence(
    decision: Decision,
    passages: Sequence[tuple[float, float]] = (),
    language: Language = ENGLISH,
) -> str:
    """What is said of a clip: "2 people; person 1 looks forged from 0:03.2 to 0:06.8".

    Args:
        decision: on the clip.
        passages: first and last second of each part to name, too.
        language: of the sentence.
    """
    if decision.code is Code.NO_FACE:
        return language.say("no face was found")
    if decision.code is Code.UPSTREAM:
        people = "; ".join(_describe_person(track, language) for track in decision.named)
        return language.say("upstream rule: {people}", people=people)
    parts = _people(decision.tracks, decision.named, language)
    return "; ".join([*parts, *_passages(passages, language)])


def _passages(passages: Sequence[tuple[float, float]], language: Language) -> list[str]:
    if not passages:
        return []
    shown = [name_span(*span, language) for span in passages[:NAMED]]
    said = [language.say("suspicious passages: {passages}", passages=", ".join(shown))]
    hidden = len(passages[NAMED:])
    return said + [language.say("and {count} more", count=hidden)] * (hidden > 0)


def _people(
    tracks: Sequence[TrackDecision], named: Sequence[TrackDecision], language: Language
) -> list[str]:
    """The number of people, those who decide, and those who cannot be judged."""
    # A track of a single frame may be a slip of the face detector.
    tracks = [track for track in tracks if len(track.frames) > 1 or track in named] or tracks
    named = _each_once(named)
    if len({track.person for track in tracks}) == 1:
        first = (*named, *tracks)[0]
        return [language.say("1 person, who {what}", what=phrase(first.reason, language))]
    judged = {track.person for track in (*named, *tracks) if track.score is not None}
    told = judged | {track.person for track in named}
    unjudged = _each_once([track for track in tracks if track.person not in told])
    count = len({track.person for track in tracks})
    parts = [
        language.say("{count} people", count=count),
        *(_describe_person(track, language) for track in (*named[:3], *unjudged[:1])),
    ]
    hidden = len(named[3:]) + len(unjudged[1:])
    return parts + [language.say("and {count} more", count=hidden)] * (hidden > 0)


def _each_once(tracks: Sequence[TrackDecision]) -> list[TrackDecision]:
    """The most suspicious track of each person, in their order."""
    best: dict[int, TrackDecision] = {}
    for track in tracks:
        known = best.setdefault(track.person, track)
        if (track.score or 0) > (known.score or 0):
            best[track.person] = track
    return list(best.values())


def _describe_person(track: TrackDecision, language: Language) -> str:
    return language.say(
        "person {number} {what}", number=track.person + 1, what=phrase(track.reason, language)
    )


def person_name(number: int, language: Language = ENGLISH) -> str:
    """What people are called in reasons and reports; `number` is from 0."""
    return language.say("person {number}", number=number + 1)


def count_frames(count: int, language: Language = ENGLISH) -> str:
    """As in "1 frame" and "16 frames"."""
    return language.count("{count} frame", "{count} frames", count)


def clock(t_s: float, language: Language = ENGLISH) -> str:
    """Seconds as minutes and seconds: 63.24 is "1:03.2"."""
    tenths = round(t_s * 10)
    return f"{tenths // 600}:{language.number(tenths % 600 / 10, '04.1f')}"


def name_span(start_s: float, end_s: float, language: Language = ENGLISH) -> str:
    """As in "0:03.2 to 0:06.8"."""
    return language.say(
        "{start} to {end}", start=clock(start_s, language), end=clock(end_s, language)
    )


CREDENTIALS = {
    State.NONE: message(
        "The file has no content credentials. That says nothing about it: most sites remove them."
    ),
    State.ELSEWHERE: message(
        "The file says that its content credentials are at {address}. deepkd did not ask there."
    ),
    State.UNREADABLE: message("The file has content credentials that cannot be read: {problems}."),
    State.INVALID: message(
        "The file has content credentials that do not hold: {problems}. What they say cannot be"
        " relied on."
    ),
    State.VALID: message(
        "The file is as it was when its content credentials were signed. They name {signer} as the"
        " signer, which is not confirmed: anybody can sign under this name."
    ),
    State.TRUSTED: message(
        "The file is as it was when its content credentials were signed by {signer}, whom the given"
        " trust anchors confirm."
    ),
}
"""State of content credentials -> what is said of them."""
UNEXAMINED = message("Content credentials (C2PA) were not examined; to do so: {hint}.")
INSTALL_PROVENANCE = "pip install 'deepkd[provenance]'"
NO_SIGNER = message("nobody")
GENERATED = message(
    "They say that an AI generator made the file or parts of it. This is their claim; the verdict"
    " and its score do not depend on it."
)
MADE_BY = message("They were made with {tool}.")
CLAIMED = message("Edits that they claim: {actions}.")
EDITS = {
    "c2pa.cropped": message("cropped"),
    "c2pa.resized": message("resized"),
    "c2pa.trimmed": message("trimmed"),
    "c2pa.edited": message("edited"),
    "c2pa.enhanced": message("enhanced"),
    "c2pa.filtered": message("filtered"),
    "c2pa.color_adjustments": message("color adjustments"),
    "c2pa.drawing": message("drawing"),
    "c2pa.converted": message("converted"),
    "c2pa.transcoded": message("transcoded"),
    "c2pa.dubbed": message("dubbed"),
    "c2pa.watermarked": message("watermarked"),
}
"""C2PA action -> what it is called; others are named by their code."""
PROBLEMS = {
    "mismatch": message("the file or the credentials were changed after signing"),
    "expired": message("the certificate of the signer was not valid any more"),
    "outsideValidity": message("the certificate of the signer was not valid when it signed"),
    "revoked": message("the certificate of the signer was revoked"),
    "invalid": message("the certificate of the signer is not one for content credentials"),
}
"""Last word of a C2PA code -> what it means."""
BEGINNINGS = {"c2pa.created", "c2pa.opened"}
"""Actions that every file begins with, and that edit nothing."""


def describe_credentials(
    credentials: Credentials | None, language: Language = ENGLISH
) -> list[str]:
    """Sentences about the content credentials of a file; None is said of those not examined."""
    if credentials is None:
        return [language.say(UNEXAMINED, hint=INSTALL_PROVENANCE)]
    about = {
        "problems": ", ".join(_name_problems(credentials, language)),
        "signer": credentials.signer or language.say(NO_SIGNER),
        "address": credentials.address,
    }
    sentences = [language.say(CREDENTIALS[credentials.state], **about)]
    if credentials.says_generated:
        sentences.append(language.say(GENERATED))
    if credentials.tool:
        sentences.append(language.say(MADE_BY, tool=credentials.tool))
    edits = [action for action in credentials.actions if action not in BEGINNINGS]
    if edits:
        named = ", ".join(_name_edit(edit, language) for edit in edits)
        sentences.append(language.say(CLAIMED, actions=named))
    return sentences


def _name_edit(code: str, language: Language) -> str:
    if code in EDITS:
        return language.say(EDITS[code])
    return code.removeprefix("c2pa.").replace("_", " ")


def _name_problems(credentials: Credentials, language: Language) -> dict[str, None]:
    """Each problem once; a code without a meaning here is named itself."""
    words = [(code, code.rpartition(".")[2]) for code in credentials.problems]
    named = (language.say(PROBLEMS[word]) if word in PROBLEMS else code for code, word in words)
    return dict.fromkeys(named)
