"""Evidence: whether one face shows enough to be judged, and in plain words why not."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.languages import Note
from deepkd.video.crops import Crop

MIN_FACE_PX = 40
"""Side of the crop in the source; 99.9 % of the DFDC training crops are larger."""
MIN_SHARPNESS = 0.09
"""Share of fine detail (see `sharpness`); 99.8 % of the DFDC training crops lie above."""
MIN_BRIGHTNESS = 20.0
"""Mean luma, 0 to 255; 99 % of the DFDC training crops lie above."""
MIN_PROBABILITY = 0.9
"""Below this the detector doubts its own box: a hand, a mask, a face half hidden."""

_SIDE_PX, _DETAIL_PX = 112, 2.0
"""Sharpness is measured on a face shrunk to `_SIDE_PX`; detail is what a blur of `_DETAIL_PX` takes
away."""


def flaw(crop: Crop) -> str | None:
    """What keeps this face from being judged ("too small"), or None when nothing does."""
    return next((name for name, found in FLAWS.items() if found(crop)), None)


def sharpness(image: npt.NDArray[np.uint8]) -> float:
    """Fine detail as a share of all contrast: about 0.25 in focus, below 0.1 in a blur.

    The crop is brought to one size first, so that a large blurred face is not sharper than a small
    one.
    """
    small = cv2.resize(image, (_SIDE_PX, _SIDE_PX), interpolation=cv2.INTER_AREA)
    edge = _SIDE_PX // 7
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)[edge:-edge, edge:-edge]
    detail = gray - cv2.GaussianBlur(gray, (0, 0), _DETAIL_PX)
    return float(detail.std() / (gray.std() + 1.0))


def brightness(image: npt.NDArray[np.uint8]) -> float:
    """Mean luma, 0 to 255."""
    return float(np.dot(cv2.mean(image)[:3], (0.299, 0.587, 0.114)))


def is_profile(landmarks: npt.NDArray[np.float32]) -> bool:
    """Whether the nose lies beyond an eye, measured along the line of the eyes: a profile."""
    left, right, nose = landmarks[0], landmarks[1], landmarks[2]
    along = right - left
    position = float((nose - left) @ along) / max(float(along @ along), 1e-6)
    return not 0.0 <= position <= 1.0


TOO_SMALL = Note("too small (under {pixels} pixels)", pixels=MIN_FACE_PX)
FLAWS: dict[Note, Callable[[Crop], bool]] = {
    Note("too small (under {pixels} pixels)", pixels=MIN_FACE_PX): lambda crop: (
        crop.source_px < MIN_FACE_PX
    ),
    Note("too dark"): lambda crop: brightness(crop.image) < MIN_BRIGHTNESS,
    Note("too blurred"): lambda crop: sharpness(crop.image) < MIN_SHARPNESS,
    Note("turned away"): lambda crop: is_profile(crop.face.landmarks),
    Note("hidden or unclear"): lambda crop: crop.face.probability < MIN_PROBABILITY,
}
