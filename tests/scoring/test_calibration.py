import math

import numpy as np
import pytest

from deepkd.errors import DataError, ModelError
from deepkd.scoring.calibration import (
    MAX_TEMPERATURE,
    Calibration,
    calibration_error,
    fit_temperature,
    reliability,
    sigmoid,
)


def log_loss(calibration, logits, labels):
    p = calibration.probability(logits)
    return float(-np.mean(np.where(np.asarray(labels) == 1, np.log(p), np.log(1 - p))))


def drawn(temperature, bias, *, share=0.5, count=20_000):
    """Logits and labels of a model that is off by exactly this temperature and bias."""
    random = np.random.default_rng(7)
    logits = random.normal(math.log(share / (1 - share)), 3, count)
    return logits, (random.random(count) < sigmoid(logits / temperature + bias)).astype(int)


@pytest.mark.parametrize(
    ("logit", "calibration", "probability"),
    [
        (0.0, Calibration(), 0.5),
        (2.0, Calibration(), 1 / (1 + math.exp(-2))),
        (2.0, Calibration(temperature=2.0), 1 / (1 + math.exp(-1))),
        (2.0, Calibration(temperature=2.0, bias=-1.0), 0.5),
        (1000.0, Calibration(), 1.0),
        (-1000.0, Calibration(), 0.0),
    ],
)
def test_probability_by_hand(logit, calibration, probability):
    assert calibration.probability([logit, logit]) == pytest.approx([probability] * 2, abs=1e-12)


@pytest.mark.parametrize(("temperature", "bias"), [(1.0, 0.0), (2.5, 0.0), (0.5, 0.0), (2.0, 0.7)])
def test_fit_finds_what_the_model_is_off_by(temperature, bias):
    fitted = fit_temperature(*drawn(temperature, bias), bias=bool(bias))
    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.bias == pytest.approx(bias, abs=0.06)


def test_fit_is_the_minimum_of_the_log_loss():
    logits, labels = drawn(2.5, 0.4, count=2000)
    fitted = fit_temperature(logits, labels, bias=True)
    best = log_loss(fitted, logits, labels)
    for temperature, bias in [(1.05, 0), (0.95, 0), (1, 0.05), (1, -0.05)]:
        other = Calibration(fitted.temperature * temperature, fitted.bias + bias)
        assert log_loss(other, logits, labels) > best
    assert best < log_loss(Calibration(), logits, labels)


@pytest.mark.parametrize(("share", "balanced"), [(0.5, False), (0.1, False), (0.1, True)])
def test_a_model_that_has_it_the_wrong_way_round_is_no_worse_than_a_constant(share, balanced):
    random = np.random.default_rng(3)
    labels = (random.random(5000) < share).astype(int)
    logits = random.normal(12 - 6 * labels, 2)
    fitted = fit_temperature(logits, labels, bias=True, balanced=balanced)
    assert fitted.temperature == MAX_TEMPERATURE
    weight = (
        np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())
        if balanced
        else 1 / len(labels)
    )

    def weighed(calibration):
        p = calibration.probability(logits)
        return float(-np.sum(weight * np.log(np.where(labels == 1, p, 1 - p))))

    best = weighed(fitted)
    assert all(
        weighed(Calibration(MAX_TEMPERATURE, fitted.bias + step)) > best for step in (-0.01, 0.01)
    )
    odds = 0.5 if balanced else labels.mean()
    assert best == pytest.approx(-odds * math.log(odds) - (1 - odds) * math.log(1 - odds), rel=0.06)


def test_balanced_fit_forgets_how_many_there_are_of_each():
    logits, labels = drawn(1.0, 0.0)
    many = np.concatenate([np.flatnonzero(labels == 0), np.tile(np.flatnonzero(labels == 1), 5)])
    skewed = fit_temperature(logits[many], labels[many], bias=True)
    balanced = fit_temperature(logits[many], labels[many], bias=True, balanced=True)
    assert skewed.bias == pytest.approx(math.log(5), abs=0.1)
    assert balanced.bias == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize(
    ("logits", "labels", "low", "high"),
    [
        ([-3.0, -2.0, 2.0, 3.0], [0, 0, 1, 1], 0.5, 5.0),  # separated: no temperature of 0
        (
            [3.0, 2.0, -2.0, -3.0],
            [0, 0, 1, 1],
            50.0,
            50.0,
        ),  # the wrong way round: never turned around
        ([1e4, -1e4, 1e4, -1e4], [1, 0, 0, 1], 50.0, 50.0),
    ],
)
def test_fit_stays_sane_at_the_edges(logits, labels, low, high):
    assert low <= fit_temperature(logits, labels).temperature <= high


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        ([1.0, 2.0], [1, 1], "needs real"),
        ([1.0, math.nan], [0, 1], "1 of 2 logits are not finite"),
        ([1.0], [0, 1], "same length"),
        ([], [], "needs real"),
    ],
)
def test_fit_refuses(logits, labels, message):
    with pytest.raises(DataError, match=message):
        fit_temperature(logits, labels)


def test_round_trip():
    calibration = Calibration(temperature=1.7, bias=-0.2)
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    "values",
    [{"temperature": 0}, {"temperature": -1}, {"heat": 1}, {"bias": "x"}, {"bias": math.inf}, 3],
)
def test_damaged_calibration_is_refused(values):
    with pytest.raises(ModelError, match="calibration"):
        Calibration.from_dict(values)


def test_reliability_by_hand():
    bins = reliability([0.05, 0.1, 0.15, 0.9, 1.0], [0, 0, 1, 1, 0], bins=5)
    assert [(b.count, b.mean_probability, b.fake_share) for b in bins] == [
        (3, pytest.approx(0.1), pytest.approx(1 / 3)),
        (2, pytest.approx(0.95), pytest.approx(0.5)),
    ]
    assert calibration_error(bins) == pytest.approx(3 / 5 * (1 / 3 - 0.1) + 2 / 5 * 0.45)
    assert calibration_error([]) == 0
