"""Latency: the largest pruned network that is fast enough here."""

from collections.abc import Callable

from deepkd.benchmark.latency import latency_ms
from deepkd.compression.importance import Importance
from deepkd.compression.prune import Target, prune
from deepkd.errors import ConfigError
from deepkd.models.registry import TorchModel

ROUNDS = 6
"""Candidates after the first: the size is found to a part in 2 to the power of this."""


def prune_to_latency(
    model: TorchModel,
    importance: Importance,
    target: Target,
    limit_ms: float,
    *,
    penalty: float = 0.0,
    measure: Callable[[TorchModel], float] | None = None,
) -> tuple[TorchModel, float]:
    """The largest pruned network that takes at most `limit_ms`, and its milliseconds.

    Candidates of fewer and fewer multiply-accumulates are exported and timed; each round halves the
    range in which the largest fast enough one must lie. Of many timings the lucky ones pass, so
    those that passed are timed once more, the largest first, until one passes again: that second
    time is what the network takes.

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
    times = {best.macs: measure(best)}
    if times[best.macs] <= limit_ms:
        times[best.macs] = measure(best)
        if times[best.macs] <= limit_ms:
            return best, times[best.macs]
    passed = _fast_enough(model, importance, target, limit_ms, penalty, measure, times)
    for candidate in reversed(passed):
        if (taken := measure(candidate)) <= limit_ms:
            return candidate, taken
    took = f"the fastest took {min(times.values()):.3g} ms" + (
        ", but longer when timed again" if passed else ""
    )
    raise ConfigError(f"latency_ms={limit_ms:g}: cannot be reached by pruning {model.name}; {took}")


def _fast_enough(
    model: TorchModel,
    importance: Importance,
    target: Target,
    limit_ms: float,
    penalty: float,
    measure: Callable[[TorchModel], float],
    times: dict[int, float],
) -> list[TorchModel]:
    """The candidates that were fast enough, smallest first.

    `times` has the milliseconds of networks by their multiply-accumulates, at first that of what
    has to shrink. Those of the candidates are added; where two targets prune to the same network,
    it is timed once.
    """
    passed: list[TorchModel] = []
    low, high = 0.0, float(max(times))
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        try:
            candidate = prune(
                model, importance, Target(target.params, round(middle)), penalty=penalty
            )
        except ConfigError:  # so small it cannot get
            low = middle
            continue
        if candidate.macs not in times:
            times[candidate.macs] = measure(candidate)
            if times[candidate.macs] <= limit_ms:
                passed.append(candidate)
        if times[candidate.macs] <= limit_ms:
            low = middle
        else:
            high = middle
    return passed
