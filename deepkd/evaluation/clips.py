"""Clips, judged whole: verdicts of `detect` against labels, clean and corrupted."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from deepkd.data.clips import Clip
from deepkd.data.corruptions import Step
from deepkd.data.index import CropRow
from deepkd.errors import DataError
from deepkd.evaluation.answers import CLEAN, Answer, Answers, judge_clips, keep_labelled, open_kept
from deepkd.evaluation.figures import (
    by_dataset,
    by_method,
    figures_of,
    labels_of,
    sources_of,
)
from deepkd.evaluation.metrics import Array
from deepkd.evaluation.results import Condition, Evaluation, Unjudged
from deepkd.evaluation.scores import Progress
from deepkd.scoring.model import CalibratedModel
from deepkd.scoring.thresholds import Label
from deepkd.settings.evaluation import EvaluateConfig

CALLED = {Label.FAKE: 1.0, Label.REAL: 0.0, Label.INCONCLUSIVE: np.nan, Label.NO_FACE: np.nan}
"""Verdict -> decision; an ERROR is none."""


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
        folder: where verdicts are kept for a second run, or None; see `open_kept`.
        overwrite: begin anew what is kept.
        progress: told after each clip and level.

    Raises:
        DataError: no labelled clip, or none with a score.
        OutputError: the folder holds the results of other clips or settings, or cannot be written,
            or a damaged clip cannot be.
    """
    labelled = keep_labelled(clips)
    kept = open_kept(labelled, config, folder, overwrite=overwrite)
    steps = [(CLEAN, 0.0), *conditions]
    answers = judge_clips(models, labelled, steps, config, kept, progress=progress)
    rows, left_out = [_row(clip) for clip in labelled], len(clips) - len(labelled)
    return [
        _evaluate(name, model, rows, _answers_of(place, answers), config, left_out)
        for place, (name, model) in enumerate(zip(names, models, strict=True))
    ]


def _answers_of(place: int, answers: Answers) -> dict[Step, list[Answer]]:
    """The answers of the model at one place, by condition."""
    return {key: [each[place] for each in clips] for key, clips in answers.items()}


def _evaluate(
    name: str,
    model: CalibratedModel,
    rows: Sequence[CropRow],
    answers: dict[Step, list[Answer]],
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
