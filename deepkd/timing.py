"""Timing: how long each stage of nested generators takes, and a time limit for all."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from deepkd.errors import DeepKDError, VideoError

T = TypeVar("T")


class Stopwatch:
    """How long each stage of nested generators takes, without what the stages inside it take."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        """Items that each stage gave."""
        self._ms: Counter[str] = Counter()
        self._stack: list[str] = []
        self._start = self._mark = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time spent inside belongs to the stage `name`, unless an inner stage takes it."""
        self._lap()
        self._stack.append(name)
        try:
            yield
        finally:
            self._lap()
            self._stack.pop()

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items; the time to make them belongs to the stage `name`."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            self.count[name] += 1
            yield item

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def timing_ms(self) -> dict[str, float]:
        """Milliseconds per stage, and `total` since the start."""
        return {**dict(sorted(self._ms.items())), "total": self.elapsed_s() * 1000}

    def _lap(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self._ms[self._stack[-1]] += (now - self._mark) * 1000  # type: ignore[assignment]
        self._mark = now


def too_slow(path: Path, limit_s: float) -> VideoError:
    """What is said of an input that took too long."""
    return VideoError(f"{path}: took longer than {limit_s:g} s; raise --timeout, or lower --frames")


@contextmanager
def time_limit(
    path: Path, seconds: float, late: Callable[[Path, float], DeepKDError] = too_slow
) -> Iterator[None]:
    """Raise a `VideoError`, or what `late` makes, once the body has taken so long; 0 is no limit.

    An alarm clock rings even between two sampled frames that lie far apart. It exists in the main
    thread of a Unix process only; elsewhere the body has to look at the time itself. Where a
    library that the body has called lets nothing be raised, it rings again every second, and last
    when the body ends.
    """
    main = threading.current_thread() is threading.main_thread()
    if not seconds or not main or not hasattr(signal, "setitimer"):
        yield
        return

    rung = False

    def raise_timeout(*_: object) -> None:
        nonlocal rung
        rung = True
        raise late(path, seconds)

    before = signal.signal(signal.SIGALRM, raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if rung:
        raise late(path, seconds)
