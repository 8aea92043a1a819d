import dataclasses
import math

import pytest
from score_factory import seen

from deepkd.errors import ConfigError, ModelError
from deepkd.scoring.calibration import Calibration, sigmoid
from deepkd.scoring.rules import Criteria, find_forged_run
from deepkd.scoring.thresholds import Label, Thresholds
from deepkd.scoring.verdict import Verdict, judge
from deepkd.scoring.wording import clock
from deepkd.settings.choices import RULES

CRITERIA = Criteria(Calibration(), Thresholds())
FAKE, REAL, INCONCLUSIVE = Label.FAKE, Label.REAL, Label.INCONCLUSIVE


CASES = {
    "one person, real": (
        [seen(-2, -1, -3)],
        REAL,
        float(sigmoid(-2)),
        ("1 person, who shows the model no sign of forgery in 3 frames"),
    ),
    "one person, forged": (
        [seen(2, 1, 3)],
        FAKE,
        float(sigmoid(2)),
        ("1 person, who looks forged to the model in 3 frames"),
    ),
    ("the mean is of logits, not of probabilities"): (
        [seen(9, *[-3] * 6)],
        REAL,
        float(sigmoid(-9 / 7)),
        "no sign",
    ),
    "two people, the forged one decides": (
        [seen(-2, -2, -2), seen(2, 2, 2)],
        FAKE,
        float(sigmoid(2)),
        "2 people; person 2 looks forged to the model in 3 frames",
    ),
    "the second person has too few frames": (
        [seen(-2, -2, -2), seen(5, 5)],
        REAL,
        float(sigmoid(-2)),
        "2 people; person 1 shows the model no sign of forgery in 3 frames; "
        "person 2 is seen in too few frames to judge (2;",
    ),
    "too few frames": (
        [seen(5, 5)],
        INCONCLUSIVE,
        None,
        ("is seen in too few frames to judge (2; 3 are needed)"),
    ),
    "too small everywhere": (
        [seen(None, None, None)],
        INCONCLUSIVE,
        None,
        ("cannot be judged, the face is too small"),
    ),
    "too small too often": (
        [seen(-2, None, None, -2)],
        INCONCLUSIVE,
        None,
        ("the face is too small in 2 of 4 frames"),
    ),
    "small frames do not count": (
        [seen(-2, -2, None, None, -2)],
        REAL,
        float(sigmoid(-2)),
        "in 3 frames",
    ),
    "nobody can be judged": (
        [seen(5, 5), seen(None, None)],
        INCONCLUSIVE,
        None,
        ("2 people; person 1 is seen in"),
    ),
    "what is seen in one frame only is not counted": (
        [seen(-2, -2, -2), seen(5)],
        REAL,
        float(sigmoid(-2)),
        "1 person, who shows the model no sign of forgery in 3 frames",
    ),
    "all of it is suspicious, a part looks forged": (
        [seen(*[-0.2] * 6, 5, 5, 5, *[-0.2] * 6)],
        FAKE,
        float(sigmoid(12.6 / 15)),
        "1 person, who looks forged to the model in 15 frames, most of all from 0:03.0 to 0:04.0",
    ),
    "the rest would look forged without the worst part": (
        [seen(*[0.1, 4] * 3, 5, 5, 5, *[0.1, 4] * 3)],
        FAKE,
        float(sigmoid(39.6 / 15)),
        "1 person, who looks forged",
    ),
    "a part is forged": (
        [seen(*[-4] * 8, 5, 5, 5, 5, *[-4] * 8)],
        FAKE,
        float(sigmoid(5)),
        "1 person, who looks forged from 0:04.0 to 0:05.5",
    ),
    "forged on the whole, most of it in a part": (
        [seen(-1, -1, -1, 6, 6, 6, 6, -1)],
        FAKE,
        float(sigmoid(2.5)),
        "from 0:01.5 to 0:03.0",
    ),
    "one odd frame is no verdict": ([seen(*[-4] * 8, 9, *[-4] * 8)], REAL, None, "no sign"),
    "one odd frame at the end": ([seen(*[-4] * 8, 9)], REAL, None, "no sign"),
    "a strong part with a good frame inside": (
        [seen(*[-4] * 6, 9, 9, -2, 9, 9, *[-4] * 12)],
        FAKE,
        float(sigmoid(34 / 5)),
        "from 0:03.0 to 0:05.0",
    ),
    "a part that looks forged, but not surely": (
        [seen(*[-4] * 8, 3, 3, 3, *[-4] * 8)],
        INCONCLUSIVE,
        float(sigmoid(-55 / 19)),
        "1 person, who looks forged from 0:04.0 to 0:05.0, but not in the rest",
    ),
    ("a part that is not sure enough"): (
        [seen(*[-4] * 8, 1, 1, 1, *[-4] * 8)],
        REAL,
        None,
        "no sign",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_mean_logit(name):
    people, verdict, score, reason = CASES[name]
    judgement = judge(dict(enumerate(people)), CRITERIA, rule="mean-logit")
    assert judgement.label == verdict
    assert reason in judgement.reason
    if score is not None or verdict is INCONCLUSIVE:
        assert judgement.score == pytest.approx(score, abs=1e-9)


def test_between_the_thresholds_is_inconclusive_with_its_score():
    criteria = Criteria(Calibration(), Thresholds(real=0.3, fake=0.7))
    judgement = judge({0: seen(0, 0, 0)}, criteria, rule="mean-logit")
    assert (judgement.label, judgement.score) == (INCONCLUSIVE, 0.5)
    assert "neither clearly real (up to 30.0%) nor clearly forged (from 70.0%)" in judgement.reason


SHIPPED = Criteria(Calibration(), Thresholds(real=0.18, fake=0.87))
ON_ONE_FRAME = {
    "one of three makes the mean forged": (
        (-1, -1, 8.2),
        INCONCLUSIVE,
        ("would look forged, but that hangs on one frame alone (at 0:01.0)"),
    ),
    "one of four": (
        (-0.5, 10, -0.5, -0.5),
        INCONCLUSIVE,
        ("but that hangs on one frame alone (at 0:00.5)"),
    ),
    "two of three are forged": ((-1, 9, 9), FAKE, "looks forged to the model in 3 frames"),
    "the others are still forged": ((2, 2, 9), FAKE, "looks forged to the model in 3 frames"),
    "one very real frame hides three that are neither": (
        (0, 0, -9, 0),
        INCONCLUSIVE,
        ("would look real, but that hangs on one frame alone (at 0:01.0)"),
    ),
    "one very real frame hides forged ones": (
        (2, 2, -13, 2),
        INCONCLUSIVE,
        ("would look real, but that hangs on one"),
    ),
    "the others are still real": ((-2, -2, -9), REAL, "no sign"),
    "a run that one frame makes sure": (
        (*[-4] * 8, 2, 2, 12, *[-4] * 8),
        INCONCLUSIVE,
        ("looks forged from 0:04.0 to 0:05.0, but not in the rest"),
    ),
    "a single frame, of a still": ((5,), FAKE, "looks forged to the model in 1 frame"),
}


@pytest.mark.parametrize("name", ON_ONE_FRAME)
def test_no_verdict_hangs_on_one_frame(name):
    logits, verdict, reason = ON_ONE_FRAME[name]
    criteria = dataclasses.replace(SHIPPED, min_frames=min(3, len(logits)))
    judgement = judge({0: seen(*logits)}, criteria, rule="mean-logit")
    assert judgement.label is verdict
    assert reason in judgement.reason
    assert judgement.score is not None


def test_inconclusive_outweighs_real_and_fake_outweighs_both():
    criteria = Criteria(Calibration(), Thresholds(real=0.3, fake=0.7))
    people = {0: seen(-3, -3, -3), 1: seen(0, 0, 0)}
    assert judge(people, criteria, rule="mean-logit").label is INCONCLUSIVE
    assert judge(people | {2: seen(3, 3, 3)}, criteria, rule="mean-logit").label is FAKE


def test_calibration_is_obeyed():
    criteria = Criteria(Calibration(temperature=2, bias=-1), Thresholds())
    assert judge({0: seen(1, 1, 1)}, criteria, rule="mean-logit").label is REAL
    assert judge({0: seen(4, 4, 4)}, criteria, rule="mean-logit").score == pytest.approx(
        float(sigmoid(1))
    )


def test_forged_run_is_the_most_suspicious_one():
    frames = seen(3, 3, 3, -5, -5, -5, 6, 6, 6, -5)
    assert [frame.t_s for frame in find_forged_run(frames, CRITERIA)] == [3.0, 3.5, 4.0]
    assert find_forged_run(seen(-1, -1, -1), CRITERIA) == []


def larger(frames, times):
    return [dataclasses.replace(frame, box=(1, 2, times * 30, times * 40)) for frame in frames]


UNJUDGED = {
    "the largest face cannot be judged": (
        [seen(-3, -3, -3), larger(seen(-3, -3, -3, flaw="too dark"), 2)],
        INCONCLUSIVE,
        (
            "2 people; person 2 cannot be judged, the face is too dark; person 1 shows the model"
            " no sign of forgery in 3 f"
        ),
    ),
    "a smaller one cannot": (
        [larger(seen(-3, -3, -3), 2), seen(-3, -3, -3, flaw="too dark")],
        REAL,
        (
            "2 people; person 1 shows the model no sign of forgery in 3 frames; person 2 cannot be"
            " judged"
        ),
    ),
    ("the largest is seen too shortly"): (
        [seen(-3, -3, -3), larger(seen(-3, -3, flaw="too dark"), 2)],
        REAL,
        "2 people",
    ),
    "the largest is hardly a face": (
        [
            seen(-3, -3, -3),
            larger([dataclasses.replace(f, face_probability=0.8) for f in seen(-3, -3, None)], 2),
        ],
        REAL,
        "1 person, who shows",
    ),
    "a forgery is one, whoever stands before it": (
        [seen(3, 3, 3), larger(seen(-3, -3, -3, flaw="too dark"), 2)],
        FAKE,
        ("2 people; person 1 looks forged"),
    ),
}


@pytest.mark.parametrize("name", UNJUDGED)
def test_nobody_vouches_for_a_larger_face_that_cannot_be_judged(name):
    people, verdict, reason = UNJUDGED[name]
    judgement = judge(dict(enumerate(people)), CRITERIA, rule="mean-logit")
    assert judgement.label is verdict and judgement.reason.startswith(reason)


@pytest.mark.parametrize("rule", RULES)
def test_every_rule(rule):
    assert judge({}, CRITERIA, rule=rule).label is Label.NO_FACE
    with pytest.raises(ModelError, match="no number"):
        judge({0: seen(1, math.nan, 1)}, CRITERIA, rule=rule)
    for logit, verdict in ((5.0, FAKE), (-5.0, REAL)):
        judgement = judge({3: seen(*[logit] * 4)}, CRITERIA, rule=rule)
        assert judgement.label is verdict
        assert judgement.reason
        assert [track.id for track in judgement.tracks] == [0]


def test_tracks_that_the_detector_doubts_are_left_out_where_there_are_others():
    hand = [
        dataclasses.replace(frame, face_probability=0.8, flaw="hardly a face")
        for frame in seen(9, 9, 9)
    ]
    judgement = judge({0: hand, 1: seen(-3, -3, -3)}, CRITERIA, rule="mean-logit")
    assert judgement.reason == "1 person, who shows the model no sign of forgery in 3 frames"
    assert [track.id for track in judgement.tracks] == [0]
    alone = judge({0: hand}, CRITERIA, rule="mean-logit")
    assert (alone.label, alone.reason) == (
        INCONCLUSIVE,
        "1 person, who cannot be judged, the face is hardly a face",
    )


def test_a_person_whom_the_detector_doubts_is_judged_by_the_frames_without_a_flaw():
    doubted = [
        dataclasses.replace(frame, face_probability=0.8, flaw="hidden or unclear")
        for frame in seen(*[5] * 5)
    ]
    half_hidden = seen(5, 5, 5, 5) + doubted
    judgement = judge({0: seen(-3, -3, -3), 1: half_hidden}, CRITERIA, rule="mean-logit")
    assert (judgement.label, judgement.reason) == (
        FAKE,
        "2 people; person 2 looks forged to the model in 4 frames",
    )
    assert judge({1: half_hidden}, CRITERIA, rule="mean-logit").label is FAKE


def test_unknown_rule_lists_the_known():
    with pytest.raises(
        ConfigError, match="unknown rule 'median'; choose from mean-logit, upstream"
    ):
        judge({}, CRITERIA, rule="median")


@pytest.mark.parametrize(
    ("t_s", "text"), [(0, "0:00.0"), (3.24, "0:03.2"), (59.96, "1:00.0"), (3723.5, "62:03.5")]
)
def test_clock(t_s, text):
    assert clock(t_s) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.mp4", "a.mp4"),
        ("ü\n.mp4", "ü\n.mp4"),
        ("\udcff.mp4", r"\xff.mp4"),
        ("\ud800.mp4", r"\ud800.mp4"),
    ],
)
def test_reasons_become_valid_unicode(name, text):
    assert Verdict.from_failure(name, f"{name}: gone").to_dict()["reason"] == f"{text}: gone"
