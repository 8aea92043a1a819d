"""Latency: models timed in turn in one process, so that their ratio holds on a noisy machine.

The models take turns (A B C, B C A, C A B, ...): no model always comes first. Every turn begins
with an untimed call, so that no model pays for the caches and the threads of the one before it.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from deepkd.evaluation.metrics import Measure
from deepkd.evaluation.scores import Progress
from deepkd.images import Image
from deepkd.machine import cores
from deepkd.outputs import scratch
from deepkd.scoring.model import CropModel, InputFormat, Scorer, raw_logits

if TYPE_CHECKING:
    from deepkd.models.registry import TorchModel

WARM_UP = 5
"""Untimed calls of each model before the first turn."""
THROUGHPUT_SHARE = 10
"""Runs of a single crop for each run of a whole batch, of which there are at least three."""
RUNS = 40
"""Timed crops of each network; their median counts."""


@dataclass
class Timing:
    """Seconds of each timed call of one model."""

    single: list[float] = field(default_factory=list)
    """One crop."""
    batch: list[float] = field(default_factory=list)
    """A whole batch."""


def take_turns(
    models: Sequence[CropModel],
    *,
    runs: int,
    batch: int,
    progress: Progress = lambda _done, _total: None,
) -> list[Timing]:
    """Time single crops and whole batches of every model, in turn, each at its own input size.

    The order moves on by one from turn to turn; the times of a model are those of turn 1, turn 2,
    ... all the same.
    """
    random = np.random.default_rng(0)
    crops = [_noise(random, model.format, batch) for model in models]
    timings = [Timing() for _ in models]
    for model, images in zip(models, crops, strict=True):
        for _ in range(WARM_UP):
            _run(model, images[:1])
        _run(model, images)
    turns = [(1, "single")] * runs + [(batch, "batch")] * max(3, runs // THROUGHPUT_SHARE)
    for done, (count, kind) in enumerate(turns, start=1):
        for index in order_of(done - 1, len(models)):
            getattr(timings[index], kind).append(_time(models[index], crops[index][:count]))
        progress(done, len(turns))
    return timings


def order_of(turn: int, count: int) -> list[int]:
    """Who comes first, second, ... in a turn: A B C, then B C A, then C A B."""
    return [(turn + place) % count for place in range(count)]


def _noise(random: np.random.Generator, format: InputFormat, count: int) -> list[Image]:
    return list(random.integers(0, 256, (count, format.size, format.size, 3), np.uint8))


def _time(model: CropModel, images: Sequence[Image]) -> float:
    _run(model, images[:1])
    start = time.perf_counter()
    _run(model, images)
    return time.perf_counter() - start


def latencies_ms(models: "Sequence[TorchModel]") -> list[float]:
    """Median milliseconds of one crop in ONNX Runtime on all cores, the models taken in turn."""
    from deepkd.models.export import export_onnx

    with scratch() as folder:
        files = [
            export_onnx(model, folder / f"{index}.onnx", verify=False)
            for index, model in enumerate(models)
        ]
        timings = take_turns(
            [Scorer.load(file, threads=cores()) for file in files], runs=RUNS, batch=1
        )
    return [float(np.median(timing.single)) * 1000 for timing in timings]


def latency_ms(model: "TorchModel") -> float:
    """Median milliseconds of one crop of one network, see `latencies_ms`."""
    return latencies_ms([model])[0]


def measure_ratio(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], *, seed: int = 0
) -> Measure:
    """The median over turns of one time divided by the other, with its 95% bootstrap interval.

    Args:
        one: seconds of each turn, (T,).
        other: of the same turns, (T,).
        seed: of the resampling.
    """
    ratios = one / other
    drawn = np.random.default_rng(seed).integers(0, len(ratios), (1000, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    return Measure(float(np.median(ratios)), float(low), float(high))


def chance_ratio(twin: Measure) -> float:
    """The share of float32's time that a variant must stay below to be faster than by chance.

    It is the low end of the twin's interval.

    Which of two equal models is called the twin is chance, too, so that a slow twin says as much as
    a fast one.
    """
    return min(twin.low or 0.0, 1 / (twin.high or np.inf))


def median_ms(seconds: npt.NDArray[np.float64]) -> float:
    """Milliseconds of the median turn."""
    return float(np.median(seconds)) * 1000


def _run(model: CropModel, images: Sequence[Image]) -> None:
    """One call of a model, whatever it gives."""
    raw_logits(model, images)
