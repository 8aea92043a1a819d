"""A process of its own for one piece of work: what kills it does not kill the one that waits.

The process ends with the one that started it, with its own workers, so that nothing of a lost task
goes on writing.
"""

import ctypes
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import IO, Any, NoReturn

import deepkd
from deepkd.errors import DeepKDError

ATTEMPTS = 2
"""How often the work is tried if its process dies."""
CODE = "from deepkd.cluster.process import serve; serve()"
SIZE = struct.Struct(">Q")
TAIL_BYTES = 2000
"""What is read of the end of the process's errors."""


def pack(work: Callable[[], object]) -> bytes:
    """Work to send to another machine, and the version of deepkd that it is for."""
    return pickle.dumps((deepkd.__version__, pickle.dumps(work)))


def run_in_process(packed: bytes, folder: str) -> Any:
    """The result of packed work, done in a process of its own.

    Args:
        packed: see `pack`.
        folder: the working folder, in which relative paths are meant.

    Raises:
        DeepKDError: the work raised it, the folder is missing, or the process ended each time.
    """
    if not os.path.isdir(folder):
        raise DeepKDError(f"{folder}: this node has no such folder; start where all nodes share it")
    for _ in range(ATTEMPTS):
        answer, ending = _try(packed, folder)
        if answer:
            error, result = pickle.loads(answer)
            if error:
                raise DeepKDError(error)
            return result
    raise DeepKDError(f"its process {ending}, {ATTEMPTS} times")


def _try(packed: bytes, folder: str) -> tuple[bytes, str]:
    """What one process answers; nothing if it ended early, and how it ended."""
    with (
        tempfile.TemporaryDirectory(prefix="deepkd-") as scratch,
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-P", "-c", CODE],
            cwd=folder,
            env={**os.environ, "TMPDIR": scratch},  # also what a killed worker leaves is removed
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        ) as process,
    ):
        try:
            assert process.stdin and process.stdout
            with suppress(BrokenPipeError):
                process.stdin.write(SIZE.pack(len(packed)) + packed)
                process.stdin.flush()
            answer = process.stdout.read()
            code = process.wait()
        finally:
            _kill_group(process)
        return (answer, "") if not code else (b"", _describe(code, errors))


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _describe(code: int, errors: IO[bytes]) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}, for want of memory?"
    errors.seek(max(0, errors.seek(0, os.SEEK_END) - TAIL_BYTES))
    lines = errors.read().decode(errors="replace").strip().splitlines()
    return f"ended with exit code {code} ({lines[-1] if lines else 'without a message'})"


def serve() -> None:
    """Run in the process: do the work that comes on standard input, and answer."""
    asks, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    packed = asks.read(*SIZE.unpack(asks.read(SIZE.size)))
    threading.Thread(target=_end_with_starter, daemon=True).start()
    try:
        answer: tuple[str, object] = ("", _unpack(packed)())
    except DeepKDError as error:
        answer = (str(error), None)
    pickle.dump(answer, answers)
    answers.close()
    os._exit(0)


def die_with_starter() -> None:
    """End this process as soon as the one that started it is killed; only Linux can do that."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _unpack(packed: bytes) -> Callable[[], object]:
    version, work = pickle.loads(packed)
    if version != deepkd.__version__:
        raise DeepKDError(
            f"a node has deepkd {deepkd.__version__}, and this run is of {version}; install the"
            " same one on all nodes"
        )
    unpacked: Callable[[], object] = pickle.loads(work)
    return unpacked


def _end_with_starter() -> NoReturn:
    """Wait for the end of standard input, without a lock that Python's own end would wait for."""
    os.read(0, 1)
    os.killpg(0, signal.SIGKILL)
    raise SystemExit  # never reached
