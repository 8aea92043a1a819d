"""Pruning in steps: shrink a little, let the unpruned network or others teach what is left, shrink again."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from deepkd.compression.importance import CRITERIA, Importance, drawn
from deepkd.compression.latency import latency_ms, prune_to_latency
from deepkd.compression.prune import Target, prune
from deepkd.data.crops import load_crops
from deepkd.distillation.distiller import distill
from deepkd.errors import ConfigError, OutputError
from deepkd.models.checkpoints import WEIGHTS_FILE, save_model
from deepkd.models.registry import TorchModel
from deepkd.outputs import check_folder
from deepkd.settings.compression import PruneConfig
from deepkd.settings.training import DistillConfig, FittingConfig
from deepkd.training.engine import CONFIG_FILE, Progress, calibrate

Follow = Callable[[Path, str], AbstractContextManager[Callable[[Progress], None]]]
"""Given a run folder and what happens there: what to report the training's progress to."""


def prune_in_steps(
    model: TorchModel,
    data: Path,
    out: Path,
    config: PruneConfig,
    *,
    follow: Follow,
    teachers: Sequence[TorchModel] = (),
) -> TorchModel:
    """The pruned model, written to `out`; with `config.epochs` each step is a run in `out/step-N`.

    Args:
        model: what to prune.
        data: crops that show what channels are worth, and to fine-tune on.
        out: folder.
        config: target, criterion, fine-tuning.
        follow: see `Follow`.
        teachers: they teach what is left after each step with their mean; `model` itself unless given.

    Raises:
        DataError: the crops cannot be used.
        ModelError, ConfigError: as `prune`; or teachers are given and no epochs to teach in.
        OutputError: `out` holds a model already, or cannot be written.
    """
    if teachers and not config.epochs:
        raise ConfigError("epochs=0 leaves a teacher nothing to teach; give --epochs, or leave --teacher out")
    if (out / WEIGHTS_FILE).exists():
        raise OutputError(f"{out}: holds a model already; give another --out")
    check_folder(out)
    crops = load_crops(data, "train", limit=config.limit)
    current = model
    steps = zip(_targets(model, config), _limits_ms(model, config), strict=True)
    for number, (target, limit_ms) in enumerate(steps, start=1):
        samples = drawn(crops, current.format, config.samples, seed=config.seed)
        worth = CRITERIA[config.criterion](current, samples)
        current, taken_ms = _shrunk(current, worth, target, limit_ms, config)
        about = {**config.recipe(), "from": model.name, "measured_ms": taken_ms}
        current.metadata = {**current.metadata, "pruned": about}
        if config.epochs:
            current = _fine_tuned(current, teachers or [model], data, out / f"step-{number}", config, follow)
    if not config.epochs:
        calibrate(current, load_crops(data, "val", limit=config.val_limit))
    save_model(current, out / WEIGHTS_FILE)
    config.save(out / CONFIG_FILE)
    return current


def _targets(model: TorchModel, config: PruneConfig) -> list[Target]:
    """The sizes after each step: the same share less each time, and at last what is wanted."""

    def at(have: int, want: float | None, share: float) -> int | None:
        return None if want is None else round(have * min(1.0, want / have) ** share)

    shares = [step / config.steps for step in range(1, config.steps + 1)]
    wanted_macs = None if config.macs_m is None else config.macs_m * 1e6
    return [Target(at(model.params, config.params, share), at(model.macs, wanted_macs, share)) for share in shares]


def _limits_ms(model: TorchModel, config: PruneConfig) -> list[float | None]:
    """Likewise for the milliseconds of one crop; None where they do not matter."""
    if config.latency_ms is None:
        return [None] * config.steps
    have = latency_ms(model)
    less = min(1.0, config.latency_ms / have)
    return [*(have * less ** (step / config.steps) for step in range(1, config.steps)), config.latency_ms]


def _shrunk(
    model: TorchModel, worth: Importance, target: Target, limit_ms: float | None, config: PruneConfig
) -> tuple[TorchModel, float | None]:
    """The model within its target, and the milliseconds that it takes where they were measured."""
    if limit_ms is None:
        return prune(model, worth, target, penalty=config.penalty), None
    pruned, taken_ms = prune_to_latency(model, worth, target, limit_ms, penalty=config.penalty)
    return pruned, round(taken_ms, 4)


def _fine_tuned(
    pruned: TorchModel, teachers: Sequence[TorchModel], data: Path, run: Path, config: PruneConfig, follow: Follow
) -> TorchModel:
    start = save_model(pruned, run.with_suffix(".safetensors"))
    shared = {item.name: getattr(config, item.name) for item in dataclasses.fields(FittingConfig)}
    tuning = DistillConfig(student=pruned.architecture, init=start, teacher_view=config.teacher_view, **shared)
    with follow(run, f"distill {run.name}") as report:
        return distill(teachers, data, run, tuning, report=report)
