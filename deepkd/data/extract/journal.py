"""The journal of an extraction: one line per finished clip, so that a run can be resumed."""

import dataclasses
import hashlib
import json
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from deepkd.errors import OutputError
from deepkd.outputs import lock

SAMPLE_BYTES = 64 * 1024
"""Read from each end of a clip for its content key."""


@dataclass(frozen=True)
class CropEntry:
    """One crop of a clip."""

    name: str
    """File name in the clip's folder."""
    t_s: float
    """Time in the clip, seconds."""
    face_px: float
    """Side of the square in pixels of the frame."""
    track: int
    probability: float
    landmarks: tuple[float, ...]
    """x, y of each of the five, pixels of the crop."""


@dataclass(frozen=True)
class Record:
    """What an extraction found in one clip."""

    key: str
    """The key of the clip's content and name, see `content_key`."""
    folder: str
    """The folder of its crops, below `crops/`."""
    frames: int = 0
    """Number of frames read."""
    crops: tuple[CropEntry, ...] = ()
    reason: str = ""
    """Why there is no crop; empty where there is one."""
    error: str = ""
    """Why it could not be read; `--resume` tries it again."""
    warnings: tuple[str, ...] = ()


def content_key(path: Path, video: str) -> str:
    """A key of a clip: of its size, both its ends and its name in the data set.

    Only regular files are opened, so that a pipe cannot block.

    Args:
        path: of the file.
        video: the name of the clip.

    Returns:
        32 hexadecimal digits; empty where the file cannot be read.
    """
    digest = hashlib.sha256(video.encode("utf-8", "surrogateescape") + b"\0")
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            return ""
        with path.open("rb") as file:
            digest.update(f"{status.st_size}\0".encode() + file.read(SAMPLE_BYTES))
            file.seek(max(0, status.st_size - SAMPLE_BYTES))
            digest.update(file.read(SAMPLE_BYTES))
    except OSError:
        return ""
    return digest.hexdigest()[:32]


class Journal:
    """The finished clips of one output folder; in memory is only where each record lies."""

    def __init__(self, path: Path) -> None:
        """Open the journal, or begin one.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """
        self.path = path
        self._places: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        try:
            self._file = path.open("a+b")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from error
        try:
            if not lock(self._file.fileno()):
                raise OutputError(
                    f"{path.parent}: another extraction is writing to this folder; wait for its end"
                )
            self._load()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with suppress(OSError):  # a full disk has been reported by `add`
            self._file.close()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def keys(self) -> set[str]:
        """The keys of the finished clips."""
        return set(self._places)

    def read(self, key: str) -> Record:
        """The record of a finished clip."""
        self._file.seek(self._places[key])
        return _parse_record(json.loads(self._file.readline()))

    def add(self, record: Record) -> None:
        """Add a finished clip.

        Raises:
            OutputError: it cannot be written, e.g. because the disk is full.
        """
        line = json.dumps(dataclasses.asdict(record), separators=(",", ":")).encode() + b"\n"
        try:
            place = self._file.seek(0, os.SEEK_END)
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise make_disk_error(self.path, error) from error
        self._set_place(record.key, record.folder, place)

    def _load(self) -> None:
        """Find where each record begins; drop a last line that is not whole."""
        end = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            with suppress(ValueError, KeyError, TypeError):
                record = _parse_record(json.loads(line))
                self._set_place(record.key, record.folder, end)
            end += len(line)
        self._file.truncate(end)

    def _set_place(self, key: str, folder: str, place: int) -> None:
        """Set where a record lies; it replaces an older one of the same folder."""
        self._places.pop(self._owners.get(folder, ""), None)
        self._owners[folder] = key
        self._places[key] = place


def _parse_record(values: dict[str, Any]) -> Record:
    crops = tuple(
        CropEntry(**(entry | {"landmarks": tuple(entry["landmarks"])})) for entry in values["crops"]
    )
    return Record(**{**values, "crops": crops, "warnings": tuple(values["warnings"])})


def make_disk_error(path: Path, error: OSError) -> OutputError:
    """The error for a file that could not be written in the middle of a run."""
    why = error.strerror or str(error)
    return OutputError(
        f"{path}: cannot be written ({why}); make room there, then go on with --resume"
    )
