"""Grades: how much evidence of forgery a calibrated score is, in words that readers rank."""

from enum import StrEnum

from deepkd.scoring.thresholds import Label

STRONG, MODERATE, EVEN = 0.98, 0.9, 0.5
"""Least scores: a forgery is 49 times, 9 times and once as likely as none, where half of all faces
are forged."""
STRONG_FRAMES = 8
"""Least number of frames behind a strong grade: fewer may show one odd moment."""


class Grade(StrEnum):
    """Evidence of forgery, from much to none."""

    STRONG = "strong"
    MODERATE = "moderate"
    WEAK = "weak"
    NONE = "none"
    NOT_EXAMINABLE = "not examinable"


def grade(label: Label, score: float | None, frames: int, *, has_odd_part: bool = False) -> Grade:
    """The grade of a verdict.

    A FAKE is strong from a score of `STRONG` in `STRONG_FRAMES` frames, moderate from `MODERATE`,
    else weak. An INCONCLUSIVE is weak from a score of `EVEN` or where a part looks forged, else
    none, as a REAL is. What has no score was not examinable.

    Args:
        label: the verdict.
        score: the calibrated probability of forgery; None without one.
        frames: how many frames the score comes from.
        has_odd_part: a part looks forged, but not the rest.
    """
    if score is None or label in (Label.NO_FACE, Label.ERROR):
        return Grade.NOT_EXAMINABLE
    if label is not Label.FAKE:
        is_doubtful = label is Label.INCONCLUSIVE and (has_odd_part or score >= EVEN)
        return Grade.WEAK if is_doubtful else Grade.NONE
    if score < MODERATE:
        return Grade.WEAK
    return Grade.STRONG if score >= STRONG and frames >= STRONG_FRAMES else Grade.MODERATE
