"""A pool of worker processes; one that dies costs only its own task, which is tried again."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from deepkd.errors import DeepKDError
from deepkd.imports import start_safely

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 2
"""How often a task is tried if its worker dies."""
FAILED_STARTS = 3
"""Number of workers in a row that die before they are ready; then the run ends."""


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """The result of one task."""

    task: T
    result: R | None
    error: str = ""
    """Why there is no result: an unexpected error, or its workers died."""


def run_tasks(
    start: Callable[[], Callable[[T], R]],
    tasks: Iterable[T],
    *,
    workers: int,
    room: Callable[[], bool] = lambda: True,
    wake: Connection | None = None,
) -> Iterator[Outcome[T, R]]:
    """Run tasks in processes; yield their outcomes as they come.

    A worker that dies (killed, out of memory, crashed in a codec) is replaced, and its task tried
    once more. Tasks are taken from the iterable only when a worker is free. Leaving the iterator
    early ends the workers.

    Args:
        start: called once in each process, gives the function that does a task; has to be
            picklable.
        tasks: picklable.
        workers: processes; 0 does everything in this one.
        room: whether another task may be taken now; called again after each outcome.
        wake: for tasks that come over time. `tasks` then ends whenever it has none now, and is
            asked again after each message on this connection. All workers start at once. The run
            ends when the other end of the connection is closed.

    Raises:
        DeepKDError: `start` or a task raised it, which ends the whole run; or the workers cannot
            start.
    """
    if workers:
        with _Pool(start, workers, room, wake) as pool:
            yield from pool.run(iter(tasks))
    else:
        work = start()
        for task in tasks:
            yield _try_task(work, task)


def _try_task(work: Callable[[T], R], task: T) -> Outcome[T, R]:
    """Do one task; an unexpected error ends only this task, not the run."""
    try:
        return Outcome(task, work(task))
    except DeepKDError:
        raise
    except Exception as error:
        return Outcome(task, None, f"unexpected {type(error).__name__}: {error}")


class _Worker(Generic[T]):
    """One process and its task."""

    def __init__(self, start: Callable[[], Callable[[Any], Any]]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=_serve, args=(start, theirs), daemon=True
        )
        start_safely(self.process)
        theirs.close()
        self.ready = False
        self.task: T | None = None
        self.tries = 0

    def give(self, task: T, tries: int) -> None:
        """Send a task; if the worker is dead, `_read_answer` finds out."""
        self.task, self.tries = task, tries
        with suppress(OSError):
            self.pipe.send(task)

    def end(self) -> str:
        """Stop the process and describe how it ended."""
        self.pipe.close()
        self.process.join(0.2)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        return (
            f"ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        )


def _serve(start: Callable[[], Callable[[Any], Any]], pipe: Connection) -> None:
    """Run in a worker: start, then answer each task until the other end of the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its workers
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            work = start()
            pipe.send(None)
            while True:
                pipe.send(_try_task(work, pipe.recv()))
        except DeepKDError as error:
            pipe.send(error)


class _Pool(Generic[T, R]):
    """Workers, each with at most one task."""

    def __init__(
        self,
        start: Callable[[], Callable[[T], R]],
        count: int,
        room: Callable[[], bool],
        wake: Connection | None,
    ) -> None:
        self._start, self._count, self._room, self._wake = start, count, room, wake
        self._workers: list[_Worker[T]] = []
        self._waiting: deque[tuple[T, int]] = deque()
        self._failed_starts = 0

    def __enter__(self) -> "_Pool[T, R]":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.end()

    def run(self, tasks: Iterator[T]) -> Iterator[Outcome[T, R]]:
        """Give out the tasks and yield the outcomes."""
        while self._give_tasks(tasks) or self._wake:
            by_pipe: dict[object, _Worker[T]] = {worker.pipe: worker for worker in self._workers}
            alarm = [self._wake] if self._wake else []
            for pipe in wait([*by_pipe, *alarm]):  # type: ignore[list-item]
                if pipe is self._wake:
                    if not self._read_alarm():
                        return
                elif outcome := self._read_answer(by_pipe[pipe]):
                    yield outcome

    def _read_alarm(self) -> bool:
        """Read all messages that wait on `wake`; False if its other end is closed."""
        assert self._wake
        try:
            while self._wake.poll():
                self._wake.recv_bytes()
        except (EOFError, OSError):
            return False
        return True

    def _give_tasks(self, tasks: Iterator[T]) -> bool:
        """Give each free worker a task, and start workers while tasks wait.

        Returns:
            Whether a task is running or waiting.
        """
        for worker in self._workers:
            if worker.ready and worker.task is None and self._has_waiting(tasks, 1):
                worker.give(*self._waiting.popleft())
        starting = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < self._count and (
            self._wake or self._has_waiting(tasks, starting + 1)
        ):
            self._workers.append(_Worker(self._start))
            starting += 1
        return bool(self._waiting) or any(worker.task is not None for worker in self._workers)

    def _has_waiting(self, tasks: Iterator[T], count: int) -> bool:
        if count > len(self._waiting) and self._room():
            self._waiting.extend((task, 1) for task in islice(tasks, count - len(self._waiting)))
        return len(self._waiting) >= count

    def _read_answer(self, worker: _Worker[T]) -> Outcome[T, R] | None:
        """Read what a worker sent: that it is ready, an outcome, or an error that ends the run."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            return self._remove_dead(worker)
        if isinstance(message, DeepKDError):
            raise message
        if message is None:
            worker.ready, self._failed_starts = True, 0
            return None
        worker.task = None
        outcome: Outcome[T, R] = message
        return outcome

    def _remove_dead(self, worker: _Worker[T]) -> Outcome[T, R] | None:
        """Remove a dead worker; its task is tried again, or fails if it was the last attempt."""
        how = worker.end()
        self._workers.remove(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts == FAILED_STARTS:
                raise DeepKDError(
                    f"the worker processes end while they start ({how}); try --workers 0"
                )
        elif worker.task is not None and worker.tries == ATTEMPTS:
            return Outcome(
                worker.task,
                None,
                f"its worker process was {how}, {ATTEMPTS} times; is there enough memory?",
            )
        elif worker.task is not None:
            self._waiting.append((worker.task, worker.tries + 1))
        return None
