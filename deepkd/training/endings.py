"""Endings: signals and failures that end a training before it is finished."""

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
    """The signal that asked this process to end."""

    signal: int = 0
    """SIGINT or SIGTERM; 0 while none has come."""


@contextmanager
def handle_signals() -> Iterator[Stop]:
    """Note the first Ctrl-C or SIGTERM for the training to end by; the second ends the process.

    A signal that is ignored stays ignored. Outside the main thread, which alone gets signals,
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
def describe_failure() -> Iterator[None]:
    """Raise failures of workers and of memory with what to do about them.

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
    """Whether a DataLoader's worker has died, rather than raised an error."""
    return str(error).startswith("DataLoader worker (pid")


def death(error: Exception) -> TrainingError:
    """The error for the death of a DataLoader's worker."""
    advice = "go on with --resume and --workers 0, or with more memory for them"
    return TrainingError(f"a process that reads crops has died ({_first_line(error)}); {advice}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].rstrip(" .") or type(error).__name__
