"""Frames: decode a video or a still image, upright, evenly sampled in time, with exact timestamps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""

MAX_PIXELS = 7680 * 4320
"""Largest frame that is decoded (8K); a larger one is refused before it fills the memory."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video, or its still image."""

    path: Path
    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""
    rotation_deg: int
    """Turn applied to make the frames upright, degrees counter-clockwise."""
    fps: float
    """Mean frame rate, 0 for a still image."""
    duration_s: float
    """Length of the video stream, 0 for a still image."""
    codec: str
    is_image: bool
    warnings: tuple[str, ...] = ()
    """What is odd about the file, one sentence each."""


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    image: Image
    """RGB, uint8, (height, width, 3), upright."""
    t_s: float
    """Time since the start of the video stream, seconds."""
    index: int
    """0, 1, 2 ... in the order sampled."""


def probe(path: Path) -> VideoInfo:
    """What the file holds.

    Raises:
        VideoError, ImageError: it cannot be opened or decoded.
    """
    raise NotImplementedError


def read_frames(
    path: Path,
    *,
    frames: int,
    info: VideoInfo | None = None,
    max_pixels: int = MAX_PIXELS,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """At most `frames` frames, evenly spaced over the whole video; a still image gives exactly one.

    Raises:
        VideoError, ImageError: it cannot be opened or decoded.
    """
    raise NotImplementedError
