"""Thumbnails: small pictures of faces for reports."""

import cv2
import numpy as np

from deepkd.images import Image

THUMBNAIL_PX, THUMBNAIL_QUALITY = 112, 85
SHOWN = 3
"""Faces of each person that keep their thumbnail: this many of the most suspicious, and this many
of the least suspicious."""


def thumbnail(image: Image) -> bytes:
    """An RGB uint8 image (H, W, 3) as a JPEG of `THUMBNAIL_PX` pixels each side."""
    small = cv2.resize(image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    return bytes(cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY))[1])
