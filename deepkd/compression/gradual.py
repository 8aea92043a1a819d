"""Pruning in steps: shrink a little, fine-tune by distillation, shrink again."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from deepkd.benchmark.latency import latency_ms
from deepkd.compression.importance import check_both, draw_samples
from deepkd.compression.latency import prune_to_latency
from deepkd.compression.prune import Target, prune
from deepkd.compression.results import PruneDocument, PruneStep
from deepkd.data.classes import ClassSet
from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.data.families import list_inherited
from deepkd.data.leakage import check_held_out
from deepkd.data.mixture import load_data
from deepkd.distillation.distiller import distill
from deepkd.errors import ConfigError, OutputError
from deepkd.evaluation.classes import check_classes_of
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, save_model
from deepkd.models.registry import TorchModel
from deepkd.outputs import alone_in, write_whole
from deepkd.settings.choices import CRITERIA
from deepkd.settings.compression import PruneConfig
from deepkd.settings.training import DistillConfig, FittingConfig
from deepkd.training.checkpointing import CONFIG_FILE
from deepkd.training.engine import Progress
from deepkd.training.resuming import check_settings
from deepkd.training.validation import CLASSES, FORGERY, Task, calibrate

DECIDING = (
    "params",
    "macs_m",
    "latency_ms",
    "criterion",
    "penalty",
    "samples",
    "steps",
    "limit",
    "seed",
)
"""Settings that decide what is cut; besides them, the model itself."""
STEPS_FILE = "steps.json"
"""The figures after each step."""
MEASURES = {FORGERY.score: "AUC", CLASSES.score: "accuracy"}
"""The figure that chooses weights -> its name for people."""
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
    resume: bool = False,
    warn: Warn = lambda message: None,
) -> TorchModel:
    """The pruned model, written to `out`; with `config.epochs` each step is a run in `out/step-N`.

    Its figures after each step are in `out/steps.json`, a `PruneDocument`.

    Args:
        model: what to prune.
        data: crops, or pictures of classes, that show what channels are worth, and to fine-tune on.
        out: folder.
        config: target, criterion, fine-tuning.
        follow: see `Follow`.
        teachers: their mean teaches after each step; `model` itself by default.
        resume: go on where an earlier call was stopped.
        warn: told what `check_held_out` finds odd.

    Raises:
        DataError: the crops cannot be used.
        ModelError, ConfigError: as `prune`; `model` is within the target already; there are
            teachers but no epochs; or the steps to resume are of another model or other settings.
        OutputError: `out` holds a model, or steps without `resume`, or another run writes there,
            or it cannot be written.
    """
    _check_teachers(teachers, config)
    with alone_in(out):
        _check_out(out, goes_on=resume and config.epochs > 0)
        return _prune_in_steps(model, data, out, config, follow, teachers, resume, warn)


def _prune_in_steps(
    model: TorchModel,
    data: Path,
    out: Path,
    config: PruneConfig,
    follow: Follow,
    teachers: Sequence[TorchModel],
    resume: bool,
    warn: Warn,
) -> TorchModel:
    crops, val = _crops(data, config, [model, *teachers], warn)
    task = CLASSES if isinstance(crops, ClassSet) else FORGERY
    current, figures = model, task.validate(model, val)[0]
    done = [_describe(0, model, figures, task)]
    steps = zip(_targets(model, config), _limits_ms(model, config), strict=True)
    for number, (target, limit_ms) in enumerate(steps, start=1):
        run = out / f"step-{number}"
        begun = _load_step(run, model, config) if resume else None
        current = begun or _shrink(current, crops, target, limit_ms, config, source=model)
        if config.epochs:
            if begun is None:
                save_model(current, _start_of(run))
            current = _fine_tune(
                current, teachers or [model], data, run, config, follow, resume=resume
            )
            current.module.cpu()  # where channels are weighed and cut
        else:
            calibrate(current, val, task)
        done.append(_describe(number, current, current.metadata["validation"], task))
    count = int(np.isfinite(val.labels).sum())
    measure = MEASURES[task.score]
    _write_steps(out, PruneDocument(model.name, measure, count, config.epochs, tuple(done)))
    save_model(current, out / WEIGHTS_FILE)
    config.save(out / CONFIG_FILE)
    return current


def _write_steps(out: Path, document: PruneDocument) -> None:
    with write_whole(out / STEPS_FILE) as path:
        path.write_text(json.dumps(document.to_dict(), indent=2) + "\n", encoding="utf-8")


def read_steps(out: Path) -> PruneDocument:
    """The figures after each step of a pruning that was written to `out`."""
    return PruneDocument.from_dict(json.loads((out / STEPS_FILE).read_text(encoding="utf-8")))


def _describe(number: int, model: TorchModel, figures: Mapping[str, Any], task: Task) -> PruneStep:
    score = figures[task.score]
    return PruneStep(number, model.params, model.macs, None if score is None else round(score, 6))


def _check_teachers(teachers: Sequence[TorchModel], config: PruneConfig) -> None:
    if teachers and not config.epochs:
        raise ConfigError(
            "epochs=0 leaves a teacher nothing to teach; give --epochs, or leave --teacher out"
        )


def _crops(
    data: Path, config: PruneConfig, earlier: Sequence[TorchModel], warn: Warn
) -> tuple[CropSet, CropSet]:
    """The crops of training and of validation; the `earlier` models must not know the latter."""
    crops, val = (
        load_data(data, "train", limit=config.limit),
        load_data(data, "val", limit=config.val_limit),
    )
    for model in earlier:
        check_classes_of(model, crops)
    if isinstance(crops, ClassSet):
        CLASSES.check(val)
        check_held_out(crops, val, [], warn=warn)
        _warn_of_val(earlier, warn)
        return crops.keep_labelled(), val
    if CRITERIA.load(config.criterion).needs_crops:
        fewer = ", a larger --limit" if config.limit else ""
        advice = f"to show what channels are worth; give another --data{fewer} or --criterion"
        check_both(crops, f"{data}: split 'train'", advice)
    FORGERY.check(val)
    check_held_out(
        crops, val, [(model.name, list_inherited(model)) for model in earlier], warn=warn
    )
    return crops, val


def _warn_of_val(earlier: Sequence[TorchModel], warn: Warn) -> None:
    """Warn of networks of classes that were trained on the split `val`, too."""
    for model in earlier:
        if model.metadata.get("recipe", {}).get("val_split", "val") != "val":
            warn(f"{model.name} was trained on the split val, which flatters its accuracy there")


def _check_out(out: Path, *, goes_on: bool) -> None:
    """Refuse a folder that holds a result, or steps that are not resumed."""
    steps = any(out.glob("step-*"))
    if (out / WEIGHTS_FILE).exists() and not (steps and goes_on):
        raise OutputError(f"{out}: holds a model already; give another --out")
    if steps and not goes_on:
        advice = "go on with --resume and the --epochs it was started with, or give another --out"
        raise OutputError(f"{out}: holds steps of a pruning; {advice}")


def _targets(model: TorchModel, config: PruneConfig) -> list[Target]:
    """The sizes after each step: the same share less each time, and at last what is wanted."""

    def at(have: int, want: float | None, share: float) -> int | None:
        return None if want is None else round(have * min(1.0, want / have) ** share)

    shares = [step / config.steps for step in range(1, config.steps + 1)]
    wanted_macs = None if config.macs_m is None else config.macs_m * 1e6
    return [
        Target(at(model.params, config.params, share), at(model.macs, wanted_macs, share))
        for share in shares
    ]


def _is_reached(model: TorchModel, limit_ms: float | None, config: PruneConfig) -> bool:
    """Whether a model that keeps to the limit of a step is all that is wanted in the end."""
    small = _targets(model, config)[-1].excess(model.params, model.macs) <= 1
    return small and (
        limit_ms is None or config.latency_ms is None or limit_ms <= config.latency_ms
    )


def _limits_ms(model: TorchModel, config: PruneConfig) -> list[float | None]:
    """Likewise for the milliseconds of one crop; None where they do not matter."""
    if config.latency_ms is None:
        return [None] * config.steps
    have = latency_ms(model)
    less = min(1.0, config.latency_ms / have)
    return [
        *(have * less ** (step / config.steps) for step in range(1, config.steps)),
        config.latency_ms,
    ]


def _start_of(run: Path) -> Path:
    """What a step of fine-tuning starts from: the network as it was cut."""
    return run.with_suffix(".safetensors")


def _load_step(run: Path, source: TorchModel, config: PruneConfig) -> TorchModel | None:
    """What a step was cut to before it was stopped, if it came so far."""
    if not _start_of(run).is_file():
        return None
    model = load_checkpoint(_start_of(run))
    then, now = model.metadata["pruned"], config.to_metadata()
    if then.get("from_sha256") != source.sha256:
        advice = f"give the same {then['from']} to go on, or another --out"
        raise ConfigError(f"{run}: was cut from another model, of other weights; {advice}")
    other = [name for name in DECIDING if then.get(name) != now[name]]
    if other:
        named = ", ".join(f"{name}={then.get(name)}" for name in other)
        raise ConfigError(
            f"{run}: was cut with {named}; give the same settings to go on, or another --out"
        )
    return model


def _shrink(
    model: TorchModel,
    crops: CropSet,
    target: Target,
    limit_ms: float | None,
    config: PruneConfig,
    *,
    source: TorchModel,
) -> TorchModel:
    """The model within its target; its metadata record the settings, the source, the latency."""
    samples = draw_samples(crops, model.format, config.samples, seed=config.seed)
    worth = CRITERIA.load(config.criterion)(model, samples, seed=config.seed)
    if limit_ms is None:
        pruned, taken_ms = prune(model, worth, target, penalty=config.penalty), None
    else:
        pruned, taken_ms = prune_to_latency(model, worth, target, limit_ms, penalty=config.penalty)
    if pruned.params == source.params and _is_reached(source, limit_ms, config):
        raise ConfigError(
            f"nothing to prune: {source.name} is within the target already; give a lower one"
        )
    made_of = {"from": source.name, "from_sha256": source.sha256}
    kept = {
        key: value for key, value in pruned.metadata.items() if key != "validation"
    }  # of the whole network
    about = {**config.to_metadata(), **made_of, "measured_ms": taken_ms and round(taken_ms, 4)}
    return dataclasses.replace(pruned, metadata={**kept, "pruned": about})


def _fine_tune(
    pruned: TorchModel,
    teachers: Sequence[TorchModel],
    data: Path,
    run: Path,
    config: PruneConfig,
    follow: Follow,
    *,
    resume: bool,
) -> TorchModel:
    shared = {item.name: getattr(config, item.name) for item in dataclasses.fields(FittingConfig)}
    start, view = _start_of(run), config.teacher_view
    tuning = DistillConfig(student=pruned.architecture, init=start, teacher_view=view, **shared)
    if resume and (run / CONFIG_FILE).is_file():  # later steps were cut from this one as it is
        check_settings(tuning, run / CONFIG_FILE, may_grow=False)
    with follow(run, f"distill {run.name}") as report:
        return distill(teachers, data, run, tuning, resume=resume, report=report)
