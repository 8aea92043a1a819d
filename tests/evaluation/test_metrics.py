"""The figures against numbers worked by hand, scikit-learn, and what must not change them."""

import dataclasses
import math
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from deepkd.errors import DataError, ModelError
from deepkd.evaluation.bootstrap import reflect
from deepkd.evaluation.decisions import DECIDED
from deepkd.evaluation.metrics import (
    FIGURES,
    RANKING,
    Measure,
    Metrics,
    auc,
    auc_resamples,
    log_loss,
    measure,
    precision_points,
    roc_points,
)
from deepkd.evaluation.rows import ECE_BINS, ScoredRows
from deepkd.scoring.calibration import calibration_error, reliability, sigmoid
from deepkd.tables.evaluation import format_measure as shown

LN = math.log
NEEDS_BOTH_CLASSES = (*RANKING, "ece_even", "precision")


def _sigmoid(z):
    return 1 / (1 + np.exp(-np.asarray(z, float)))


def _noisy(rows=400, seed=0, decimals=1):
    """Labels, logits with many ties, and a source for every four rows."""
    random = np.random.default_rng(seed)
    labels = (random.random(rows) < 0.6).astype(int)
    logits = np.round(random.normal(size=rows) + 1.2 * labels, decimals)
    return labels, logits, [f"source{i // 4}" for i in range(rows)]


# Sorted by falling logit: FAKE, REAL, FAKE, REAL. The ROC curve runs (0,0) (0,.5) (.5,.5) (.5,1)
# (1,1).
HAND = ([0, 0, 1, 1], [-2.0, 1.0, 0.0, 3.0])


@pytest.mark.parametrize(
    ("figure", "labels", "logits", "expected"),
    [
        ("auc", *HAND, 3 / 4),
        ("average_precision", *HAND, 0.5 * 1 + 0.5 * 2 / 3),
        ("eer", *HAND, 0.5),
        ("accuracy", *HAND, 3 / 4),  # logit 0 is probability 0.5, which counts as FAKE
        ("fpr_at_95_tpr", *HAND, 0.5),
        ("log_loss", [1, 0], [LN(3), LN(3)], (LN(4 / 3) + LN(4)) / 2),
        ("log_loss", [1, 0], [0.0, 0.0], LN(2)),
        ("auc", [0, 1, 0, 1], [0.0] * 4, 0.5),
        ("eer", [0, 1, 0, 1], [0.0] * 4, 0.5),
        ("fpr_at_95_tpr", [0, 1, 0, 1], [0.0] * 4, 1.0),
        ("auc", [0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0], 1.0),
        ("eer", [0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0], 0.0),
        ("fpr_at_95_tpr", [0, 0, 1, 1], [-2.0, -1.0, 1.0, 2.0], 0.0),
        ("auc", [1, 1, 0, 0], [-2.0, -1.0, 1.0, 2.0], 0.0),
        ("eer", [1, 1, 0, 0], [-2.0, -1.0, 1.0, 2.0], 1.0),
        # ROC (0,0) (1/3,.5) (1/3,1) (1,1) with a tie: FPR = 1 - TPR on the vertical part.
        ("eer", [1, 0, 1, 0, 0], [1.0, 1.0, 0.5, 0.0, -1.0], 1 / 3),
    ],
)
def test_worked_by_hand(figure, labels, logits, expected):
    assert getattr(measure(labels, logits, resamples=0), figure).value == pytest.approx(
        expected, abs=1e-12
    )


def test_figures_take_no_scikit_learn(monkeypatch):
    """It takes seconds to import, and every training measures."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    found = measure([0, 0, 1], [0.1, 0.2, 0.3], resamples=0)
    assert found.auc.value == auc([0, 0, 1], [0.1, 0.2, 0.3]) == 1
    assert found.average_precision.value == found.accuracy.value + 2 / 3 == 1


def test_calibration_error_by_hand():
    probabilities, labels = [0.05, 0.05, 0.95, 0.95], [0, 1, 1, 1]
    found = measure(labels, [0.0] * 4, probabilities=probabilities, resamples=0).ece.value
    assert found == pytest.approx(0.5 * abs(0.05 - 0.5) + 0.5 * abs(0.95 - 1))
    assert found == pytest.approx(
        calibration_error(reliability(probabilities, labels, bins=ECE_BINS))
    )


def test_calibration_error_at_even_odds_by_hand():
    # One forged row of three weighs one half: the bin of 0.5 holds 0.25 + 0.5 of the weight, its
    # share of fakes 2/3.
    probabilities, labels = [0.05, 0.5, 0.5], [0, 0, 1]
    found = measure(labels, [0.0] * 3, probabilities=probabilities, resamples=0).ece_even.value
    assert found == pytest.approx(0.25 * 0.05 + 0.75 * abs(0.5 - 2 / 3))
    repeated = measure(
        [0, 0, 1, 1, 1, 1], [0.0] * 6, probabilities=[0.05, 0.5, *[0.5] * 4], resamples=0
    )
    assert repeated.ece_even.value == pytest.approx(found)
    assert measure([1, 1], [0.0] * 2, probabilities=[0.5, 0.5], resamples=0).ece_even.value is None


def test_answers_by_hand():
    # Of five real rows one is called FAKE and one nothing; of two forged ones, one is found and one
    # called nothing.
    labels, probabilities = [0, 0, 0, 0, 0, 1, 1], [0.1, 0.2, 0.3, 0.5, 0.9, 0.5, 0.95]
    options = {
        "probabilities": probabilities,
        "threshold": 0.9,
        "threshold_real": 0.3,
        "resamples": 0,
    }
    found = measure(labels, probabilities, **options, prevalence=0.01)
    assert (found.false_alarms.value, found.detected.value) == (1 / 5, 1 / 2)
    assert found.inconclusive.value == pytest.approx(2 / 7)
    assert found.precision.value == pytest.approx(0.5 * 0.01 / (0.5 * 0.01 + 0.2 * 0.99))
    assert measure(
        labels, probabilities, **options, prevalence=0.5
    ).precision.value == pytest.approx(0.5 / 0.7)
    assert (found.threshold, found.threshold_real, found.prevalence) == (0.9, 0.3, 0.01)


def test_answers_may_come_from_elsewhere():
    found = measure([0, 0, 1, 1], [0.0] * 4, answers=[1, 0, math.nan, 1], resamples=0)
    assert (found.false_alarms.value, found.detected.value, found.inconclusive.value) == (
        0.5,
        0.5,
        0.25,
    )


def test_an_interval_of_precision_has_no_end_that_nobody_can_state():
    labels = np.repeat([0.0, 1.0], 40)
    for alarms, stated in ((1, False), (20, True)):
        scores = np.where(labels == 1, 2.0, -2.0)
        scores[:alarms] = 1.0
        found = measure(labels, scores).precision
        assert 0 < found.low < found.value
        assert (found.high is not None) == stated
    assert found.value < found.high < 1
    assert shown(Measure(value=0.5, low=0.25, high=None)) == "0.5000 [0.250, -]"


def test_no_alarm_has_no_precision():
    assert measure([0, 1], [-9.0, -8.0], resamples=0).precision.value is None


@pytest.mark.parametrize("decimals", [0, 1, 6], ids=["many ties", "some ties", "no ties"])
def test_scikit_learn_agrees(decimals):
    labels, logits, _ = _noisy(decimals=decimals)
    p = _sigmoid(logits)
    found = measure(labels, logits, threshold=0.7, resamples=0)
    assert found.auc.value == pytest.approx(sk.roc_auc_score(labels, logits))
    assert found.average_precision.value == pytest.approx(
        sk.average_precision_score(labels, logits)
    )
    assert found.log_loss.value == pytest.approx(sk.log_loss(labels, p))
    assert found.accuracy.value == pytest.approx(sk.accuracy_score(labels, p >= 0.7))
    fpr, tpr, _ = sk.roc_curve(labels, logits, drop_intermediate=False)
    assert found.fpr_at_95_tpr.value == pytest.approx(fpr[tpr >= 0.95][0])
    grid = np.linspace(0, 1, 200_001)
    gap = (
        np.interp(grid, fpr, 1 - tpr) - grid
    )  # the ROC of these rows has no vertical step at the crossing
    assert found.eer.value == pytest.approx(grid[np.abs(gap).argmin()], abs=0.01)


def test_every_resample_is_scikit_learns_weighted_figure():
    labels, logits, _ = _noisy(rows=120)
    weights = np.random.default_rng(1).integers(0, 4, (5, len(labels))).astype(float)
    rows = ScoredRows(labels.astype(float), logits, _sigmoid(logits), 0.5)
    for name, reference in {
        "auc": lambda w: sk.roc_auc_score(labels, logits, sample_weight=w),
        "average_precision": lambda w: sk.average_precision_score(labels, logits, sample_weight=w),
        "log_loss": lambda w: sk.log_loss(labels, _sigmoid(logits), sample_weight=w),
        "accuracy": lambda w: sk.accuracy_score(labels, logits >= 0, sample_weight=w),
    }.items():
        assert rows.measure_weighted(weights)[name] == pytest.approx(
            [reference(w) for w in weights]
        ), name


@pytest.mark.parametrize("figure", ["eer", "fpr_at_95_tpr", "ece"])
def test_weighting_a_row_is_repeating_it(figure):
    labels, logits, _ = _noisy(rows=80)
    times = np.random.default_rng(2).integers(0, 4, len(labels))
    weighted = ScoredRows(labels.astype(float), logits, _sigmoid(logits), 0.5).measure_weighted(
        times[None].astype(float)
    )
    repeated = measure(labels.repeat(times), logits.repeat(times), resamples=0)
    assert weighted[figure][0] == pytest.approx(getattr(repeated, figure).value)


@pytest.mark.parametrize(
    "change", [lambda z: 3 * z - 1, np.arctan, lambda z: z**3], ids=["line", "atan", "cube"]
)
def test_only_the_order_of_logits_matters_to_ranking(change):
    labels, logits, _ = _noisy()
    before, after = (measure(labels, z, resamples=0) for z in (logits, change(logits)))
    for name in RANKING:
        assert getattr(after, name) == getattr(before, name), name


def test_order_of_rows_does_not_matter():
    labels, logits, sources = _noisy()
    order = np.random.default_rng(3).permutation(len(labels))
    shuffled = measure(
        labels[order], logits[order], sources=[sources[i] for i in order], resamples=50
    )
    straight = measure(labels, logits, sources=sources, resamples=50)
    for name in FIGURES:
        assert dataclasses.astuple(getattr(shuffled, name)) == pytest.approx(
            dataclasses.astuple(getattr(straight, name))
        ), name


def test_swapping_the_classes_keeps_auc_and_eer():
    labels, logits, _ = _noisy()
    here, there = measure(labels, logits, resamples=0), measure(1 - labels, -logits, resamples=0)
    assert there.auc.value == pytest.approx(here.auc.value)
    assert there.eer.value == pytest.approx(here.eer.value)


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_no_ranking_figures(label):
    found = measure([label] * 6, [-1.0, 0.5, 2.0, -3.0, 0.1, 1.0], resamples=20)
    for name in FIGURES:
        missing = getattr(found, name).value is None
        lacking = "detected" if label == 0 else "false_alarms"
        assert missing == (name in NEEDS_BOTH_CLASSES or name == lacking), name
        assert (getattr(found, name).low is None) == missing, name
    assert auc([label] * 3, [1.0, 2.0, 3.0]) is None
    assert log_loss([label], [0.0]) == pytest.approx(LN(2))


@pytest.mark.parametrize("figure", FIGURES)
def test_interval_holds_the_value_and_is_repeatable(figure):
    labels, logits, sources = _noisy(rows=1000)
    options = {"sources": sources, "resamples": 200, "threshold": 0.6, "threshold_real": 0.4}
    first, again = (measure(labels, logits, **options, seed=5) for _ in range(2))
    found = getattr(first, figure)
    assert found == getattr(again, figure)
    # Calibration error is biased upwards by resampling; its interval may lie just above the value.
    assert found.low <= found.value <= found.high
    other = measure(labels, logits, **options, seed=6)
    assert getattr(other, figure) != found


def test_interval_covers_the_truth_about_as_often_as_it_says():
    truth = 0.5 * (1 + math.erf(1.2 / 2))  # AUC of N(1.2, 1) against N(0, 1)
    hits = 0
    for seed in range(60):
        labels, logits, _ = _noisy(rows=300, seed=seed, decimals=9)
        found = measure(labels, logits, resamples=200, seed=seed).auc
        hits += found.low <= truth <= found.high
    assert 52 <= hits <= 60  # 57 expected


def test_copies_of_a_source_add_no_certainty():
    labels, logits, _ = _noisy(rows=100)
    names = [str(i) for i in range(100)]
    alone = measure(labels, logits, sources=names, resamples=300)
    copied = measure(np.tile(labels, 9), np.tile(logits, 9), sources=names * 9, resamples=300)
    naive = measure(np.tile(labels, 9), np.tile(logits, 9), resamples=300)
    assert copied.sources == alone.sources == 100
    assert copied.auc.high - copied.auc.low == pytest.approx(
        alone.auc.high - alone.auc.low, rel=0.2
    )
    assert naive.auc.high - naive.auc.low < 0.6 * (copied.auc.high - copied.auc.low)


def test_the_interval_of_a_calibration_error_takes_off_what_noise_adds():
    random = np.random.default_rng(5)
    logits, chance = random.normal(0, 2, 2000), random.random(2000)
    honest, shifted = (
        measure(chance < sigmoid(logits + more), logits, seed=1) for more in (0, 1.2)
    )
    for error in (honest.ece, honest.ece_even):  # the true ones are 0
        assert error.low < 0.015 and error.low < error.value <= error.high < 0.04
    assert shifted.ece.low < 0.175 < shifted.ece.high, "the mean distance between both sigmoids"
    assert reflect(0.03, (0.04, 0.07)) == (0.0, 0.03) and reflect(
        0.2, (0.1, 0.27)
    ) == pytest.approx((0.13, 0.3))


def test_one_source_has_values_and_no_intervals():
    found = measure([0, 1, 1], [0.0, 1.0, -1.0], sources=["a", "a", "a"])
    assert found.auc.value == 0.5
    assert found.auc.low is found.auc.high is None


def test_chunks_of_resamples_are_the_same_draw(monkeypatch):
    labels, logits, sources = _noisy()
    whole = measure(labels, logits, sources=sources, resamples=40)
    monkeypatch.setattr("deepkd.evaluation.bootstrap._CELLS", 7 * len(labels))
    chunked = measure(labels, logits, sources=sources, resamples=40)
    for name in FIGURES:
        found, expected = getattr(chunked, name), getattr(whole, name)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high)), name


def test_huge_logits_stay_finite_and_exact():
    assert log_loss([1, 0], [800.0, -800.0]) == 0
    assert log_loss([0, 1], [800.0, -800.0]) == pytest.approx(800)
    found = measure([0, 1, 1], [800.0, -800.0, 700.0])
    assert all(math.isfinite(getattr(found, name).value) for name in FIGURES)


@pytest.mark.parametrize(
    ("labels", "logits", "error", "words"),
    [
        ([], [], DataError, "no rows"),
        ([0, 1], [0.0], DataError, "2 labels for 1 scores"),
        ([0, 2], [0.0, 1.0], DataError, "0 .REAL. or 1 .FAKE."),
        ([0, 1], [0.0, math.nan], ModelError, "1 of 2 scores are not finite"),
        ([0, 1], [math.inf, 0.0], ModelError, "not finite"),
    ],
)
def test_refusals(labels, logits, error, words):
    for function in (auc, log_loss, measure):
        with pytest.raises(error, match=words):
            function(labels, logits)


def test_other_refusals():
    with pytest.raises(DataError, match="1 sources for 2 rows"):
        measure([0, 1], [0.0, 1.0], sources=["a"])
    with pytest.raises(DataError, match="one class only"):
        roc_points([1, 1], [0.0, 1.0])


def test_roc_points_enclose_the_area():
    labels, logits, _ = _noisy()
    false, true = roc_points(labels, logits)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(true, false) == pytest.approx(auc(labels, logits))


def test_metrics_are_plain_for_json():
    values = measure([0, 1], [0.0, 1.0], resamples=0).to_dict()
    assert values["auc"] == {"value": 1.0, "low": None, "high": None}
    assert set(values) == {field.name for field in dataclasses.fields(Metrics)}


def test_precision_points_are_those_of_each_threshold():
    found, precision = precision_points([1, 0, 1], [3.0, 2.0, 1.0])
    assert (found.tolist(), precision.tolist()) == (
        [0.5, 0.5, 1.0],
        [1.0, 0.5, pytest.approx(2 / 3)],
    )
    with pytest.raises(DataError, match="one class"):
        precision_points([1, 1], [0.0, 1.0])


def test_resamples_of_two_score_sets_are_paired():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 60)
    sources = [f"s{n // 3}" for n in range(60)]
    logits = labels + rng.normal(0, 1, 60)
    drawn = auc_resamples(labels, logits, sources, resamples=200, seed=3)
    assert drawn.shape == (200,) and drawn.std() > 0.01
    assert np.array_equal(
        drawn, auc_resamples(labels, 2 * logits + 1, sources, resamples=200, seed=3)
    )
    found = measure(labels, logits, sources=sources, resamples=200, seed=3).auc
    assert np.percentile(drawn, [2.5, 97.5]) == pytest.approx([found.low, found.high])


def test_rows_without_a_score_are_undecided_and_in_no_ranking():
    labels, logits, sources = _noisy(rows=60)
    answers = (logits > 0).astype(float)
    gaps = np.arange(60) % 3 == 0
    lost = measure(
        labels,
        np.where(gaps, np.nan, logits),
        sources=sources,
        answers=np.where(gaps, np.nan, answers),
        resamples=50,
    )
    left = measure(labels[~gaps], logits[~gaps], answers=answers[~gaps], resamples=0)
    assert (lost.rows, lost.scored, left.scored) == (60, 40, 40)
    for name in set(FIGURES) - set(DECIDED):
        assert getattr(lost, name).value == getattr(left, name).value, name
        assert getattr(lost, name).low is not None, name
    assert lost.inconclusive.value == pytest.approx(20 / 60)
    for name, of in (("detected", labels == 1), ("false_alarms", labels == 0)):
        assert getattr(lost, name).value == pytest.approx(
            (answers[of & ~gaps] == 1).sum() / of.sum()
        ), name
    with pytest.raises(ModelError):
        measure(labels, np.where(gaps, np.nan, logits))
