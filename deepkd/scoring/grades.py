"""Grades: how much evidence of forgery a calibrated score is, in words that readers rank."""

from enum import StrEnum

from deepkd.scoring.thresholds import Label

STRONG, MODERATE = 0.98, 0.9
"""Least score of each grade of a FAKE: 49 to 1 and 9 to 1, where half of all faces are forged."""
STRONG_FRAMES = 8
"""Least number of frames behind a strong grade: fewer may show one odd moment."""


class Grade(StrEnum):
    """Evidence of forgery, from much to none."""

    STRONG = "strong"
    MODERATE = "moderate"
    WEAK = "weak"
    NONE = "none"
    NOT_EXAMINABLE = "not examinable"


def grade(label: Label, score: float | None, frames: int) -> Grade:
    """The grade of a verdict.

    A FAKE is strong from a score of `STRONG` in `STRONG_FRAMES` frames, moderate from `MODERATE`,
    else weak. An INCONCLUSIVE with a score is weak, a REAL is none. What has no score was not
    examinable.

    Args:
        label: the verdict.
        score: the calibrated probability of forgery; None without one.
        frames: how many frames the score comes from.
    """
    if score is None or label in (Label.NO_FACE, Label.ERROR):
        return Grade.NOT_EXAMINABLE
    if label is Label.REAL:
        return Grade.NONE
    if label is Label.INCONCLUSIVE or score < MODERATE:
        return Grade.WEAK
    return Grade.STRONG if score >= STRONG and frames >= STRONG_FRAMES else Grade.MODERATE
