"""HDR: pictures in HLG, PQ or with BT.2020 primaries converted to SDR with those of BT.709.

Display light is kept (ITU-R BT.2408, 5.1.3): what is as bright as graphics white becomes white, and
what is brighter is clipped. The result is stored as 8-bit video and read again, since FFmpeg makes
such pictures about one level of 255 darker, and models know them so.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from av.video.frame import VideoFrame

    from deepkd.images import Image

    Floats = npt.NDArray[np.floating]

HDR = {16: "PQ", 18: "HLG"}
"""Numbers of the transfer functions in ITU-T H.273, table 3."""
BT709, BT2020, SMPTE432 = 1, 9, 12
"""Numbers of primaries in ITU-T H.273, table 2; HDR with any others is taken for BT.2020."""
WHITE_NITS = 203.0
"""Luminance of graphics white in HLG and PQ (ITU-R BT.2408, table 1), candela per square metre."""
HLG_PEAK_NITS, HLG_GAMMA = 1000.0, 1.2
"""The screen for which HLG is shown, and its system gamma (ITU-R BT.2100, table 5)."""
SDR_GAMMA = 2.4
"""Of the screen on which SDR is shown (ITU-R BT.1886)."""
BT2020_LUMA = (0.2627, 0.6780, 0.0593)
"""What red, green and blue add to the luminance (ITU-R BT.2020, table 4)."""
TO_BT709 = {
    BT709: ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    SMPTE432: ((1.2249, -0.2249, 0.0), (-0.0421, 1.0421, 0.0), (-0.0196, -0.0786, 1.0983)),
}
"""Linear RGB of the primaries to linear RGB of BT.709; P3 by its primaries in SMPTE EG 432-1."""
BT2020_TO_BT709 = (
    (1.6605, -0.5876, -0.0728),
    (-0.1246, 1.1329, -0.0083),
    (-0.0182, -0.1006, 1.1187),
)
"""ITU-R BT.2087, 2.3, the inverse of its matrix M2."""
PEAK = 255 << 8
"""What FFmpeg's libswscale gives for a signal of 1 in 16 bits, where the range is limited."""
FULL_RANGE = 2
"""FFmpeg's number for signals from 0 to the largest number of their bits."""
STEPS = 4096
"""Entries of the tables in place of the powers; HDR video has 10 or 12 bits."""
ROWS = 64
"""Rows of a picture that are converted at a time, which bounds the memory."""


class Color(NamedTuple):
    """What a file says of the colors of its pictures, in numbers of ITU-T H.273."""

    transfer: int = 2
    primaries: int = 2

    @property
    def hdr(self) -> str:
        """`HLG` or `PQ`; empty for SDR."""
        return HDR.get(self.transfer, "")

    @property
    def is_bt709(self) -> bool:
        """Whether pictures are shown as they are."""
        return not self.hdr and self.primaries != BT2020

    def to_bt709(self, picture: npt.NDArray[np.uint16], peak: int = PEAK) -> Image:
        """A picture as SDR, RGB uint8 (H, W, 3); its signal is uint16, and `peak` is 1."""
        import cv2
        import numpy as np

        linear, signal = _linear_table(self.hdr, peak), _signal_table()
        matrix = np.array(TO_BT709.get(self.primaries, BT2020_TO_BT709), np.float32)
        sdr = np.empty(picture.shape, np.uint8)
        for top in range(0, len(picture), ROWS):
            light = linear[picture[top : top + ROWS] >> 4]
            if self.hdr == "HLG":
                light *= _hlg_ootf_gain(light)
            light = np.clip(cv2.transform(light, matrix), 0.0, 1.0)
            places = cv2.sqrt(light) * np.float32(STEPS - 1) + np.float32(0.5)
            sdr[top : top + ROWS] = signal[places.astype(np.uint16)]
        return _as_video_shows(sdr)


def peak(picture: VideoFrame) -> int:
    """What libswscale gives for the largest signal of a picture in 16 bits."""
    bits = picture.format.components[0].bits
    if picture.color_range != FULL_RANGE:
        return PEAK
    return (2**bits - 1) << (16 - bits) if bits > 8 else 2**16 - 1


def _as_video_shows(image: Image) -> Image:
    """A picture, RGB uint8 (H, W, 3), as it is read from 8-bit video in 4:2:0."""
    import numpy as np
    from av.video.frame import VideoFrame

    stored = VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p")
    return np.asarray(stored.to_ndarray(format="rgb24"), np.uint8)


def pq_nits(signal: Floats) -> Floats:
    """The luminance of a PQ signal from 0 to 1 (SMPTE ST 2084, EOTF), candela per square metre.

    L = 10000 (max(E^(1/m2) - c1, 0) / (c2 - c3 E^(1/m2)))^(1/m1).
    """
    m1, m2 = 2610 / 16384, 2523 / 4096 * 128
    c1, c2, c3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
    power = signal ** (1 / m2)
    return 10_000 * ((power - c1).clip(0) / (c2 - c3 * power)) ** (1 / m1)


def hlg_scene_light(signal: Floats) -> Floats:
    """The scene light from 0 to 1 of an HLG signal from 0 to 1 (ARIB STD-B67, inverse OETF).

    E = E'^2 / 3 up to E' = 1/2, else (exp((E' - c) / a) + b) / 12.
    """
    import numpy as np

    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)


def _hlg_ootf_gain(light: Floats) -> Floats:
    """By what each pixel's scene light becomes display light (ITU-R BT.2100, table 5): (H, W, 1).

    F = 1000 Y^(gamma - 1) E, here as a share of graphics white.
    """
    import cv2
    import numpy as np

    luminance = cv2.transform(light, np.array([BT2020_LUMA], np.float32))
    gain = cv2.pow(luminance, HLG_GAMMA - 1) * np.float32(HLG_PEAK_NITS / WHITE_NITS)
    return np.asarray(gain, np.float32)[..., None]


@cache
def _linear_table(hdr: str, peak: int) -> Floats:
    """Signal in 12 bits -> HLG's scene light, or else light as a share of graphics white."""
    import numpy as np

    signal = (np.arange(STEPS) * (65536 // STEPS) / peak).clip(0, 1)
    match hdr:
        case "HLG":
            light = hlg_scene_light(signal)
        case "PQ":
            light = pq_nits(signal) / WHITE_NITS
        case _:
            light = signal**SDR_GAMMA
    return light.astype(np.float32)


@cache
def _signal_table() -> npt.NDArray[np.uint8]:
    """Square root of the light, 0 to 1 in `STEPS` -> SDR signal (inverse of ITU-R BT.1886)."""
    import numpy as np

    return np.rint(255 * np.linspace(0, 1, STEPS) ** (2 / SDR_GAMMA)).astype(np.uint8)
