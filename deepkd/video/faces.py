"""Faces in one image, and the registry of detectors that find them."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.errors import ConfigError
from deepkd.images import Image
from deepkd.languages import Note
from deepkd.settings.choices import DETECTORS

MIN_FACE_PX = 40
"""Smallest face looked for, pixels of the shrunk frame."""
MAX_SIDE_PX = 640
"""Frames are shrunk to this longer side before detection, pixels; to twice as much where smaller
faces are sought."""
LARGEST_SIDE_PX = 3840
"""Frames without any face are searched at their own size, up to this longer side, pixels."""
WIDE_PX = 1920
"""In frames with a longer side than this, faces beside larger ones are seen only from a size that
is well above what can be judged."""
SAME = 0.5
"""Two looks show one face where they share more than this part of the smaller box."""
DARK = 64.0
"""Mean value, of 255, below which an image is brightened: MTCNN misses a quarter of the faces at
half of this."""
MIN_POWER = 0.4
"""The strongest brightening; more would raise the noise of a black image."""


@dataclass(frozen=True)
class Face:
    """One face in a frame, in pixels of the upright frame; it may reach beyond the frame's edge."""

    box: tuple[float, float, float, float]
    """x, y of the top left corner, width, height."""
    probability: float
    """How sure the detector is that this is a face, 0 to 1."""
    landmarks: npt.NDArray[np.float32]
    """(5, 2): the eyes, the nose and the corners of the mouth, each pair from left to right in the
    image."""
    is_small: bool = False
    """It takes a second look, at twice the size, to see it."""


class FaceDetector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: Image, *, thorough: bool = False) -> list[Face]:
        """The faces of an RGB uint8 image (H, W, 3), the largest first; [] without faces.

        In an image that has to be shrunk, small faces are sought where there are no larger ones;
        always if `thorough`, and then, where there are none at all, in the image at its own size.
        """
        ...


def load_detector(
    name: str = "mtcnn",
    *,
    device: str = "auto",
    min_face_px: int = MIN_FACE_PX,
    max_side_px: int = MAX_SIDE_PX,
    threads: int | None = None,
) -> FaceDetector:
    """The detector called `name`.

    Args:
        name: a name of `DETECTORS`.
        device: `auto`, `cpu` or `cuda`.
        min_face_px: smallest face looked for, in pixels of the frame after shrinking.
        max_side_px: frames are shrunk to this longer side before detection, and to twice as much
            where smaller faces are sought; boxes are of the full frame.
        threads: CPU threads; None takes what the machine gives.

    Raises:
        ConfigError: the name is unknown, or the detector cannot run on that device, or is not
            installed.
        ModelError: the detector's networks are missing or damaged.
    """
    try:
        load = DETECTORS.load(name)
    except ModuleNotFoundError as error:
        if name == USUAL:
            raise
        missing = f"detector '{name}' needs {error.name}, which is not installed"
        raise ConfigError(
            f"{missing}; pip install 'deepkd[train]', or choose detector '{USUAL}'"
        ) from error
    options = {"min_face_px": min_face_px, "max_side_px": max_side_px, "threads": threads}
    return load(device=device, **options)


def search(
    image: Image,
    max_side_px: int,
    find: Callable[[Image, bool], list[Face]],
    *,
    thorough: bool = False,
) -> list[Face]:
    """The faces of an image as `FaceDetector.detect` gives them; all detectors use it.

    Args:
        image: (H, W, 3), RGB uint8.
        max_side_px: the longer side of the first look.
        find: the faces that one of `looks` shows, in pixels of the image; the second argument says
            whether only small ones are wanted, since larger ones were found.
        thorough: take the second look also where the first shows faces, and the third where
            neither does.
    """
    faces: list[Face] = []
    for number, small in enumerate(looks(image, max_side_px, count=3 if thorough else 2)):
        further = [
            face
            for face in find(small, bool(faces))
            if all(_overlap(face.box, other.box) <= SAME for other in faces)
        ]
        faces += [replace(face, is_small=number > 0) for face in further]
        if faces and (number > 0 or not thorough):
            break
    return sorted(faces, key=lambda face: -face.box[2] * face.box[3])


def unsought(longer_px: int) -> Iterator[str]:
    """Which faces beside larger ones are not sought in a frame of this longer side, pixels.

    Nothing where only such are left out as can hardly be judged.
    """
    if longer_px > WIDE_PX:
        limit_px = round(longer_px * MIN_FACE_PX / (2 * MAX_SIDE_PX))
        yield Note(
            "beside larger faces, those under {limit} pixels were not sought", limit=limit_px
        )


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """What two boxes share, as a part of the smaller one."""
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    return max(0.0, width) * max(0.0, height) / max(1e-9, min(a[2] * a[3], b[2] * b[3]))


def looks(image: Image, max_side_px: int, *, count: int = 2) -> Iterator[Image]:
    """The pictures in which to search an image, one after the other, `count` at most.

    First the image shrunk; then, where it is larger, with twice the side, which shows faces half as
    large; then, where it is larger still, at its own size up to `LARGEST_SIDE_PX`.
    """
    sides = (max_side_px, 2 * max_side_px, LARGEST_SIDE_PX)
    for number, side in enumerate(sides[:count]):
        if number == 0 or max(image.shape[:2]) > sides[number - 1]:
            yield _lit(_shrunk(image, side, is_first=number == 0))


def _shrunk(image: Image, max_side_px: int, *, is_first: bool = True) -> Image:
    """The image with its longer side at most `max_side_px`.

    By area averaging; for further looks, to more than half of the size, by linear interpolation,
    which then hardly differs and takes a tenth of the time.
    """
    height, width = image.shape[:2]
    scale = max_side_px / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    factor = width // size[0]
    if factor % 2 and factor > 1 and (width, height) == (factor * size[0], factor * size[1]):
        return _means(image, factor, size)
    how = cv2.INTER_LINEAR if scale > 0.5 and not is_first else cv2.INTER_AREA
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _means(image: Image, factor: int, size: tuple[int, int]) -> Image:
    """The mean of each square of `factor` pixels, an odd number: what area averaging gives, faster.

    Of an odd number of values no mean lies halfway between two, so both round alike.
    """
    means = cv2.blur(image, (factor, factor), anchor=(0, 0))
    return np.asarray(cv2.resize(means, size, interpolation=cv2.INTER_NEAREST), np.uint8)


def _lit(image: Image) -> Image:
    """A dark image made brighter by the power that takes its mean to `DARK`; any other as it is."""
    mean = max(1.0, sum(cv2.mean(image)[:3]) / 3)
    if mean >= DARK:
        return image
    power = max(MIN_POWER, math.log(DARK / 255) / math.log(mean / 255))
    return np.asarray(
        cv2.LUT(image, np.rint(255 * (np.arange(256) / 255) ** power).astype(np.uint8)), np.uint8
    )


def enlarge(
    corners: npt.NDArray[np.float32],
    probabilities: npt.NDArray[np.float32],
    landmarks: npt.NDArray[np.float32],
    *,
    small: Image,
    image: Image,
) -> list[Face]:
    """What was found in the `small` image, as faces of the full `image`, the largest first.

    Args:
        corners: (N, 4) as x1, y1, x2, y2 in pixels of the small image.
        probabilities: (N,).
        landmarks: (N, 5, 2) in pixels of the small image.
        small: one of `looks`.
        image: what it is a look at.
    """
    scale = np.array(image.shape[1::-1], np.float32) / np.array(small.shape[1::-1], np.float32)
    start, size = corners[:, :2] * scale, (corners[:, 2:] - corners[:, :2]) * scale
    order = np.argsort(-size.prod(1), kind="stable")
    boxes = np.concatenate([start, size], 1)[order].tolist()
    spots = (landmarks * scale)[order].astype(np.float32)
    found = zip(boxes, probabilities[order].tolist(), spots, strict=True)
    return [Face((x, y, w, h), probability, points) for (x, y, w, h), probability, points in found]


USUAL = "mtcnn"
"""The detector that needs nothing but what deepkd always comes with."""
