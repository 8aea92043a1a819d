"""Crops: the square around a face that a model sees, and the rule that frames it."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.images import Image
from deepkd.video.faces import Face
from deepkd.video.frames import Frame


@dataclass(frozen=True)
class CropRule:
    """How to frame the square around a face; it belongs to a model's input format.

    The side is `scale` times the reference length of the detector's box, and the centre lies
    `shift_y` times the box height below the centre of the box. What lies outside the frame is
    black.
    """

    name: str
    reference: str = "height"
    """`height`, `width` or `longer` side of the box."""
    scale: float = 1.0
    shift_y: float = 0.0


@dataclass(frozen=True)
class Crop:
    """The square of one face of one frame."""

    image: Image
    """RGB, uint8, (face_px, face_px, 3)."""
    t_s: float
    """Time of its frame, seconds."""
    face: Face
    source_px: float
    """Side of the square in pixels of the frame: how much detail the crop can hold."""
    landmarks: npt.NDArray[np.float32]
    """The face's landmarks in pixels of the crop, (5, 2)."""


def crop_square(
    box: tuple[float, float, float, float], rule: CropRule
) -> tuple[float, float, float]:
    """The square that a rule frames around the box of a face.

    Args:
        box: x, y of the top left corner, width and height, pixels.
        rule: how to frame it.

    Returns:
        x, y of the square's top left corner and its side, pixels.
    """
    x, y, width, height = box
    reference = {"height": height, "width": width, "longer": max(width, height)}[rule.reference]
    side = rule.scale * reference
    return x + width / 2 - side / 2, y + height / 2 + rule.shift_y * height - side / 2, side


def crop_face(frame: Frame, face: Face, *, face_px: int, rule: CropRule) -> Crop:
    """Cut the square of a face out of a frame; what lies outside the frame is black.

    Shrinks by area averaging, enlarges bilinearly.

    Args:
        frame: RGB, uint8.
        face: with its box, pixels of the frame.
        face_px: side of the crop, pixels.
        rule: how to frame the face.
    """
    x, y, side = crop_square(face.box, rule)
    window_px = max(1, round(side))
    source = _cut_window(frame.image, round(x), round(y), window_px)
    how = cv2.INTER_AREA if source.shape[0] > face_px else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(source, (face_px, face_px), interpolation=how), np.uint8)
    landmarks = (face.landmarks - np.array((round(x), round(y)), np.float32)) * np.float32(
        face_px / window_px
    )
    return Crop(image, frame.t_s, face, side, landmarks)


def _cut_window(image: Image, x: int, y: int, side: int) -> Image:
    """Cut the square window at (x, y), black where it leaves the image: (side, side, 3)."""
    height, width = image.shape[:2]
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    inside = image[top : max(top, bottom), left : max(left, right)]
    if inside.shape[:2] == (side, side):
        return inside
    window = np.zeros((side, side, 3), np.uint8)
    if inside.size:
        window[top - y : bottom - y, left - x : right - x] = inside
    return window


CROP_RULES = {
    rule.name: rule
    for rule in (
        CropRule("dfdc", reference="height", scale=0.84, shift_y=0.08),
        CropRule("tight", reference="longer", scale=1.0),
        CropRule("margin", reference="longer", scale=1.3),
    )
}
"""`dfdc`: framed like the published DFDC crops (measured against MTCNN boxes); `tight`: the box
made square."""
