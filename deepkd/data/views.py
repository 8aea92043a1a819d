"""Views: augmented crops for training, with the forgeries that are made during training."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from deepkd.data.crops import CropSet
from deepkd.data.forge.blending import Landmarks, self_blend, swap_face
from deepkd.data.landmarks import LandmarkFinder, typical_landmarks
from deepkd.data.transforms import Augment, seed_rng
from deepkd.images import Image

NO_ROW = -1
"""Row of a picture that is in no crop set: a forgery made during training."""
SELF_BLEND, FACE_SWAP = "self-blend", "face-swap"
"""How a forgery is made during training."""


@dataclass(frozen=True)
class SampleKey:
    """One draw: rows that share a geometry, and the seed of their view."""

    rows: tuple[int, ...]
    """One row, or a real row and its forgery; NO_ROW for a forgery made from the real row."""
    seed: int
    forge: str = ""
    """How the second crop is made; empty if the image of its row is used."""
    donor: int = NO_ROW
    """The row whose face a face swap takes."""
    same_encoding: bool = False
    """Whether all crops are shrunk, compressed and changed in the same way."""


@dataclass(frozen=True)
class Batch:
    """Views (N, 3, view_px, view_px) uint8, labels (N,) float32 (NaN: unlabelled), rows (N,).

    A forgery that was made here has the row NO_ROW.
    """

    views: Tensor
    labels: Tensor
    rows: Tensor
    clean: Tensor | None = None
    """The views before photometric augmentation, if requested."""


class CropDataset(Dataset[Batch]):
    """Augmented views of a crop set by `SampleKey`; each key always gives the same view."""

    def __init__(self, crops: CropSet, augment: Augment, *, with_clean: bool = False) -> None:
        self.crops = crops
        self.augment = augment
        self.with_clean = with_clean
        self.landmarks = LandmarkFinder()

    def __getitem__(self, key: SampleKey) -> Batch:
        pictures, rows = self._draw(key)
        if key.same_encoding:
            pictures = match_detail(pictures, [self._detail_px(row, key) for row in rows])
        with seed_rng(key.seed):
            views, clean = self.augment.with_clean(pictures, alike=key.same_encoding)
        labels = [1.0 if row == NO_ROW else float(self.crops.labels[row]) for row in key.rows]
        rows_drawn = torch.tensor(rows)
        return Batch(views, torch.tensor(labels), rows_drawn, clean if self.with_clean else None)

    def _draw(self, key: SampleKey) -> tuple[list[Image], list[int]]:
        """Pictures and rows. Without landmarks, the data set's own forgery is used, if any."""
        if key.forge:
            real, landmarks, found = self._face(key.rows[0])
            if found or key.rows[1] == NO_ROW:
                return [real, self._forge(key, real, landmarks)], [key.rows[0], NO_ROW]
        return [self._picture(row) for row in key.rows], list(key.rows)

    def _forge(self, key: SampleKey, real: Image, landmarks: Landmarks) -> Image:
        if key.forge == FACE_SWAP:
            donor, donor_landmarks, _ = self._face(key.donor)
            return swap_face(donor, donor_landmarks, real, landmarks)
        return self_blend(real, landmarks, np.random.default_rng(key.seed))

    def _picture(self, row: int) -> Image:
        return enlarge(self.crops.image(row), self.augment.format.size)

    def _face(self, row: int) -> tuple[Image, Landmarks, bool]:
        """A crop, its landmarks (pixels), and whether they are known, not typical ones."""
        stored = self.crops.image(row)
        image = enlarge(stored, self.augment.format.size)
        landmarks = self.landmarks.find(self.crops.rows[row], stored)
        if landmarks is None:
            return image, typical_landmarks(image.shape[0]), False
        return image, landmarks * np.float32(image.shape[0] / stored.shape[0]), True

    def _detail_px(self, row: int, key: SampleKey) -> float:
        """Side of the face in its source, pixels: it limits the detail of a crop."""
        return self.crops.rows[key.rows[0] if row == NO_ROW else row].face_px or np.inf


def enlarge(image: Image, size_px: int) -> Image:
    """Enlarge a crop that is smaller than a model's input, as `detect` does with small faces."""
    side = max(image.shape[:2])
    if side >= size_px:
        return image
    height, width = (round(length * size_px / side) for length in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def match_detail(pictures: Sequence[Image], details_px: Sequence[float]) -> list[Image]:
    """Reduce all pictures to the detail of the least detailed one; each keeps its size.

    Args:
        pictures: RGB, uint8, (height, width, 3).
        details_px: side of each face in its source, pixels.
    """
    least = min(*details_px, *(max(picture.shape[:2]) for picture in pictures))
    matched = []
    for picture, detail_px in zip(pictures, details_px, strict=True):
        height, width = picture.shape[:2]
        scale = least / min(detail_px, max(height, width))
        if scale < 0.95:
            share = least / max(height, width)
            small = (max(1, round(width * share)), max(1, round(height * share)))
            shrunk = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
            picture = cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR)
        matched.append(np.asarray(picture, np.uint8))
    return matched


def collate(samples: list[Batch]) -> Batch:
    """Samples of one or more crops each, joined."""
    views, labels, rows = (
        torch.cat([getattr(s, name) for s in samples]) for name in ("views", "labels", "rows")
    )
    clean = [sample.clean for sample in samples if sample.clean is not None]
    return Batch(views, labels, rows, torch.cat(clean) if clean else None)
