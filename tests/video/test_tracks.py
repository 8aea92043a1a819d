"""People keep their numbers over time, whatever the order in which their faces are found."""

import itertools
import math
import random

import numpy as np
import pytest

from deepkd.video import tracks
from deepkd.video.faces import Face
from deepkd.video.tracks import NEW_COST, Tracker, cheapest_columns, same_person


def face(x: float, y: float = 0.0, size: float = 100.0) -> Face:
    """A face centred at (x, y)."""
    return Face((x - size / 2, y - size / 2, size, size), 0.99, np.zeros((5, 2), np.float32))


SCENE = np.zeros((36, 64, 3), np.uint8)
"""What is behind the faces."""
STEP = 0.6
"""Seconds between samples: 16 of a clip of 10 s."""

CASES = {
    # Centres of the faces sample by sample, and the numbers expected.
    "one who sits still": ([[0], [10], [-10]], [[0], [0], [0]]),
    "one who walks": ([[0], [100], [210], [330]], [[0], [0], [0], [0]]),
    "one who sways": ([[0], [90], [0], [90], [0]], [[0], [0], [0], [0], [0]]),
    "two apart, found in any order": (
        [[0, 300], [300, 10], [5, 290], [290, 0]],
        [[0, 1], [1, 0], [0, 1], [1, 0]],
    ),
    "two who pass each other": (
        [[0, 300], [100, 200], [200, 100], [300, 0], [400, -100]],
        [[0, 1], [0, 1], [0, 1], [0, 1], [0, 1]],
    ),
    "two close together while the camera turns": (
        [[0, 110], [70, 180], [140, 250]],
        [[0, 1], [0, 1], [0, 1]],
    ),
    "one missed three times": ([[0], [], [], [], [0]], [[0], [], [], [], [0]]),
    "one missed four times": ([[0], [], [], [], [], [0]], [[0], [], [], [], [], [1]]),
    "one of two missed": ([[0, 300], [300], [300, 0]], [[0, 1], [1], [1, 0]]),
    "one who joins": ([[0], [0, 400], [400, 0, 800]], [[0], [0, 1], [1, 0, 2]]),
    "one who leaves and another elsewhere": ([[0], [500]], [[0], [1]]),
    "nobody": ([[], []], [[], []]),
}


@pytest.mark.parametrize("name", CASES)
def test_numbers(name: str):
    centers, expected = CASES[name]
    tracker = Tracker()
    found = [
        tracker.update(i * STEP, [face(x) for x in row], SCENE) for i, row in enumerate(centers)
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("moved", "elapsed_s", "same"),
    [
        (50, 1 / 30, True),
        (80, 1 / 30, False),
        (80, 0.6, True),
        (160, 0.6, True),
        (180, 0.6, False),
        (200, 200.0, True),
        (210, 200.0, False),
    ],
)
def test_the_longer_the_farther_a_face_may_move(moved: float, elapsed_s: float, same: bool):
    tracker = Tracker()
    tracker.update(0, [face(0)], SCENE)
    assert tracker.update(elapsed_s, [face(moved)], SCENE) == [0 if same else 1]


@pytest.mark.parametrize(("size", "same"), [(51, True), (199, True), (49, False), (201, False)])
def test_a_face_of_another_size_is_another_person(size: float, same: bool):
    tracker = Tracker()
    tracker.update(0, [face(0)], SCENE)
    assert tracker.update(STEP, [face(0, size=size)], SCENE) == [0 if same else 1]


def test_boxes_without_area_and_repeated_times_do_no_harm():
    tracker = Tracker()
    assert tracker.update(0, [face(0, size=0)], SCENE) == [0]
    assert tracker.update(0, [face(0, size=0), face(0)], SCENE) == [1, 2]
    assert tracker.update(0, [face(0)], SCENE) == [2]


def test_two_at_their_places_never_change_numbers():
    rng = random.Random(0)
    tracker = Tracker()
    for i in range(200):
        people = [
            (0, face(rng.gauss(0, 25), rng.gauss(0, 25))),
            (1, face(rng.gauss(250, 25), rng.gauss(0, 25))),
        ]
        rng.shuffle(people)
        people = people if i == 0 else [person for person in people if rng.random() > 0.1]
        if i == 0:
            people.sort(key=lambda person: person[0])
        assert tracker.update(i * STEP, [one for _, one in people], SCENE) == [
            number for number, _ in people
        ]


def test_a_crowd_keeps_its_numbers_and_another_one_has_others(monkeypatch: pytest.MonkeyPatch):
    sizes = []
    monkeypatch.setattr(
        tracks,
        "cheapest_columns",
        lambda costs: sizes.append(len(costs)) or cheapest_columns(costs),
    )
    tracker, crowd = Tracker(), [(120.0 * (i % 12), 120.0 * (i // 12)) for i in range(144)]
    assert tracker.update(0.0, [face(x, y) for x, y in crowd], SCENE) == [*range(144)]
    assert tracker.update(STEP, [face(x + 20, y) for x, y in crowd], SCENE) == [*range(144)]
    assert tracker.update(2 * STEP, [face(x + 9999, y) for x, y in crowd], SCENE) == [
        *range(144, 288)
    ]
    assert sizes == [
        0,
        144,
        0,
    ], "what no track can take is not matched, which would take far longer"


def test_cheapest_columns_against_all_permutations():
    rng = random.Random(0)
    for _ in range(300):
        rows, tracks = rng.randint(0, 4), rng.randint(0, 4)
        costs = [
            [rng.choice([math.inf, rng.uniform(0, 4)]) for _ in range(tracks)] + [NEW_COST] * rows
            for _ in range(rows)
        ]
        found = cheapest_columns(costs)
        least = min(
            sum(costs[i][j] for i, j in enumerate(order))
            for order in itertools.permutations(range(tracks + rows), rows)
        )
        assert len(set(found)) == rows
        assert sum(costs[i][j] for i, j in enumerate(found)) == pytest.approx(least)


@pytest.mark.parametrize(
    ("later_s", "xs", "found"),
    [
        (5.2, [10, 400], 0),
        (4.8, [400, 10], 1),
        (5.2, [400], None),
        (5.2, [], None),
        (4.0, [120], 0),
        (5.0, [120], None),
    ],
)
def test_who_is_the_same_before_and_after(later_s: float, xs: list[float], found: int | None):
    assert same_person(5.0, face(0).box, later_s, [face(x).box for x in xs]) == found
