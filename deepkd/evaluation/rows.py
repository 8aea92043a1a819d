"""Rows: labels and scores of one evaluation, and every figure for any weighting of them."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, ModelError
from deepkd.evaluation.bootstrap import Array
from deepkd.evaluation.decisions import Decisions

ECE_BINS = 15


class ScoredRows:
    """Rows with scores, sorted once, so that any weighting takes a few cumulative sums."""

    def __init__(self, y: Array, z: Array, p: Array, threshold: float) -> None:
        self.order = np.argsort(-z, kind="stable")
        falling = z[self.order]
        self.ends = np.append(
            np.flatnonzero(np.diff(falling)), len(z) - 1
        )  # the last row of each run of ties
        self.y, self.z, self.p = y, z, p
        self.threshold = threshold
        self.losses = losses_of(y, _logit(p))
        self.right = ((p >= threshold) == (y == 1)).astype(float)
        self.bins = _bins(p)

    def point(self) -> dict[str, float | None]:
        """The figures of the rows as they are."""
        return {
            name: None if math.isnan(found[0]) else float(found[0])
            for name, found in self.measure_weighted(np.ones((1, len(self.y)))).items()
        }

    def curve(self, weights: Array) -> tuple[Array, Array]:
        """Weight of real and of forged rows at or above each threshold, each (R, T + 1)."""
        sorted_weights = weights[:, self.order]
        fake = sorted_weights * self.y[self.order]
        start = np.zeros((len(weights), 1))
        true = np.concatenate([start, fake.cumsum(axis=1)[:, self.ends]], axis=1)
        false = np.concatenate(
            [start, (sorted_weights - fake).cumsum(axis=1)[:, self.ends]], axis=1
        )
        return false, true

    def measure_weighted(self, weights: Array) -> dict[str, Array]:
        """Every figure for each of R weightings, (R, N) -> (R,); NaN without a class."""
        total = weights.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return {
                **measure_curves(*self.curve(weights)),
                "log_loss": weights @ self.losses / total,
                "accuracy": weights @ self.right / total,
                "ece": self._ece(weights) / total,
                "ece_even": self._ece(self._balance_classes(weights)),
            }

    def _balance_classes(self, weights: Array) -> Array:
        """The weights with both classes scaled to one half; NaN where a class has none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            halves = [weights * of / (2 * (weights @ of)[:, None]) for of in (self.y, 1 - self.y)]
        return np.asarray(halves[0] + halves[1])

    def _ece(self, weights: Array) -> Array:
        member = np.eye(ECE_BINS)[self.bins]
        return np.asarray(np.abs(weights @ (member * (self.p - self.y)[:, None])).sum(axis=1))


class JudgedRows:
    """All rows by what they are called, and those with a score by their scores."""

    def __init__(
        self, y: Array, z: Array, p: Array, threshold: float, decisions: Decisions
    ) -> None:
        self.scored = some = ~np.isnan(z)
        self.rows = ScoredRows(y[some], z[some], p[some], threshold) if some.any() else None
        self.decisions = decisions

    def counts(self) -> dict[str, Any]:
        """How many rows there are in all, of each class, and with a score."""
        y = self.decisions.y
        real, fake = int((y == 0).sum()), int((y == 1).sum())
        return {"rows": len(y), "real": real, "fake": fake, "scored": int(self.scored.sum())}

    def point(self) -> dict[str, float | None]:
        """The figures of the rows as they are."""
        return (self.rows.point() if self.rows else {}) | self.decisions.point()

    def measure_weighted(self, weights: Array) -> dict[str, Array]:
        """The figures for each of R weightings, (R, N) -> (R,)."""
        return (
            self.rows.measure_weighted(weights[:, self.scored]) if self.rows else {}
        ) | self.decisions.measure_weighted(weights)


def measure_curves(false: Array, true: Array) -> dict[str, Array]:
    """The figures of R curves, whose weights at or above each threshold are (R, T + 1)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr, tpr = false / false[:, -1:], true / true[:, -1:]
        precision = np.nan_to_num(true / (true + false))
        # Counts are summed before they are divided: they are whole numbers, and their sums exact.
        twice = (np.diff(false) * (true[:, 1:] + true[:, :-1])).sum(axis=1)
        area = twice / (2 * false[:, -1] * true[:, -1])
        figures = {
            "auc": area,
            "average_precision": (np.diff(true) * precision[:, 1:]).sum(axis=1) / true[:, -1],
            "eer": _equal_error(fpr, tpr),
            "fpr_at_95_tpr": np.take_along_axis(
                fpr, (tpr >= 0.95 - 1e-9).argmax(axis=1)[:, None], 1
            )[:, 0],
        }
    one_class = np.isnan(area)
    return {name: np.where(one_class, np.nan, values) for name, values in figures.items()}


def _equal_error(fpr: Array, tpr: Array) -> Array:
    """Where FPR = 1 - TPR on the ROC curve, linear between its points; (R, T + 1) -> (R,)."""
    gap = fpr + tpr - 1  # rises from -1 to 1
    after = np.maximum((gap >= 0).argmax(axis=1), 1)[:, None]
    low, high = (np.take_along_axis(gap, index, 1) for index in (after - 1, after))
    start, end = (np.take_along_axis(fpr, index, 1) for index in (after - 1, after))
    return np.asarray((start + (end - start) * -low / (high - low))[:, 0])


def check_scores(
    labels: npt.ArrayLike, scores: npt.ArrayLike, *, gaps: bool = False
) -> tuple[Array, Array]:
    """Both as arrays; with `gaps`, a score may be NaN."""
    y, z = np.asarray(labels, float).ravel(), np.asarray(scores, float).ravel()
    if len(y) != len(z):
        raise DataError(f"{len(y)} labels for {len(z)} scores; give one score per row")
    if not len(y):
        raise DataError("no rows to measure; check the split and the data folder")
    if not np.isin(y, (0, 1)).all():
        raise DataError("labels must be 0 (REAL) or 1 (FAKE); leave out the rows without a label")
    wrong = int((~np.isfinite(z) & ~(gaps & np.isnan(z))).sum())
    if wrong:
        raise ModelError(f"{wrong} of {len(z)} scores are not finite numbers")
    return y, z


def has_both(y: Array) -> bool:
    """Whether there are rows of both classes."""
    return bool(y.min() == 0 and y.max() == 1)


def losses_of(y: Array, z: Array) -> Array:
    """Binary cross-entropy of each row in nats, (N,)."""
    return np.asarray(np.logaddexp(0, z) - y * z)


def _logit(p: Array) -> Array:
    tiny = np.finfo(float).eps
    p = np.clip(p, tiny, 1 - tiny)
    return np.asarray(np.log(p) - np.log1p(-p))


def _bins(p: Array) -> npt.NDArray[np.intp]:
    return np.clip((p * ECE_BINS).astype(np.intp), 0, ECE_BINS - 1)
