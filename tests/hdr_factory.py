"""Pictures as signals in HLG or PQ, and as what a video stores of them."""

import numpy as np
import numpy.typing as npt

from deepkd.video.hdr import BT2020_TO_BT709

Floats = npt.NDArray[np.float64]

LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Number of a matrix in ITU-T H.273 -> what red and blue weigh in its luma."""
TRANSFERS = {"HLG": 18, "PQ": 16}


def hdr_signal(picture: npt.NDArray[np.uint8], transfer: str) -> Floats:
    """What an HDR screen shows as bright as an SDR one of 203 nits shows the picture: BT.2020."""
    light = (picture / 255) ** 2.4 @ np.linalg.inv(BT2020_TO_BT709).T * 203
    light = light.clip(0)
    if transfer == "PQ":
        power = (light / 10_000) ** (2610 / 16384)
        return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375
    luminance = (light @ (0.2627, 0.6780, 0.0593) / 1000)[..., None]
    scene_light = light / 1000 * np.maximum(luminance, 1e-9) ** (1 / 1.2 - 1)
    bright = 0.17883277 * np.log(np.maximum(12 * scene_light - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene_light <= 1 / 12, np.sqrt(3 * scene_light), bright)


def planes(signal: Floats, matrix: int, *, is_full: bool, bits: int) -> list[Floats]:
    """Y, Cb and Cr of an RGB signal from 0 to 1, quantized as ITU-T H.273 says, 4:4:4."""
    red, blue = LUMA[matrix]
    luma = signal @ (red, 1 - red - blue, blue)
    chroma = [
        (signal[..., 2] - luma) / (2 - 2 * blue),
        (signal[..., 0] - luma) / (2 - 2 * red),
    ]
    top = 2**bits - 1
    if is_full:
        return [luma * top, *(part * top + 2 ** (bits - 1) for part in chroma)]
    scale = 2 ** (bits - 8)
    return [(219 * luma + 16) * scale, *((224 * part + 128) * scale for part in chroma)]
