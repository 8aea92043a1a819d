"""Shots: the parts of a clip between cuts, told apart by what the whole picture looks like."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.images import Image

ALIKE = 0.6
"""From here on two pictures show one shot. Samples of one with people and camera in motion have
0.76 and more in the clips measured, those on both sides of a cut to another place 0.35."""
MAX_SHOTS = 32
"""How many shots are remembered, so as to know them again."""
_SIZE = (64, 36)
"""Width and height to which a picture is shrunk, pixels."""
_COLORS = (8, 4, 4)
"""How many hues, saturations and brightnesses are told apart."""


class Look(NamedTuple):
    """What a picture looks like, without its detail."""

    colors: npt.NDArray[np.float32]
    """The share of each color, (128,)."""
    greys: npt.NDArray[np.float32]
    """The pixels of the shrunk picture, of mean 0 and length 1, (2304,); zeros where all are the
    same."""

    @classmethod
    def of(cls, image: Image) -> "Look":
        """Of an RGB picture, uint8 (H, W, 3)."""
        every = max(1, min(image.shape[0] // (4 * _SIZE[1]), image.shape[1] // (4 * _SIZE[0])))
        small = cv2.resize(
            np.ascontiguousarray(image[::every, ::every]), _SIZE, interpolation=cv2.INTER_AREA
        )
        hsv = cv2.cvtColor(small, cv2.COLOR_RGB2HSV)
        counts = cv2.calcHist([hsv], [0, 1, 2], None, _COLORS, [0, 180, 0, 256, 0, 256])
        greys = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32).ravel()
        greys -= greys.mean()
        length = float(np.linalg.norm(greys))
        return cls(counts.ravel() / counts.sum(), greys / length if length else greys)

    def likeness(self, other: "Look") -> float:
        """How alike two pictures are, at most 1: in their colors, or in their bright places."""
        colors = np.minimum(self.colors, other.colors).sum()
        return float(max(colors, self.greys @ other.greys))


@dataclass(frozen=True)
class Span:
    """A part of a clip, seconds."""

    start_s: float
    end_s: float

    def has(self, t_s: float) -> bool:
        """Whether a time lies in it; its end is the start of the next."""
        return self.start_s <= t_s < self.end_s


def find_spans(samples: Sequence[tuple[float, int]], duration_s: float) -> list[Span]:
    """The parts of a clip between its cuts, in order of time; together they are the whole clip.

    A cut lies somewhere between two samples; the middle is taken for it.

    Args:
        samples: time in seconds and number of the shot, in order of time.
        duration_s: length of the clip.
    """
    cuts = [(a + b) / 2 for (a, one), (b, other) in pairwise(samples) if one != other]
    end_s = max(duration_s, samples[-1][0]) if samples else duration_s
    edges = [0.0, *cuts, end_s]
    return [Span(start, end) for start, end in pairwise(edges)] if samples else []


class Shots:
    """Gives every picture the number of its shot: 0, 1, 2 ... in order of appearance.

    A shot that comes back, as where an interview cuts from one person to the other and back, keeps
    its number.
    """

    def __init__(self) -> None:
        self._last: dict[int, Look] = {}
        """Shot -> what it looked like last; the one that is on comes last."""
        self._count = 0

    def number(self, image: Image) -> int:
        """The shot of the next picture, RGB uint8 (H, W, 3), of a clip."""
        look = Look.of(image)
        found = self._alike(look)
        if found is None:
            found = self._count
            self._count += 1
        self._last.pop(found, None)
        self._last[found] = look
        if len(self._last) > MAX_SHOTS:
            del self._last[next(iter(self._last))]
        return found

    def _alike(self, look: Look) -> int | None:
        """The shot that is on if it looks so, else the one that does most; None where none does."""
        current = next(reversed(self._last), None)
        if current is None or self._last[current].likeness(look) >= ALIKE:
            return current
        likeness = {shot: last.likeness(look) for shot, last in self._last.items()}
        best = max(likeness, key=likeness.__getitem__)
        return best if likeness[best] >= ALIKE else None
