"""Fragility: harmless changes of a picture that a verdict is to outlast.

`benchmarks/reencodings.py` measures how far scores move where a picture is saved in other bytes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.images import Image

NOISE = 2.0
"""Standard deviation of the noise that stands for another encoder's, in levels of 255."""


def add_noise(crop: Image) -> Image:
    """A crop, RGB uint8, with fine noise, the same each time."""
    return np.rint(crop + _noise(crop.shape)).clip(0, 255).astype(np.uint8)


def rescale(crop: Image) -> Image:
    """A crop, RGB uint8, made one pixel larger and small again, which softens it a little."""
    height, width = crop.shape[:2]
    larger = cv2.resize(crop, (width + 1, height + 1), interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.resize(larger, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def soften(crop: Image) -> Image:
    """A crop, RGB uint8, blurred by a pixel, so that the dots of a palette blend."""
    return np.asarray(cv2.GaussianBlur(crop, (0, 0), 1.0), np.uint8)


@lru_cache(maxsize=2)
def _noise(shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    return np.random.default_rng(1).normal(0, NOISE, shape).astype(np.float32)


Change = Callable[[Image], Image]
VARIANTS: Sequence[Change] = (add_noise, rescale)


def choose_variants(*, has_palette: bool) -> Sequence[Change]:
    """The harmless changes; `soften` too where a palette mixes its colors of dots."""
    return (*VARIANTS, soften) if has_palette else VARIANTS
