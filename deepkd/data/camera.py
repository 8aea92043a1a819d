"""A virtual camera: a still picture as a clip, filmed by hand with a slow zoom in."""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from deepkd.images import Image

FPS = 25
SIZE = (640, 480)
"""Width and height of the frames, pixels."""
WINDOW_PX = 492
"""Width of what the camera sees at first, for which the drift is drawn; other widths drift in
proportion."""


def film(
    image: Image, frames: int, *, centre: tuple[float, float], window_px: float = WINDOW_PX
) -> Iterator[Image]:
    """Frames of a picture, RGB, uint8, of SIZE.

    Args:
        image: RGB, uint8, (height, width, 3); beyond its edge the edge goes on.
        frames: how many, at FPS a second.
        centre: about which the camera drifts, pixels of the picture.
        window_px: width of what it sees at first, pixels of the picture; 7% less at the end.
    """
    width, height = SIZE
    unit = window_px / WINDOW_PX
    for number in range(frames):
        t_s, share = number / FPS, number / max(1, frames - 1)
        window = window_px - unit * 34 * (1 - math.cos(math.pi * share)) / 2
        scale = width / window
        x = centre[0] + unit * (8 * math.sin(0.9 * t_s) + 1.2 * math.sin(4.1 * t_s))
        y = centre[1] + unit * (10 * math.sin(0.7 * t_s + 1) + 1.0 * math.sin(5.3 * t_s))
        turn = math.radians(0.5 * math.sin(0.8 * t_s))
        cos, sin = scale * math.cos(turn), scale * math.sin(turn)
        shift = (width / 2 - cos * x + sin * y, height / 2 - sin * x - cos * y)
        matrix = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
        frame = cv2.warpAffine(
            image, matrix, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        yield np.asarray(frame, np.uint8)
