"""The grade of evidence, as a table."""

import pytest

from deepkd.scoring.grades import Grade, grade
from deepkd.scoring.thresholds import Label

FAKE, REAL, INCONCLUSIVE = Label.FAKE, Label.REAL, Label.INCONCLUSIVE


@pytest.mark.parametrize(
    ("label", "score", "frames", "has_odd_part", "found"),
    [
        (FAKE, 0.98, 8, False, Grade.STRONG),
        (FAKE, 0.98, 7, False, Grade.MODERATE),
        (FAKE, 0.999, 1, False, Grade.MODERATE),
        (FAKE, 0.979, 99, False, Grade.MODERATE),
        (FAKE, 0.99, 8, True, Grade.STRONG),
        (FAKE, 0.9, 3, False, Grade.MODERATE),
        (FAKE, 0.899, 16, False, Grade.WEAK),
        (FAKE, 0.3, 16, False, Grade.WEAK),
        (INCONCLUSIVE, 0.99, 16, False, Grade.WEAK),
        (INCONCLUSIVE, 0.5, 16, False, Grade.WEAK),
        (INCONCLUSIVE, 0.49, 16, False, Grade.NONE),
        (INCONCLUSIVE, 0.1, 16, True, Grade.WEAK),
        (INCONCLUSIVE, None, 0, False, Grade.NOT_EXAMINABLE),
        (REAL, 0.01, 16, False, Grade.NONE),
        (REAL, 0.6, 16, False, Grade.NONE),
        (Label.NO_FACE, None, 0, False, Grade.NOT_EXAMINABLE),
        (Label.ERROR, None, 0, False, Grade.NOT_EXAMINABLE),
    ],
)
def test_the_rule(
    label: Label, score: float | None, frames: int, has_odd_part: bool, found: Grade
) -> None:
    assert grade(label, score, frames, has_odd_part=has_odd_part) is found
