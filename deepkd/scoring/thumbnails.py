"""Thumbnails: small pictures of faces for reports."""

import cv2
import numpy as np

from deepkd.images import Image

THUMBNAIL_PX, THUMBNAIL_QUALITY = 112, 85
SMALL_PX, SMALL_QUALITY = 64, 75
SHOWN = 3
"""Faces of each person that keep their thumbnail: this many of the most suspicious, and this many
of the least suspicious."""
LISTED = 240
"""Faces of a clip that keep their small picture, for the list of its frames; of more, these many,
spread over the clip."""


def thumbnail(image: Image, side_px: int = THUMBNAIL_PX, quality: int = THUMBNAIL_QUALITY) -> bytes:
    """An RGB uint8 image (H, W, 3) as a JPEG with sides of `side_px` pixels."""
    small = cv2.resize(image, (side_px, side_px), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    return bytes(cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, quality))[1])
