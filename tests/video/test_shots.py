"""A cut ends a person's track, and a shot that comes back has the people that it had."""

import numpy as np
import pytest
from media import Media

from deepkd.images import Image
from deepkd.video.faces import Face
from deepkd.video.frames import read_frames
from deepkd.video.shots import ALIKE, MAX_SHOTS, Look, Shots, find_spans
from deepkd.video.tracks import Tracker

FACE = [Face((100.0, 100.0, 80.0, 80.0), 0.99, np.zeros((5, 2), np.float32))]


def place(number: int, *, bright: float = 1.0, shift: int = 0) -> Image:
    """A place of its own colors and shapes; moved to the right, or in another light."""
    rng = np.random.default_rng(number)
    blocks = rng.integers(0, 256, (5, 8, 3)).repeat(40, 0).repeat(40, 1)
    return np.clip(np.roll(blocks, shift, axis=1) * bright, 0, 255).astype(np.uint8)


def test_shots_are_numbered_and_known_again() -> None:
    shots = Shots()
    assert [shots.number(place(number)) for number in (7, 7, 8, 8, 7, 9, 8, 7)] == [
        0,
        0,
        1,
        1,
        0,
        2,
        1,
        0,
    ]


@pytest.mark.parametrize(
    "change", [{"bright": 0.8}, {"shift": 10}, {"shift": 160}, {"bright": 0.9, "shift": 20}]
)
def test_light_and_camera_may_change_within_a_shot(change: dict[str, float]) -> None:
    assert Look.of(place(7)).likeness(Look.of(place(7, **change))) >= ALIKE


def test_a_shot_may_become_another_picture_step_by_step() -> None:
    one, other = place(1).astype(float), place(2).astype(float)
    assert Look.of(place(1)).likeness(Look.of(place(2))) < ALIKE
    shots = Shots()
    assert {
        shots.number((one + (other - one) * share).astype(np.uint8))
        for share in np.linspace(0, 1, 12)
    } == {0}


@pytest.mark.parametrize("grey", [0, 128])
def test_pictures_of_one_color_are_shots_too(grey: int) -> None:
    shots = Shots()
    flat = np.full((90, 160, 3), grey, np.uint8)
    assert [shots.number(image) for image in (flat, flat, place(7), flat)] == [0, 0, 1, 0]


def test_only_the_last_shots_are_known_again() -> None:
    shots = Shots()
    numbers = [shots.number(place(number)) for number in range(MAX_SHOTS + 8)]
    assert numbers == [*range(MAX_SHOTS + 8)]
    assert shots.number(place(0)) == MAX_SHOTS + 8
    assert len(shots._last) == MAX_SHOTS


def test_a_cut_to_another_place_shows_another_person() -> None:
    tracker = Tracker()
    found = [tracker.update(0.6 * i, FACE, place(7 + i // 2 % 2)) for i in range(8)]
    assert found == [[0], [0], [1], [1], [0], [0], [1], [1]]


def test_people_who_move_are_in_one_shot(media: Media) -> None:
    path = media.clip(seconds=4, size=(640, 360))
    shots = Shots()
    assert {shots.number(frame.image) for frame in read_frames(path, frames=16)} == {0}


@pytest.mark.parametrize(
    ("samples", "duration_s", "spans"),
    [
        ([], 4.0, []),
        ([(0.0, 0)], 0.0, [(0.0, 0.0)]),
        ([(1.0, 0), (3.0, 0)], 4.0, [(0.0, 4.0)]),
        ([(1.0, 0), (2.0, 1), (3.0, 1), (4.0, 0)], 5.0, [(0.0, 1.5), (1.5, 3.5), (3.5, 5.0)]),
        ([(1.0, 0), (2.0, 1)], 1.5, [(0.0, 1.5), (1.5, 2.0)]),
    ],
)
def test_the_parts_between_cuts_make_the_clip(samples, duration_s, spans) -> None:
    found = find_spans(samples, duration_s)
    assert [(span.start_s, span.end_s) for span in found] == spans
