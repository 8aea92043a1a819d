"""Operating points: the calibration and the thresholds that a model's held-out scores ask for."""

import numpy as np
import numpy.typing as npt

from deepkd.scoring.calibration import Calibration, fit_temperature
from deepkd.scoring.thresholds import Thresholds

FALSE_ALARMS = 0.02
"""Share of real crops that may be called FAKE."""
MISSES = 0.05
"""Share of forged crops that may be called REAL."""


def operating_point(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Calibration, Thresholds]:
    """Temperature and bias of the smallest balanced log loss, and thresholds for at most 2% false alarms, 5% misses.

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
