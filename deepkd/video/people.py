"""People: which tracks show one person, who keeps a number after a cut.

Faces are compared by local binary patterns (Ahonen, Hadid and Pietikäinen, Face Recognition with
Local Binary Patterns, 2004) of the face turned upright, and by their colors.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.images import Image
from deepkd.video.crops import Crop

Floats = npt.NDArray[np.float32]

ALIKE = 0.825
"""Least likeness of two tracks of one person. `research/people.py` finds 0.820 at most in 851,000
comparisons of different people, and more than this between the halves of 220 of 227 videos (of 194
where the second is dimmer and of another white)."""
SAME_COLORS, COLORS_SHARE = 0.73, 0.3
"""Colors more alike than the first raise the likeness of the patterns by this share of the rest. No
colors lower it: a second camera, or other light, changes them."""
MIN_LOOKS, MAX_LOOKS = 2, 8
"""A track with fewer faces is compared with none; of the faces of a longer one, these many count,
spread over it."""
_SIDE_PX, _CELL_PX, _STEP_PX = 64, 10, 2
"""Side of the face turned upright, side of the squares in which patterns are counted, and distance
to the neighbours that a pixel is compared with."""
_PLACES = np.array(
    [(0.34, 0.36), (0.66, 0.36), (0.5, 0.55), (0.37, 0.74), (0.63, 0.74)], np.float32
)
"""Where eyes, nose and corners of the mouth come to lie, as shares of the side."""
_AROUND = ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1))
_COLORS = (4, 8, 8)
_BANDS = (slice(0, 12), slice(12, 40), slice(40, 48))
"""Forehead, middle and chin, rows of 48, whose colors are counted apart."""


def _uniform_codes() -> npt.NDArray[np.int64]:
    """(256,): a number for each pattern with at most two changes; 58 for all others."""
    bits = (np.arange(256)[:, None] >> np.arange(8)) & 1
    is_uniform = (bits != np.roll(bits, 1, axis=1)).sum(1) <= 2
    return np.where(is_uniform, np.cumsum(is_uniform) - 1, 58)


_CODES = _uniform_codes()


class Appearance(NamedTuple):
    """What one face looks like; vectors of length 1."""

    patterns: Floats
    colors: Floats

    @classmethod
    def of(cls, crop: Crop) -> "Appearance":
        """Of a crop, by its landmarks."""
        return cls(_patterns(_upright(crop)), _colors(crop.image))


class People:
    """Tells which tracks of a clip show one person.

    Two numbers for one person are better than one number for two: what is unsure stays apart, and
    so do all who are seen in one picture.
    """

    def __init__(self) -> None:
        self._looks: dict[int, list[Appearance]] = {}
        self._step: dict[int, int] = {}
        self._count: dict[int, int] = defaultdict(int)
        self._apart: dict[int, set[int]] = defaultdict(set)

    def add(self, faces: Iterable[tuple[int, Crop]]) -> None:
        """Take the faces of one sampled frame, each with the number of its track."""
        faces = list(faces)
        tracks = {track for track, _ in faces}
        for track, crop in faces:
            self._apart[track] |= tracks - {track}
            self._keep(track, crop)

    def _keep(self, track: int, crop: Crop) -> None:
        """Keep every face at first, then ever fewer, so that memory does not grow."""
        looks, step = self._looks.setdefault(track, []), self._step.get(track, 1)
        if self._count[track] % step == 0:
            looks.append(Appearance.of(crop))
        self._count[track] += 1
        if len(looks) > MAX_LOOKS:
            del looks[1::2]
            self._step[track] = 2 * step

    def numbers(self) -> dict[int, int]:
        """Track -> the number of its person, which is that of the person's first track."""
        people: dict[int, list[int]] = {}
        found: dict[int, int] = {}
        looks = {track: stack(looks) for track, looks in self._looks.items()}
        for track in sorted(looks):
            alike = {
                person: max(likeness(looks[track], looks[other]) for other in tracks)
                for person, tracks in people.items()
                if not self._apart[track] & {*tracks}
            }
            best = max(alike, key=alike.__getitem__, default=None)
            is_known = best is not None and alike[best] >= ALIKE
            person = best if best is not None and is_known else track
            people.setdefault(person, []).append(track)
            found[track] = person
        return found


def stack(looks: list[Appearance]) -> Appearance:
    """The vectors of some faces as the rows of matrices."""
    return Appearance(*(np.stack(vectors) for vectors in zip(*looks, strict=True)))


def likeness(ours: Appearance, theirs: Appearance) -> float:
    """How alike the patterns of two tracks are, raised by like colors; 0 where faces are too few.

    The second best pair of faces counts, so that none decides alone.
    """
    if min(len(ours.colors), len(theirs.colors)) < MIN_LOOKS:
        return 0.0
    colors = _second_best(ours.colors, theirs.colors)
    patterns = _second_best(ours.patterns, theirs.patterns)
    return patterns + COLORS_SHARE * max(0.0, colors - SAME_COLORS)


def _second_best(ours: Floats, theirs: Floats) -> float:
    return float(np.sort((ours @ theirs.T).ravel())[-2])


def _upright(crop: Crop) -> Image:
    """The face with eyes, nose and mouth in their places, RGB (64, 64, 3)."""
    turn, _ = cv2.estimateAffinePartial2D(crop.landmarks, _PLACES * _SIDE_PX, method=cv2.LMEDS)
    if turn is None:
        turn = np.eye(2, 3) * (_SIDE_PX / crop.image.shape[0])
    return np.asarray(
        cv2.warpAffine(crop.image, turn, (_SIDE_PX, _SIDE_PX), flags=cv2.INTER_AREA), np.uint8
    )


def _patterns(face: Image) -> Floats:
    """How often each local binary pattern comes in each square of a face, as a vector."""
    grey = cv2.GaussianBlur(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1)
    inner = _SIDE_PX - 2 * _STEP_PX
    code = np.zeros((inner, inner), np.int64)
    for bit, (down, right) in enumerate(_AROUND):
        y, x = (1 + down) * _STEP_PX, (1 + right) * _STEP_PX
        is_brighter = grey[y : y + inner, x : x + inner] >= grey[2:-2, 2:-2]
        code |= is_brighter.astype(np.int64) << bit
    cells = np.arange(inner) // _CELL_PX
    place = cells[:, None] * (inner // _CELL_PX) + cells
    counts = np.bincount((place * 59 + _CODES[code]).ravel(), minlength=59 * (place.max() + 1))
    vector = np.sqrt(counts / _CELL_PX**2).astype(np.float32)
    vector -= vector.mean()
    return vector / max(float(np.linalg.norm(vector)), 1e-9)


def _colors(image: Image) -> Floats:
    """How often each color comes in the bands of a crop, as a vector."""
    small = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(small, cv2.COLOR_RGB2LAB)
    limits = [0, 256, 100, 170, 100, 170]
    counts = [
        cv2.calcHist([lab[rows]], [0, 1, 2], None, _COLORS, limits).ravel() for rows in _BANDS
    ]
    vector = np.sqrt(np.concatenate(counts))
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
