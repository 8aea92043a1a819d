"""The training loop of `deepkd train` and `deepkd distill`, which differ in their objective."""

import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from deepkd.data.chance import chance
from deepkd.data.class_views import ClassViews, make_dataset
from deepkd.data.crops import CropSet
from deepkd.data.sampling import PairShares, epoch_batches
from deepkd.data.transforms import Augment
from deepkd.data.views import Batch, SampleKey
from deepkd.errors import Interrupted, TrainingError
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, save_model
from deepkd.models.registry import TorchModel, evaluating
from deepkd.outputs import alone_in
from deepkd.settings.choices import OPTIMIZERS, SCHEDULES
from deepkd.settings.training import TrainingConfig
from deepkd.training.checkpointing import (
    CONFIG_FILE,
    STATE_FILE,
    add_metrics,
    cut_metrics,
    load_state,
    save_state,
    start_folder,
)
from deepkd.training.endings import describe_failure, handle_signals
from deepkd.training.freezing import freeze
from deepkd.training.loading import check_parts, load_batches
from deepkd.training.objective import Objective
from deepkd.training.processes import DistributedContext, distributed
from deepkd.training.progress import Progress, State
from deepkd.training.resuming import describe_growth
from deepkd.training.schedule import average_weights

GRADIENT_NORM = 5.0
"""Gradients longer than this are shortened to it."""


def fit(
    model: TorchModel,
    objective: Objective,
    train: CropSet,
    val: CropSet,
    config: TrainingConfig,
    run: Path,
    *,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
) -> TorchModel:
    """Train `model` by minimising `objective`; return the best weights on `val`, or the last.

    The run folder gets `config.json`, `metrics.jsonl` (a line per epoch), `model.safetensors` (what
    `config.keep` asks for, so far, with its operating point) and `last.pt` (where `resume` goes on,
    on the same trajectory; a note that it is finished, once it is). With more epochs than before,
    `resume` makes the run longer; a finished one goes on from its `model.safetensors`.

    Raises:
        DataError: `val` lacks a label, or a crop cannot be read.
        OutputError: `run` holds a run already and `resume` is off.
        ConfigError: the run to resume was started with other settings, crops or teachers; or a
            batch has too few samples for all processes and parts.
        TrainingError: the loss is not finite, a process that reads crops has died, or memory does
            not suffice.
        Interrupted: SIGINT or SIGTERM came; the state after the step is saved.
    """
    objective.task.check(val)
    with describe_failure(), distributed(config.device, config.precision) as context:
        trainer = _Trainer(model, objective, train, val, config, run, context, report)
        with alone_in(run) if context.leads else nullcontext():
            trainer.open(resume)
            trainer.train()
        return load_checkpoint(run, device=str(context.device))


class _Trainer:
    def __init__(
        self,
        model: TorchModel,
        objective: Objective,
        train: CropSet,
        val: CropSet,
        config: TrainingConfig,
        run: Path,
        context: DistributedContext,
        report: Callable[[Progress], None],
    ) -> None:
        self.model, self.config, self.run = model, config, run
        self.context, self.report = context, report
        self.train_crops, self.val_crops = train, val
        batches = self._batches(0)
        check_parts(batches, context, config.accumulate)
        self.frozen = freeze(model.module, config.freeze)
        self.objective = objective.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.parallel = (
            DistributedDataParallel(objective, find_unused_parameters=True)
            if context.world > 1
            else None
        )
        self.average = average_weights(model.module, config.ema) if config.ema else None
        if config.compile:
            model.module.compile()
        make = OPTIMIZERS.load(config.optimizer)
        self.optimiser = make(self.objective, config.lr, config.weight_decay)
        self.rate = SCHEDULES.load(config.schedule)
        augment, clean = Augment(config.augment, objective.view_px), objective.wants_clean
        self.dataset = make_dataset(train, augment, view_px=objective.view_px, with_clean=clean)
        self.steps = len(batches) * config.epochs
        self.state = State()
        own = {"training crops": train.index_sha256(), "validation crops": val.index_sha256()}
        self.given = {**own, **objective.given}

    # -- the loop

    @property
    def is_finished(self) -> bool:
        return self.state.epoch >= self.config.epochs or self.state.stopped

    def train(self) -> None:
        with handle_signals() as self.stop:
            while not self.is_finished:
                self._epoch()
                validation = self._validate()
                stop = bool(self.context.agree(float(self._note(validation))))
                self.state = replace(
                    self.state, epoch=self.state.epoch + 1, batch=0, seen=0, sums={}, stopped=stop
                )
                self._checkpoint(due=True)

    def _epoch(self) -> None:
        batches = self._batches(self.state.epoch)[self.state.batch :]
        workers = 0 if isinstance(self.dataset, ClassViews) else self.config.workers
        accumulate = self.config.accumulate
        parts = load_batches(
            self.dataset, batches, self.context, accumulate=accumulate, workers=workers
        )
        for _ in batches:
            loss = self._step([next(parts) for _ in range(accumulate)])
            self.report(Progress(self.state.step, self.steps, self.state.epoch + 1, loss))
            self._checkpoint(due=self.state.step % self.config.checkpoint_every == 0)

    def _step(self, parts: list[Batch]) -> float:
        # Dropout, noise and the like hang on the step and the process alone, not on where a run was
        # interrupted.
        torch.manual_seed(
            int(chance(self.config.seed, self.state.step, self.context.rank).integers(2**62))
        )
        self.objective.train()
        for module in self.frozen:
            module.eval()
        self.objective.progress = self.state.step / self.steps
        share = self.rate(self.state.step, self.steps, self.config.warmup)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.lr * share
        if self.state.batch == 0 and self.context.leads:
            self._measure_gradients(parts[0])
        total = 0.0
        for index, part in enumerate(parts):
            terms = self._backward(part, last=index == len(parts) - 1)
            total += terms["total"] / len(parts)
            self._add(terms, len(part.labels))
        nn.utils.clip_grad_norm_(self.objective.parameters(), GRADIENT_NORM)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average:
            self.average.update_parameters(self.model.module)
        self.state.step += 1
        self.state.batch += 1
        return total

    def _move_to_device(self, part: Batch) -> tuple[Tensor, ...]:
        """Views in [0, 1], labels, rows and clean views if any, on this process's device."""
        placed = self._pixels(part.views), part.labels.to(self.context.device), part.rows
        return placed if part.clean is None else (*placed, self._pixels(part.clean))

    def _pixels(self, views: Tensor) -> Tensor:
        pixels = views.to(self.context.device, non_blocking=True).float().div(255)
        return pixels.contiguous(memory_format=torch.channels_last)

    def _measure_gradients(self, part: Batch) -> None:
        """Note how strongly each term pulls, without leaving a trace in the training."""
        devices = [self.context.device] if self.context.device.type == "cuda" else []
        with torch.random.fork_rng(devices), evaluating(self.objective), self.context.autocast():
            self.state.norms = self.objective.gradient_norms(*self._move_to_device(part))

    def _backward(self, part: Batch, *, last: bool) -> dict[str, float]:
        hold = self.parallel.no_sync() if self.parallel and not last else nullcontext()
        with hold:
            with self.context.autocast():
                terms: dict[str, Tensor] = (self.parallel or self.objective)(
                    *self._move_to_device(part)
                )
            (terms["total"] / self.config.accumulate).backward()
        values = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(values["total"]):
            advice = (
                "lower --lr, or --resume with --precision float32"
                if self.state.step
                else "no step was made yet, so check this term's options and what it compares"
            )
            wrong = _name_infinite(values)
            raise TrainingError(
                f"the loss is not finite at step {self.state.step}: {wrong}; {advice}"
            )
        return values

    # -- samples

    def _batches(self, epoch: int) -> list[list[SampleKey]]:
        config = self.config
        return epoch_batches(
            self.train_crops,
            config.sampling,
            batch=config.batch,
            seed=config.seed,
            epoch=epoch,
            pairs=PairShares(config.self_blend, config.face_swap, config.same_encoding),
        )

    # -- validation and what is kept

    def _validate(self) -> dict[str, Any]:
        """Figures of the averaged weights in eval mode; empty in processes that do not lead."""
        if not self.context.leads:
            return {}
        module = self.average.module if self.average else self.model.module
        candidate = replace(self.model, module=module, trained=True)
        task = self.objective.task
        figures, point = task.validate(candidate, self.val_crops)
        score = figures[task.score]
        better = score is not None and score > self.state.best_score
        if better:
            self.state.best_score = float(score or 0)
        if better or self.config.keep == "last":
            validation = {**figures, "epoch": self.state.epoch + 1}
            candidate.metadata = {**self.model.metadata, "validation": validation, **point}
            save_model(candidate, self.run / WEIGHTS_FILE)
        self.state.epochs_without_gain = 0 if better else self.state.epochs_without_gain + 1
        return figures

    def _note(self, validation: dict[str, Any]) -> bool:
        """Write the epoch's line; whether to stop early."""
        if not self.context.leads:
            return False
        means = {name: total / max(1, self.state.seen) for name, total in self.state.sums.items()}
        line = {
            "epoch": self.state.epoch + 1,
            "step": self.state.step,
            "train_loss": means.pop("total"),
            **{f"train_{name}": value for name, value in means.items()},
            **{f"gradient_{name}": norm for name, norm in self.state.norms.items()},
            **validation,
            "lr": self.optimiser.param_groups[0]["lr"],
        }
        add_metrics(self.run, line)
        self.report(
            Progress(self.state.step, self.steps, self.state.epoch + 1, line["train_loss"], line)
        )
        return 0 < self.config.patience <= self.state.epochs_without_gain

    def _add(self, terms: dict[str, float], count: int) -> None:
        self.state.seen += count
        for name, value in terms.items():
            self.state.sums[name] = self.state.sums.get(name, 0.0) + value * count

    # -- interrupt and resume

    def open(self, resume: bool) -> None:
        """Start a new run folder, or go on in one."""
        if resume and (self.run / STATE_FILE).is_file():
            self._restore()
        elif self.context.leads:
            start_folder(self.run, self.config, resume=resume)

    def _checkpoint(self, *, due: bool) -> None:
        """Save where it is due, or where one of the processes has been asked to stop."""
        asked = int(self.context.largest(self.stop.signal))
        if due or asked:
            self._save()
        if asked:
            self.context.agree(0)  # a process that left earlier would have the others ended
            where = f"step {self.state.step} of {self.steps}"
            raise Interrupted(asked, f"interrupted after {where}; --resume goes on there")

    def _save(self) -> None:
        if not self.context.leads:
            return
        content: dict[str, Any] = {"state": vars(self.state), "given": self.given}
        if not self.is_finished:  # a finished run needs no state, thrice the model's size
            content |= {
                "objective": self.objective.state_dict(),
                "average": self.average.state_dict() if self.average else None,
                "optimiser": self.optimiser.state_dict(),
            }
        save_state(self.run, content)

    def _restore(self) -> None:
        content, more = load_state(self.run, self.config, self.given, self.context.device)
        self.state = State(**content["state"])
        if more > 0:  # also where patience had ended it
            self.state.stopped, self.state.epochs_without_gain = False, 0
        if self.is_finished:
            return
        is_whole = "objective" in content  # a finished run left a note only
        if is_whole:
            self.objective.load_state_dict(content["objective"])
            if self.average:
                self.average.load_state_dict(content["average"])
            self.optimiser.load_state_dict(content["optimiser"])
        else:
            self._load_kept()
        if more > 0:
            self._lengthen(more, is_fresh=not is_whole)
        if self.context.leads:
            cut_metrics(self.run, self.state.epoch)

    def _load_kept(self) -> None:
        """Take the weights that the finished run kept."""
        kept = load_checkpoint(self.run, device=str(self.context.device)).module.state_dict()
        self.model.module.load_state_dict(kept)
        if self.average:
            self.average.module.load_state_dict(kept)

    def _lengthen(self, more: int, *, is_fresh: bool) -> None:
        """Note that the run has more epochs from now on."""
        self._save()
        if self.context.leads:
            self.config.save(self.run / CONFIG_FILE)
        state, epochs = self.state, self.config.epochs
        note = describe_growth(state.epoch, more, epochs, is_fresh=is_fresh)
        self.report(Progress(state.step, self.steps, state.epoch, math.nan, note=note))


def _name_infinite(terms: Mapping[str, float]) -> str:
    """The terms that are not finite, or the total where each of them is."""
    wrong = {name: value for name, value in terms.items() if not math.isfinite(value)}
    named = {name: value for name, value in wrong.items() if name != "total"} or wrong
    return ", ".join(f"{name} is {value}" for name, value in named.items())
