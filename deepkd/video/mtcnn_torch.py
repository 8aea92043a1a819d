"""MTCNN as facenet-pytorch runs it, for CUDA; the only file here that imports PyTorch."""

import numpy as np
import torch
from facenet_pytorch import MTCNN

from deepkd.errors import ConfigError
from deepkd.images import Image
from deepkd.video.faces import Face, enlarge, search


def load(*, device: str, min_face_px: int, max_side_px: int, threads: int | None) -> "MtcnnTorch":
    """The detector on a device; `threads` has no effect, as PyTorch sets it per process.

    Raises:
        ConfigError: the device is `cuda` and there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda': PyTorch finds none here; choose device 'cpu' or 'auto'")
    chosen = "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"
    return MtcnnTorch(min_face_px=min_face_px, max_side_px=max_side_px, device=chosen)


class MtcnnTorch:
    """A `FaceDetector` that wraps facenet-pytorch."""

    def __init__(self, *, min_face_px: int, max_side_px: int, device: str = "cpu") -> None:
        self.max_side_px = max_side_px
        self.min_face_px = min_face_px
        self._mtcnn = MTCNN(min_face_size=min_face_px, keep_all=True, device=torch.device(device))

    def detect(self, image: Image, *, thorough: bool = False) -> list[Face]:
        """The faces of an RGB uint8 image (H, W, 3), the largest first, as `FaceDetector` says."""
        return search(
            image, self.max_side_px, lambda small: self._faces(small, image), thorough=thorough
        )

    def _faces(self, small: Image, image: Image) -> list[Face]:
        """The faces that one look at the image shows."""
        if min(small.shape[:2]) < self.min_face_px:
            return []  # facenet-pytorch fails on a pyramid without levels
        # Full precision on CUDA too: TF32 moves boxes.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            boxes, probabilities, landmarks = self._mtcnn.detect(small, landmarks=True)
        if boxes is None:
            return []
        # They come as arrays of objects.
        corners, scores, points = (
            np.asarray(part, np.float32) for part in (boxes, probabilities, landmarks)
        )
        return enlarge(corners, scores, points, small=small, image=image)
