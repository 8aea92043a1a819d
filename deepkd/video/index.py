"""Index: a file's own list of its frames, and what it says of them without decoding any."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from typing import Protocol

from av.video.stream import VideoStream

INDEX_ERROR_S = 0.2
"""How far the time of a keyframe in a file's index, a decoding time, may lie from the time at which
it is shown."""


@dataclass(frozen=True)
class End:
    """Where the frames of a video end."""

    last_s: float
    """Time of the last one, seconds."""
    gap_s: float
    """Mean time from one to the next, seconds."""

    @property
    def length_s(self) -> float:
        """The time to the end of the last frame, if that lasts as long as the others, seconds."""
        return self.last_s + self.gap_s

    def is_near(self, declared_s: float, within_s: float) -> bool:
        """Whether a declared length is about true; how long the last frame lasts is unknown."""
        return self.last_s - within_s <= declared_s <= self.length_s + within_s


class Entry(Protocol):
    """One frame in the list, as PyAV has it."""

    timestamp: int
    """When it is decoded, ticks."""
    pos: int
    """Where it begins in the file, bytes."""
    size: int
    """Bytes; 0 for a frame that repeats the one before."""
    is_keyframe: bool


@dataclass(frozen=True)
class Index:
    """The whole list of one video stream; it has a frame at least."""

    entries: Sequence[Entry]
    tick_s: Fraction
    """Length of a tick, seconds."""

    def has_keyframe(self, target_s: float, within_s: float) -> bool:
        """Whether a keyframe lies near a time."""
        margin_s, start = within_s + INDEX_ERROR_S, self.entries[0].timestamp
        times = (
            (float((entry.timestamp - start) * self.tick_s), entry.is_keyframe)
            for entry in self.entries
        )
        early = takewhile(lambda entry: entry[0] <= target_s + margin_s, times)
        return any(is_key and t_s >= target_s - margin_s for t_s, is_key in early)

    def keyframes_s(self) -> list[float]:
        """When the keyframes are decoded, seconds from the first frame, in order."""
        start = self.entries[0].timestamp
        stamps = [entry.timestamp for entry in self.entries if entry.is_keyframe]
        return [float((stamp - start) * self.tick_s) for stamp in stamps]

    def find_end(self, size: int) -> End | None:
        """The end of the frames; None with fewer than two, or beyond a file of this many bytes."""
        first, last = self.entries[0], self.entries[-1]
        if len(self.entries) < 2 or last.pos + last.size > size:
            return None
        last_s = float((last.timestamp - first.timestamp) * self.tick_s)
        count = sum(entry.size > 0 for entry in self.entries)
        return End(last_s, last_s / max(1, count - 1))


def read_index(stream: VideoStream) -> Index | None:
    """The list of a stream's frames; None where the file has none, or not a whole one."""
    entries: Sequence[Entry] = getattr(stream, "index_entries", ())
    if not len(entries) == stream.frames > 0:
        return None
    return Index(entries, stream.time_base or Fraction(0))
