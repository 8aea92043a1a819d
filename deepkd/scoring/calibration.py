"""Calibration: from a model's logits to probabilities that mean what they say."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, ModelError
from deepkd.scoring.numbers import Numbers

Array = npt.NDArray[np.float64]

MAX_TEMPERATURE = 50.0
"""A model whose logits say nothing would want an infinite temperature."""
NEWTON_STEPS = 100


@dataclass(frozen=True)
class Calibration(Numbers):
    """Temperature scaling: `p = sigmoid(z / temperature + bias)`.

    Guo et al. 2017, arXiv:1706.04599.
    """

    temperature: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a scaling that would turn the order of scores around.

        Raises:
            ModelError: the temperature is not above 0, or a value is not finite.
        """
        if not (0 < self.temperature < np.inf and np.isfinite(self.bias)):
            raise ModelError(
                f"calibration {self.to_dict()}: takes a temperature above 0 and a finite bias"
            )

    def probability(self, logits: npt.ArrayLike) -> Array:
        """The probability of forgery, float64, of the same shape as `logits`."""
        return sigmoid(np.asarray(logits, np.float64) / self.temperature + self.bias)


@dataclass(frozen=True)
class Bin:
    """Predictions of similar confidence, and how many of them were forgeries."""

    low: float
    high: float
    count: int
    mean_probability: float
    fake_share: float


def sigmoid(z: npt.ArrayLike) -> Array:
    """`1 / (1 + e^-z)` without overflow, float64."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(z, np.float64))))


def fit_temperature(
    logits: npt.ArrayLike,
    labels: npt.ArrayLike,
    *,
    bias: bool = False,
    balanced: bool = False,
    weights: npt.ArrayLike | None = None,
) -> Calibration:
    """The calibration with the smallest log loss on held-out crops.

    Newton's method on the convex loss in `(1 / temperature, bias)`, or in the bias alone where
    logits that say nothing, or the contrary, have the highest temperature. The targets are Platt's
    (1999): the share of each class pulled in by one example, so that perfectly separated logits do
    not ask for a temperature of 0.

    Args:
        logits: (N,) before calibration.
        labels: (N,) 1 forged, 0 real.
        bias: fit the bias too, not only the temperature.
        balanced: let both classes weigh the same, whatever their numbers.
        weights: (N,) of the examples, in place of `balanced`.

    Raises:
        DataError: the shapes differ, a logit is not finite, or one class is missing.
    """
    z, y = _check(logits, labels)
    count = np.bincount(y, minlength=2)
    target = np.where(y == 1, (count[1] + 1) / (count[1] + 2), 1 / (count[0] + 2))
    weight = 1 / count[y] if balanced else np.full(len(z), 1 / len(z))
    weight = weight if weights is None else np.asarray(weights, np.float64)
    weight = weight / weight.sum()
    ones = np.ones((len(z), 1))
    scaled = _newton(np.hstack([z[:, None], ones]) if bias else z[:, None], target, weight)
    inverse = max(float(scaled[0]), 1 / MAX_TEMPERATURE)
    if bias and inverse > scaled[0]:
        scaled[1:] = _newton(ones, target, weight, known=z * inverse)
    return Calibration(temperature=1 / inverse, bias=float(scaled[1]) if bias else 0.0)


def _check(logits: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[Array, npt.NDArray[np.int64]]:
    z, y = np.asarray(logits, np.float64), np.asarray(labels).astype(np.int64)
    if z.ndim != 1 or z.shape != y.shape:
        raise DataError(
            f"logits {z.shape} and labels {y.shape} must be two lists of the same length"
        )
    if not np.isfinite(z).all():
        raise DataError(
            f"{int((~np.isfinite(z)).sum())} of {len(z)} logits are not finite; check the model"
        )
    if set(np.unique(y)) != {0, 1}:
        raise DataError(
            f"calibration needs real (0) and forged (1) examples, got {np.unique(y).tolist()}"
        )
    return z, y


def _newton(columns: Array, target: Array, weight: Array, known: Array | float = 0.0) -> Array:
    """The w with the least weighted log loss of `sigmoid(known + columns @ w)`."""

    def loss(w: Array) -> float:
        z = known + columns @ w
        return float(np.sum(weight * (np.logaddexp(0, z) - target * z)))

    w = np.zeros(columns.shape[1])
    w[0] = 1.0
    for _ in range(NEWTON_STEPS):
        p = sigmoid(known + columns @ w)
        gradient = columns.T @ (weight * (p - target))
        hessian = columns.T @ (columns * (weight * p * (1 - p))[:, None])
        step = np.linalg.solve(hessian + 1e-12 * np.eye(len(w)), gradient)
        while loss(w - step) > loss(w) and np.abs(step).max() > 1e-12:
            step = step / 2
        w = w - step
        if np.abs(step).max() < 1e-10:
            break
    return w


def reliability(
    probabilities: npt.ArrayLike, labels: npt.ArrayLike, *, bins: int = 10
) -> list[Bin]:
    """Predictions grouped into equal steps of probability; empty groups are left out.

    Args:
        probabilities: (N,) calibrated, 0 to 1.
        labels: (N,) 1 forged, 0 real.
        bins: number of groups.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(labels, np.float64)
    group = np.minimum((p * bins).astype(int), bins - 1)
    return [
        Bin(
            g / bins,
            (g + 1) / bins,
            int((group == g).sum()),
            float(p[group == g].mean()),
            float(y[group == g].mean()),
        )
        for g in range(bins)
        if (group == g).any()
    ]


def calibration_error(bins: list[Bin]) -> float:
    """Expected calibration error: the mean gap between confidence and truth, 0 to 1."""
    total = sum(b.count for b in bins)
    return (
        sum(b.count * abs(b.mean_probability - b.fake_share) for b in bins) / total
        if total
        else 0.0
    )
