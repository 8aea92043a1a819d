"""Metrics: how accurate a model is on a labelled split, each figure with its 95% interval.

Every figure is computed for many resamples of the bootstrap at once, so a thousand of them take
well under a second on 2,500 rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.documents import Document
from deepkd.errors import DataError
from deepkd.evaluation.bootstrap import Ends, draw_resamples, percentiles, reflect
from deepkd.evaluation.decisions import DECIDED, Decisions
from deepkd.evaluation.rows import (
    JudgedRows,
    ScoredRows,
    check_scores,
    has_both,
    losses_of,
    measure_curves,
)
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
"""Share of forgeries that `precision` supposes, unless another is given: few clips
that people meet are forged."""
RAISED_BY_NOISE = ("ece", "ece_even")
"""Means of distances: a sample has more of them than what it was drawn from, and a resample more
than the sample."""


@dataclass(frozen=True)
class Measure(Document):
    """A figure and its 95% interval; None where the data cannot give it, or an end of it."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def round_to(self, digits: int) -> "Measure":
        """All three to some digits after the point."""
        return Measure(
            *(
                None if one is None else round(one, digits)
                for one in (self.value, self.low, self.high)
            )
        )


@dataclass(frozen=True)
class Metrics(Document):
    """How accurate one model is on one set of rows; FAKE is the positive class."""

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
    where no real row is called FAKE, since the false alarm rate is then unknown; so too its high
    end, in over 2.5% of resamples."""


def auc(labels: npt.ArrayLike, logits: npt.ArrayLike) -> float | None:
    """Area under the ROC curve; None with one class only.

    Args:
        labels: 1 is FAKE, 0 is REAL, (N,).
        logits: forgery logit or any score that rises with it, (N,).

    Raises:
        ModelError: a logit is not finite.
        DataError: no rows, other labels than 0 and 1, or lengths that differ.
    """
    y, z = check_scores(labels, logits)
    curve = ScoredRows(y, z, sigmoid(z), 0.5).curve(np.ones((1, len(y))))
    return float(measure_curves(*curve)["auc"][0]) if has_both(y) else None


def auc_change(
    labels: npt.ArrayLike,
    before: npt.ArrayLike,
    after: npt.ArrayLike,
    *,
    sources: Sequence[str],
    resamples: int = 1000,
    seed: int = 0,
) -> Measure:
    """AUC of one model less that of another on the same rows, with its paired interval.

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
    """Mean binary cross-entropy in nats; arguments and errors as in `auc`."""
    y, z = check_scores(labels, logits)
    return float(losses_of(y, z).mean())


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
        probabilities: calibrated probability of forgery, (N,); sigmoid of `logits` by default.
        sources: original video of each row, (N,), which the bootstrap draws; by default each row.
        threshold: probability from which a row counts as FAKE.
        threshold_real: probability up to which a row counts as REAL; `threshold` when not given.
        answers: 1 FAKE, 0 REAL, NaN INCONCLUSIVE, (N,), where not the thresholds decide.
        prevalence: share of forgeries that the precision supposes, 0 to 1.
        resamples: bootstrap resamples; 0 leaves the intervals out.
        seed: of the resampling.

    Raises:
        ModelError: a logit or probability is not finite.
        DataError: no rows, other labels than 0 and 1, or lengths that differ.
    """
    gaps = answers is not None
    y, z = check_scores(labels, logits, gaps=gaps)
    p = sigmoid(z) if probabilities is None else check_scores(y, probabilities, gaps=gaps)[1]
    source = _number_sources(sources, len(y))
    real = threshold if threshold_real is None else threshold_real
    if answers is None:
        answers = np.where(p >= threshold, 1.0, np.where(p <= real, 0.0, np.nan))
    rows = JudgedRows(y, z, p, threshold, Decisions(y, np.asarray(answers, float), prevalence))
    return Metrics(
        sources=int(source.max()) + 1,
        threshold=threshold,
        threshold_real=real,
        prevalence=prevalence,
        **rows.counts(),
        **_measures(rows, source, resamples, seed),
    )


def _measures(
    rows: JudgedRows, source: npt.NDArray[np.intp], resamples: int, seed: int
) -> dict[str, Any]:
    """The figures of `FIGURES`, each with its interval."""
    values = rows.point()
    intervals = _intervals(rows, source, resamples, seed) if resamples else {}
    return {
        name: _measure(values.get(name), intervals.get(name), name in RAISED_BY_NOISE)
        for name in FIGURES
    }


def _number_sources(sources: Sequence[str] | None, count: int) -> npt.NDArray[np.intp]:
    """The number of each row's source, (N,), from 0; each row its own where there are none."""
    if sources is not None and len(sources) != count:
        raise DataError(f"{len(sources)} sources for {count} rows; give one source per row")
    return np.unique(
        np.arange(count) if sources is None else np.asarray(sources), return_inverse=True
    )[1]


def _measure(value: float | None, ends: Ends | None, raised: bool = False) -> Measure:
    if value is None or ends is None:
        return Measure(value)
    return Measure(value, *(reflect(value, ends) if raised else ends))


def roc_points(labels: npt.ArrayLike, logits: npt.ArrayLike) -> tuple[Array, Array]:
    """False and true positive rates from (0, 0) to (1, 1), each (points,).

    Arguments and errors as in `auc`.

    Raises:
        DataError: also when only one class is there.
    """
    y, z = check_scores(labels, logits)
    if not has_both(y):
        raise DataError("a ROC curve needs REAL and FAKE rows; this split has one class only")
    rows = ScoredRows(y, z, sigmoid(z), 0.5)
    false, true = rows.curve(np.ones((1, len(y))))
    return false[0] / false[0, -1], true[0] / true[0, -1]


def precision_points(labels: npt.ArrayLike, logits: npt.ArrayLike) -> tuple[Array, Array]:
    """Recall and precision at each threshold, from the highest down, each (points,).

    Arguments and errors as in `roc_points`.
    """
    y, z = check_scores(labels, logits)
    if not has_both(y):
        raise DataError(
            "a precision-recall curve needs REAL and FAKE rows; this split has one class only"
        )
    false, true = ScoredRows(y, z, sigmoid(z), 0.5).curve(np.ones((1, len(y))))
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
    """The AUC of each resample of the sources, (resamples,); NaN where a class is missing.

    The same sources and seed draw the same resamples, so that the differences of two calls on the
    same rows (another model, damaged crops) are paired, and their percentiles an interval of the
    difference.
    """
    y, z = check_scores(labels, logits)
    _, source = np.unique(np.asarray(sources), return_inverse=True)
    rows = ScoredRows(y, z, sigmoid(z), 0.5)
    drawn = [
        measure_curves(*rows.curve(weights))["auc"]
        for weights in draw_resamples(source, resamples, seed)
    ]
    return np.concatenate([np.zeros(0), *drawn])


def _intervals(
    rows: JudgedRows, source: npt.NDArray[np.intp], resamples: int, seed: int
) -> dict[str, Ends]:
    """The interval of each figure that some resample gives; none with one source."""
    if source.max() == 0:
        return {}
    drawn: dict[str, list[Array]] = {}
    for weights in draw_resamples(source, resamples, seed):
        for name, values in rows.measure_weighted(weights).items():
            drawn.setdefault(name, []).append(values)
    return {
        name: ends for name, parts in drawn.items() if (ends := percentiles(np.concatenate(parts)))
    }
