"""What the searches for small faces cost, and from which size faces are seen.

`python benchmarks/small_faces.py` draws a portrait into grey frames of several widths, measures
processor time, the searches in turn in one process, and prints two tables.
"""

import argparse
import statistics
import time
from collections.abc import Sequence

import cv2
import numpy as np
import skimage.data
from documents import markdown

from deepkd.images import Image
from deepkd.video.faces import FaceDetector, load_detector

FACE = (180, 60, 88, 112)
"""Where the face of scikit-image's astronaut is: x, y, width, height, pixels."""
HEIGHTS = (40, 44, 48, 52, 56, 60, 66, 72, 80, 90, 100, 110, 120, 130, 140, 160)
"""Heights of the faces tried, pixels."""
ALIKE = 0.5
"""A face is found where its height is known to this share."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[1280, 1920, 3840])
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each search")
    args = parser.parse_args()
    detector = load_detector(threads=1)
    print(markdown(["frame", *SEARCHES], list(costs(detector, args.widths, args.runs))))
    print()
    titles = ["frame", "alone", "beside a large face"]
    print(markdown(titles, [smallest(detector, width) for width in args.widths]))


SEARCHES: dict[str, tuple[bool, bool]] = {
    "a face": (True, False),
    "a face, and smaller ones beside it": (True, True),
    "no face, half the limit": (False, False),
    "no face, full size": (False, True),
}
"""What is searched for -> whether the frame has a large face, and whether the search is
thorough."""


def costs(detector: FaceDetector, widths: Sequence[int], runs: int) -> list[list[str]]:
    """For each width the processor time of each search, milliseconds, and as a ratio."""
    rows = []
    for width in widths:
        spent: dict[str, list[float]] = {name: [] for name in SEARCHES}
        for _ in range(1 + runs):
            for name, (has_face, thorough) in SEARCHES.items():
                image = frame(width, [width // 8] if has_face else [])
                spent[name].append(seconds(detector, image, thorough=thorough))
        times = {name: statistics.median(values[1:]) for name, values in spent.items()}
        first = times["a face"]
        rows.append([f"{width}", *(f"{1000 * s:.0f} ms ({s / first:.1f})" for s in times.values())])
    return rows


def seconds(detector: FaceDetector, image: Image, *, thorough: bool) -> float:
    """Processor time of a search."""
    start_s = time.process_time()
    detector.detect(image, thorough=thorough)
    return time.process_time() - start_s


def smallest(detector: FaceDetector, width: int) -> list[str]:
    """The height from which a face is found, alone and beside one of an eighth of the width."""
    cells = [f"{width}"]
    for others in ([], [width // 8]):
        found = [
            height
            for height in HEIGHTS
            if any(
                abs(face.box[3] / height - 1) < ALIKE
                for face in detector.detect(frame(width, [*others, height]), thorough=True)
            )
        ]
        cells.append(f"{found[0]} px" if found else "none")
    return cells


def frame(width: int, heights: Sequence[int]) -> Image:
    """A noisy grey frame of 16:9 with the portrait at so many heights of its face, side by side."""
    height = width * 9 // 16
    noise = np.random.default_rng(0).integers(100, 140, (height, width, 3), np.uint8)
    x, y, w, h = FACE
    portrait = skimage.data.astronaut()[y - 40 : y + h + 60, x - 50 : x + w + 50]
    for number, face_px in enumerate(heights):
        scale = face_px / h
        small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        top, left = height // 4, width // 8 + number * width // 2
        noise[top : top + small.shape[0], left : left + small.shape[1]] = small
    return noise


if __name__ == "__main__":
    main()
