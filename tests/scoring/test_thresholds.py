"""Thresholds: from which probability a face is REAL or FAKE."""

import pytest

from deepkd.errors import ModelError
from deepkd.scoring.thresholds import Label, Thresholds

FAKE, REAL, INCONCLUSIVE = Label.FAKE, Label.REAL, Label.INCONCLUSIVE


@pytest.mark.parametrize(
    ("score", "label"),
    [
        (0.0, REAL),
        (0.3, REAL),
        (0.31, INCONCLUSIVE),
        (0.69, INCONCLUSIVE),
        (0.7, FAKE),
        (1.0, FAKE),
    ],
)
def test_thresholds_decide(score, label):
    assert Thresholds(real=0.3, fake=0.7).label(score) is label


@pytest.mark.parametrize(
    ("changes", "real", "fake"),
    [
        ({}, 0.5, 0.5),
        ({"fake": 0.8}, 0.5, 0.8),
        ({"fake": 0.3}, 0.3, 0.3),
        ({"real": 0.2}, 0.2, 0.5),
        ({"real": 0.9}, 0.9, 0.9),
        ({"real": 0.1, "fake": 0.9}, 0.1, 0.9),
    ],
)
def test_one_threshold_moves_the_other_rather_than_cross_it(changes, real, fake):
    assert Thresholds().replace(**changes) == Thresholds(real, fake)


@pytest.mark.parametrize(
    "values", [{"real": 0.6}, {"fake": 1.1}, {"real": -0.1}, {"lower": 0}, {"fake": "x"}, None]
)
def test_bad_thresholds_are_refused(values):
    with pytest.raises(ModelError, match="thresholds"):
        Thresholds.from_dict(values)


def test_thresholds_round_trip():
    assert Thresholds.from_dict(Thresholds(0.2, 0.9).to_dict()) == Thresholds(0.2, 0.9)
