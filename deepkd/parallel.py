"""Parallel: processes that judge inputs at the same time, each with its own models."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from deepkd.scoring.verdict import Verdict
from deepkd.video.sources import Source

AHEAD = 50
"""Most finished verdicts per process that wait for an earlier one. At this number no further input
is started."""
Judge = Callable[[Source], Verdict]


def judge_in_processes(
    start: Callable[[], Judge], sources: Iterable[Source], *, workers: int
) -> Iterator[Verdict]:
    """Verdicts in the order of the inputs; Ctrl-C also gives those that wait for their turn.

    Args:
        start: called once in each process; gives the function that judges there.
        sources: the inputs.
        workers: number of processes.
    """
    from deepkd.pool import run_tasks

    early: dict[int, Verdict] = {}
    turn = 0

    def room() -> bool:
        return len(early) < AHEAD * workers

    tasks = enumerate(sources)
    try:
        for outcome in run_tasks(
            partial(_start_numbered, start), tasks, workers=workers, room=room
        ):
            number, source = outcome.task
            early[number] = outcome.result or Verdict.from_failure(source.path, outcome.error)
            while turn in early:
                yield early.pop(turn)
                turn += 1
    except KeyboardInterrupt:
        yield from (early[number] for number in sorted(early))
        raise


def _start_numbered(start: Callable[[], Judge]) -> Callable[[tuple[int, Source]], Verdict]:
    judge = start()
    return lambda numbered: judge(numbered[1])
