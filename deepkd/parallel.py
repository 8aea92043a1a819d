"""Parallel: processes that judge inputs side by side, each with models of its own."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from deepkd.scoring.verdict import Verdict
from deepkd.video.sources import Source

AHEAD = 50
"""Verdicts for each process that wait for a slower one before them; with more, no input is
started."""
Judge = Callable[[Source], Verdict]


def judge_in_processes(
    start: Callable[[], Judge], sources: Iterable[Source], *, workers: int
) -> Iterator[Verdict]:
    """Verdicts in the order of the inputs; an early one waits for its turn, or for Ctrl-C.

    Args:
        start: called once in each process; gives the function that judges there.
        sources: the inputs.
        workers: number of processes.
    """
    from deepkd.data.extract.pool import run_tasks

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
            early[number] = outcome.result or Verdict.failed(source.path, outcome.error)
            while turn in early:
                yield early.pop(turn)
                turn += 1
    except KeyboardInterrupt:
        yield from (early[number] for number in sorted(early))
        raise


def _start_numbered(start: Callable[[], Judge]) -> Callable[[tuple[int, Source]], Verdict]:
    judge = start()
    return lambda numbered: judge(numbered[1])
