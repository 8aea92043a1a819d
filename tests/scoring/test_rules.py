"""Rules decide without sentences, and every reason code has a phrase."""

import re

import pytest

from deepkd.scoring.calibration import Calibration, sigmoid
from deepkd.scoring.rules import Code, Criteria, Reason, decide
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label, Thresholds
from deepkd.scoring.wording import PHRASES, phrase, sentence

CRITERIA = Criteria(Calibration(), Thresholds(real=0.3, fake=0.7))
OF_CLIPS = {Code.NO_FACE, Code.PEOPLE, Code.UPSTREAM}


def person(
    *logits: float, flaw: str | None = None, variants: tuple[float, ...] = ()
) -> list[FrameScore]:
    """Frames half a second apart."""
    return [
        FrameScore(
            number / 2, (1, 2, 30, 40), logit, float(sigmoid(logit)), 0.99, flaw, variants=variants
        )
        for number, logit in enumerate(logits)
    ]


DECISIONS = {
    Code.FORGED: (person(3, 3, 3), Label.FAKE, {"frames": 3}),
    Code.FORGED_MOSTLY: (
        person(-1, -1, -1, 6, 6, 6, 6, -1), Label.FAKE, {"frames": 8, "start_s": 1.5, "end_s": 3.0},
    ),
    Code.FORGED_PART: (
        person(*[-4] * 8, 5, 5, 5, 5, *[-4] * 8), Label.FAKE, {"start_s": 4.0, "end_s": 5.5},
    ),
    Code.FORGED_PART_UNSURE: (
        person(*[-4] * 8, 3, 3, 3, *[-4] * 8), Label.INCONCLUSIVE, {"start_s": 4.0, "end_s": 5.0},
    ),
    Code.FORGED_BY_ONE_FRAME: (person(-1, -1, 8.2), Label.INCONCLUSIVE, {"at_s": 1.0}),
    Code.REAL_BY_ONE_FRAME: (person(0, 0, -9, 0), Label.INCONCLUSIVE, {"at_s": 1.0}),
    Code.FORGED_BY_ENCODING: (
        person(1, 1, 1, variants=(2, 0)), Label.INCONCLUSIVE,
        {"low": 0.5, "high": float(sigmoid(2))},
    ),
    Code.REAL_BY_ENCODING: (
        person(-1, -1, -1, variants=(-1, 0)), Label.INCONCLUSIVE,
        {"low": float(sigmoid(-1)), "high": 0.5},
    ),
    Code.NO_SIGN: (person(-3, -3, -3), Label.REAL, {"frames": 3}),
    Code.BETWEEN: (person(0, 0, 0), Label.INCONCLUSIVE, {"real": 0.3, "fake": 0.7}),
    Code.TOO_FEW_FRAMES: (person(5, 5), Label.INCONCLUSIVE, {"count": 2, "needed": 3}),
    Code.FLAWED: (person(5, 5, 5, flaw="too dark"), Label.INCONCLUSIVE, {"flaw": "too dark"}),
    Code.FLAWED_OFTEN: (
        [*person(5, 5), *person(5, 5, flaw="too dark")], Label.INCONCLUSIVE,
        {"flaw": "too dark", "count": 2, "total": 4},
    ),
}  # fmt: skip


@pytest.mark.parametrize("code", DECISIONS)
def test_mean_logit_gives_the_code_and_its_values(code: Code) -> None:
    frames, label, values = DECISIONS[code]
    decision = decide({7: frames}, CRITERIA, rule="mean-logit")
    (track,) = decision.tracks
    assert (decision.label, track.label, track.reason) == (label, label, Reason(code, values))
    assert (decision.code, decision.named) == (Code.PEOPLE, (track,))


def test_upstream_gives_the_mean_score() -> None:
    decision = decide({0: person(5, 5), 1: person(-5)}, CRITERIA, rule="upstream")
    assert (decision.code, decision.label, decision.named) == (
        Code.UPSTREAM, Label.FAKE, decision.tracks
    )  # fmt: skip
    assert decision.tracks[0].reason == Reason(
        Code.MEAN_SCORE, {"score": pytest.approx(float(sigmoid(5)))}
    )


def test_nobody_is_a_decision_too() -> None:
    decision = decide({}, CRITERIA, rule="mean-logit")
    assert (decision.label, decision.code, decision.tracks) == (Label.NO_FACE, Code.NO_FACE, ())
    assert sentence(decision) == "no face was found"


def test_every_code_of_a_person_has_a_phrase_and_a_case() -> None:
    assert set(PHRASES) == set(Code) - OF_CLIPS == {*DECISIONS, Code.MEAN_SCORE}


@pytest.mark.parametrize("code", DECISIONS)
def test_a_phrase_shows_each_value(code: Code) -> None:
    _, _, values = DECISIONS[code]
    assert set(re.findall(r"{(\w+)", PHRASES[code])) == values.keys()
    assert "{" not in phrase(Reason(code, values))


@pytest.mark.parametrize("label", [Label.FAKE, Label.REAL])
def test_a_verdict_that_harmless_changes_leave_stays(label: Label) -> None:
    sign = 1 if label is Label.FAKE else -1
    frames = person(*[3 * sign] * 4, variants=(2 * sign, 4 * sign))
    assert decide({0: frames}, CRITERIA, rule="mean-logit").label is label
    moved = [*person(3 * sign, variants=(-3 * sign,)), *frames[1:2]]
    assert decide({0: moved + person(3 * sign)}, CRITERIA, rule="upstream").label is label
