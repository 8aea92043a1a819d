"""Heat: where in a face the model found signs of forgery, as a picture to lay over the face."""

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.scoring.scores import FrameScore

SIDE_PX = 112
"""Side of the picture: that of the face under it."""
FORGED, GENUINE = (214, 40, 40), (30, 100, 230)
"""RGB of places that speak for and against a forgery."""
OPACITY = 0.65
"""Of the strongest place."""


def strongest(frames: Iterable[FrameScore]) -> float:
    """The largest evidence of any place of some frames: the limit of `heat_png`."""
    return max(
        (float(np.abs(frame.evidence).max()) for frame in frames if frame.evidence is not None),
        default=1.0,
    )


def heat_png(evidence: npt.NDArray[np.float32], limit: float) -> bytes:
    """A PNG whose colours are stronger where there is more evidence, transparent without.

    Args:
        evidence: the logit of each place, (h, w).
        limit: what is coloured strongest.
    """
    share = np.clip(evidence / max(limit, 1e-6), -1, 1).astype(np.float32)
    smooth = np.asarray(cv2.resize(share, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR))
    rgb = np.where(smooth[..., None] > 0, FORGED, GENUINE)
    alpha = np.rint(255 * OPACITY * np.abs(smooth))[..., None]
    bgra = np.concatenate([rgb[..., ::-1], alpha], 2).astype(np.uint8)
    return bytes(cv2.imencode(".png", bgra, (cv2.IMWRITE_PNG_COMPRESSION, 9))[1])
