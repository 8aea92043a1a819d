"""Evaluation: the figures of one model on one labelled set of crops or videos."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.data.leakage import Overlap
from deepkd.data.perturbations import PERTURBATIONS
from deepkd.evaluation.features import Features
from deepkd.evaluation.metrics import Array, Metrics, measure
from deepkd.outputs import writing
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import CropModel
from deepkd.scoring.verdict import Thresholds
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.text import cell, csv_writer
from deepkd.video.crops import CropRow

Names = npt.NDArray[np.str_]


@dataclass(frozen=True)
class Condition:
    """A model's figures on the same crops or videos, all damaged alike."""

    perturbation: str
    """A name of `PERTURBATIONS`."""
    level: float
    """One of its levels."""
    crops: Metrics | None
    """None where whole videos were judged."""
    videos: Metrics | None
    """None where every video has one crop, or none of them could be read."""
    unjudged: int = 0
    """Videos without a score: undecided, and in no figure but those of decisions."""
    failed: int = 0
    """Those of them that could not be read (ERROR), which are in no figure at all."""
    logits: Array | None = field(default=None, compare=False, repr=False)
    """Of the crops, in the order of the index, (N,)."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `severity` counts the perturbation's levels, 1 is the mildest."""
        kind = PERTURBATIONS[self.perturbation]
        return {
            "perturbation": self.perturbation,
            "title": kind.title,
            "level": self.level,
            "severity": 1 + kind.levels.index(self.level),
            "crops": self.crops.to_dict() if self.crops else None,
            "videos": self.videos.to_dict() if self.videos else None,
            "unjudged": self.unjudged,
            "failed": self.failed,
        }


@dataclass(frozen=True)
class Unjudged:
    """A video without a score."""

    row: CropRow
    answer: str
    """INCONCLUSIVE, NO_FACE or ERROR."""
    reason: str


@dataclass(frozen=True)
class Evaluation:
    """One model on one labelled set; `crops` or `videos` or both are measured."""

    name: str
    params: int
    rows: tuple[CropRow, ...]
    """The labelled rows with a score, in the order of the index; of videos, one row each, with its
    path as `file`."""
    unlabelled: int
    """Rows left out because nobody labelled them."""
    labels: Array
    """1 is FAKE, 0 is REAL, (N,)."""
    logits: Array
    """(N,), before calibration."""
    probabilities: Array
    """Calibrated probability of forgery, (N,)."""
    crops: Metrics | None
    """None where whole videos were judged."""
    methods: dict[str, Metrics]
    """Forgery method -> its rows against every real row; empty where the index names no method."""
    videos: Metrics | None
    """Mean logit of each video's crops, or the verdicts on whole videos; None where every video has
    one crop."""
    datasets: dict[str, Metrics] = field(default_factory=dict)
    """Data set -> its rows; empty where there is only one."""
    unjudged: tuple["Unjudged", ...] = ()
    """Videos without a score."""
    perturbed: tuple[Condition, ...] = ()
    features: Features | None = None
    """Of some of the crops, where they were asked for."""
    training_data: float | None = 0.0
    """Share of the originals that the model was trained on; None where it does not say."""
    overlaps: tuple[Overlap, ...] = ()
    """Originals and people that the other splits of the data hold too, and those that the model was
    trained on."""
    sha256: str = ""
    """Of the model's weights."""

    @property
    def whole(self) -> Metrics:
        """The figures of all rows as they were scored: of crops, else of videos."""
        found = self.crops or self.videos
        assert found is not None
        return found

    def to_dict(self) -> dict[str, Any]:
        """The figures, without the scores, as plain values for JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "params": self.params,
            "training_data": self.training_data,
            "overlaps": [overlap.to_dict() for overlap in self.overlaps],
            "crops": self.crops.to_dict() if self.crops else None,
            "methods": {name: metrics.to_dict() for name, metrics in self.methods.items()},
            "datasets": {name: metrics.to_dict() for name, metrics in self.datasets.items()},
            "videos": self.videos.to_dict() if self.videos else None,
            "unjudged": dict(Counter(one.answer for one in self.unjudged)),
            "robustness": [condition.to_dict() for condition in self.perturbed],
            "v_score": round(self.features.v_score, 6) if self.features else None,
        }


Figures = Callable[..., Metrics]


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
    rows: Sequence[CropRow], logits: Array, figures: Figures
) -> tuple[Metrics, Metrics | None]:
    """The figures of all crops, and those of their videos' mean logits; None where every video has one crop."""
    labels, sources, videos = labels_of(rows), sources_of(rows), _by_video(rows)
    several = len(videos) < len(rows)
    means = figures(*_video_means(videos, labels, logits, sources)) if several else None
    return figures(labels, logits, sources), means


def figures_of(model: CropModel, config: EvaluateConfig) -> Figures:
    """A function (labels, logits, sources[, answers=]) -> Metrics with the model's calibration and thresholds.

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
    rows: Sequence[CropRow], logits: Array, figures: Figures, answers: Array | None = None
) -> dict[str, Metrics]:
    """Forgery method -> the figures of its rows against every real row."""
    methods = sorted({row.method for row in rows if row.label == "FAKE" and row.method})
    kept = {name: [row.label == "REAL" or row.method == name for row in rows] for name in methods}
    return _parts(rows, logits, figures, answers, kept)


def by_dataset(
    rows: Sequence[CropRow], logits: Array, figures: Figures, answers: Array | None = None
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
    figures: Figures,
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


def _by_video(rows: Sequence[CropRow]) -> list[list[int]]:
    """Row numbers of each video; equal names in two data sets stay two videos."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row.dataset, row.video or f"{row.shard}/{row.file}"), []).append(index)
    return list(groups.values())


def _video_means(
    videos: list[list[int]], labels: Array, logits: Array, sources: Names
) -> tuple[Array, Array, Names]:
    """One row per video: FAKE if any of its crops is, the mean of its logits, its source."""
    return (
        np.array([labels[video].max() for video in videos]),
        np.array([logits[video].mean() for video in videos]),
        np.array([sources[video[0]] for video in videos]),
    )


def distinct_names(names: Sequence[str], paths: Sequence[str] | None = None) -> list[str]:
    """Names with those that occur twice told apart: by the nearest folder that differs, else by number.

    Args:
        names: of the models.
        paths: where they come from, same length.
    """
    known = list(zip(names, paths or [""] * len(names), strict=True))
    shown = [f"{name}{_mark(path, [p for n, p in known if n == name])}" for name, path in known]
    total, seen = Counter(shown), Counter[str]()
    numbered = []
    for name in shown:
        seen[name] += 1
        numbered.append(f"{name} #{seen[name]}" if total[name] > 1 else name)
    return numbered


def _mark(path: str, rivals: Sequence[str]) -> str:
    """The nearest folder from which on no rival's folders read the same, else the file's name; empty where none is."""
    if len(rivals) < 2:
        return ""
    own = _folders(path)
    endings = (own[-count:] for count in range(1, len(own) + 1))
    apart = (
        ending[0]
        for ending in endings
        if sum(_folders(rival)[-len(ending) :] == ending for rival in rivals) == 1
    )
    alone = [Path(rival).name for rival in rivals].count(Path(path).name) == 1
    part = next(apart, Path(path).name if alone else "")
    return f" ({part})" if part else ""


def _folders(path: str) -> tuple[str, ...]:
    """The parts of a path without a file's name; a name without an ending is a run folder's, or a shipped model's."""
    return (Path(path).parent if Path(path).suffix else Path(path)).parts


def write_scores(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write `file,label,score` per crop or video (score: calibrated probability of forgery), beside, then renamed.

    Names of files are those of the index, byte by byte, so that both can be joined: a spreadsheet,
    which may run a name that begins like a formula, is better given `--format csv`.

    With several models the rows of each follow one another, and a fourth column, `model`, names it.
    Of videos there are `answer` and `reason`, too: those of a video without a score; they are empty
    where there is one.

    Raises:
        OutputError: the file cannot be written.
    """
    several, whole = len(evaluations) > 1, evaluations[0].crops is None
    with (
        writing(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        write = csv_writer(file).writerow
        write(
            [
                "file",
                "label",
                "score",
                *(["model"] if several else []),
                *(["answer", "reason"] if whole else []),
            ]
        )
        for found in evaluations:
            model = [cell(found.name)] if several else []
            for row, score in zip(found.rows, found.probabilities, strict=True):
                write([row.file, row.label, f"{score:.6g}", *model, *(["", ""] if whole else [])])
            for one in found.unjudged:
                write([one.row.file, one.row.label, "", *model, one.answer, cell(one.reason)])


def calibration_of(model: CropModel) -> Calibration:
    """The calibration that a model carries; the identity for one that carries none."""
    return getattr(model, "calibration", None) or Calibration()


def thresholds_of(model: CropModel) -> Thresholds:
    """The thresholds that a model carries; 0.5 for one that carries none."""
    return getattr(model, "thresholds", None) or Thresholds()
