"""Scorer: a trained model as an ONNX file, verified, with the input format it was trained on."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.errors import ModelError
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.verdict import Thresholds
from deepkd.shipped import checksums, sha256_of, shipped_file
from deepkd.video.crops import CROP_RULES, CropRule

Image = npt.NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""

METADATA_KEY = "deepkd"
METADATA_SCHEMA = "deepkd.model/1"
BATCH = 32
"""Crops per call of the runtime: enough to fill the cores, small enough to keep memory flat."""


@dataclass(frozen=True)
class InputFormat:
    """What a model expects to see; it belongs to the checkpoint and is obeyed by every command."""

    size: int = 224
    """Side of the square input, pixels."""
    color: str = "RGB"
    """Channel order: RGB or BGR."""
    value_range: float = 1.0
    """White: 1.0 or 255.0."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    resize: str = "stretch"
    """`stretch` to the square, or `letterbox`: keep the aspect ratio and pad with black."""
    crop: CropRule = CROP_RULES["dfdc"]

    def resized(self, image: Image) -> Image:
        """The image at (size, size, 3), still RGB and uint8."""
        height, width = image.shape[:2]
        if (height, width) == (self.size, self.size):
            return image
        scale = self.size / max(height, width)
        target = (self.size, self.size)
        if self.resize == "letterbox":
            target = (max(1, round(width * scale)), max(1, round(height * scale)))
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(image, target, interpolation=how)
        if small.shape[:2] == (self.size, self.size):
            return np.asarray(small, np.uint8)
        canvas = np.zeros((self.size, self.size, 3), np.uint8)
        top, left = (self.size - small.shape[0]) // 2, (self.size - small.shape[1]) // 2
        canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
        return canvas

    def batch(self, crops: Sequence[Image]) -> Image:
        """Crops of any size as one batch: RGB, uint8, (N, size, size, 3)."""
        return np.stack([self.resized(crop) for crop in crops])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "InputFormat":
        """The inverse of `to_dict`.

        Raises:
            ModelError: a key is unknown or missing.
        """
        try:
            crop = CropRule(**values["crop"])
            rest = {key: value for key, value in values.items() if key != "crop"}
            return cls(**{**rest, "mean": tuple(rest["mean"]), "std": tuple(rest["std"]), "crop": crop})
        except (KeyError, TypeError) as error:
            raise ModelError(
                f"the model's input format is incomplete or from another version ({error})"
            ) from error


class CropModel(Protocol):
    """Anything that judges crops: an ONNX file or a torch checkpoint."""

    name: str
    format: InputFormat
    params: int

    def logits(self, crops: Sequence[Image]) -> npt.NDArray[np.float32]:
        """One forgery logit per crop, (N,), before calibration."""
        ...
