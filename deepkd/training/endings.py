"""Endings: how a training ends before it is finished, because of a signal or a failure that has a remedy."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import torch

from deepkd.errors import TrainingError
from deepkd.training.processes import leads


class Stop:
    """What this process has been asked to end with."""

    signal: int = 0
    """SIGINT or SIGTERM; 0 while nobody has asked."""


@contextmanager
def heeded() -> Iterator[Stop]:
    """Note the first Ctrl-C or SIGTERM, to be heeded when it suits; the second one ends the process as ever.

    A signal that is ignored stays so, and outside the main thread, which alone is told of signals,
    nothing changes.
    """
    stop = Stop()
    numbers = (
        (signal.SIGINT, signal.SIGTERM)
        if threading.current_thread() is threading.main_thread()
        else ()
    )
    before = {number: signal.getsignal(number) for number in numbers}
    before = {
        number: handler
        for number, handler in before.items()
        if handler not in (None, signal.SIG_IGN)
    }

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def note(number: int, frame: FrameType | None) -> None:
        stop.signal = number
        restore()
        if leads():
            os.write(
                2, b"\nending after this step; once more ends at once\n"
            )  # print() may be what was interrupted

    for number in before:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def explained() -> Iterator[None]:
    """Say what to do about the failures of a training that are none of its code.

    Raises:
        TrainingError: a process that reads crops has died, or the memory is used up.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        advice = (
            "--resume where more is free, or begin in another --out with a smaller --batch or a"
            " larger --accumulate"
        )
        raise TrainingError(
            f"the memory does not suffice ({_first_line(error)}); {advice}"
        ) from error
    except RuntimeError as error:
        if not tells_of_death(error):
            raise
        raise death(error) from error


def tells_of_death(error: RuntimeError) -> bool:
    """Whether this comes of the death of a DataLoader's worker, whatever its parent was at; not of what one raised."""
    return str(error).startswith("DataLoader worker (pid")


def death(error: Exception) -> TrainingError:
    """What to say of the death of a DataLoader's worker."""
    advice = "go on with --resume and --workers 0, or with more memory for them"
    return TrainingError(f"a process that reads crops has died ({_first_line(error)}); {advice}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(" .") or type(error).__name__
