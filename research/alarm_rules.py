"""Ways to decide that may call fewer real clips FAKE: the variants of `false_alarms.py`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import numpy.typing as npt
from alarm_views import Scores

from deepkd.evaluation.decisions import (
    CLIP_FALSE_ALARMS,
    FEW_CLIPS,
    MISSES,
    SOURCE_FALSE_ALARMS,
    weigh_sources,
    weighted_quantile,
)
from deepkd.evaluation.figures import group_by_video
from deepkd.scoring.calibration import sigmoid

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

WITHHELD = 0.1
"""Share of the known clips whose verdict a check withholds."""
PENALTY = 0.01
"""Of squared coefficients, beside a log loss whose weights sum to 1."""
NEIGHBOURS = 10
TURNS = ("crop", "0.9", "0.8")
"""Views that the crops of a clip take turns in."""
FAR = 2.0
"""Standard deviations from the mean at which quality has its full effect."""


@dataclass(frozen=True)
class Clips:
    """N clips or pictures; every value is the mean over the crops."""

    labels: Array
    """1 is FAKE, (N,)."""
    datasets: npt.NDArray[np.str_]
    families: npt.NDArray[np.str_]
    """Data sets that share footage, and are left out together."""
    logits: dict[str, Array]
    """View -> (N,)."""
    quality: Array
    """(N, 4), see `alarm_views.quality`."""
    spread: Array
    """Standard deviation of the logits of one face's views, (N,)."""
    in_turn: Array
    """The logits of `TURNS`, one for each crop, (N,)."""
    distance: dict[str, Array] = field(default_factory=dict)
    """Way to measure -> how far from the training crops the features lie, (N,)."""

    def __len__(self) -> int:
        return len(self.labels)


def gather_clips(sets: dict[str, Scores], known: Array, labels: Array) -> Clips:
    """The clips of several sets of crops.

    Args:
        sets: name for a set without data sets -> its scores.
        known: features of training crops, (M, C).
        labels: of these crops, (M,).
    """
    parts: dict[str, list[Array]] = {}
    names = []
    for name, scores in sets.items():
        videos = group_by_video(scores.rows)
        names += [scores.rows[video[0]].dataset or name for video in videos]
        views = np.stack(list(scores.logits.values()))
        values = {
            "label": np.array([row.label == "FAKE" for row in scores.rows], float),
            "quality": scores.quality,
            "spread": views.std(axis=0),
            "in turn": take_turns(videos, scores),
            **measure_distances(scores.features, known, labels),
            **{f"view {view}": logits for view, logits in scores.logits.items()},
        }
        for key, value in values.items():
            parts.setdefault(key, []).append(np.array([value[video].mean(0) for video in videos]))
    joined = {key: np.concatenate(part) for key, part in parts.items()}
    families = [name.removesuffix("-inputs").removesuffix("-wild") for name in names]
    return Clips(
        joined["label"], np.array(names), np.array(families), _pick(joined, "view "),
        joined["quality"], joined["spread"], joined["in turn"], _pick(joined, "far "),
    )  # fmt: skip


def take_turns(videos: list[list[int]], scores: Scores) -> Array:
    """The logit of one view of each crop, (N,); the crops of a clip take turns in `TURNS`."""
    views = [scores.logits[view] for view in TURNS if view in scores.logits]
    found = np.full(len(scores.rows), np.nan)
    for video in videos:
        for place, index in enumerate(video):
            found[index] = views[place % len(views)][index]
    return found


def _pick(values: dict[str, Array], start: str) -> dict[str, Array]:
    """The values whose names start so, without the start."""
    return {key.removeprefix(start): x for key, x in values.items() if key.startswith(start)}


def measure_distances(features: Array, known: Array, labels: Array) -> dict[str, Array]:
    """How far features, (N, C), lie from those of training crops, (M, C), in two ways.

    - Gaussian: the Mahalanobis distance to the nearer class, with one covariance (Lee et al. 2018,
      arXiv:1807.03888).
    - neighbours: the distance to the tenth neighbour on the unit sphere (Sun et al. 2022,
      arXiv:2204.06507).
    """
    if not features.shape[1]:
        return {}
    means = np.stack([known[labels == label].mean(0) for label in (0, 1)])
    centred = known - means[labels.astype(int)]
    covariance = np.cov(centred, rowvar=False)
    covariance += 0.01 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv(covariance)
    steps = features[:, None] - means
    gaussian = np.sqrt(np.einsum("nkc,cd,nkd->nk", steps, inverse, steps).min(1))
    unit, others = (
        x / (np.linalg.norm(x, axis=1, keepdims=True) + 1e-9) for x in (features, known)
    )
    nearest = np.partition(-(unit @ others.T), NEIGHBOURS - 1, axis=1)[:, NEIGHBOURS - 1]
    return {"far Gaussian": gaussian, "far neighbours": np.sqrt(np.maximum(2 + 2 * nearest, 0))}


@dataclass(frozen=True)
class Variant:
    """A way to decide."""

    score: Callable[[Clips, Flags], Array]
    """Clips, and which of them are known -> a score of each, (N,)."""
    doubt: Callable[[Clips], Array] | None = None
    """What is withheld first, (N,)."""
    views: tuple[str, ...] = ("crop",)
    """What is scored of each face."""
    within: float = SOURCE_FALSE_ALARMS
    """Share of real clips of any source that may be called FAKE."""
    misses: float = MISSES
    """Share of forged clips that may be called REAL."""


def decide(variant: Variant, clips: Clips, known: Flags, promises: Sequence[float]) -> Array:
    """Answers, 1 FAKE, 0 REAL, NaN neither, by what the `known` clips say.

    Args:
        variant: the way to decide.
        clips: N of them.
        known: which of them fit and set thresholds, (N,).
        promises: P multiples of the shares of false alarms that the known clips may have.

    Returns:
        (P, N).
    """
    scores, trusted = variant.score(clips, known), np.ones(len(clips), bool)
    y, names = clips.labels[known], clips.datasets[known]
    if variant.doubt:
        doubt, weights = variant.doubt(clips), weigh_sources(y, names)
        trusted = doubt <= weighted_quantile(doubt[known], weights, 1 - WITHHELD)
    answers = np.full((len(promises), len(clips)), np.nan)
    for row, promise in zip(answers, promises, strict=True):
        alarms = promise * CLIP_FALSE_ALARMS, min(1.0, promise * variant.within)
        real, fake = set_limits(scores[known], y, names, trusted[known], *alarms, variant.misses)
        row[trusted & (scores <= real)] = 0
        row[trusted & (scores >= fake)] = 1
    return answers


def set_limits(
    z: Array,
    y: Array,
    names: npt.NDArray[np.str_],
    trusted: Flags,
    overall: float,
    within: float,
    misses: float,
) -> tuple[float, float]:
    """Scores up to which a clip is REAL, and from which FAKE.

    As `operating_point_of_sources`, where a withheld verdict is no error.
    """
    weights, real = weigh_sources(y, names), y == 0
    high = np.where(trusted, z, -np.inf)
    limits = [weighted_quantile(high[real], weights[real], 1 - overall)]
    for name in np.unique(names[real]):
        own = real & (names == name)
        if own.sum() >= FEW_CLIPS:
            limits.append(np.quantile(high[own], 1 - within, method="higher"))
    fake = float(np.nextafter(max(limits), np.inf))
    low = np.where(trusted, z, np.inf)
    missed = -weighted_quantile(-low[~real], weights[~real], 1 - misses)
    return float(min(np.nextafter(missed, -np.inf), fake)), fake


def mean_of(*views: str) -> Callable[[Clips, Flags], Array]:
    return lambda clips, known: np.mean([clips.logits[view] for view in views], axis=0)


def adjusted(
    measure: Callable[[Clips], Array], *, temperature: bool = False
) -> Callable[[Clips, Flags], Array]:
    """The logit with a bias, and perhaps a temperature, that are linear in what is measured."""

    def score(clips: Clips, known: Flags) -> Array:
        values, z = measure(clips), clips.logits["crop"]
        weights = weigh_sources(clips.labels[known], clips.datasets[known])
        centre = np.average(values[known], axis=0, weights=weights)
        width = np.sqrt(np.average((values[known] - centre) ** 2, axis=0, weights=weights))
        values = np.clip((values - centre) / width, -FAR, FAR)
        columns = [z, np.ones(len(z)), *values.T]
        columns += [z * value for value in values.T] if temperature else []
        w = fit_logistic(np.stack(columns, 1)[known], clips.labels[known], weights)
        slope = w[0] + (values @ w[2 + values.shape[1] :] if temperature else 0.0)
        return z * np.maximum(slope, 0.2 * w[0]) + w[1] + values @ w[2 : 2 + values.shape[1]]

    return score


def fit_logistic(columns: Array, labels: Array, weights: Array) -> Array:
    """Weighted logistic regression by Newton's method; all but the first two are held small."""
    penalty = np.full(columns.shape[1], PENALTY)
    penalty[:2] = 1e-6
    w = np.zeros(columns.shape[1])
    for _ in range(30):
        p = sigmoid(columns @ w)
        gradient = columns.T @ (weights * (p - labels)) + penalty * w
        curve = columns.T @ (columns * (weights * p * (1 - p))[:, None]) + np.diag(penalty)
        w = w - np.linalg.solve(curve, gradient)
    return w


def list_variants(clips: Clips) -> dict[str, Variant]:
    """The variants whose views and distances are known of the clips."""
    plain, views = mean_of("crop"), tuple(clips.logits)
    found = {
        "present rule": Variant(plain),
        "with mirror image": seen_as("crop", "mirror"),
        "scales 1, 0.9, 0.8": seen_as("crop", "0.9", "0.8"),
        "shifted": seen_as("crop", "left", "right"),
        "all these views": seen_as(*views),
        "least of these views": Variant(least_of, views=views),
        "views disagree: withheld": Variant(plain, lambda c: c.spread, views),
        "bias by quality": Variant(adjusted(lambda c: c.quality)),
        "bias and temperature by quality": Variant(adjusted(lambda c: c.quality, temperature=True)),
        "blurred: withheld": Variant(plain, lambda c: -c.quality[:, 1]),
    }
    if clips.logits.keys() >= set(TURNS):
        found["scales in turn"] = Variant(lambda c, known: c.in_turn)
    found["5% of all, no limit in a source"] = Variant(plain, within=1.0)
    found["REAL for 10% of forged"] = Variant(plain, misses=0.1)
    for name in clips.distance:
        measure = partial(distance_of, name)
        found[f"far, {name}: withheld"] = Variant(plain, measure)
        found[f"bias by distance, {name}"] = Variant(adjusted(lambda c, m=measure: m(c)[:, None]))
    several = {"all these views", "least of these views", "views disagree: withheld"}
    left_out = several if len(views) < 3 else set()
    return {
        name: one
        for name, one in found.items()
        if clips.logits.keys() >= set(one.views) and name not in left_out
    }


def seen_as(*views: str) -> Variant:
    return Variant(mean_of(*views), views=views)


def least_of(clips: Clips, known: Flags) -> Array:
    return np.min(list(clips.logits.values()), axis=0)


def distance_of(name: str, clips: Clips) -> Array:
    return clips.distance[name]
