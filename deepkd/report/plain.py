"""Plain words: what a verdict means, for readers who never saw this program."""

from collections.abc import Iterator

from deepkd.languages import Language, message
from deepkd.scoring.grades import EVEN, MODERATE, STRONG, STRONG_FRAMES, Grade
from deepkd.scoring.thresholds import Label
from deepkd.scoring.verdict import Verdict
from deepkd.scoring.wording import GRADES, count_frames

LABELS = {
    Label.FAKE: message("FAKE"),
    Label.REAL: message("REAL"),
    Label.INCONCLUSIVE: message("INCONCLUSIVE"),
    Label.NO_FACE: message("NO FACE"),
    Label.ERROR: message("ERROR"),
}
"""Verdict -> what it is called."""
SUMMARIES = {
    Label.FAKE: message(
        "A statistical model looked at the faces in {frames} of this file and found signs of"
        " forgery. The evidence is {grade}. This is a reason to have the file examined further, not"
        " a proof: the model also errs on genuine footage."
    ),
    Label.REAL: message(
        "A statistical model looked at the faces in {frames} of this file and found no sign of"
        " forgery. This does not prove that the file is genuine: the model misses forgeries, and"
        " only faces were examined."
    ),
    Label.INCONCLUSIVE: message(
        "A statistical model looked at the faces in {frames} of this file. What it found is too"
        " little to call the faces forged or genuine. A longer or sharper copy may help."
    ),
    Label.NO_FACE: message(
        "No face was found in {frames} of this file, so there was nothing to examine. It may still"
        " be forged."
    ),
    Label.ERROR: message("This file could not be examined."),
}
"""Verdict -> what it means."""
UNGRADED = message(
    "A statistical model looked at the faces in {frames} of this file and found signs of forgery."
    " This is a reason to have the file examined further, not a proof: the model also errs on"
    " genuine footage."
)
"""Of a FAKE without a grade."""
RULES = {
    Grade.STRONG: message(
        "FAKE with a score of {strong:.0%} or more, from at least {frames} frames: a forgery is at"
        " least {strong_odds} times as likely as a genuine face"
    ),
    Grade.MODERATE: message(
        "FAKE with a score of {moderate:.0%} or more: at least {moderate_odds} times as likely"
    ),
    Grade.WEAK: message(
        "any other FAKE; INCONCLUSIVE with a score of {even:.0%} or more, or where only a part"
        " looks forged"
    ),
    Grade.NONE: message("REAL; any other INCONCLUSIVE with a score"),
    Grade.NOT_EXAMINABLE: message(
        "no score: no face, faces that cannot be judged, or a file that cannot be read"
    ),
}
"""Grade -> its rule, see `deepkd.scoring.grades.grade`."""


def summarize(verdict: Verdict, language: Language) -> str:
    """What the verdict on a file means, in two or three sentences."""
    is_ungraded = verdict.label is Label.FAKE and verdict.grade is None
    text = UNGRADED if is_ungraded else SUMMARIES[verdict.label]
    frames = count_frames(verdict.frames_sampled, language)
    return language.say(text, frames=frames, grade=name_grade(verdict.grade, language))


def name_grade(grade: Grade | None, language: Language) -> str:
    """What a grade is called; empty without one."""
    return language.say(GRADES[grade]) if grade else ""


def grade_rules(language: Language) -> Iterator[tuple[str, str]]:
    """Each grade and its rule."""
    values = {
        "strong": STRONG,
        "moderate": MODERATE,
        "even": EVEN,
        "frames": STRONG_FRAMES,
        "strong_odds": round(STRONG / (1 - STRONG)),
        "moderate_odds": round(MODERATE / (1 - MODERATE)),
    }
    for grade, text in RULES.items():
        yield name_grade(grade, language), language.say(text, **values)
