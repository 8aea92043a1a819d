"""Figures: of the logits of crops or videos, all of them, by method, by data set and by video."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from deepkd.data.index import CropRow
from deepkd.evaluation.metrics import Array, Metrics, measure
from deepkd.evaluation.results import Evaluation
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import CropModel
from deepkd.scoring.thresholds import Thresholds
from deepkd.settings.evaluation import EvaluateConfig

Names = npt.NDArray[np.str_]
MeasureRows = Callable[..., Metrics]


def evaluate_rows(
    name: str,
    model: CropModel,
    rows: tuple[CropRow, ...],
    logits: Array,
    config: EvaluateConfig,
    *,
    unlabelled: int,
) -> Evaluation:
    """Measure the logits of crops: all of them, by method, by data set, by video.

    Args:
        name: what the model is called.
        model: says its calibration and thresholds.
        rows: labelled, N of them.
        logits: before calibration, (N,).
        config: threshold, prevalence, resamples, seed.
        unlabelled: how many rows were left out.
    """
    figures = figures_of(model, config)
    crops, videos = crops_and_videos(rows, logits, figures)
    return Evaluation(
        name=name,
        params=model.params,
        rows=rows,
        unlabelled=unlabelled,
        labels=labels_of(rows),
        logits=logits,
        probabilities=calibration_of(model).probability(logits),
        crops=crops,
        methods=by_method(rows, logits, figures),
        datasets=by_dataset(rows, logits, figures),
        videos=videos,
    )


def crops_and_videos(
    rows: Sequence[CropRow], logits: Array, figures: MeasureRows
) -> tuple[Metrics, Metrics | None]:
    """The figures of all crops, and of their videos' mean logits.

    The latter are None where every video has one crop.
    """
    labels, sources, videos = labels_of(rows), sources_of(rows), group_by_video(rows)
    several = len(videos) < len(rows)
    means = figures(*video_means(videos, labels, logits, sources)) if several else None
    return figures(labels, logits, sources), means


def figures_of(model: CropModel, config: EvaluateConfig) -> MeasureRows:
    """A function (labels, logits, sources[, answers=]) -> Metrics, calibrated as the model.

    Where answers are given, a NaN logit is a row without a score.
    """
    calibration = calibration_of(model)
    thresholds = thresholds_of(model).replace(fake=config.threshold)

    def figures(
        labels: Array, logits: Array, sources: Names, *, answers: Array | None = None
    ) -> Metrics:
        return measure(
            labels,
            logits,
            probabilities=calibration.probability(logits),
            sources=sources.tolist(),
            threshold=thresholds.fake,
            threshold_real=thresholds.real,
            answers=answers,
            prevalence=config.prevalence,
            resamples=config.resamples,
            seed=config.seed,
        )

    return figures


def labels_of(rows: Sequence[CropRow]) -> Array:
    """1 for FAKE, 0 for REAL, (N,)."""
    return np.array([float(row.label == "FAKE") for row in rows])


def sources_of(rows: Sequence[CropRow]) -> Names:
    """The original of each row, (N,): what the bootstrap draws."""
    return np.array(
        [f"{row.dataset}/{row.original or row.video or f'{row.shard}/{row.file}'}" for row in rows]
    )


def by_method(
    rows: Sequence[CropRow], logits: Array, figures: MeasureRows, answers: Array | None = None
) -> dict[str, Metrics]:
    """Forgery method -> the figures of its rows against every real row."""
    methods = sorted({row.method for row in rows if row.label == "FAKE" and row.method})
    kept = {name: [row.label == "REAL" or row.method == name for row in rows] for name in methods}
    return _parts(rows, logits, figures, answers, kept)


def by_dataset(
    rows: Sequence[CropRow], logits: Array, figures: MeasureRows, answers: Array | None = None
) -> dict[str, Metrics]:
    """Data set -> the figures of its rows, where there are several."""
    names = sorted({row.dataset for row in rows})
    kept = {
        name or "unnamed": [row.dataset == name for row in rows] for name in names if len(names) > 1
    }
    return _parts(rows, logits, figures, answers, kept)


def _parts(
    rows: Sequence[CropRow],
    logits: Array,
    figures: MeasureRows,
    answers: Array | None,
    kept: dict[str, list[bool]],
) -> dict[str, Metrics]:
    labels, sources = labels_of(rows), sources_of(rows)
    found = {}
    for name, flags in kept.items():
        some = np.array(flags)
        found[name] = figures(
            labels[some],
            logits[some],
            sources[some],
            answers=None if answers is None else answers[some],
        )
    return found


def group_by_video(rows: Sequence[CropRow]) -> list[list[int]]:
    """Row numbers of each video; equal names in two data sets stay two videos."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row.dataset, row.video or f"{row.shard}/{row.file}"), []).append(index)
    return list(groups.values())


def video_means(
    videos: list[list[int]], labels: Array, logits: Array, sources: Names
) -> tuple[Array, Array, Names]:
    """One row per video: FAKE if any of its crops is, the mean of its logits, its source."""
    return (
        np.array([labels[video].max() for video in videos]),
        np.array([logits[video].mean() for video in videos]),
        np.array([sources[video[0]] for video in videos]),
    )


def calibration_of(model: CropModel) -> Calibration:
    """The calibration that a model carries; the identity for one that carries none."""
    return getattr(model, "calibration", None) or Calibration()


def thresholds_of(model: CropModel) -> Thresholds:
    """The thresholds that a model carries; 0.5 for one that carries none."""
    return getattr(model, "thresholds", None) or Thresholds()
