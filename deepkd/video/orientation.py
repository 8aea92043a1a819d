"""Orientation: decoded pictures made upright, unmirrored, in SDR and with square pixels."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
from av.video.frame import VideoFrame

from deepkd.video.hdr import Color, peak

if TYPE_CHECKING:
    from deepkd.images import Image

SQUARE = 0.02
"""Pixels this near to square, such as scaling to even sides leaves, are taken as they are."""
ONE_THREAD: dict[str, Any] = {"threads": 1} if int(av.__version__.partition(".")[0]) >= 17 else {}
"""From version 17 on, PyAV starts threads for each picture that it converts, which takes longer
than to convert it."""


@dataclass(frozen=True)
class Orientation:
    """How the pictures of a video are turned and shown, which is the same for all of them."""

    is_mirrored: bool
    """Whether a picture has to be mirrored left to right before it is turned."""
    quarter_turns: int
    """Counter-clockwise, 0 to 3."""
    aspect: float
    """Width of a pixel by its height."""
    color: Color

    @classmethod
    def of(cls, picture: VideoFrame, aspect: float, color: Color) -> Orientation:
        """By the display matrix of any picture of the video, and the shape of its pixels.

        The matrix takes a place (x, y) to (ax + cy, bx + dy) as a player is to show it, and mirrors
        where its determinant is negative; FFmpeg's angle of it holds only where it does not. Not to
        be asked of every picture: PyAV keeps one whose side data was read until garbage is
        collected.
        """
        matrix: Any = picture.side_data.get("DISPLAYMATRIX")
        if matrix is None:
            return cls(False, 0, aspect, color)
        a, b, _, c, d = struct.unpack_from("=5i", matrix)
        is_mirrored = a * d < b * c
        if is_mirrored:
            a, b = -a, -b
        return cls(is_mirrored, round(-math.atan2(b, a) / (math.pi / 2)) % 4, aspect, color)

    def size(self, picture: VideoFrame) -> tuple[int, int]:
        """Width and height of `upright`, pixels."""
        width, height = self._square_size(picture)
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def upright(self, picture: VideoFrame) -> Image:
        """The picture as RGB uint8 (H, W, 3), upright and with square pixels."""
        import numpy as np  # takes longer to load than a frame takes to decode

        image = self._convert(picture, *self._square_size(picture))
        return np.ascontiguousarray(
            np.rot90(np.fliplr(image) if self.is_mirrored else image, self.quarter_turns)
        )

    def _convert(self, picture: VideoFrame, width: int, height: int) -> Image:
        """The picture at a size in BT.709 SDR, not yet turned."""
        import numpy as np

        if self.color.is_bt709:
            shown = picture.to_ndarray(format="rgb24", width=width, height=height, **ONE_THREAD)
            return np.asarray(shown, np.uint8)
        # FFmpeg takes the nearest chroma for 8 bits, and models know such pictures.
        is_same_size = (width, height) == (picture.width, picture.height)
        how = "POINT" if is_same_size else None
        signal = picture.to_ndarray(
            format="rgb48le", width=width, height=height, interpolation=how, **ONE_THREAD
        )
        return self.color.to_bt709(np.asarray(signal, np.uint16), peak(picture))

    def _square_size(self, picture: VideoFrame) -> tuple[int, int]:
        """Width and height with square pixels; one side grows, so that no detail is lost."""
        if abs(self.aspect - 1) < SQUARE:
            return picture.width, picture.height
        return round(picture.width * max(self.aspect, 1.0)), round(
            picture.height / min(self.aspect, 1.0)
        )
