"""The operating point of clips of several sources."""

import numpy as np
import pytest

from deepkd.errors import DataError
from deepkd.evaluation.decisions import (
    CLIP_FALSE_ALARMS,
    SOURCE_FALSE_ALARMS,
    operating_point_of_sources,
    weigh_sources,
    weighted_quantile,
)


def clips(
    seed: int, sizes: dict[str, tuple[int, int, float]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, labels and sources; a source is (real clips, forged clips, shift of its logits)."""
    rng = np.random.default_rng(seed)
    parts = [
        (rng.normal(2.0 * label - 1 + shift, 1, counts[label]), label, name)
        for name, (*counts, shift) in sizes.items()
        for label in (0, 1)
    ]
    z = np.concatenate([z for z, _, _ in parts])
    y = np.concatenate([np.full(len(z), label) for z, label, _ in parts])
    return z, y, np.concatenate([np.full(len(z), name) for z, _, name in parts])


SIZES = {
    "large": (800, 900, 0.0),
    "small": (40, 30, 0.7),
    "shifted": (60, 0, 1.5),
    "one": (1, 0, 3),
}


@pytest.mark.parametrize("seed", range(5))
def test_false_alarms_are_few_over_all_sources_and_within_each(seed: int) -> None:
    z, y, sources = clips(seed, SIZES)
    calibration, thresholds = operating_point_of_sources(z, y, sources)
    called_fake = calibration.probability(z) >= thresholds.fake
    shares = {name: called_fake[(y == 0) & (sources == name)].mean() for name in SIZES}
    weights = weigh_sources(y, sources)
    real = y == 0
    assert (weights * called_fake)[real].sum() / weights[real].sum() <= CLIP_FALSE_ALARMS
    assert max(shares[name] for name in ("large", "small", "shifted")) <= SOURCE_FALSE_ALARMS
    assert shares["shifted"] > 0, "no stricter than it must be"
    assert thresholds.real <= thresholds.fake


def test_sources_weigh_alike_in_each_class() -> None:
    _, y, sources = clips(0, SIZES)
    weights = weigh_sources(y, sources)
    assert weights[y == 0].sum() == pytest.approx(0.5) and weights.sum() == pytest.approx(1.0)
    real = [weights[(y == 0) & (sources == name)].sum() for name in SIZES]
    assert real[:3] == pytest.approx([real[0]] * 3)
    assert real[3] == pytest.approx(real[0] / 7), "one clip of seven"


def test_one_odd_clip_of_a_source_of_its_own_costs_little() -> None:
    z, y, sources = clips(3, {name: (100, 100, 0.0) for name in "abcdefghijkl"})
    odd = np.append(z, 6.0), np.append(y, 0.0), np.append(sources, "one")
    found = []
    for logits, labels, names in ((z, y, sources), odd):
        calibration, thresholds = operating_point_of_sources(logits, labels, names)
        found.append((calibration.probability(z[y == 1]) >= thresholds.fake).mean())
    assert found[0] > 0.5 and found[1] > 0.8 * found[0]


def test_a_small_source_moves_the_calibration_as_much_as_a_large_one() -> None:
    z, y, sources = clips(1, {"large": (2000, 2000, 0.0), "small": (50, 50, 4.0)})
    alike, _ = operating_point_of_sources(z, y, sources)
    pooled, _ = operating_point_of_sources(z, y, np.full(len(z), "all"))
    assert alike.bias < pooled.bias - 0.3 and alike.temperature > 2 * pooled.temperature


def test_the_quantile_of_weighted_values_worked_by_hand() -> None:
    values, weights = np.array([3.0, 1.0, 2.0, 4.0]), np.array([0.1, 0.4, 0.4, 0.1])
    assert weighted_quantile(values, weights, 0.95) == 4.0
    assert weighted_quantile(values, weights, 0.9) == 3.0
    assert weighted_quantile(values, weights, 0.5) == 2.0


def test_both_classes_are_needed() -> None:
    with pytest.raises(DataError, match="calibration needs real"):
        operating_point_of_sources(np.ones(3), np.zeros(3), ["a", "a", "b"])


def test_small_sources_alone_still_give_thresholds() -> None:
    z, y, sources = clips(4, {name: (3, 3, 0.0) for name in "ab"})
    _, thresholds = operating_point_of_sources(z, y, sources)
    assert 0 < thresholds.real <= thresholds.fake <= 1
