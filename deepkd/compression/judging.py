"""Judging: variants beside float32 on the same pictures, by AUC or, of classes, by accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepkd.compression.importance import check_both
from deepkd.data.classes import ClassSet
from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.data.leakage import find_training_shares
from deepkd.data.mixture import load_data
from deepkd.errors import ConfigError, DataError, ModelError
from deepkd.evaluation.bootstrap import percentiles
from deepkd.evaluation.classes import check_classes_of, class_logits
from deepkd.evaluation.metrics import Measure, auc, auc_change
from deepkd.evaluation.scores import logits_of
from deepkd.scoring.model import Scorer
from deepkd.settings.compression import QuantizeConfig

SCORED_TOGETHER = 64
"""Crops decoded and scored at once."""


@dataclass(frozen=True)
class Judgement:
    """How accurate a variant is."""

    score: float | None
    """AUC or accuracy; None where a logit is not finite."""
    change: Measure
    """The score less float32's, with its interval."""
    broken: int = 0
    """Crops with a logit that is not finite."""


def name_measure(crops: CropSet) -> str:
    """What crops are judged by, for people."""
    return "accuracy" if isinstance(crops, ClassSet) else "AUC"


def load_judged(
    data: Path, config: QuantizeConfig, source: Scorer, warn: Warn
) -> tuple[CropSet, CropSet, float | None]:
    """Load what shows ranges, and what judges, which is something else.

    Returns:
        The crops that show ranges; the labelled ones that judge; the share of the latter that the
        model was trained on, None where it is unknown.

    Raises:
        ConfigError, DataError: they cannot be used, are of one label, or trained the model.
        ModelError: the model tells other classes apart.
    """
    _check_splits(config)
    shown = load_data(data, config.calibrate_on)
    check_classes_of(source, shown)
    judged = load_data(data, None if config.split == "all" else config.split, limit=config.limit)
    judged = judged.subset([index for index, row in enumerate(judged.rows) if row.label])
    if isinstance(judged, ClassSet):
        if not len(judged):
            raise DataError(f"{data}: split '{config.split}' has no labels; give another --split")
        return shown, judged, _share_of_classes(source, judged, config)
    advice = "to show the ranges of int8; give another --calibrate-on or --data"
    check_both(shown, f"{data}: split '{config.calibrate_on}'", advice)
    check_both(judged, f"{data}: split '{config.split}'", "to measure AUC on; give --split")
    [share] = find_training_shares(
        [source.name], [source], judged, allow=config.allow_training_data, warn=warn
    )
    return shown, judged, share


def _check_splits(config: QuantizeConfig) -> None:
    if config.split in (config.calibrate_on, "all") and not config.allow_training_data:
        raise ConfigError(
            f"split={config.split}, calibrate_on={config.calibrate_on}: what shows the ranges of"
            " int8 would judge it, too; choose another --split or --calibrate-on, or add"
            " --allow-training-data"
        )


def _share_of_classes(source: Scorer, judged: ClassSet, config: QuantizeConfig) -> float | None:
    """1 where the model was trained on these pictures as far as its recipe says, else None.

    A network that was validated on another split than `val` was trained on `val`, too.
    """
    recipe = source.metadata.get("recipe") or {}
    took_val = config.split == "val" and recipe.get("val_split", "val") != "val"
    if not took_val and recipe.get("index_sha256") != judged.index_sha256():
        return None
    if not config.allow_training_data:
        raise DataError(
            f"{source.name} was trained on the split {config.split}, so its figures would say"
            " nothing about new pictures; choose another --split, or add --allow-training-data"
        )
    return 1.0


def judge(scorers: Sequence[Scorer], judged: CropSet, config: QuantizeConfig) -> list[Judgement]:
    """Each variant beside the first, which is float32.

    Raises:
        ModelError: a logit of the first is not finite.
    """
    if isinstance(judged, ClassSet):
        return _judge_classes(scorers, judged, config)
    logits = logits_of(scorers, judged, range(len(judged)), batch=SCORED_TOGETHER, checked=1)
    labels, sources = judged.labels, [row.original for row in judged.rows]
    found = []
    for own in logits:
        if broken := int((~np.isfinite(own)).sum()):
            found.append(Judgement(None, Measure(None), broken))
            continue
        resampled = {"resamples": config.resamples, "seed": config.seed}
        change = auc_change(labels, logits[0], own, sources=sources, **resampled)
        found.append(Judgement(float(auc(labels, own) or 0.0), change))
    return found


def _judge_classes(
    scorers: Sequence[Scorer], judged: ClassSet, config: QuantizeConfig
) -> list[Judgement]:
    labels, rows = judged.labels.astype(int), range(len(judged))
    logits = [class_logits(scorer, judged, rows) for scorer in scorers]
    broken = [int((~np.isfinite(own)).any(1).sum()) for own in logits]
    if broken[0]:
        raise ModelError(
            f"{scorers[0].name}: logits of {broken[0]} pictures are not finite; the model is"
            " damaged or did not train"
        )
    right = [own.argmax(1) == labels for own in logits]
    return [
        Judgement(None, Measure(None), lost)
        if lost
        else Judgement(float(own.mean()), accuracy_change(right[0], own, config))
        for own, lost in zip(right, broken, strict=True)
    ]


def accuracy_change(
    before: npt.NDArray[np.bool_], after: npt.NDArray[np.bool_], config: QuantizeConfig
) -> Measure:
    """Accuracy of one model less that of another on the same pictures, with its paired interval.

    Args:
        before: whether the other is right, (N,).
        after: whether the one is right, (N,).
        config: resamples and seed.
    """
    count = len(before)
    lost, won = int((before & ~after).sum()), int((after & ~before).sum())
    shares = np.array([lost, won, count - lost - won]) / count
    drawn = np.random.default_rng(config.seed).multinomial(count, shares, config.resamples)
    ends = percentiles((drawn[:, 1] - drawn[:, 0]) / count)
    return Measure((won - lost) / count, *(ends or ()))
