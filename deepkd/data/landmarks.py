"""Landmarks of crops, from their index or from the face detector."""

from typing import Any

import cv2
import numpy as np

from deepkd.data.forge.blending import Landmarks
from deepkd.data.index import CropRow
from deepkd.images import Image
from deepkd.video.faces import FaceDetector, load_detector

BORDER = 0.15
"""Width of the mirrored border, share of a crop's side. Without it, crops are too tight for the
detector."""
SMALLEST = 0.35
"""Smallest face to detect in a crop, share of its side."""


TYPICAL = ((0.30, 0.27), (0.70, 0.27), (0.50, 0.505), (0.325, 0.715), (0.675, 0.715))
"""The mean landmarks of frontal faces framed by the rule `dfdc`, shares of the crop's side."""


class LandmarkFinder:
    """Finds five landmarks per crop. Each process loads the detector when it first needs it."""

    def __init__(self) -> None:
        self._detectors: dict[int, FaceDetector] = {}

    def find(self, row: CropRow, image: Image) -> Landmarks | None:
        """The landmarks (5, 2) of a crop, pixels; None if no face is found in it."""
        if row.landmarks is not None:
            return np.array(row.landmarks, np.float32).reshape(5, 2)
        side = image.shape[0]
        border = round(BORDER * side)
        bordered = cv2.copyMakeBorder(image, border, border, border, border, cv2.BORDER_REFLECT_101)
        padded = np.asarray(bordered, np.uint8)
        faces = self._detector(max(12, round(SMALLEST * side))).detect(padded)
        return faces[0].landmarks - np.float32(border) if faces else None

    def _detector(self, min_face_px: int) -> FaceDetector:
        if min_face_px not in self._detectors:
            self._detectors[min_face_px] = load_detector(min_face_px=min_face_px, threads=1)
        return self._detectors[min_face_px]

    def __getstate__(self) -> dict[str, Any]:
        return {"_detectors": {}}


def typical_landmarks(side_px: int) -> Landmarks:
    """The mean landmarks of a crop framed by the rule `dfdc`, (5, 2), pixels."""
    return np.array(TYPICAL, np.float32) * np.float32(side_px)
