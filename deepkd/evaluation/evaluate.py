"""Evaluate: every model on the same labelled crops or videos, clean and corrupted."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepkd.data.clips import Clip, Warn
from deepkd.data.corruptions import Step, parse_conditions
from deepkd.data.crops import CropSet, load_crops, load_rows, whole_families
from deepkd.data.datasets.sources import find_clips
from deepkd.data.image_folders import holds_videos, is_image_folder
from deepkd.data.index import INDEX_NAME, CropRow
from deepkd.data.leakage import (
    Overlap,
    Traceable,
    find_training_shares,
    overlaps_with_splits,
    overlaps_with_training,
    recipe_of,
    rows_of,
)
from deepkd.data.splits import SPLIT_NAMES, make_splits
from deepkd.errors import DataError, OutputError, UsageError
from deepkd.evaluation.answers import CLEAN, judge_clips, keep_labelled, open_kept
from deepkd.evaluation.clips import evaluate_clips
from deepkd.evaluation.features import check_features, features_of
from deepkd.evaluation.figures import evaluate_rows
from deepkd.evaluation.results import Evaluation, EvaluationDocument, distinct_names
from deepkd.evaluation.robustness import measure_robustness
from deepkd.evaluation.scores import Crops, Progress, logits_of, scale_progress
from deepkd.scoring.model import CropModel
from deepkd.scoring.thresholds import Label
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.shards import Shard
from deepkd.text import TableReader, as_text, open_text

RESULT_NAME = "evaluation.json"


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
        raise DataError(
            f"none of the {len(crops.rows)} crops has a label; evaluation needs REAL and FAKE rows"
        )
    logits = logits_of(models, crops, labelled, batch=config.batch, progress=progress)
    rows = tuple(crops.rows[index] for index in labelled)
    called = names or distinct_names([model.name for model in models])
    left_out = len(crops.rows) - len(rows)
    return [
        evaluate_rows(name, model, rows, found, config, unlabelled=left_out)
        for name, model, found in zip(called, models, logits, strict=True)
    ]


def evaluate_files(
    arguments: Sequence[str],
    config: EvaluateConfig,
    *,
    features: bool = False,
    out: Path | None = None,
    overwrite: bool = False,
    warn: Warn = lambda message: None,
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Load models and crops or videos, and evaluate.

    Args:
        arguments: run folders, checkpoints, ONNX files, shipped names.
        config: all settings.
        features: also look at the models' penultimate features.
        out: where finished corruptions and verdicts on videos are kept for a second run, or None.
        overwrite: begin anew what is kept, once models and data are loaded.
        warn: told what is odd about the data, e.g. that clips of an official list are missing.
        progress: told after each batch of crops, or each video.

    Raises:
        UsageError: the settings do not fit the data or the machine.
        ModelError, DataError: a model or the data cannot be used, or trained the model.
        OutputError: `out` holds the results of something else, or cannot be written.
    """
    task = _load_task(arguments, config, features=features, warn=warn)
    models, data = task.models, task.data
    if out and not overwrite:
        _check_others(out / RESULT_NAME, task.names, [model.sha256 for model in models])
    shares = task.find_training_shares(config, warn)
    kept: dict[str, Any] = {"folder": out, "overwrite": overwrite, "progress": progress}
    kept |= {"names": task.names, "conditions": task.conditions}
    if isinstance(data, CropSet):
        found = _evaluate_crops(models, data, config, features=features, **kept)
    else:
        found = evaluate_clips(models, data, config, **kept)
    elsewhere = overlaps_with_splits(rows_of(data), task.everything, config.split)
    rest = zip(found, models, shares, strict=True)
    return [
        _with_leakage(one, model, share, elsewhere, rows_of(data)) for one, model, share in rest
    ]


@dataclass(frozen=True)
class JudgedShare:
    """What a run on a share of the videos did."""

    folder: Path
    """Where its verdicts are kept."""
    videos: int
    """Videos in the share."""
    failed: dict[str, str]
    """Path of each video that could not be read, clean or corrupted -> why."""


def judge_share(
    arguments: Sequence[str],
    config: EvaluateConfig,
    shard: Shard,
    *,
    out: Path,
    overwrite: bool = False,
    warn: Warn = lambda message: None,
    progress: Progress | None = None,
) -> JudgedShare:
    """Judge a share of the videos; `evaluate_files` with the same `out` takes these verdicts.

    Args:
        arguments: as of `evaluate_files`, like those that follow.
        config: all settings.
        shard: the share, by a hash of each path.
        out: the folder of all shares, in which this one has a folder.
        overwrite: begin anew what is kept of this share.
        warn: told what is odd about the data.
        progress: told after each video.

    Raises:
        UsageError: the data is no videos, or as `evaluate_files`.
        ModelError, DataError, OutputError: as `evaluate_files`.
    """
    task = _load_task(arguments, config, features=False, warn=warn)
    if isinstance(task.data, CropSet):
        raise UsageError(f"--shard shares out videos, and {config.data} holds crops; leave it out")
    task.find_training_shares(config, warn)
    labelled = keep_labelled(task.data)
    kept = open_kept(labelled, config, out, shard=shard, overwrite=overwrite)
    mine = [*shard.take(labelled)]
    steps = [(CLEAN, 0.0), *task.conditions]
    answers = judge_clips(task.models, mine, steps, config, kept, progress=progress)
    failed = {
        str(clip.path): answer.reason
        for found in answers.values()
        for clip, each in zip(mine, found, strict=True)
        for answer in each
        if answer.verdict is Label.ERROR
    }
    return JudgedShare(out / shard.part, len(mine), failed)


@dataclass(frozen=True)
class _Task:
    """What is evaluated, loaded."""

    models: list[Any]
    names: list[str]
    data: CropSet | list[Clip]
    everything: Sequence[CropRow] | list[Clip]
    """Crops or clips of all splits."""
    conditions: list[Step]

    def find_training_shares(self, config: EvaluateConfig, warn: Warn) -> list[float | None]:
        """For each model the share of the originals that it was trained on, if that is allowed."""
        allow = config.allow_training_data
        return find_training_shares(self.names, self.models, self.data, allow=allow, warn=warn)


def _load_task(
    arguments: Sequence[str], config: EvaluateConfig, *, features: bool, warn: Warn
) -> _Task:
    place = _check_settings(config)  # before anything is loaded
    models = _load_models(arguments, config, features=features)
    names = distinct_names([model.name for model in models], arguments)
    data, everything = _load(place, config, warn)
    if features and not isinstance(data, CropSet):
        raise UsageError(
            f"--features looks at crops, and {place} holds videos; extract crops first"
        )
    conditions = _conditions(config, crops=isinstance(data, CropSet))
    return _Task(models, names, data, everything, conditions)


def _with_leakage(
    found: Evaluation,
    model: Any,
    share: float | None,
    elsewhere: tuple[Overlap, ...],
    rows: Sequence[Traceable],
) -> Evaluation:
    """The evaluation with its model's hash, and what the model has seen before."""
    seen = overlaps_with_training(recipe_of(model), rows)
    return replace(found, sha256=model.sha256, training_data=share, overlaps=elsewhere + seen)


def _check_settings(config: EvaluateConfig) -> Path:
    """Where the data lies, once the settings are known to make sense."""
    if config.data is None:
        raise UsageError(
            "--data is missing; give the folder of crops that `deepkd extract` wrote, or one of"
            " videos"
        )
    _conditions(config, crops=False)
    return config.data


def _load_models(arguments: Sequence[str], config: EvaluateConfig, *, features: bool) -> list[Any]:
    from deepkd.models.checkpoints import load_model
    from deepkd.models.devices import pick_device

    device = str(pick_device(config.device))
    models = [load_model(argument, device=device) for argument in arguments]
    if features:
        check_features(models)
    return models


def _check_others(path: Path, names: Sequence[str], hashes: Sequence[str]) -> None:
    """Refuse to write over the figures of models that are not evaluated again."""
    try:
        models = json.loads(path.read_bytes())["models"]
        known = {(str(model["name"]), str(model.get("sha256", ""))) for model in models}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
    if lost := sorted(
        name for name, sha256 in known if (sha256 not in hashes if sha256 else name not in names)
    ):
        raise OutputError(
            f"{path}: has figures of {', '.join(lost)}; name them again, too, or choose another"
            " --out, or --overwrite"
        )


def _conditions(config: EvaluateConfig, *, crops: bool) -> list[Step]:
    return parse_conditions(config.perturb, crops=crops) if config.perturb else []


def _evaluate_crops(
    models: Sequence[CropModel],
    crops: CropSet,
    config: EvaluateConfig,
    *,
    features: bool,
    names: Sequence[str],
    conditions: Sequence[Step],
    folder: Path | None,
    overwrite: bool,
    progress: Progress | None,
) -> list[Evaluation]:
    """The figures of clean crops, of corrupted ones, and the features."""
    count = sum(1 for row in crops.rows if row.label)
    before, total = count * len(conditions), count * (1 + len(conditions))
    corrupted = measure_robustness(
        models,
        crops,
        conditions,
        config,
        folder=folder,
        overwrite=overwrite,
        progress=scale_progress(progress, 0, total),
    )  # first, since it finds out whether the folder is another evaluation's
    found = evaluate(
        models, crops, config, names=names, progress=scale_progress(progress, before, total)
    )
    found = [replace(one, perturbed=its) for one, its in zip(found, corrupted, strict=True)]
    if not features:
        return found
    seen = features_of(
        models, crops, limit=config.features_limit, seed=config.seed, batch=config.batch
    )
    return [replace(one, features=its) for one, its in zip(found, seen, strict=True)]


def _load(
    data: Path, config: EvaluateConfig, warn: Warn
) -> tuple[CropSet | list[Clip], Sequence[CropRow] | list[Clip]]:
    """The crops or clips of one split, and the rows of all splits.

    They are crops where there is an index or an image folder, else clips.
    """
    split = None if config.split == "all" else config.split
    if not data.exists() or _has_index(data) or _is_of_crops(data, config):
        return load_crops(data, split, limit=config.limit), load_rows(data)
    clips = find_clips([str(data)], dataset=config.dataset, warn=warn)
    if split in SPLIT_NAMES and not any(clip.split == split for clip in clips):
        clips = make_splits(clips).clips
        warn(
            f"{data}: ships no split '{split}'; it is drawn as `deepkd extract` draws it by"
            " default, which is the same one only if the same folder was extracted with the"
            " default shares"
        )
    kept = [clip for clip in clips if split in (None, clip.split)]
    if not kept:
        known = ", ".join(sorted({clip.split or "(none)" for clip in clips}))
        raise DataError(
            f"{data}: split '{split}' has no videos; its splits are {known}; --split all takes"
            " every video"
        )
    return kept if config.limit is None else list(whole_families(kept, config.limit)), clips


def _has_index(data: Path) -> bool:
    """Whether this is an index of crops (which has no column `path`), or a folder with one."""
    if data.is_dir():
        return (data / INDEX_NAME).exists()
    if data.suffix.lower() != ".csv" or not data.is_file():
        return False
    try:
        with open_text(data) as file:
            return "path" not in TableReader(data, file).names
    except csv.Error as error:
        raise DataError(f"{data}: not a CSV file ({error})") from error


def _is_of_crops(data: Path, config: EvaluateConfig) -> bool:
    """Whether this is an image folder of crops, without clips or stills to find faces in."""
    return config.dataset == "auto" and is_image_folder(data) and not holds_videos(data)


def to_document(evaluations: Sequence[Evaluation], config: EvaluateConfig) -> EvaluationDocument:
    """The figures of several models as one document, schema deepkd.evaluate/1."""
    return EvaluationDocument(
        data=as_text(config.data or ""),
        split=config.split,
        unlabelled=evaluations[0].unlabelled,
        models=tuple(found.figures for found in evaluations),
    )
