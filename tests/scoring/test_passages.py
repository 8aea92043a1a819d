"""Shots and people in a verdict: what each is said to be, and that the clip's verdict stands."""

import dataclasses
from itertools import pairwise

import pytest

from deepkd.languages import LANGUAGES, language
from deepkd.scoring.calibration import Calibration, sigmoid
from deepkd.scoring.grades import Grade
from deepkd.scoring.rules import Criteria
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label, Thresholds
from deepkd.scoring.verdict import Judgement, Verdict, judge
from deepkd.video.shots import Span

CRITERIA = Criteria(Calibration(), Thresholds(0.3, 0.7))
FAKE, REAL, INCONCLUSIVE = Label.FAKE, Label.REAL, Label.INCONCLUSIVE
GOOD, ODD, SURE = -3.0, 1.5, 5.0
"""Logits of a frame that looks real, of one over the threshold, and of one surely forged."""


def seen(start_s: float, *logits: float, track: int = 0) -> list[FrameScore]:
    return [
        FrameScore(start_s + i, (1, 2, 30, 40), z, float(sigmoid(z)), 0.99, track=track)
        for i, z in enumerate(logits)
    ]


def judged(faces: dict[int, list[FrameScore]], *edges_s: float, **options) -> Judgement:
    spans = [Span(a, b) for a, b in pairwise(edges_s)]
    return judge(faces, CRITERIA, rule="mean-logit", spans=spans, **options)


THREE = {0: seen(0, *[GOOD] * 4, *[SURE] * 4, *[GOOD] * 4)}


@pytest.mark.parametrize(
    ("faces", "edges_s", "label", "labels", "seconds"),
    [
        (THREE, (0, 12), FAKE, [FAKE], [((4, 7),)]),
        (THREE, (0, 4, 8, 12), FAKE, [REAL, FAKE, REAL], [(), ((4, 7),), ()]),
        (THREE, (0, 4, 6, 12), FAKE, [REAL, INCONCLUSIVE, INCONCLUSIVE], [(), (), ()]),
        ({0: seen(0, *[SURE] * 12)}, (0, 6, 12), FAKE, [FAKE, FAKE], [((0, 5),), ((6, 11),)]),
        (
            {0: seen(0, *[GOOD] * 12, *[ODD] * 3)},
            (0, 12, 15),
            REAL,
            [REAL, INCONCLUSIVE],
            [(), ()],
        ),
        ({0: seen(0, *[GOOD] * 4)}, (0, 4, 8), REAL, [REAL, Label.NO_FACE], [(), ()]),
        ({}, (0, 4), Label.NO_FACE, [Label.NO_FACE], [()]),
    ],
)
def test_shots(faces, edges_s, label, labels, seconds) -> None:
    found = judged(faces, *edges_s)
    assert found.label is label
    assert [shot.label for shot in found.shots] == labels
    assert [shot.suspicious_s for shot in found.shots] == seconds
    plain = judged(faces)
    assert (plain.label, plain.score) == (found.label, found.score) and plain.shots == ()


def test_passages_are_named_where_they_are_a_part() -> None:
    twice = {0: seen(0, *[SURE] * 4, *[GOOD] * 4, *[SURE] * 4)}
    assert judged(twice, 0, 12).reason.endswith(
        "; suspicious passages: 0:00.0 to 0:03.0, 0:08.0 to 0:11.0"
    )
    assert judged(twice, 0, 4, 8, 12).reason.count("0:08.0 to 0:11.0") == 1
    assert "passages" not in judged(THREE, 0, 4, 8, 12).reason, "its seconds are said already"
    assert "passages" not in judged({0: seen(0, *[SURE] * 12)}, 0, 6, 12).reason
    many = {0: seen(0, *([SURE] * 4 + [GOOD] * 4) * 5)}
    assert judged(many, 0, 40).reason.endswith("0:16.0 to 0:19.0; and 2 more")


def test_a_person_in_two_tracks_has_one_number_and_changes_no_verdict() -> None:
    faces = {
        0: seen(0, *[SURE] * 9, track=0),
        3: seen(9, *[GOOD] * 4, track=3),
        5: seen(13, *[SURE] * 4, track=5),
    }
    apart, found = judged(faces), judged(faces, same={0: 0, 3: 3, 5: 0})
    assert [track.person for track in apart.tracks] == [0, 1, 2]
    assert [(track.id, track.person) for track in found.tracks] == [(0, 0), (1, 1), (2, 0)]
    assert [(t.label, t.score) for t in found.tracks] == [(t.label, t.score) for t in apart.tracks]
    assert (found.label, found.score) == (apart.label, apart.score)
    assert found.reason == "2 people; person 1 looks forged to the model in 9 frames"
    assert found.grade is Grade.STRONG and apart.reason.startswith("3 people; ")


def test_one_person_alone_is_told_of_once() -> None:
    flawed = [dataclasses.replace(f, flaw="too dark") for f in seen(4, *[GOOD] * 4, track=1)]
    found = judged({0: seen(0, *[GOOD] * 4), 1: flawed}, same={0: 0, 1: 0})
    assert found.reason == "1 person, who shows the model no sign of forgery in 4 frames"


def test_what_cannot_be_judged_is_not_examinable() -> None:
    large = [dataclasses.replace(f, flaw="too dark", box=(1, 2, 90, 90)) for f in seen(0, 0, 0, 0)]
    found = judged({0: seen(0, *[GOOD] * 4), 1: large})
    assert (found.label, found.grade) == (INCONCLUSIVE, Grade.NOT_EXAMINABLE)
    assert [track.grade for track in found.tracks] == [Grade.NONE, Grade.NOT_EXAMINABLE]
    assert judge({0: seen(0, SURE)}, CRITERIA, rule="upstream").grade is None


@pytest.mark.parametrize("code", LANGUAGES)
def test_a_reason_in_another_language_says_the_same_figures(code: str) -> None:
    verdict = Verdict(**vars(judged(THREE, 0, 4, 8, 12)), frames_sampled=12)
    said = verdict.with_notes().explain(language(code))
    assert said.replace(",", ".").count("0:04.0") == said.replace(",", ".").count("0:07.0") == 1
    assert (said == verdict.reason) == (code == "en")
