"""Extract face crops on many machines: clips in pieces of bounded bytes."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from deepkd.cluster.engine import Engine
from deepkd.cluster.plan import SHARD_BYTES
from deepkd.cluster.process import die_with_starter
from deepkd.data.extract.journal import Record
from deepkd.data.extract.run import Start
from deepkd.data.extract.worker import Task
from deepkd.pool import Outcome, run_tasks

PIECE_CLIPS = 32
"""Most clips of a piece: what is lost with a machine is about a minute of one core."""


def extract_on(
    engine: Engine, start: Start, tasks: Iterable[Task], *, workers: int
) -> Iterator[Outcome[Task, Record]]:
    """Extract clips on the machines of an engine; outcomes come in any order.

    Args:
        engine: where the clips are extracted; open.
        start: called in each process; gives the function that extracts a clip.
        tasks: the clips; all machines reach their files and the output folder by the same paths.
        workers: processes for each piece.
    """
    works = ((piece, partial(extract_piece, start, piece, workers)) for piece in _cut(tasks))
    for outcome in engine.run(works):
        if outcome.error:
            yield from (Outcome(task, None, outcome.error) for task in outcome.task)
        else:
            yield from outcome.result or ()


def extract_piece(start: Start, tasks: Iterable[Task], workers: int) -> list[Outcome[Task, Record]]:
    """Extract some clips in processes of their own."""
    return list(run_tasks(partial(_start, start), tasks, workers=workers))


def _start(start: Start) -> Callable[[Task], Record]:
    """Start a worker that writes nothing once its machine has lost the piece."""
    die_with_starter()
    return start()


def _cut(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """The clips in pieces of at most `PIECE_CLIPS`, or of one clip more than `SHARD_BYTES`."""
    piece: list[Task] = []
    left = SHARD_BYTES
    for task in tasks:
        piece.append(task)
        left -= _size(task.path)
        if left <= 0 or len(piece) == PIECE_CLIPS:
            yield piece
            piece, left = [], SHARD_BYTES
    if piece:
        yield piece


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
