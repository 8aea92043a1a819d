"""Tracks: which face is the same person as a face before."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from deepkd.images import Image
from deepkd.video.faces import Face
from deepkd.video.shots import Shots

Box = tuple[float, float, float, float]
"""x, y, width, height, pixels."""

JUMP = 0.5
"""How far a face may move between two samples however close in time, in face sizes."""
SPEED = 2.0
"""How much farther it may move in each second between them, in face sizes."""
MAX_JUMP = 2.0
"""How far it may move however far apart in time, in face sizes."""
MAX_GROWTH = 2.0
"""How much larger or smaller it may become."""
MAX_MISSED = 3
"""Samples in a row in which it may be missed before its track ends."""
NEW_COST = 4.0
"""What a new track costs: more than any continuation that the limits above allow, so that none is
begun needlessly."""


class Tracker:
    """Gives every face the number of its person: 0, 1, 2 ... in order of appearance.

    Samples may be seconds apart, so boxes need not overlap. A face continues a track when its
    centre has not moved and its size not changed more than the limits allow. Of all ways to
    continue tracks by the faces of a sample, the one is taken where the faces lie nearest to where
    the tracks were heading, taken together: two people who pass each other keep their numbers, and
    so do two who are moved alike by a turning camera. After a cut nobody goes on, unless the shot
    is one that was seen before.
    """

    def __init__(self, *, max_missed: int = MAX_MISSED) -> None:
        self.max_missed = max_missed
        self.shot = 0
        """The number of the shot of the last sample."""
        self._shots = Shots()
        self._tracks_of: dict[int, list[_Track]] = defaultdict(list)
        """Shot -> its people."""
        self._count = 0

    def update(self, t_s: float, faces: list[Face], image: Image) -> list[int]:
        """The track number of each face of the sample `image` at `t_s`, in the same order.

        Call it for every sample in order of time, also where there are no faces.
        """
        self.shot = self._shots.number(image)
        here = self._tracks_of[self.shot]
        costs = [[track.cost(t_s, face.box) for track in here] for face in faces]
        known = [place for place, row in enumerate(costs) if min(row, default=math.inf) < math.inf]
        tracks = dict(
            zip(known, _match_faces([costs[place] for place in known], here), strict=True)
        )
        ids = []
        for place, face in enumerate(faces):
            track = tracks.get(place)
            if track is None:
                track = _Track(self._count, t_s, face.box)
                self._count += 1
                here.append(track)
            else:
                track.follow(t_s, face.box)
            ids.append(track.id)
        self._forget(here, {*ids})
        return ids

    def _forget(self, tracks: "list[_Track]", seen: set[int]) -> None:
        """Count the samples in which tracks were missed, and end those missed too often."""
        for track in tracks:
            track.missed = 0 if track.id in seen else track.missed + 1
        tracks[:] = [track for track in tracks if track.missed <= self.max_missed]


@dataclass
class _Track:
    """A person: where the face was last, and where it was heading."""

    id: int
    t_s: float
    box: Box
    missed: int = 0
    velocity: tuple[float, float] = (0.0, 0.0)
    """Pixels per second, smoothed."""

    def cost(self, t_s: float, box: Box) -> float:
        """How badly the box continues the track, in face sizes; infinite beyond the limits."""
        elapsed = max(0.0, t_s - self.t_s)
        old, new = _size(self.box), _size(box)
        if min(old, new) <= 0 or max(old, new) > MAX_GROWTH * min(old, new):
            return math.inf
        size = (old + new) / 2
        moved = _minus(_center(box), _center(self.box))
        if math.hypot(*moved) > size * min(MAX_JUMP, JUMP + SPEED * elapsed):
            return math.inf
        heading = (self.velocity[0] * elapsed, self.velocity[1] * elapsed)
        trust = min(1.0, size / max(math.hypot(*heading), 1e-9))
        expected = (heading[0] * trust, heading[1] * trust)
        return math.hypot(*_minus(moved, expected)) / size + abs(math.log(new / old))

    def follow(self, t_s: float, box: Box) -> None:
        """The face was found again."""
        elapsed = t_s - self.t_s
        if elapsed > 0:
            dx, dy = _minus(_center(box), _center(self.box))
            self.velocity = (
                (self.velocity[0] + dx / elapsed) / 2,
                (self.velocity[1] + dy / elapsed) / 2,
            )
        self.t_s, self.box = t_s, box


def _match_faces(costs: list[list[float]], tracks: Sequence[_Track]) -> list[_Track | None]:
    """The track that each face continues, by the costs (faces, tracks); None for a new one.

    Beside the tracks, each face has a column of its own for a new one.
    """
    own = [
        [NEW_COST if place == row else math.inf for place in range(len(costs))]
        for row in range(len(costs))
    ]
    columns = cheapest_columns(
        [to_tracks + to_new for to_tracks, to_new in zip(costs, own, strict=True)]
    )
    return [tracks[column] if column < len(tracks) else None for column in columns]


def same_person(t_s: float, box: Box, later_s: float, boxes: Sequence[Box]) -> int | None:
    """The index of the box at another time that continues a box; None where none does."""
    track = _Track(0, 0.0, box)
    costs = [track.cost(abs(later_s - t_s), other) for other in boxes]
    best = min(range(len(boxes)), key=costs.__getitem__, default=None)
    return None if best is None or math.isinf(costs[best]) else best


def cheapest_columns(costs: list[list[float]]) -> list[int]:
    """A column for each row, all different, with the least total cost.

    The Hungarian method: each row in turn takes the cheapest chain of moves by which the rows
        before make room for it.
    """
    if not costs:
        return []
    columns = range(len(costs[0]))
    owner: dict[int, int] = {}
    row_price, column_price = [0.0] * len(costs), [0.0] * len(costs[0])
    for row in range(len(costs)):
        slack, came_from = [math.inf] * len(columns), [-1] * len(columns)
        visited: list[int] = []
        free = set(columns)
        here, column = row, -1
        while True:
            for j in free:
                reduced = costs[here][j] - row_price[here] - column_price[j]
                if reduced < slack[j]:
                    slack[j], came_from[j] = reduced, column
            column = min(free, key=slack.__getitem__)
            step = slack[column]
            row_price[row] += step
            for j in visited:
                row_price[owner[j]] += step
                column_price[j] -= step
            slack = [value - step for value in slack]
            visited.append(column)
            free.remove(column)
            if column not in owner:
                break
            here = owner[column]
        while column >= 0:
            before = came_from[column]
            owner[column] = row if before < 0 else owner[before]
            column = before
    found = {row: column for column, row in owner.items()}
    return [found[row] for row in range(len(costs))]


def _size(box: Box) -> float:
    return math.sqrt(max(0.0, box[2]) * max(0.0, box[3]))


def _center(box: Box) -> tuple[float, float]:
    return box[0] + box[2] / 2, box[1] + box[3] / 2


def _minus(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
    return a[0] - b[0], a[1] - b[1]
