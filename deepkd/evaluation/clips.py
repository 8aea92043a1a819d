"""Clips, judged whole: verdicts of `detect` against labels, clean and corrupted."""

import dataclasses
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import deepkd
from deepkd.data.clips import Clip
from deepkd.data.corruptions import SUITE, Step
from deepkd.data.index import CropRow
from deepkd.errors import DataError
from deepkd.evaluation.corruption import corrupt_clip
from deepkd.evaluation.figures import (
    by_dataset,
    by_method,
    figures_of,
    labels_of,
    sources_of,
)
from deepkd.evaluation.journal import Journal
from deepkd.evaluation.metrics import Array
from deepkd.evaluation.results import Condition, Evaluation, Unjudged
from deepkd.evaluation.robustness import identities
from deepkd.evaluation.scores import Progress
from deepkd.images import Image
from deepkd.journal import content_key
from deepkd.pipeline import Alter, Detector
from deepkd.scoring.model import CalibratedModel
from deepkd.scoring.thresholds import Label
from deepkd.settings.detect import DetectConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.video.faces import Face, FaceDetector, load_detector
from deepkd.video.sources import Source

CALLED = {Label.FAKE: 1.0, Label.REAL: 0.0, Label.INCONCLUSIVE: np.nan, Label.NO_FACE: np.nan}
"""Verdict -> decision; an ERROR is none."""
CLEAN = "clean"
"""In place of a perturbation's name: the clips as they are."""
KEYS = ("model", "clip", "perturbation", "level")
"""What tells one kept verdict from another."""


class CachingDetector:
    """A face detector that finds the faces of a picture once, for all models that ask."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector
        self._found: dict[tuple[int, tuple[int, ...], bool], list[Face]] = {}

    def detect(self, image: Image, *, thorough: bool = False) -> list[Face]:
        """As the detector's own."""
        key = (zlib.crc32(np.ascontiguousarray(image).data), image.shape, thorough)
        if key not in self._found:
            self._found[key] = self.detector.detect(image, thorough=thorough)
        return self._found[key]

    def forget(self) -> None:
        """Let go of the pictures of one video."""
        self._found.clear()


@dataclass(frozen=True)
class Answer:
    """What `detect` answered for one clip."""

    verdict: Label
    score: float | None
    """Calibrated probability of forgery; None without a judged face."""
    reason: str


@dataclass(frozen=True)
class ClipScorer:
    """Models that judge clips as `detect` does, and keep their answers."""

    models: Sequence[CalibratedModel]
    detector: CachingDetector
    config: EvaluateConfig
    kept: Journal

    def answers(self, clip: Clip, name: str, level: float) -> list[Answer]:
        """Each model's answer on a clip under one corruption, or `CLEAN`."""
        keys = [(model, str(clip.path), name, level) for model in map(_identity, self.models)]
        found = {key: self.kept.found[key] for key in keys if key in self.kept.found}
        if len(found) < len(set(keys)):
            with self._source(clip, name, level) as (source, alter):
                for key, model in zip(keys, self.models, strict=True):
                    found[key] = found.get(key) or self._judge(source, model, alter)
                    if (
                        key not in self.kept.found and found[key][0] != Label.ERROR
                    ):  # which may pass: tried again
                        self.kept.add(*key, result=found[key])
            self.detector.forget()
        return [
            Answer(Label(verdict), score, reason)
            for verdict, score, reason in map(found.__getitem__, keys)
        ]

    @contextmanager
    def _source(self, clip: Clip, name: str, level: float) -> Iterator[tuple[Source, Alter | None]]:
        if name == CLEAN:
            yield Source(clip.path, clip.problem), None
            return
        with corrupt_clip(clip, name, level, seed=self.config.seed) as (source, alter):
            yield source, alter

    def _judge(
        self, source: Source, model: CalibratedModel, alter: Alter | None
    ) -> tuple[str, float | None, str]:
        judge = DetectConfig(frames=self.config.frames, threshold_fake=self.config.threshold)
        verdict = Detector.from_parts(model, self.detector, judge).judge(source, alter=alter)
        return str(verdict.label), verdict.score, verdict.reason


def evaluate_clips(
    models: Sequence[CalibratedModel],
    clips: Sequence[Clip],
    config: EvaluateConfig,
    *,
    names: Sequence[str],
    conditions: Sequence[Step] = (),
    folder: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Judge every labelled clip with every model as `detect` does, clean and corrupted.

    A clip without a score (no face, nothing usable) is undecided: it counts as INCONCLUSIVE in
    figures of decisions, and is in no other. One that cannot be read (ERROR) is in none. Both are
    counted as unjudged.

    Args:
        models: each frames the faces as it wants.
        clips: those without a label are left out; each is known by its path.
        config: frames, threshold, resamples, seed.
        names: how to call the models.
        conditions: names of `CORRUPTIONS` and their levels; clips are judged again under each.
        folder: where verdicts are kept for a second run, or None. An ERROR is not kept: it may
            have been the machine's.
        overwrite: begin anew what is kept.
        progress: told after each clip and level.

    Raises:
        DataError: no labelled clip, or none with a score.
        OutputError: the folder holds the results of other clips or settings, or cannot be written,
            or a damaged clip cannot be.
    """
    labelled = _keep_labelled(clips)
    detector = CachingDetector(load_detector(DetectConfig().detector, device=config.device))
    kept = Journal(folder, lambda: _subject(labelled, config), KEYS, overwrite=overwrite)
    scorer = ClipScorer(models, detector, config, kept)
    conditions = [(CLEAN, 0.0), *conditions]
    answers: dict[tuple[str, float], list[list[Answer]]] = {
        condition: [] for condition in conditions
    }
    for done, (clip, condition) in enumerate(product(labelled, conditions), 1):
        answers[condition].append(scorer.answers(clip, *condition))
        if progress:
            progress(done, len(labelled) * len(conditions))
    rows, left_out = [_row(clip) for clip in labelled], len(clips) - len(labelled)
    return [
        _evaluate(name, model, rows, _answers_of(place, answers), config, left_out)
        for place, (name, model) in enumerate(zip(names, models, strict=True))
    ]


def _answers_of(
    place: int, answers: dict[tuple[str, float], list[list[Answer]]]
) -> dict[tuple[str, float], list[Answer]]:
    """The answers of the model at one place, by condition."""
    return {key: [each[place] for each in clips] for key, clips in answers.items()}


def _keep_labelled(clips: Sequence[Clip]) -> list[Clip]:
    """Those with a label, of which there must be some."""
    labelled = [clip for clip in clips if clip.label]
    if not labelled:
        raise DataError(
            f"none of the {len(clips)} videos has a label; give a data set's own folder, folders"
            " named real and fake, a list (path,label), or crops with their index.csv"
        )
    return labelled


def _evaluate(
    name: str,
    model: CalibratedModel,
    rows: Sequence[CropRow],
    answers: dict[tuple[str, float], list[Answer]],
    config: EvaluateConfig,
    unlabelled: int,
) -> Evaluation:
    """The figures of one model's answers under each condition."""
    clean, *corrupted = answers.items()
    conditions = tuple(_condition(model, rows, found, config, *key) for key, found in corrupted)
    return dataclasses.replace(
        _evaluate_clean(name, model, rows, clean[1], config, unlabelled), perturbed=conditions
    )


def _evaluate_clean(
    name: str,
    model: CalibratedModel,
    rows: Sequence[CropRow],
    answers: Sequence[Answer],
    config: EvaluateConfig,
    unlabelled: int,
) -> Evaluation:
    counted, logits, called = _count(model, rows, answers)
    has_score = ~np.isnan(logits)
    if not has_score.any():
        reasons = "; ".join(
            f"{row.file}: {answer.reason}" for row, answer in zip(rows[:3], answers, strict=False)
        )
        raise DataError(f"none of the {len(rows)} videos could be judged: {reasons}")
    figures = figures_of(model, config)
    scored = tuple(row for row, known in zip(counted, has_score, strict=True) if known)
    return Evaluation(
        name=name,
        params=model.params,
        rows=scored,
        unlabelled=unlabelled,
        labels=labels_of(scored),
        logits=logits[has_score],
        probabilities=np.array([answer.score for answer in answers if answer.score is not None]),
        crops=None,
        methods=by_method(counted, logits, figures, called),
        datasets=by_dataset(counted, logits, figures, called),
        videos=figures(labels_of(counted), logits, sources_of(counted), answers=called),
        unjudged=tuple(
            Unjudged(row, str(answer.verdict), answer.reason)
            for row, answer in zip(rows, answers, strict=True)
            if answer.score is None
        ),
    )


def _condition(
    model: CalibratedModel,
    rows: Sequence[CropRow],
    answers: Sequence[Answer],
    config: EvaluateConfig,
    name: str,
    level: float,
) -> Condition:
    counted, logits, called = _count(model, rows, answers)
    videos = None
    if counted:
        videos = figures_of(model, config)(
            labels_of(counted), logits, sources_of(counted), answers=called
        )
    unscored = sum(1 for answer in answers if answer.score is None)
    failed = len(rows) - len(counted)
    return Condition.of(name, level, crops=None, videos=videos, unjudged=unscored, failed=failed)


def _count(
    model: CalibratedModel, rows: Sequence[CropRow], answers: Sequence[Answer]
) -> tuple[tuple[CropRow, ...], Array, Array]:
    """All rows but ERROR, their logits, and their answers.

    A logit is NaN without a score; an answer is 1 FAKE, 0 REAL, NaN neither.
    """
    kept = [
        (row, answer.score, CALLED[answer.verdict])
        for row, answer in zip(rows, answers, strict=True)
        if answer.verdict in CALLED
    ]
    logits = _logits(
        model, np.array([np.nan if score is None else score for _, score, _ in kept], float)
    )
    return tuple(row for row, _, _ in kept), logits, np.array([called for _, _, called in kept])


def _identity(model: CalibratedModel) -> str:
    """A hash of all that a model's verdicts depend on: weights, calibration, thresholds."""
    parts = (*identities([model]), repr(model.calibration), repr(model.thresholds))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _subject(clips: Sequence[Clip], config: EvaluateConfig) -> dict[str, Any]:
    """What the kept verdicts belong to."""
    names = "\n".join(
        f"{clip.path},{clip.label},{content_key(clip.path, clip.video)}" for clip in clips
    )
    return {
        "deepkd": deepkd.__version__,
        "suite": SUITE,
        "videos": hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest(),
        "frames": config.frames,
        "threshold": config.threshold,
        "seed": config.seed,
    }


def _row(clip: Clip) -> CropRow:
    path = str(clip.path)
    return CropRow(
        path,
        clip.label,
        path,
        clip.original,
        clip.dataset,
        clip.method,
        clip.split,
        identities=clip.identities,
    )


def _logits(model: CalibratedModel, probabilities: Array) -> Array:
    """The logits that the model's calibration turns into these probabilities."""
    tiny = np.finfo(float).eps
    p = np.clip(probabilities, tiny, 1 - tiny)
    calibration = model.calibration
    return np.asarray((np.log(p) - np.log1p(-p) - calibration.bias) * calibration.temperature)
