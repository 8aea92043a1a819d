"""Whether faces should be searched only near where they were last.

    python research/guided.py SOURCE...

On each sampled frame MTCNN searches everything, as `deepkd detect` does, and then, in place of its
first network's search, only squares around the faces of the sample before, which its other two
networks judge and correct. Processor time is compared, on one thread, so other work on the machine
hardly matters. A face is lost where the guided search finds none that overlaps it by `SAME` (IoU):
newcomers, and whoever moved too far.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.data.datasets.sources import find_clips
from deepkd.images import Image
from deepkd.scoring.model import Scorer
from deepkd.settings.detect import DetectConfig
from deepkd.video.crops import crop_face
from deepkd.video.faces import Face, enlarge, load_detector, looks
from deepkd.video.frames import Frame, read_frames
from deepkd.video.mtcnn import Mtcnn, _integral

SAME = 0.4
"""Overlap (IoU) from which two boxes are one face."""


@dataclass
class Tally:
    """What a number of frames cost and showed."""

    faces: int = 0
    lost: int = 0
    whole_s: float = 0.0
    guided_s: float = 0.0
    overlaps: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    """By how much the probability of forgery changes with the box, of each face that is found
    again."""

    def add(
        self, frame: Frame, whole: Sequence[Face], found: Sequence[Face], scorer: Scorer
    ) -> None:
        """One frame: what the whole search finds in it, and the guided one."""
        self.faces += len(whole)
        for face in whole:
            overlap, again = max(
                ((iou(face, other), i) for i, other in enumerate(found)), default=(0.0, 0)
            )
            if overlap < SAME:
                self.lost += 1
                continue
            self.overlaps.append(overlap)
            self.changes.append(change(frame, face, found[again], scorer))


def main() -> None:
    args = arguments()
    scorer = Scorer.load(args.model, threads=1)
    detector: Any = load_detector("mtcnn", threads=1)
    clips = [clip.path for clip in find_clips(map(str, args.source))]
    print(
        "| squares a face | faces | lost | overlap (median) | change of score (mean) | processor"
        " time |"
    )
    print("|---:|---:|---:|---:|---:|---:|")
    for squares, total in tally(clips, detector, scorer, args.squares).items():
        print(row(squares, total))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="A search guided by the faces of the sample before."
    )
    parser.add_argument("source", nargs="+", type=Path, help="clips, or a data set of videos")
    parser.add_argument(
        "--squares", type=int, nargs="*", default=list(PATTERNS), choices=list(PATTERNS)
    )
    parser.add_argument(
        "--model", default="deepkd-nano", help="model that judges the faces of both"
    )
    return parser.parse_args()


def cross(step: float) -> list[tuple[float, float, float]]:
    return [(0, 0, 1), (step, 0, 1), (-step, 0, 1), (0, step, 1), (0, -step, 1)]


PATTERNS = {
    1: [(0.0, 0.0, 1.0)],
    5: cross(0.15),
    18: list(product((-0.15, 0, 0.15), (-0.15, 0, 0.15), (0.9, 1.1))),
}
"""Number of squares -> the shift of each, right and down, and its side, all in sides of the last
box."""


def tally(
    clips: Iterable[Path], detector: Mtcnn, scorer: Scorer, squares: Sequence[int]
) -> dict[int, Tally]:
    """Both searches on every sample but the first of each clip."""
    totals = {count: Tally() for count in squares}
    for clip in clips:
        before: list[Face] = []
        for frame in read_frames(clip, frames=DetectConfig().frames, threads=1):
            whole, whole_s = time_search(lambda frame=frame: detector.detect(frame.image))
            for count, total in totals.items() if before else ():
                found, guided_s = time_search(
                    lambda frame=frame, near=before, count=count: search_near(
                        frame.image, near, detector, PATTERNS[count]
                    )
                )
                total.whole_s, total.guided_s = total.whole_s + whole_s, total.guided_s + guided_s
                total.add(frame, whole, found, scorer)
            before = whole or before
    return totals


def time_search(search: Callable[[], list[Face]]) -> tuple[list[Face], float]:
    start = time.process_time()
    return search(), time.process_time() - start


def search_near(
    image: Image, near: Sequence[Face], detector: Mtcnn, pattern: Sequence[tuple[float, ...]]
) -> list[Face]:
    """The faces that networks two and three find in the squares near the last boxes."""
    for small in looks(image, detector.max_side_px):
        scale = small.shape[1] / image.shape[1]
        if min(face.box[3] for face in near) * scale >= detector.min_face_px:
            break
    squares = np.concatenate([around(face, pattern) for face in near]) * np.float32(scale)
    sums = _integral(small)
    boxes, scores, points = detector._finish(sums, detector._refine(sums, squares))
    return enlarge(boxes, scores, points, small=small, image=image)


def around(face: Face, pattern: Sequence[tuple[float, ...]]) -> npt.NDArray[np.float32]:
    """Squares about a box: (N, 4) as x1, y1, x2, y2."""
    x, y, width, height = face.box
    side = max(width, height)
    shifts = np.array(pattern, np.float32)
    centre = np.array([x + width / 2, y + height / 2], np.float32) + shifts[:, :2] * side
    half = shifts[:, 2:] * side / 2
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def iou(a: Face, b: Face) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = a.box, b.box
    shared = max(0.0, min(ax + aw, bx + bw) - max(ax, bx)) * max(
        0.0, min(ay + ah, by + bh) - max(ay, by)
    )
    return shared / (aw * ah + bw * bh - shared)


def change(frame: Frame, a: Face, b: Face, scorer: Scorer) -> float:
    """Difference of the probabilities that two boxes of one face get."""
    framed = scorer.format
    crops = [crop_face(frame, face, face_px=framed.size, rule=framed.crop).image for face in (a, b)]
    one, other = scorer.calibration.probability(scorer.logits(crops))
    return abs(float(one - other))


def row(squares: int, total: Tally) -> str:
    overlap, moved = statistics.median(total.overlaps), statistics.mean(total.changes)
    share = total.guided_s / total.whole_s
    return (
        f"| {squares} | {total.faces} | {total.lost} | {overlap:.2f} | {moved:.3f} |"
        f" {100 * share:.0f}% |"
    )


if __name__ == "__main__":
    main()
