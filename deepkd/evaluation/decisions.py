"""Decisions: the figures that hang on what rows are called, FAKE, REAL or neither, whether or not they got a score."""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

DECIDED = ("false_alarms", "detected", "inconclusive", "precision")
"""Figures that hang on the answers FAKE, REAL and INCONCLUSIVE alone."""


class Decisions:
    """What the rows of one evaluation are called."""

    def __init__(self, y: Array, answers: Array, prevalence: float) -> None:
        """Hold the labels (1 is FAKE), the answers (1 FAKE, 0 REAL, NaN neither), (N,), and the share of forgeries."""
        self.y, self.answers, self.prevalence = y, answers, prevalence

    def point(self) -> dict[str, float | None]:
        """The figures of the rows as they are; no precision without a false alarm: nobody knows how rare one is."""
        found = self.weighted(np.ones((1, len(self.y))))
        return {
            name: float(value[0]) if np.isfinite(value[0]) else None
            for name, value in found.items()
        }

    def weighted(self, weights: Array) -> dict[str, Array]:
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
