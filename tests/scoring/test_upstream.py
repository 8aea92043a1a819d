"""The rule of the published detector: the mean of all faces, without calibration."""

import dataclasses
import math

import pytest
from score_factory import seen

from deepkd.scoring.calibration import Calibration, sigmoid
from deepkd.scoring.rules import Criteria
from deepkd.scoring.thresholds import Label, Thresholds
from deepkd.scoring.verdict import judge

CRITERIA = Criteria(Calibration(), Thresholds())
FAKE, REAL, INCONCLUSIVE = Label.FAKE, Label.REAL, Label.INCONCLUSIVE


UPSTREAM = {
    "the first face over 0.55 wins": ([0.2, 0.58, 0.99], REAL, 0.58),
    "a face over 0.6 is enough": ([0.2, 0.7, 0.1], FAKE, 0.7),
    "else the mean of all": ([0.5, 0.3, 0.1], REAL, 0.3),
    "the fourth face is not looked at": ([0.1, 0.1, 0.1, 0.99], REAL, 0.1),
}


@pytest.mark.parametrize("name", UPSTREAM)
def test_upstream_rule(name):
    scores, verdict, score = UPSTREAM[name]
    people = {i: seen(math.log(p / (1 - p))) for i, p in enumerate(scores)}
    judgement = judge(people, CRITERIA, rule="upstream")
    assert (judgement.label, judgement.score) == (verdict, pytest.approx(score))


def test_upstream_takes_the_mean_of_probabilities():
    judgement = judge({0: seen(9, -3, -3, -3, -3)}, CRITERIA, rule="upstream")
    assert judgement.score == pytest.approx((sigmoid(9) + 4 * sigmoid(-3)) / 5)


def test_upstream_knows_no_calibration_and_leaves_nobody_out():
    criteria = Criteria(
        Calibration(temperature=2, bias=-3), Thresholds(real=0.9, fake=0.95), min_frames=9
    )
    hand = [
        dataclasses.replace(frame, score=0.01, face_probability=0.75, flaw="hardly a face")
        for frame in seen(1, 2)
    ]
    judgement = judge({0: hand, 1: seen(-3, -3, -3)}, criteria, rule="upstream")
    assert (judgement.label, judgement.score) == (
        FAKE,
        pytest.approx((sigmoid(1) + sigmoid(2)) / 2),
    )
    assert [len(track.frames) for track in judgement.tracks] == [2, 3]


def test_upstream_counts_every_face():
    judgement = judge({0: seen(-3, None, -3)}, CRITERIA, rule="upstream")
    assert [frame.flaw for frame in judgement.tracks[0].frames] == [None] * 3
