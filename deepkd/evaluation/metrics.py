"""How right a model is: the figures of a labelled split, each with a 95% interval.

Every figure is computed for many resamples of the bootstrap at once, so a thousand of them take
well under a second on 2,500 rows.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, ModelError
from deepkd.evaluation.bootstrap import Ends, percentiles, reflected, resampled
from deepkd.evaluation.decisions import DECIDED, Decisions
from deepkd.scoring.calibration import sigmoid

Array = npt.NDArray[np.float64]
"""Float64, one value per row, (N,), unless its docstring gives another shape."""

RANKING = ("auc", "average_precision", "eer", "fpr_at_95_tpr")
"""Figures that hang on the order of the scores alone; they need rows of both classes."""
FIGURES = (
    "auc",
    "average_precision",
    "log_loss",
    "eer",
    "accuracy",
    "ece",
    "ece_even",
    "fpr_at_95_tpr",
    *DECIDED,
)
"""The fields of `Metrics` that are measures."""
PREVALENCE = 0.01
"""Share of forgeries that `precision` supposes, unless another is given: few of the clips that
anybody meets."""
RAISED_BY_NOISE = ("ece", "ece_even")
"""Means of distances: a sample has more of them than what it was drawn from, and a resample more
than the sample."""
ECE_BINS = 15


@dataclass(frozen=True)
class Measure:
    """A figure and its 95% interval; None where the data cannot give it, or an end of it."""

    value: float | None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Metrics:
    """How right one model is on one set of rows; FAKE is the positive class."""

    rows: int
    real: int
    fake: int
    sources: int
    scored: int
    """Rows with a score: the others count as INCONCLUSIVE in the figures of `DECIDED`, and are in
    no other figure."""
    threshold: float
    """Probability from which a row counts as FAKE."""
    threshold_real: float
    """Probability up to which a row counts as REAL; between the two it is INCONCLUSIVE."""
    prevalence: float
    """Share of forgeries that `precision` supposes."""
    auc: Measure
    average_precision: Measure
    log_loss: Measure
    eer: Measure
    """Error rate where as many real rows are called FAKE as forged ones REAL (share of each
    class)."""
    accuracy: Measure
    ece: Measure
    """Mean distance between the probability of forgery and the share of forgeries, over 15 equal
    bins."""
    ece_even: Measure
    """The same with both classes weighing one half: what deepkd calibrates for, however many fakes
    a data set has."""
    fpr_at_95_tpr: Measure
    """Share of real rows called FAKE when the threshold finds at least 95% of the forgeries."""
    false_alarms: Measure
    """Share of real rows called FAKE at the threshold; None without real rows."""
    detected: Measure
    """Share of forged rows called FAKE at the threshold; None without forged rows."""
    inconclusive: Measure
    """Share of rows called neither REAL nor FAKE."""
    precision: Measure
    """Share of forgeries among what is called FAKE, where `prevalence` of all are forged; None
    where no real row is called FAKE, since nobody then knows how rare a false alarm is; so too its
    high end, in over 2.5% of resamples."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)


def auc(labels: npt.ArrayLike, logits: npt.ArrayLike) -> float | None:
    """Area under the ROC curve; None with one class only.

    Args:
        labels: 1 is FAKE, 0 is REAL, (N,).
        logits: forgery logit or any score that rises with it, (N,).

    Raises:
        ModelError: a logit is not finite.
        DataError: no rows, other labels than 0 and 1, or lengths that differ.
    """
    from sklearn.metrics import roc_auc_score

    y, z = _checked(labels, logits)
    return float(roc_auc_score(y, z)) if _both(y) else None


def auc_change(
    labels: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    *,
    sources: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Measure:
    """AUC of one model less that of another on the same rows, with the interval over the same resamples of both.

    Logits of the other `before`, of the one `after`, and labels as in `auc`; sources are the
    original videos of the rows, (N,). Without resamples, or with one source, there is no interval.
    Raises as `auc`.
    """
    values = auc(labels, after), auc(labels, before)
    if values[0] is None or values[1] is None:
        return Measure(None)
    count = resamples if len({*sources}) > 1 else 0
    drawn = [
        auc_resamples(labels, logits, sources, resamples=count, seed=seed)
        for logits in (after, before)
    ]
    return _measure(values[0] - values[1], percentiles(drawn[0] - drawn[1]))


def log_loss(labels: npt.ArrayLike, logits: npt.ArrayLike) -> float:
    """Mean binary cross-entropy in nats, exact for logits of any size; arguments and errors as in `auc`."""
    y, z = _checked(labels, logits)
    return float(_losses(y, z).mean())


def measure(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    *,
    probabilities: npt.ArrayLike | None = None,
    sources: Sequence[str] | None = None,
    threshold: float = 0.5,
    threshold_real: float | None = None,
    answers: npt.ArrayLike | None = None,
    prevalence: float = PREVALENCE,
    resamples: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Every figure of a set of rows, with its interval.

    Args:
        labels: 1 is FAKE, 0 is REAL, (N,).
        logits: forgery logits, (N,); they rank the rows. Where answers are given, NaN is a row
            without a score.
        probabilities: calibrated probability of forgery, (N,); the sigmoid of `logits` when not
            given.
        sources: original video of each row, (N,); the bootstrap draws these. Each row its own when
            not given.
        threshold: probability from which a row counts as FAKE.
        threshold_real: probability up to which a row counts as REAL; `threshold` when not given.
        answers: 1 FAKE, 0 REAL, NaN INCONCLUSIVE, (N,), where more than the thresholds decided
            them.
        prevalence: share of forgeries that the precision supposes, 0 to 1.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resampling.

    Raises:
        ModelError: a logit or probability is not finite.
        DataError: no rows, other labels than 0 and 1, or lengths that differ.
    """
    y, z = _checked(labels, logits, gaps=answers is not None)
    p = (
        sigmoid(z)
        if probabilities is None
        else _checked(y, probabilities, gaps=answers is not None)[1]
    )
    source = _numbered(sources, len(y))
    real = threshold if threshold_real is None else threshold_real
    given = (
        np.where(p >= threshold, 1.0, np.where(p <= real, 0.0, np.nan))
        if answers is None
        else answers
    )
    rows = _Judged(y, z, p, threshold, Decisions(y, np.asarray(given, float), prevalence))
    values, intervals = rows.point(), _intervals(rows, source, resamples, seed) if resamples else {}
    return Metrics(
        rows=len(y),
        real=int((y == 0).sum()),
        fake=int((y == 1).sum()),
        sources=int(source.max()) + 1,
        scored=int(rows.scored.sum()),
        threshold=threshold,
        threshold_real=real,
        prevalence=prevalence,
        **{
            name: _measure(values.get(name), intervals.get(name), name in RAISED_BY_NOISE)
            for name in FIGURES
        },
    )


def _numbered(sources: Sequence[str] | None, count: int) -> npt.NDArray[np.intp]:
    """The number of each row's source, (N,), from 0; each row its own where there are none."""
    if sources is not None and len(sources) != count:
        raise DataError(f"{len(sources)} sources for {count} rows; give one source per row")
    return np.unique(
        np.arange(count) if sources is None else np.asarray(sources), return_inverse=True
    )[1]


def _measure(value: float | None, ends: Ends | None, raised: bool = False) -> Measure:
    if value is None or ends is None:
        return Measure(value)
    return Measure(value, *(reflected(value, ends) if raised else ends))


def roc_points(labels: npt.ArrayLike, logits: npt.ArrayLike) -> tuple[Array, Array]:
    """False and true positive rates from (0, 0) to (1, 1), each (points,); arguments and errors as in `auc`.

    Raises:
        DataError: also when only one class is there.
    """
    y, z = _checked(labels, logits)
    if not _both(y):
        raise DataError("a ROC curve needs REAL and FAKE rows; this split has one class only")
    rows = _Rows(y, z, sigmoid(z), 0.5)
    false, true = rows.curve(np.ones((1, len(y))))
    return false[0] / false[0, -1], true[0] / true[0, -1]


def precision_points(labels: npt.ArrayLike, logits: npt.ArrayLike) -> tuple[Array, Array]:
    """Recall (share of the forgeries found) and precision at each threshold, from the highest down, each (points,).

    Arguments and errors as in `roc_points`.
    """
    y, z = _checked(labels, logits)
    if not _both(y):
        raise DataError(
            "a precision-recall curve needs REAL and FAKE rows; this split has one class only"
        )
    false, true = _Rows(y, z, sigmoid(z), 0.5).curve(np.ones((1, len(y))))
    found = true[0, 1:]
    return found / found[-1], found / (found + false[0, 1:])


def auc_resamples(
    labels: npt.ArrayLike,
    logits: npt.ArrayLike,
    sources: Sequence[str],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> Array:
    """The AUC of each bootstrap resample of the sources, (resamples,); NaN where a class is missing.

    The same sources and seed draw the same resamples, so that the differences of two calls on the
    same rows (another model, damaged crops) are paired, and their percentiles an interval of the
    difference.
    """
    y, z = _checked(labels, logits)
    _, source = np.unique(np.asarray(sources), return_inverse=True)
    rows = _Rows(y, z, sigmoid(z), 0.5)
    drawn = [_ranked(*rows.curve(weights))["auc"] for weights in resampled(source, resamples, seed)]
    return np.concatenate([np.zeros(0), *drawn])


class _Rows:
    """The rows of one evaluation, sorted once, so that any weighting is a few cumulative sums away."""

    def __init__(self, y: Array, z: Array, p: Array, threshold: float) -> None:
        self.order = np.argsort(-z, kind="stable")
        falling = z[self.order]
        self.ends = np.append(
            np.flatnonzero(np.diff(falling)), len(z) - 1
        )  # the last row of each run of ties
        self.y, self.z, self.p = y, z, p
        self.threshold = threshold
        self.losses = _losses(y, _logit(p))
        self.right = ((p >= threshold) == (y == 1)).astype(float)
        self.bins = _bins(p)

    def point(self) -> dict[str, float | None]:
        """The figures of the rows as they are, by scikit-learn where it has them."""
        from sklearn import metrics as sk

        values: dict[str, float | None] = {
            name: None if math.isnan(found[0]) else float(found[0])
            for name, found in self.weighted(np.ones((1, len(self.y)))).items()
        }
        if _both(self.y):
            values["auc"] = float(sk.roc_auc_score(self.y, self.z))
            values["average_precision"] = float(sk.average_precision_score(self.y, self.z))
        values["accuracy"] = float(sk.accuracy_score(self.y == 1, self.p >= self.threshold))
        return values

    def curve(self, weights: Array) -> tuple[Array, Array]:
        """Weight of real and of forged rows at or above each threshold, from none to all, each (R, T + 1)."""
        sorted_weights = weights[:, self.order]
        fake = sorted_weights * self.y[self.order]
        start = np.zeros((len(weights), 1))
        true = np.concatenate([start, fake.cumsum(axis=1)[:, self.ends]], axis=1)
        false = np.concatenate(
            [start, (sorted_weights - fake).cumsum(axis=1)[:, self.ends]], axis=1
        )
        return false, true

    def weighted(self, weights: Array) -> dict[str, Array]:
        """Every figure for each of R weightings, (R, N) -> (R,); NaN where a class, or all, have no weight."""
        total = weights.sum(axis=1)
        with np.errstate(invalid="ignore"):
            return {
                **_ranked(*self.curve(weights)),
                "log_loss": weights @ self.losses / total,
                "accuracy": weights @ self.right / total,
                "ece": self._ece(weights) / total,
                "ece_even": self._ece(self._evened(weights)),
            }

    def _evened(self, weights: Array) -> Array:
        """The weights with both classes scaled to one half; NaN where a class has none."""
        with np.errstate(invalid="ignore", divide="ignore"):
            halves = [weights * of / (2 * (weights @ of)[:, None]) for of in (self.y, 1 - self.y)]
        return np.asarray(halves[0] + halves[1])

    def _ece(self, weights: Array) -> Array:
        member = np.eye(ECE_BINS)[self.bins]
        return np.asarray(np.abs(weights @ (member * (self.p - self.y)[:, None])).sum(axis=1))


class _Judged:
    """All rows by what they are called, and those with a score by their scores."""

    def __init__(
        self, y: Array, z: Array, p: Array, threshold: float, decisions: Decisions
    ) -> None:
        self.scored = some = ~np.isnan(z)
        self.rows = _Rows(y[some], z[some], p[some], threshold) if some.any() else None
        self.decisions = decisions

    def point(self) -> dict[str, float | None]:
        """The figures of the rows as they are."""
        return (self.rows.point() if self.rows else {}) | self.decisions.point()

    def weighted(self, weights: Array) -> dict[str, Array]:
        """The figures for each of R weightings, (R, N) -> (R,)."""
        return (
            self.rows.weighted(weights[:, self.scored]) if self.rows else {}
        ) | self.decisions.weighted(weights)


def _ranked(false: Array, true: Array) -> dict[str, Array]:
    """The figures of R curves; `false` and `true` are weights at or above each threshold, (R, T + 1)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        fpr, tpr = false / false[:, -1:], true / true[:, -1:]
        precision = np.nan_to_num(true / (true + false))
        area = (np.diff(fpr) * (tpr[:, 1:] + tpr[:, :-1]) / 2).sum(axis=1)
        figures = {
            "auc": area,
            "average_precision": (np.diff(tpr) * precision[:, 1:]).sum(axis=1),
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


def _intervals(
    rows: _Judged, source: npt.NDArray[np.intp], resamples: int, seed: int
) -> dict[str, Ends]:
    """The interval of each figure that some resample gives; none with one source."""
    if source.max() == 0:
        return {}
    drawn: dict[str, list[Array]] = {}
    for weights in resampled(source, resamples, seed):
        for name, values in rows.weighted(weights).items():
            drawn.setdefault(name, []).append(values)
    return {
        name: ends for name, parts in drawn.items() if (ends := percentiles(np.concatenate(parts)))
    }


def _checked(
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


def _both(y: Array) -> bool:
    return bool(y.min() == 0 and y.max() == 1)


def _losses(y: Array, z: Array) -> Array:
    return np.asarray(np.logaddexp(0, z) - y * z)


def _logit(p: Array) -> Array:
    tiny = np.finfo(float).eps
    p = np.clip(p, tiny, 1 - tiny)
    return np.asarray(np.log(p) - np.log1p(-p))


def _bins(p: Array) -> npt.NDArray[np.intp]:
    return np.clip((p * ECE_BINS).astype(np.intp), 0, ECE_BINS - 1)
