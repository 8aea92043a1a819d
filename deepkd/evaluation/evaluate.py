"""Evaluate: every model on the same labelled crops, crop by crop, method by method, video by video."""

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from deepkd.errors import DataError, ModelError, UsageError
from deepkd.evaluation.metrics import Array, Metrics, measure
from deepkd.outputs import writing
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import CropModel, Image
from deepkd.scoring.verdict import Thresholds, as_text
from deepkd.settings import EvaluateConfig
from deepkd.video.crops import CropRow

SCHEMA = "deepkd.evaluate/1"
Names = npt.NDArray[np.str_]
Progress = Callable[[int, int], None]
"""Called with how many are done and how many there are."""


class Crops(Protocol):
    """What is evaluated: rows of an index and their images, decoded on demand (a `CropSet`)."""

    rows: list[CropRow]

    def image(self, index: int) -> Image:
        """RGB, uint8, (height, width, 3)."""
        ...


@dataclass(frozen=True)
class Evaluation:
    """One model on one set of labelled crops."""

    name: str
    params: int
    rows: tuple[CropRow, ...]
    """The labelled rows, in the order of the index."""
    unlabelled: int
    """Rows left out because nobody labelled them."""
    labels: Array
    """1 is FAKE, 0 is REAL, (N,)."""
    logits: Array
    """(N,), before calibration."""
    probabilities: Array
    """Calibrated probability of forgery, (N,)."""
    crops: Metrics
    methods: dict[str, Metrics]
    """Forgery method -> its crops against every real crop; empty where the index names no method."""
    videos: Metrics | None
    """Mean logit of each video's crops; None where every video has one crop."""

    def to_dict(self) -> dict[str, Any]:
        """The figures, without the scores, as plain values for JSON."""
        return {
            "name": self.name,
            "params": self.params,
            "crops": self.crops.to_dict(),
            "methods": {name: metrics.to_dict() for name, metrics in self.methods.items()},
            "videos": self.videos.to_dict() if self.videos else None,
        }


def evaluate(
    models: Sequence[CropModel],
    crops: Crops,
    config: EvaluateConfig,
    *,
    names: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Score every labelled crop with every model, each crop decoded once, and measure.

    Args:
        models: each sees the crops in its own input format.
        crops: rows without a label are left out.
        config: threshold (None takes each model's own), batch, resamples, seed.
        names: how to call the models; their own names, made distinct, when not given.
        progress: told after each batch.

    Raises:
        DataError: no labelled row, or a crop cannot be read.
        ModelError: a model gives a logit that is not finite.
    """
    labelled = [index for index, row in enumerate(crops.rows) if row.label]
    if not labelled:
        raise DataError(f"none of the {len(crops.rows)} crops has a label; evaluation needs REAL and FAKE rows")
    logits = _score(models, crops, labelled, config.batch, progress)
    rows = tuple(crops.rows[index] for index in labelled)
    called = names or distinct_names([model.name for model in models])
    left_out = len(crops.rows) - len(rows)
    return [
        _measured(name, model, rows, found, config, unlabelled=left_out)
        for name, model, found in zip(called, models, logits, strict=True)
    ]


def evaluate_files(
    arguments: Sequence[str], config: EvaluateConfig, *, progress: Progress | None = None
) -> list[Evaluation]:
    """Load models (run folders, checkpoints, ONNX files, shipped names) and crops, and evaluate.

    Raises:
        UsageError: no data folder is set, or a CUDA device is asked for and there is none.
        ModelError, DataError: a model or the crops cannot be used.
    """
    if config.data is None:
        raise UsageError("--data is missing; give the folder of crops that `deepkd extract` wrote")
    from deepkd.data.crops import load_crops
    from deepkd.models.checkpoints import load_model
    from deepkd.models.devices import pick_device

    device = str(pick_device(config.device))
    models = [load_model(argument, device=device) for argument in arguments]
    crops = load_crops(config.data, None if config.split == "all" else config.split, limit=config.limit)
    names = distinct_names([model.name for model in models], arguments)
    return evaluate(models, crops, config, names=names, progress=progress)


def to_document(evaluations: Sequence[Evaluation], config: EvaluateConfig) -> dict[str, Any]:
    """The figures of several models as one JSON document, schema deepkd.evaluate/1."""
    return {
        "schema": SCHEMA,
        "data": as_text(config.data or ""),
        "split": config.split,
        "unlabelled": evaluations[0].unlabelled,
        "models": [found.to_dict() for found in evaluations],
    }


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
    """The last part of `path` that none of its rivals has, in brackets; empty where it has no rival."""
    own = (part for part in reversed(Path(path).parts) if sum(part in Path(rival).parts for rival in rivals) == 1)
    part = next(own, "") if len(rivals) > 1 else ""
    return f" ({part})" if part else ""


def write_scores(path: Path, evaluations: Sequence[Evaluation]) -> None:
    """Write `file,label,score` per crop (score: calibrated probability of forgery), beside, then renamed.

    With several models the rows of each follow one another, and a fourth column, `model`, names it.

    Raises:
        OutputError: the file cannot be written.
    """
    several = len(evaluations) > 1
    with writing(path) as beside, beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        write = csv.writer(file, lineterminator="\n").writerow
        write(["file", "label", "score", *(["model"] if several else [])])
        for found in evaluations:
            for row, score in zip(found.rows, found.probabilities, strict=True):
                write([row.file, row.label, f"{score:.6g}", *([found.name] if several else [])])


def calibration_of(model: CropModel) -> Calibration:
    """The calibration that a model carries; the identity for one that carries none."""
    own = getattr(model, "calibration", None)
    stored = getattr(model, "metadata", {}).get("calibration")
    return own or (Calibration.from_dict(stored) if stored else Calibration())


def thresholds_of(model: CropModel) -> Thresholds:
    """The thresholds that a model carries; 0.5 for one that carries none."""
    own = getattr(model, "thresholds", None)
    stored = getattr(model, "metadata", {}).get("thresholds")
    return own or (Thresholds.from_dict(stored) if stored else Thresholds())


def _score(
    models: Sequence[CropModel], crops: Crops, indices: Sequence[int], batch: int, progress: Progress | None
) -> list[Array]:
    """Logits of every model, (N,) each; memory holds two batches of images whatever N is."""
    parts: list[list[Array]] = [[] for _ in models]
    done = 0
    for images in _batches(crops, indices, batch):
        for part, model in zip(parts, models, strict=True):
            part.append(np.asarray(model.logits(images), float))
        done += len(images)
        if progress:
            progress(done, len(indices))
    found = [np.concatenate(part) for part in parts]
    for model, logits in zip(models, found, strict=True):
        _check_finite(model, logits, crops, indices)
    return found


def _batches(crops: Crops, indices: Sequence[int], batch: int) -> Iterator[list[Image]]:
    """Decoded images of `indices` in order; the next batch is decoded while this one is scored."""

    def decode(part: Sequence[int]) -> list[Image]:
        return [crops.image(index) for index in part]

    starts = range(0, len(indices), batch)
    with ThreadPoolExecutor(max_workers=1) as decoder:
        coming = decoder.submit(decode, indices[:batch])
        for start in starts:
            images = coming.result()
            following = indices[start + batch : start + 2 * batch]
            coming = decoder.submit(decode, following)
            yield images


def _check_finite(model: CropModel, logits: Array, crops: Crops, indices: Sequence[int]) -> None:
    wrong = np.flatnonzero(~np.isfinite(logits))
    if len(wrong):
        first = crops.rows[indices[wrong[0]]].file
        raise ModelError(
            f"{model.name}: {len(wrong)} of {len(logits)} scores are not finite, first for {first}; "
            "the model is damaged or did not train"
        )


def _measured(
    name: str,
    model: CropModel,
    rows: tuple[CropRow, ...],
    logits: Array,
    config: EvaluateConfig,
    *,
    unlabelled: int,
) -> Evaluation:
    calibration = calibration_of(model)
    thresholds = thresholds_of(model).replace(fake=config.threshold)
    measured = partial(_figures, calibration=calibration, thresholds=thresholds, config=config)
    labels = np.array([float(row.label == "FAKE") for row in rows])
    sources = np.array([f"{row.dataset}/{row.original or row.video or row.file}" for row in rows])
    methods = {}
    for method in sorted({row.method for row in rows if row.label == "FAKE" and row.method}):
        kept = np.array([row.label == "REAL" or row.method == method for row in rows])
        methods[method] = measured(labels[kept], logits[kept], sources[kept])
    videos = _by_video(rows)
    return Evaluation(
        name=name,
        params=model.params,
        rows=rows,
        unlabelled=unlabelled,
        labels=labels,
        logits=logits,
        probabilities=calibration.probability(logits),
        crops=measured(labels, logits, sources),
        methods=methods,
        videos=measured(*_video_means(videos, labels, logits, sources)) if len(videos) < len(rows) else None,
    )


def _figures(
    labels: Array,
    logits: Array,
    sources: Names,
    *,
    calibration: Calibration,
    thresholds: Thresholds,
    config: EvaluateConfig,
) -> Metrics:
    return measure(
        labels,
        logits,
        probabilities=calibration.probability(logits),
        sources=sources.tolist(),
        threshold=thresholds.fake,
        threshold_real=thresholds.real,
        prevalence=config.prevalence,
        resamples=config.resamples,
        seed=config.seed,
    )


def _by_video(rows: Sequence[CropRow]) -> list[list[int]]:
    """Row numbers of each video; equal names in two data sets stay two videos."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault((row.dataset, row.video or row.file), []).append(index)
    return list(groups.values())


def _video_means(videos: list[list[int]], labels: Array, logits: Array, sources: Names) -> tuple[Array, Array, Names]:
    """One row per video: FAKE if any of its crops is, the mean of its logits, its source."""
    return (
        np.array([labels[video].max() for video in videos]),
        np.array([logits[video].mean() for video in videos]),
        np.array([sources[video[0]] for video in videos]),
    )
