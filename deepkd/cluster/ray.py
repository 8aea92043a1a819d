"""Ray: shards as tasks of a Ray cluster. It comes with the extra `cluster`."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Self

from deepkd.cluster.process import pack, run_in_process
from deepkd.errors import DeepKDError, UsageError
from deepkd.pool import Outcome

RETRIES = 10
"""How often a task is tried again because its machine died."""
AHEAD = 2
"""Tasks for each one that can run, so that a machine that is free finds the next one waiting."""


class RayEngine:
    """Each piece of work is a task. Ray repeats tasks of dead machines, and nothing else.

    Without an address it takes the cluster that RAY_ADDRESS names, else the one that this machine
    is a node of, else it starts Ray on this machine alone.
    """

    def __init__(self, address: str, *, cpus: int) -> None:
        self.address, self.cpus = address, cpus
        self._tasks: dict[Any, Any] = {}

    def __enter__(self) -> Self:
        self._ray = _import_ray()
        before = signal.getsignal(signal.SIGTERM)
        try:
            self._ray.init(
                f"ray://{self.address}" if self.address else None,
                include_dashboard=False,
                log_to_driver=False,
                logging_level="error",
            )
        except Exception as error:
            raise DeepKDError(
                f"Ray cannot be reached or started ({_first_line(error)}); check the address, and"
                " 'ray status' on the cluster"
            ) from error
        finally:  # Ray handles the signal for its own ends
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, before)
        self._run = self._ray.remote(
            num_cpus=self.cpus, max_retries=RETRIES, retry_exceptions=False
        )(_run_task)
        return self

    def __exit__(self, *_: object) -> None:
        for task in self._tasks:
            with suppress(Exception):
                self._ray.cancel(task, force=True)
        with suppress(Exception):
            self._ray.shutdown()

    def slots(self) -> int:
        """How many tasks the machines can run at the same time now."""
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)) // self.cpus)

    def run(self, works: Iterable[tuple[Any, Callable[[], Any]]]) -> Iterator[Outcome[Any, Any]]:
        """Do work; only a few tasks for each machine wait, so that memory stays flat."""
        folder, waiting = os.getcwd(), iter(works)
        while self._fill(waiting, folder):
            (done, *_), _ = self._ray.wait(list(self._tasks), num_returns=1)
            yield self._outcome(self._tasks.pop(done), done)

    def _fill(self, works: Iterator[tuple[Any, Callable[[], Any]]], folder: str) -> bool:
        """Give out work up to the limit; whether a task is running."""
        limit = AHEAD * self.slots()
        while len(self._tasks) < limit and (work := next(works, None)):
            self._tasks[self._run.remote(pack(work[1]), folder)] = work[0]
        return bool(self._tasks)

    def _outcome(self, name: Any, task: Any) -> Outcome[Any, Any]:
        try:
            error, result = self._ray.get(task)
        except self._ray.exceptions.RayError as failure:
            return Outcome(name, None, f"Ray gave it up: {_first_line(failure)}")
        return Outcome(name, result, error)


def _run_task(packed: bytes, folder: str) -> tuple[str, Any]:
    """Run on a node: an error in words, or the result."""
    try:
        return "", run_in_process(packed, folder)
    except DeepKDError as error:
        return str(error), None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _import_ray() -> Any:
    """Ray.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UsageError(
            "--cluster ray needs Ray, which is not installed; pip install 'deepkd[cluster]'"
        ) from error
    return ray
