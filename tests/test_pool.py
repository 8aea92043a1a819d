"""Worker processes: what one of them meets or does to itself harms no other task."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from deepkd.errors import DeepKDError, ModelError
from deepkd.pool import run_tasks

Work = Callable[[int], int]


def start_squares(folder: Path, seen: str = "") -> Work:
    return partial(square, folder)


def square(folder: Path, number: int) -> int:
    """Squares numbers; 3 kills its process, 4 does so the first time, 5 has a bug."""
    if number == 3 or (number == 4 and not (folder / "once").exists()):
        (folder / "once").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        raise ValueError("five")
    return number * number


def start_refused() -> Work:
    raise ModelError("no such network")


def start_dying() -> Work:
    os._exit(7)


def refuse(number: int) -> int:
    raise ModelError(f"refused {number}")


def start_refusing() -> Work:
    return refuse


@pytest.mark.parametrize("workers", [1, 2])
def test_a_dead_worker_takes_only_its_own_task_along(tmp_path: Path, workers: int) -> None:
    outcomes = {
        o.task: o for o in run_tasks(partial(start_squares, tmp_path), range(7), workers=workers)
    }
    assert {task: o.result for task, o in outcomes.items()} == {
        0: 0,
        1: 1,
        2: 4,
        3: None,
        4: 16,
        5: None,
        6: 36,
    }
    assert "SIGKILL, 2 times" in outcomes[3].error
    assert outcomes[5].error == "unexpected ValueError: five"


def test_without_workers_the_same_is_done_here(tmp_path: Path) -> None:
    outcomes = list(run_tasks(partial(start_squares, tmp_path), [1, 5, 2], workers=0))
    assert [(o.task, o.result) for o in outcomes] == [(1, 1), (5, None), (2, 4)]


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("start", "message"), [(start_refused, "no such network"), (start_refusing, "refused 1")]
)
def test_errors_on_purpose_end_the_run(
    start: Callable[[], Work], message: str, workers: int
) -> None:
    with pytest.raises(ModelError, match=message):
        list(run_tasks(start, [1, 2], workers=workers))


def test_workers_that_cannot_start_end_the_run() -> None:
    with pytest.raises(DeepKDError, match=r"end while they start .*exit code 7"):
        list(run_tasks(start_dying, [1, 2, 3], workers=1))


def test_tasks_are_taken_when_they_are_needed(tmp_path: Path) -> None:
    taken: list[int] = []

    def tasks() -> Iterator[int]:
        for number in (0, 1, 2, 6, 7, 8, 9, 10):
            taken.append(number)
            yield number

    outcomes = run_tasks(partial(start_squares, tmp_path), tasks(), workers=1)
    next(outcomes)
    assert len(taken) <= 3
    outcomes.close()  # type: ignore[attr-defined]
    assert len(taken) <= 3


def start_waiting(folder: Path) -> Work:
    return partial(wait_for_the_others, folder)


def wait_for_the_others(folder: Path, number: int) -> int:
    """Task 0 ends only once somebody says so, or after 10 s."""
    deadline = time.monotonic() + 10
    while number == 0 and not (folder / "enough").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return number


def test_no_task_is_taken_while_there_is_no_room(tmp_path: Path) -> None:
    taken, done = 0, []

    def tasks() -> Iterator[int]:
        nonlocal taken
        for number in range(8):
            taken += 1
            yield number

    def room() -> bool:
        if full := len(done) == 3 and 0 not in done:
            (tmp_path / "enough").touch()  # asked in vain, with a worker free
        return not full

    for outcome in run_tasks(partial(start_waiting, tmp_path), tasks(), workers=2, room=room):
        if outcome.task == 0:
            assert taken == 4
        done.append(outcome.task)
    assert sorted(done) == list(range(8))


def test_no_tasks_start_no_workers() -> None:
    assert list(run_tasks(start_dying, [], workers=2)) == []
