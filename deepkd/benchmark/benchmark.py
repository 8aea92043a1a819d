"""Benchmark: size, speed, memory and AUC of a teacher and a student, side by side."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from deepkd.benchmark.candidates import STUDENT, TEACHER, Candidate, open_candidates
from deepkd.benchmark.latency import Timing, order_of, take_turns
from deepkd.benchmark.memory import peak_rss_mb
from deepkd.benchmark.results import (
    BenchmarkDocument,
    BenchmarkMachine,
    BenchmarkRow,
    ClipTiming,
    Latency,
    Reduction,
)
from deepkd.data.clips import Warn
from deepkd.evaluation.evaluate import evaluate
from deepkd.evaluation.figures import calibration_of, thresholds_of
from deepkd.evaluation.results import distinct_names
from deepkd.evaluation.scores import Progress
from deepkd.images import Image
from deepkd.machine import cores, machine
from deepkd.outputs import scratch
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import CropModel, InputFormat
from deepkd.scoring.thresholds import Thresholds
from deepkd.settings.detect import DetectConfig
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig
from deepkd.text import as_text

if TYPE_CHECKING:
    from deepkd.data.crops import CropSet
    from deepkd.scoring.model import Scorer

STAGES = ("decode", "faces", "score", "total")
Say = Callable[[str], None]


def benchmark(
    config: BenchmarkConfig,
    models: Sequence[str] = (),
    *,
    say: Say = lambda _: None,
    warn: Warn = lambda _: None,
    progress: Progress = lambda _done, _total: None,
) -> BenchmarkDocument:
    """Measure models in turn and compare them.

    Args:
        config: teacher, student, runs, data, video. Without any model named, the default teacher
            and student.
        models: further models, measured in the same turns.
        say: told what happens next.
        warn: told where a model does not list what it was trained on.
        progress: told after each turn.

    Raises:
        ModelError: a model cannot be opened.
        DataError, VideoError: the crops or the clip cannot be used, or a model was trained on the
            crops.
    """
    threads = config.threads or cores()
    where = BenchmarkMachine(**vars(machine(threads)), throughput_batch=config.batch)
    with scratch() as folder:
        say("opening the models")
        candidates = _open(choose_models(config, models), folder, threads, config.runtime)
        judged = [candidate for candidate in candidates if candidate.trained and not candidate.twin]
        crops, shares = load_judging_crops(config, [(one.name, one.model) for one in judged], warn)
        say(f"timing {len(candidates)} models in turn, {config.runs} runs each")
        compared = [candidate.model for candidate in candidates]
        timings = take_turns(compared, runs=config.runs, batch=config.batch, progress=progress)
        say("measuring memory, one process per model")
        memory = [
            peak_rss_mb(one.runtime, one.source, size=one.model.format.size, threads=threads)
            for one in candidates
        ]
    clip = _end_to_end(config, candidates, threads, say)
    found = zip(_accuracies(judged, crops, say), shares, strict=True)
    known = {id(one): {**figures, "training_data": seen}
             for one, (figures, seen) in zip(judged, found, strict=True)}  # fmt: skip
    rows = tuple(
        _row(one, timing, resident, known.get(id(one), {}), batch=config.batch)
        for one, timing, resident in zip(candidates, timings, memory, strict=True)
    )
    return BenchmarkDocument(where, rows, reduction(rows), clip)


def choose_models(config: BenchmarkConfig, models: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Which models to measure, as (argument, role).

    Those named; without any in `models`, also the default teacher or student where one is missing.
    """
    named = bool(models)
    teacher = config.teacher or (None if named else TEACHER)
    student = config.student or (None if named else STUDENT)
    asked = [(teacher, "teacher"), (student, "student"), *((model, "other") for model in models)]
    return [(argument, role) for argument, role in asked if argument is not None]


def _open(
    asked: Sequence[tuple[str, str]], folder: Path, threads: int, runtime: str
) -> list[Candidate]:
    candidates = []
    for argument, role in asked:
        found = open_candidates(argument, role, folder, threads=threads, runtime=runtime)
        candidates += [(argument, one) for one in found]
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
    own = [(argument, candidate) for argument, candidate in candidates if not candidate.twin]
    names = iter(
        distinct_names([candidate.name for _, candidate in own], [argument for argument, _ in own])
    )
    renamed: list[Candidate] = []
    for _, candidate in candidates:
        name = renamed[-1].name if candidate.twin else next(names)
        renamed.append(dataclasses.replace(candidate, name=name))
    return renamed


def _row(
    candidate: Candidate,
    timing: Timing,
    memory_mb: float | None,
    judged: Mapping[str, float | None],
    *,
    batch: int,
) -> BenchmarkRow:
    p50, p95 = np.percentile(np.array(timing.single) * 1000, [50, 95])
    return BenchmarkRow(
        name=candidate.name,
        role=candidate.role,
        runtime=candidate.runtime,
        params=candidate.params,
        macs=candidate.macs,
        bytes=candidate.bytes,
        latency_ms=Latency(1, round(p50, 4), round(p95, 4), len(timing.single)),
        throughput_per_s=round(batch / float(np.median(timing.batch)), 2),
        peak_rss_mb=None if memory_mb is None else round(memory_mb, 1),
        **{"auc": None, "training_data": None, **judged},
    )


def reduction(rows: Sequence[BenchmarkRow]) -> Reduction:
    """How much smaller and faster the student is.

    The first row of a role is the model as it is deployed.
    """
    deployed = _pair(rows)
    in_ort = _pair([row for row in rows if row.runtime != "torch"])
    return Reduction(
        params_pct=_saving(deployed, lambda row: row.params),
        latency_pct=_saving(deployed, lambda row: row.latency_ms.p50),
        latency_same_runtime_pct=_saving(in_ort, lambda row: row.latency_ms.p50),
        size_pct=_saving(deployed, lambda row: row.bytes),
    )


def _pair(rows: Sequence[BenchmarkRow]) -> list[BenchmarkRow]:
    """The first teacher and the first student, as far as they are there."""
    firsts = (
        next((row for row in rows if row.role == role), None) for role in ("teacher", "student")
    )
    return [row for row in firsts if row is not None]


def _saving(pair: Sequence[BenchmarkRow], cost: Callable[[BenchmarkRow], float]) -> float | None:
    """Per cent of the teacher's cost; None without both."""
    if len(pair) < 2:
        return None
    large, small = map(cost, pair)
    return round(100 * (1 - float(small / large)), 3)


def load_judging_crops(
    config: BenchmarkConfig, models: Sequence[tuple[str, CropModel]], warn: Warn
) -> tuple["CropSet | None", list[float | None]]:
    """The crops that AUC is measured on, and the share of them that each model was trained on.

    The share is of the originals. Both are None without data or models.

    Raises:
        DataError: the crops cannot be used, or a model was trained on some, and that is not
            allowed.
    """
    if config.data is None or not models:
        return None, [None] * len(models)
    from deepkd.data.classes import ClassSet
    from deepkd.data.leakage import find_training_shares
    from deepkd.data.mixture import load_data
    from deepkd.evaluation.classes import check_classes_of

    split = None if config.split == "all" else config.split
    crops = load_data(config.data, split, limit=config.limit)
    names, judged = [name for name, _ in models], [model for _, model in models]
    if isinstance(crops, ClassSet):
        for model in judged:
            check_classes_of(model, crops)
        return crops, [None] * len(models)
    return crops, find_training_shares(
        names, judged, crops, allow=config.allow_training_data, warn=warn
    )


def _accuracies(
    judged: Sequence[Candidate], crops: "CropSet | None", say: Say
) -> list[dict[str, float | None]]:
    """AUC of trained models as they are deployed, or accuracy of classes; nothing without crops."""
    if crops is None:
        return [{} for _ in judged]
    from deepkd.data.classes import ClassSet
    from deepkd.evaluation.classes import measure_classes

    if isinstance(crops, ClassSet):
        say(f"measuring accuracy on {len(crops):,} pictures")
        figures = [measure_classes(one.model, crops)[0] for one in judged]
        return [{"accuracy": round(one["accuracy"], 6)} for one in figures]
    say(f"measuring AUC on {len(crops):,} crops")
    found = evaluate([candidate.model for candidate in judged], crops, EvaluateConfig(resamples=0))
    areas = [one.whole.auc.value for one in found]
    return [{"auc": None if area is None else round(area, 6)} for area in areas]


@dataclass(frozen=True)
class _CandidateScorer:
    """A model in the place of a `Scorer`, so that the clip goes the way of `detect`."""

    model: CropModel
    calibration: Calibration
    thresholds: Thresholds

    @property
    def format(self) -> InputFormat:
        return self.model.format

    def logits(self, crops: Sequence[Image]) -> Any:
        return self.model.logits(crops)


def _end_to_end(
    config: BenchmarkConfig, candidates: Sequence[Candidate], threads: int, say: Say
) -> ClipTiming | None:
    """Time the clip with teacher and student as deployed, in turn; its verdicts are not kept."""
    deployed = {one.role: one for one in reversed(candidates) if one.role != "other"}
    if config.video is None or not deployed:
        return None
    say(f"timing {config.video.name} from decoding to verdict")
    roles: list[str] = [role for role in ("teacher", "student") if role in deployed]
    timings = _clip_turns(config.video, config, [deployed[role].model for role in roles], threads)
    breakdown = {role: _medians(each) for role, each in zip(roles, timings, strict=True)}
    seconds = {role: stages["total"] / 1000 for role, stages in breakdown.items()}
    return ClipTiming(
        as_text(config.video), seconds.get("teacher"), seconds.get("student"), breakdown
    )


def _clip_turns(
    video: Path, config: BenchmarkConfig, models: Sequence[CropModel], threads: int
) -> list[list[dict[str, float]]]:
    """Milliseconds of each stage in each timed turn of each model."""
    from deepkd.pipeline import judge_file
    from deepkd.video.faces import load_detector

    detector = load_detector("mtcnn", threads=threads)
    settings = DetectConfig(frames=config.frames, single_look=True)  # the same frames for both
    found: list[list[dict[str, float]]] = [[] for _ in models]
    for turn in range(1 + config.video_runs):
        for index in order_of(turn, len(models)):
            model = models[index]
            scorer = _CandidateScorer(model, calibration_of(model), thresholds_of(model))
            verdict = judge_file(video, cast("Scorer", scorer), detector, settings)
            if turn:  # the first turn warms up
                found[index].append(dict(verdict.timing_ms))
    return found


def _medians(timings: Sequence[dict[str, float]]) -> dict[str, float]:
    return {
        stage: round(float(np.median([one.get(stage, 0.0) for one in timings])), 2)
        for stage in STAGES
    }
