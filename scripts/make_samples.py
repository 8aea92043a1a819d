"""Make data/samples/real.mp4 and data/samples/forged.mp4: clips that the project may publish.

A virtual camera drifts over a public-domain photograph of Grace Hopper (US Navy). In the forged clip her face is that
of Eileen Collins (NASA), also in the public domain, blended on by `deepkd.data.forgery.swap_face`.

    python scripts/make_samples.py [--out data/samples]

Needs scikit-image and Matplotlib, which carry the photographs; nothing is downloaded.
"""

import argparse
from pathlib import Path

import cv2
import matplotlib.cbook
import numpy as np
import skimage.data

from deepkd.data.camera import FPS, film
from deepkd.data.forgery import swap_face
from deepkd.images import Image
from deepkd.video.encoder import write_clip

SECONDS = 5
CENTRE = (256, 222)
"""What the camera looks at, pixels of the photograph."""
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


def main() -> None:
    """Write both clips."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1] / "data" / "samples")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="length of the clips")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, image in photographs().items():
        path = arguments.out / f"{name}.mp4"
        write_clip(path, film(image, round(arguments.seconds * FPS), centre=CENTRE), fps=FPS)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
