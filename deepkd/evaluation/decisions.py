"""Decisions: figures of the answers FAKE, REAL and neither, and the thresholds behind them."""

import numpy as np
import numpy.typing as npt

from deepkd.scoring.calibration import Calibration, fit_temperature
from deepkd.scoring.thresholds import Thresholds

Array = npt.NDArray[np.float64]

DECIDED = ("false_alarms", "detected", "inconclusive", "precision")
"""Figures that hang on the answers FAKE, REAL and INCONCLUSIVE alone."""
FALSE_ALARMS = 0.02
"""Share of real crops that may be called FAKE."""
MISSES = 0.05
"""Share of forged crops, or clips, that may be called REAL."""
CLIP_FALSE_ALARMS, SOURCE_FALSE_ALARMS = 0.05, 0.15
"""Share of real clips that may be called FAKE, over all sources and within any of them."""
FEW_CLIPS = 7
"""Of fewer clips of a source, a single one called FAKE is more than 15%."""


class Decisions:
    """What the rows of one evaluation are called."""

    def __init__(self, y: Array, answers: Array, prevalence: float) -> None:
        """Hold what the figures are made of.

        Args:
            y: labels, 1 is FAKE, (N,).
            answers: 1 FAKE, 0 REAL, NaN neither, (N,).
            prevalence: share of forgeries that the precision supposes.
        """
        self.y, self.answers, self.prevalence = y, answers, prevalence

    def point(self) -> dict[str, float | None]:
        """The figures of the rows as they are; without a false alarm the precision is unknown."""
        found = self.measure_weighted(np.ones((1, len(self.y))))
        return {
            name: float(value[0]) if np.isfinite(value[0]) else None
            for name, value in found.items()
        }

    def measure_weighted(self, weights: Array) -> dict[str, Array]:
        """The figures for each of R weightings, (R, N) -> (R,); NaN where a class has no weight.

        Precision = TPR share / (TPR share + FPR (1 - share)), by Bayes' rule; without a false alarm
        it is above all that can be stated, infinity.
        """
        alarm, share = self.answers == 1, self.prevalence
        with np.errstate(invalid="ignore", divide="ignore"):
            false, true = (
                (weights @ (alarm & of)) / (weights @ of) for of in (self.y == 0, self.y == 1)
            )
            precision = true * share / (true * share + false * (1 - share))
            return {
                "false_alarms": false,
                "detected": true,
                "inconclusive": weights @ np.isnan(self.answers) / weights.sum(axis=1),
                "precision": np.where((false == 0) & ~np.isnan(true), np.inf, precision),
            }


def operating_point(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Calibration, Thresholds]:
    """The calibration of the smallest balanced log loss, and thresholds for few errors.

    At most 2% of the real are called FAKE and 5% of the forged REAL.

    The prior of a crop being forged is taken as one half, since how many forgeries a data set holds
    says nothing about the clip at hand. Between the thresholds lies INCONCLUSIVE; where they would
    cross, both are the FAKE threshold.

    Args:
        logits: of held-out crops, (N,).
        labels: 1 is FAKE, 0 is REAL, (N,).

    Raises:
        DataError: one class is missing, or a logit is not finite.
    """
    z, y = np.asarray(logits, np.float64), np.asarray(labels)
    calibration = fit_temperature(z, y.astype(int), bias=True, balanced=True)
    probabilities = calibration.probability(z)
    fake = np.nextafter(np.quantile(probabilities[y == 0], 1 - FALSE_ALARMS, method="higher"), 1.0)
    real = np.nextafter(np.quantile(probabilities[y == 1], MISSES, method="lower"), 0.0)
    return calibration, Thresholds(real=float(min(real, fake)), fake=float(fake))


def operating_point_of_sources(
    logits: npt.ArrayLike, labels: npt.ArrayLike, sources: npt.ArrayLike
) -> tuple[Calibration, Thresholds]:
    """As `operating_point`, for clips of several sources that weigh alike, however many they hold.

    At most 5% of the real clips are called FAKE over all sources, at most 15% within any source of
    `FEW_CLIPS` or more, and at most 5% of the forged ones REAL.

    Args:
        logits: the mean logit of each held-out clip, (N,).
        labels: 1 is FAKE, 0 is REAL, (N,).
        sources: the name of the source of each clip, (N,).

    Raises:
        DataError: one class is missing, or a logit is not finite.
    """
    z, y, names = np.asarray(logits, np.float64), np.asarray(labels), np.asarray(sources)
    weights = weigh_sources(y, names)
    calibration = fit_temperature(z, y.astype(int), bias=True, weights=weights)
    p, real = calibration.probability(z), y == 0
    overall = weighted_quantile(p[real], weights[real], 1 - CLIP_FALSE_ALARMS)
    within = [
        np.quantile(p[own], 1 - SOURCE_FALSE_ALARMS, method="higher")
        for name in np.unique(names[real])
        if (own := real & (names == name)).sum() >= FEW_CLIPS
    ]
    fake = np.nextafter(max([overall, *within]), 1.0)
    missed = -weighted_quantile(-p[~real], weights[~real], 1 - MISSES)
    return calibration, Thresholds(
        real=float(min(np.nextafter(missed, 0.0), fake)), fake=float(min(fake, 1.0))
    )


def weigh_sources(labels: Array, sources: npt.NDArray[np.str_]) -> Array:
    """Weights (N,) by which each class has 1/2, shared alike by the sources that have it.

    Sources of fewer than `FEW_CLIPS` clips of a class weigh less, in proportion.
    """
    weights = np.zeros(len(labels))
    for label in (0, 1):
        for name in np.unique(sources[labels == label]):
            own = (labels == label) & (sources == name)
            weights[own] = min(1, own.sum() / FEW_CLIPS) / own.sum()
        weights[labels == label] *= 0.5 / max(weights[labels == label].sum(), 1e-12)
    return weights


def weighted_quantile(values: Array, weights: Array, share: float) -> float:
    """The smallest of the values that at most `1 - share` of the weight lies above."""
    order = np.argsort(values)
    above = weights.sum() - np.cumsum(weights[order])
    return float(values[order][above <= (1 - share) * weights.sum() + 1e-12][0])
