"""A virtual camera: a still as a clip, with the motion of a hand and a slow zoom in."""

import math
from collections.abc import Iterator

import cv2
import numpy as np

from deepkd.images import Image

FPS = 25
SIZE = (640, 480)
"""Width and height of the frames, pixels."""
WINDOW_PX = 492
"""Width of the first view for which the drift is given, pixels; for others it is in proportion."""


def film(
    image: Image, frames: int, *, centre: tuple[float, float], window_px: float = WINDOW_PX
) -> Iterator[Image]:
    """Film a picture; yield frames, RGB, uint8, of SIZE.

    Args:
        image: RGB, uint8, (height, width, 3); its edge is repeated beyond it.
        frames: their number, at FPS per second.
        centre: x, y of the point that the camera moves around, pixels of the picture.
        window_px: width of the first view, pixels of the picture; the last is 7% narrower.
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
