"""The journal of an extraction: one line per finished clip, so that a run can be resumed."""

import dataclasses
import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepkd.journal import LineFile


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
    """The key of the clip's content and name, see `deepkd.journal.content_key`."""
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


class Journal(LineFile):
    """The finished clips of one output folder; in memory is only where each record lies."""

    def __init__(self, path: Path) -> None:
        """Open the journal, or begin one.

        Raises:
            OutputError: it cannot be written, or another run is writing it.
        """
        super().__init__(
            path,
            busy=f"{path.parent}: another extraction is writing to this folder; wait for its end",
        )
        self._places: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        try:
            for place, line in self.recover():
                with suppress(ValueError, KeyError, TypeError):
                    record = _parse_record(json.loads(line))
                    self._set_place(record.key, record.folder, place)
        except BaseException:
            self.close()
            raise

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def keys(self) -> set[str]:
        """The keys of the finished clips."""
        return set(self._places)

    def read(self, key: str) -> Record:
        """The record of a finished clip."""
        return _parse_record(json.loads(self.read_line(self._places[key])))

    def add(self, record: Record) -> None:
        """Add a finished clip.

        Raises:
            OutputError: it cannot be written, e.g. because the disk is full.
        """
        line = json.dumps(dataclasses.asdict(record), separators=(",", ":")).encode() + b"\n"
        self._set_place(record.key, record.folder, self.append(line))

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
