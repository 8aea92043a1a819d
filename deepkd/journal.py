"""A file of lines that one run at a time appends to, so that a killed run can be resumed."""

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from deepkd.errors import InputError, OutputError
from deepkd.outputs import lock
from deepkd.stores import is_stored, version_of

SAMPLE_BYTES = 64 * 1024
"""Read from each end of a clip for its content key."""


def content_key(path: Path, name: str) -> str:
    """A key of a clip: of its size, both its ends and its name.

    Only regular files are opened, so that a pipe cannot block. Of an object in a store it is the
    version that the store names.

    Args:
        path: of the file.
        name: what the clip is called, for example in its data set.

    Returns:
        32 hexadecimal digits; empty where the file cannot be read.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape") + b"\0")
    try:
        if is_stored(path):
            digest.update(version_of(str(path)).encode())
            return digest.hexdigest()[:32]
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ""
        with path.open("rb") as file:
            digest.update(f"{status.st_size}\0".encode() + file.read(SAMPLE_BYTES))
            file.seek(max(0, status.st_size - SAMPLE_BYTES))
            digest.update(file.read(SAMPLE_BYTES))
    except (OSError, ValueError, InputError):
        return ""
    return digest.hexdigest()[:32]


class BusyError(OutputError):
    """Another run is writing the file."""


class LineFile:
    """A file of lines that is locked while it is open, and only grows."""

    def __init__(self, path: Path, *, busy: str) -> None:
        """Open the file, or make it.

        Args:
            path: of the file.
            busy: the message where another run has it open.

        Raises:
            OutputError: it cannot be written, or (BusyError) another run is writing it.
        """
        self.path = path
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            if not lock(self._file.fileno()):
                raise BusyError(busy)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it."""
        with suppress(OSError):  # a full disk has been reported by `append`
            self._file.close()

    def recover(self) -> Iterator[tuple[int, bytes]]:
        """The place and the bytes of each line; then a last line that is not whole is dropped."""
        end = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            yield end, line
            end += len(line)
        self.truncate(end)

    def read_line(self, place: int) -> bytes:
        """The line that begins at a place."""
        self._file.seek(place)
        return self._file.readline()

    def append(self, line: bytes) -> int:
        """Add a line, which ends in a line break.

        Returns:
            The place where it begins.

        Raises:
            OutputError: it cannot be written, e.g. because the disk is full.
        """
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise make_disk_error(self.path, error) from error
        return place

    def truncate(self, end: int) -> None:
        """Drop what lies behind a place."""
        self._file.truncate(end)


def make_disk_error(path: Path, error: OSError) -> OutputError:
    """The error for a file that could not be written in the middle of a run."""
    why = error.strerror or str(error)
    return OutputError(
        f"{path}: cannot be written ({why}); make room there, then go on with --resume"
    )
