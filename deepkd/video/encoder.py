"""Clips written as H.264, as phones and web sites write them."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from deepkd.images import Image
from deepkd.outputs import write_whole

CRF = 24
"""Constant rate factor: visibly compressed, as clips on web sites are."""
OPTIONS = {"crf": f"{CRF}", "preset": "slow", "g": "50", "bf": "3", "threads": "1"}
"""With B-frames; one thread, so that the bytes are the same each time."""
AVX_512F = 13
"""OpenCV's number for this part of a processor (`cv::CpuFeatures`, which has no names in
Python)."""
STEADY = {"x264-params": "asm=AVX2"} if cv2.checkHardwareSupport(AVX_512F) else {}
"""x264's macroblock tree gives other bytes from run to run where it is computed with AVX-512."""


def write_clip(
    path: Path, frames: Iterable[Image], *, fps: float, options: Mapping[str, str] = OPTIONS
) -> int:
    """Write an MP4 without sound, whole or not at all.

    Args:
        path: where to.
        frames: RGB, uint8, all of one shape; an odd last row or column is cut off.
        fps: frames per second.
        options: of x264; the same number of threads gives the same bytes each time, whatever the
            machine.

    Returns:
        How many frames were written.

    Raises:
        OutputError: it cannot be written.
    """
    count = 0
    with (
        write_whole(path) as beside,
        beside.open("wb") as file,
        av.open(file, "w", format="mp4", options={"movflags": "faststart"}) as container,
    ):
        rate = Fraction(fps).limit_denominator(1001)
        stream = container.add_stream("libx264", rate=rate, options={**STEADY, **options})
        stream.pix_fmt = "yuv420p"
        for image in frames:
            height, width = (side - side % 2 for side in image.shape[:2])
            if not count:
                stream.width, stream.height = width, height
            picture = np.ascontiguousarray(image[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            count += 1
        container.mux(stream.encode())
    return count
