"""Images: what every part of the project calls a picture."""

import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""
