"""Latency: how long a network takes here, as it is deployed, and the largest pruned one that is fast enough."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from deepkd.compression.export import export_onnx
from deepkd.compression.importance import Importance
from deepkd.compression.prune import Target, prune
from deepkd.errors import ConfigError
from deepkd.evaluation.benchmark import take_turns
from deepkd.machine import cores
from deepkd.models.registry import TorchModel
from deepkd.scoring.model import Scorer

RUNS = 40
"""Timed crops of each candidate; their median counts."""
ROUNDS = 6
"""Candidates after the first: the size is found to a part in 2 to the power of this."""


def latency_ms(model: TorchModel) -> float:
    """Median milliseconds of one crop in ONNX Runtime on all cores, after a warm-up."""
    with tempfile.TemporaryDirectory(prefix="deepkd-") as folder:
        scorer = Scorer.load(export_onnx(model, Path(folder) / "m.onnx", verify=False), threads=cores())
        (timing,) = take_turns([scorer], runs=RUNS, batch=1)
    return float(np.median(timing.single)) * 1000


def prune_to_latency(
    model: TorchModel,
    importance: Importance,
    target: Target,
    limit_ms: float,
    *,
    penalty: float = 0.0,
    measure: Callable[[TorchModel], float] | None = None,
) -> tuple[TorchModel, float]:
    """The largest network found on the way of pruning that takes at most `limit_ms`, and what it takes.

    Candidates of fewer and fewer multiply-accumulates are exported and timed; each round halves the range in which the
    largest fast enough one must lie. Of many timings the lucky ones pass, so those that passed are timed once more, the
    largest first, until one passes again: that second time is what the network takes.

    Args:
        model: what to prune.
        importance: of its channels, from `CRITERIA`.
        target: what must be reached besides.
        limit_ms: milliseconds of one crop.
        penalty: see `prune`.
        measure: milliseconds of a network; `latency_ms` unless given.

    Raises:
        ModelError: as `prune`.
        ConfigError: no network is fast enough twice; the message says how fast the fastest was.
    """
    measure = measure or latency_ms
    best = prune(model, importance, target, penalty=penalty)
    fastest = measure(best)
    if fastest <= limit_ms and (taken := measure(best)) <= limit_ms:
        return best, taken
    passed, times = _fast_enough(model, importance, target, limit_ms, penalty, measure, float(best.macs))
    for candidate in reversed(passed):
        if (taken := measure(candidate)) <= limit_ms:
            return candidate, taken
    took = f"the fastest took {min([fastest, *times]):.3g} ms" + (", but longer when timed again" if passed else "")
    raise ConfigError(f"latency_ms={limit_ms:g}: cannot be reached by pruning {model.name}; {took}")


def _fast_enough(
    model: TorchModel,
    importance: Importance,
    target: Target,
    limit_ms: float,
    penalty: float,
    measure: Callable[[TorchModel], float],
    high: float,
) -> tuple[list[TorchModel], list[float]]:
    """The candidates below `high` multiply-accumulates that were fast enough, smallest first; and all times."""
    passed: list[TorchModel] = []
    times = []
    low = 0.0
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        try:
            candidate = prune(model, importance, Target(target.params, round(middle)), penalty=penalty)
        except ConfigError:  # so small it cannot get
            low = middle
            continue
        times.append(measure(candidate))
        if times[-1] <= limit_ms:
            low = middle
            passed.append(candidate)
        else:
            high = middle
    return passed, times
