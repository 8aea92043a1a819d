"""Tracks: which face is the same person as a face before."""

import math
from dataclasses import dataclass

from deepkd.video.faces import Face

Box = tuple[float, float, float, float]

SPEED = 2.0
"""How fast a face may move, in face sizes per second."""
JUMP = 0.5
"""How far a face may move between two samples however close in time, in face sizes."""
MAX_JUMP = 2.0
"""How far it may move however far apart in time, in face sizes."""
MAX_GROWTH = 2.0
"""How much larger or smaller a face may become between two samples."""
MAX_MISSED = 3
"""Samples in a row in which a face may be missed before its track ends."""


@dataclass
class _Track:
    id: int
    t_s: float
    box: Box
    step: int
    velocity: tuple[float, float] = (0.0, 0.0)


class Tracker:
    """Gives every face the number of its person: 0, 1, 2 ... in order of appearance."""

    def __init__(self, *, max_missed: int = MAX_MISSED) -> None:
        self.max_missed = max_missed
        self._tracks: list[_Track] = []
        self._count = 0
        self._step = 0

    def update(self, t_s: float, faces: list[Face]) -> list[int]:
        """The track number of each face of the sample at `t_s`, in the same order.

        Call it for every sample in order of time, also with an empty list.
        """
        self._step += 1
        self._tracks = [track for track in self._tracks if self._step - track.step <= self.max_missed + 1]
        ids = [-1] * len(faces)
        taken: set[int] = set()
        for _, i, track in sorted(self._pairs(t_s, faces), key=lambda pair: pair[0]):
            if ids[i] < 0 and track.id not in taken:
                taken.add(track.id)
                ids[i] = track.id
                self._follow(track, t_s, faces[i].box)
        for i, face in enumerate(faces):
            if ids[i] < 0:
                ids[i] = self._begin(t_s, face.box)
        return ids

    def _pairs(self, t_s: float, faces: list[Face]) -> list[tuple[float, int, _Track]]:
        """(cost, face, track) of every pair that may be one person."""
        pairs = []
        for i, face in enumerate(faces):
            for track in self._tracks:
                cost = _cost(track, t_s, face.box)
                if cost is not None:
                    pairs.append((cost, i, track))
        return pairs

    def _begin(self, t_s: float, box: Box) -> int:
        self._tracks.append(_Track(self._count, t_s, box, self._step))
        self._count += 1
        return self._count - 1

    def _follow(self, track: _Track, t_s: float, box: Box) -> None:
        elapsed = t_s - track.t_s
        if elapsed > 0:
            (x0, y0), (x1, y1) = _center(track.box), _center(box)
            track.velocity = ((x1 - x0) / elapsed, (y1 - y0) / elapsed)
        track.t_s, track.box, track.step = t_s, box, self._step


def _center(box: Box) -> tuple[float, float]:
    x, y, width, height = box
    return x + width / 2, y + height / 2


def _cost(track: _Track, t_s: float, box: Box) -> float | None:
    """How badly the box continues the track, in face sizes; None where it cannot be the same person."""
    elapsed = max(0.0, t_s - track.t_s)
    old, new = math.sqrt(track.box[2] * track.box[3]), math.sqrt(box[2] * box[3])
    if min(old, new) <= 0 or max(old, new) / min(old, new) > MAX_GROWTH:
        return None
    size = (old + new) / 2
    (x0, y0), (x1, y1) = _center(track.box), _center(box)
    if math.hypot(x1 - x0, y1 - y0) / size > min(MAX_JUMP, JUMP + SPEED * elapsed):
        return None
    expected_x, expected_y = x0 + track.velocity[0] * elapsed, y0 + track.velocity[1] * elapsed
    return math.hypot(x1 - expected_x, y1 - expected_y) / size + abs(math.log(new / old))
