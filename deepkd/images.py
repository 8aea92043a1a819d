"""Images: what every part of the project calls a picture."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""


def pattern(size: int) -> Image:
    """A test picture of whole numbers, which is the same on every machine.

    Args:
        size: pixels of each side.

    Returns:
        RGB, uint8, (size, size, 3).
    """
    y, x = np.indices((size, size))
    ramps = [255 * axis // max(1, size - 1) for axis in (x, y)]
    return np.stack([*ramps, (4 * (x ^ y)) & 255], axis=-1).astype(np.uint8)
