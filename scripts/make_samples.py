"""Make data/samples/real.mp4 and data/samples/forged.mp4: clips that the project may publish.

A virtual camera drifts over a public-domain photograph of Grace Hopper (US Navy). In the forged clip her face is that
of Eileen Collins (NASA), also in the public domain, blended on by `deepkd.data.forgery.swap_face`.

    python scripts/make_samples.py [--out data/samples]

Needs scikit-image and Matplotlib, which carry the photographs; nothing is downloaded.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import matplotlib.cbook
import numpy as np
import skimage.data

from deepkd.data.forgery import swap_face
from deepkd.video.frames import Image

SECONDS, FPS = 5, 25
SIZE = (640, 480)
"""Width and height of the clips, pixels."""
HOPPER = [(220.3, 189.9), (308.5, 187.1), (269.2, 238.9), (230.4, 282.6), (306.8, 279.6)]
COLLINS = [(205.4, 101.5), (246.9, 103.1), (225.1, 129.2), (201.2, 139.6), (245.1, 141.1)]
"""Eyes, nose and corners of the mouth in the photographs, pixels, as MTCNN finds them."""


def photographs() -> dict[str, Image]:
    """The photograph as it is, and forged: RGB, uint8, (600, 512, 3)."""
    path = matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    hopper = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
    collins = np.asarray(skimage.data.astronaut(), np.uint8)
    forged = swap_face(collins, np.float32(COLLINS), hopper, np.float32(HOPPER))
    return {"real": hopper, "forged": forged}


def camera(image: Image, frames: int) -> Iterator[Image]:
    """Frames of SIZE: a hand-held camera in front of the photograph, with a slow zoom in."""
    width, height = SIZE
    for number in range(frames):
        t_s, share = number / FPS, number / max(1, frames - 1)
        window = 492 - 34 * (1 - math.cos(math.pi * share)) / 2
        scale = width / window
        x = 256 + 8 * math.sin(0.9 * t_s) + 1.2 * math.sin(4.1 * t_s)
        y = 222 + 10 * math.sin(0.7 * t_s + 1) + 1.0 * math.sin(5.3 * t_s)
        turn = math.radians(0.5 * math.sin(0.8 * t_s))
        cos, sin = scale * math.cos(turn), scale * math.sin(turn)
        shift = (width / 2 - cos * x + sin * y, height / 2 - sin * x - cos * y)
        matrix = np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]]])
        frame = cv2.warpAffine(image, matrix, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        yield np.asarray(frame, np.uint8)


def encode(path: Path, frames: Iterator[Image]) -> None:
    """H.264 with B-frames, as phones and web sites write it; one thread, so that the bytes are the same each time."""
    options = {"crf": "24", "preset": "slow", "g": "50", "bf": "3", "threads": "1"}
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=FPS, options=options)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def main() -> None:
    """Write both clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "data" / "samples")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the clips")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, image in photographs().items():
        path = arguments.out / f"{name}.mp4"
        encode(path, camera(image, round(arguments.seconds * FPS)))
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
