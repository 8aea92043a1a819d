"""Pareto: every model of a folder in one runtime, and which no other beats in AUC and cost.

Checkpoints are exported first. On each number of threads all models take turns, so that their
ratios hold.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepkd.benchmark.benchmark import Say, load_judging_crops
from deepkd.benchmark.candidates import (
    TEACHER,
    Candidate,
    export_beside,
    open_candidates,
    open_onnx,
)
from deepkd.benchmark.latency import Timing, take_turns
from deepkd.benchmark.results import LeftOut, ParetoData, ParetoDocument, ParetoRow, ThreadLatency
from deepkd.data.classes import is_class_data
from deepkd.data.clips import Warn
from deepkd.data.crops import CropSet
from deepkd.errors import ConfigError, ModelError
from deepkd.evaluation.evaluate import evaluate
from deepkd.evaluation.metrics import Measure
from deepkd.evaluation.results import distinct_names
from deepkd.evaluation.scores import Progress
from deepkd.machine import machine
from deepkd.models.checkpoints import WEIGHTS_FILE
from deepkd.outputs import scratch
from deepkd.scoring.model import CropModel
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig

THREADS = (1, 2)
"""Of the runtime; with `config.threads`, that number alone."""
ENDINGS = (".onnx", ".safetensors", ".pth")
"""Of the files that may be models."""
STEP = re.compile(r"step-\d+")
"""What `deepkd prune` calls its steps."""
COSTS: dict[str, Callable[[ParetoRow], float]] = {
    "latency": lambda row: row.latency_ms[-1].single,
    "bytes": lambda row: float(row.bytes),
}
"""What a front weighs AUC against -> its value in a row: milliseconds of one crop on most threads;
bytes."""


@dataclass(frozen=True)
class ParetoEntry:
    """A model of the folder as an ONNX file, opened once for each number of threads."""

    path: str
    """What was found."""
    candidate: Candidate
    opened: dict[int, CropModel]

    @property
    def model(self) -> CropModel:
        """As it is opened for the least threads."""
        return next(iter(self.opened.values()))


def pareto(
    folder: Path,
    config: BenchmarkConfig,
    models: Sequence[str] = (),
    *,
    say: Say = lambda _: None,
    warn: Warn = lambda _: None,
    progress: Progress = lambda _done, _total: None,
) -> ParetoDocument:
    """Measure every model of a folder, and the teacher.

    Args:
        folder: ONNX files, checkpoints and run folders, at any depth; other files and the steps
            of prunings are left out and named.
        config: teacher (its architecture, untrained, unless one is named), runs, batch, threads,
            runtime, data.
        models: further models: paths or shipped names.
        say: told what happens next.
        warn: told where a model does not list what it was trained on.
        progress: told after each turn.

    Raises:
        ModelError: the folder holds no model, or one that was named cannot be opened.
        DataError: the crops cannot be used, or a model was trained on them.
        ConfigError: they are pictures of classes.
    """
    if config.data and is_class_data(config.data):
        raise ConfigError(
            f"{config.data}: --pareto weighs AUC, which pictures of classes do not have; name the"
            " models without --pareto, which then shows their accuracy"
        )
    threads = (config.threads,) if config.threads else THREADS
    where = machine(threads[-1])
    with scratch() as exports:
        say("opening the models")
        entries, left_out = _open(folder, models, config, exports, threads)
        judged = {index: entry for index, entry in enumerate(entries) if entry.candidate.trained}
        named = [(one.candidate.name, one.model) for one in judged.values()]
        crops, shares = load_judging_crops(config, named, warn)
        timings = {count: _time_models(entries, count, config, say, progress) for count in threads}
        areas, data = _areas(judged, crops, config, say)
    seen = dict(zip(judged, shares, strict=True))
    each = [{count: timings[count][index] for count in threads} for index in range(len(entries))]
    rows = [
        _row(entry, each[index], areas.get(index), seen.get(index))
        for index, entry in enumerate(entries)
    ]
    return ParetoDocument(
        machine=where,
        runtime=config.runtime,
        runs=config.runs,
        batch=config.batch,
        data=data,
        models=_sort_rows(_with_fronts(rows)),
        left_out=tuple(left_out),
    )


def _sort_rows(rows: Sequence[ParetoRow]) -> tuple[ParetoRow, ...]:
    """The teacher first, then from large to small."""
    return tuple(sorted(rows, key=lambda row: (row.role != "teacher", -row.params, -row.bytes)))


def _time_models(
    entries: Sequence[ParetoEntry], threads: int, config: BenchmarkConfig, say: Say, tell: Progress
) -> list[Timing]:
    say(f"timing {len(entries)} models in turn on {threads} threads, {config.runs} runs each")
    compared = [entry.opened[threads] for entry in entries]
    return take_turns(compared, runs=config.runs, batch=config.batch, progress=tell)


def find_models(folder: Path) -> list[Path]:
    """ONNX files and checkpoints under a folder, without the steps of a pruning.

    Raises:
        ModelError: there is no such folder, or no model in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "no such folder"
        raise ModelError(f"{folder}: {what}; give --pareto the folder that runs are written to")
    kept = [path for path in _files(folder) if not is_step(path.relative_to(folder))]
    if not kept:
        raise ModelError(
            f"{folder}: holds no .onnx file and no run folder; give the folder that runs are"
            " written to"
        )
    return kept


def _files(folder: Path) -> list[Path]:
    """What may be a model."""
    return sorted(path for ending in ENDINGS for path in folder.rglob(f"*{ending}"))


def is_step(path: Path) -> bool:
    """Whether this is a step of `deepkd prune`: all in `step-N/`, and `step-N.safetensors`.

    Args:
        path: from the folder on.
    """
    untuned = path.suffix == ".safetensors" and STEP.fullmatch(path.stem)
    return bool(untuned) or any(STEP.fullmatch(part) for part in path.parts[:-1])


def _steps(folder: Path) -> list[LeftOut]:
    """The steps of prunings under a folder, and why they are left out."""
    paths = [path.relative_to(folder) for path in _files(folder)]
    reason = "a step of a pruning, whose end is measured; to measure it too, name it"
    return [LeftOut(str(path), f"{folder / path}: {reason}") for path in paths if is_step(path)]


def _open(
    folder: Path,
    models: Sequence[str],
    config: BenchmarkConfig,
    exports: Path,
    threads: Sequence[int],
) -> tuple[list[ParetoEntry], list[LeftOut]]:
    """The teacher, the models named and those found; and what was found that is no model."""
    teacher = config.teacher or TEACHER
    asked = [(teacher, "teacher", True), *((model, "student", True) for model in models)]
    asked += [(str(path), "student", False) for path in _find_once(folder, teacher)]
    entries: list[ParetoEntry] = []
    left_out = _steps(folder)
    for number, (argument, role, named) in enumerate(asked):
        own = exports / str(number)
        own.mkdir()
        try:
            candidate = open_candidates(
                argument, role, own, threads=threads[0], runtime=config.runtime
            )[-1]
        except ModelError as error:
            if named:
                raise
            left_out.append(LeftOut(str(Path(argument).relative_to(folder)), str(error)))
            continue
        opened = {count: open_onnx(candidate, threads=count) for count in threads}
        entries.append(ParetoEntry(argument, candidate, opened))
    if len(entries) == 1 and len(asked) > 1:
        reason = left_out[-1].reason
        raise ModelError(
            f"{folder}: of {len(asked) - 1} found, nothing can be measured beside the teacher;"
            f" {reason}"
        )
    names = distinct_names(
        [entry.candidate.name for entry in entries], [entry.path for entry in entries]
    )
    return [
        replace(entry, candidate=replace(entry.candidate, name=name))
        for entry, name in zip(entries, names, strict=True)
    ], left_out


def _find_once(folder: Path, teacher: str) -> list[Path]:
    """The models of a folder, each once and without the teacher.

    A checkpoint with its export beside it is measured as that export.

    Args:
        folder: see `find_models`.
        teacher: a name, a file or a run folder.
    """
    files, path = find_models(folder), Path(teacher)
    own = {(path / WEIGHTS_FILE if path.is_dir() else path).resolve()}
    exports = {file: export for file in files if (export := export_beside(file))}
    own |= {export.resolve() for file, export in exports.items() if file.resolve() in own}
    return [file for file in files if file not in exports and file.resolve() not in own]


def _areas(
    judged: Mapping[int, ParetoEntry], crops: CropSet | None, config: BenchmarkConfig, say: Say
) -> tuple[dict[int, Measure], ParetoData | None]:
    """Number of each trained entry -> its AUC; and the crops. Nothing without crops."""
    if crops is None or config.data is None:
        return {}, None
    say(f"measuring AUC on {len(crops):,} crops")
    found = evaluate([entry.model for entry in judged.values()], crops, EvaluateConfig())
    areas = {index: one.whole.auc for index, one in zip(judged, found, strict=True)}
    return areas, ParetoData(config.data.name, config.split, len(found[0].rows))


def _row(
    entry: ParetoEntry, timings: Mapping[int, Timing], area: Measure | None, seen: float | None
) -> ParetoRow:
    candidate = entry.candidate
    return ParetoRow(
        name=candidate.name,
        role=candidate.role,
        made=list_steps(getattr(candidate.model, "metadata", {})),
        params=candidate.params,
        macs=candidate.macs,
        bytes=candidate.bytes,
        latency_ms=tuple(
            ThreadLatency(threads, _median_ms(timing.single), _median_ms(timing.batch))
            for threads, timing in timings.items()
        ),
        auc=None if area is None or area.value is None else area.round_to(6),
        training_data=seen,
    )


def _median_ms(seconds: Sequence[float]) -> float:
    return round(float(np.median(seconds)) * 1000, 4)


def list_steps(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """How a model came to be, as far as its file says.

    `distilled` or `labels alone` (last), `pruned`, `int8`, ...
    """
    recipe = metadata.get("recipe") or {}
    steps = ["distilled"] if "teacher" in recipe else ["labels alone"] if "epochs" in recipe else []
    steps += ["pruned"] if metadata.get("pruned") else []
    quantized = metadata.get("quantized") or {}
    return (*steps, *([quantized["variant"]] if quantized else []))


def _with_fronts(rows: Sequence[ParetoRow]) -> list[ParetoRow]:
    areas = [row.auc.value if row.auc else None for row in rows]
    fronts = {
        name: front(list(zip(map(cost, rows), areas, strict=True))) for name, cost in COSTS.items()
    }
    return [
        replace(row, front=tuple(name for name, best in fronts.items() if index in best))
        for index, row in enumerate(rows)
    ]


def front(points: Sequence[tuple[float, float | None]]) -> list[int]:
    """The numbers of the points that no other beats.

    Another beats a point where it costs no more and its AUC is no lower, and one of both is better.

    Args:
        points: (cost, AUC); without an AUC a point is on no front.
    """
    known = [(index, cost, area) for index, (cost, area) in enumerate(points) if area is not None]
    return [
        index
        for index, price, area in known
        if not any((p <= price and a >= area and (p, a) != (price, area)) for _, p, a in known)
    ]
