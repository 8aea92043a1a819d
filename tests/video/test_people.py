"""Who keeps a number after a cut: two public-domain portraits, near and far, bright and dark."""

import cv2
import numpy as np
import pytest
from media import portraits

from deepkd.video.crops import CROP_RULES, Crop, crop_face
from deepkd.video.faces import Face
from deepkd.video.frames import Frame
from deepkd.video.people import ALIKE, MAX_LOOKS, Appearance, People, likeness

Light = float | tuple[float, float, float]


def crop(name: str, *, scale: float = 1.0, turn_deg: float = 0.0, light: Light = 1.0) -> Crop:
    """The face of a portrait shown at another size, turned, in another light (RGB)."""
    portrait = portraits()[name]
    height, width = portrait.image.shape[:2]
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, scale)
    image = cv2.warpAffine(portrait.image, turn, (width, height), borderMode=cv2.BORDER_REPLICATE)
    points = np.hstack([portrait.landmarks, np.ones((5, 1), np.float32)]) @ turn.T
    x, y, w, h = portrait.box
    center = turn @ (x + w / 2, y + h / 2, 1)
    box = (*(center - np.array((w, h)) * scale / 2), w * scale, h * scale)
    frame = Frame(np.clip(image * np.array(light), 0, 255).astype(np.uint8), 0.0, 0)
    face = Face(tuple(map(float, box)), 0.99, points.astype(np.float32))
    return crop_face(frame, face, face_px=112, rule=CROP_RULES["dfdc"])


def test_who_returns_keeps_the_number_and_nobody_shares_one() -> None:
    people = People()
    for step in range(3):
        people.add([(0, crop("astronaut", turn_deg=step))])
        people.add([(1, crop("grace_hopper", turn_deg=step))])
        people.add([(2, crop("astronaut", turn_deg=-5 + step, scale=0.6, light=0.9))])
        people.add([(3, crop("grace_hopper", turn_deg=5 + step, scale=0.4, light=1.1))])
    assert people.numbers() == {0: 0, 1: 1, 2: 0, 3: 1}


@pytest.mark.parametrize("light", [0.6, 1.3, (0.75, 0.85, 1.0)])
def test_who_returns_in_other_light_keeps_the_number(light: Light) -> None:
    people = People()
    for step in range(3):
        people.add([(0, crop("astronaut", turn_deg=step))])
        people.add([(1, crop("grace_hopper", turn_deg=step))])
        people.add([(2, crop("astronaut", turn_deg=step - 5, scale=0.6, light=light))])
    assert people.numbers() == {0: 0, 1: 1, 2: 0}


@pytest.mark.parametrize(
    ("patterns", "colors", "is_same"),
    [
        (0.83, 0.2, True),
        (0.81, 0.2, False),
        (0.81, 0.73, False),
        (0.78, 0.9, True),
        (0.74, 0.9, False),
        (0.76, 1.0, True),
        (0.73, 1.0, False),
    ],
)
def test_like_colors_make_up_for_patterns_in_part(
    patterns: float, colors: float, is_same: bool
) -> None:
    def looks(*likenesses: float) -> Appearance:
        rows = [np.array([(x, (1 - x**2) ** 0.5)] * 2, np.float32) for x in likenesses]
        return Appearance(*rows)

    found = likeness(looks(1.0, 1.0), looks(patterns, colors))
    assert (found >= ALIKE) == is_same


def test_two_in_one_picture_are_two() -> None:
    people = People()
    for _ in range(3):
        people.add([(0, crop("astronaut")), (1, crop("astronaut"))])
    assert people.numbers() == {0: 0, 1: 1}


def test_a_face_seen_once_is_compared_with_none() -> None:
    people = People()
    for _ in range(3):
        people.add([(0, crop("astronaut"))])
    people.add([(1, crop("astronaut"))])
    assert people.numbers() == {0: 0, 1: 1}


def test_a_long_track_takes_no_more_memory() -> None:
    people, face = People(), crop("astronaut")
    for _ in range(100):
        people.add([(0, face)])
    assert 4 <= len(people._looks[0]) <= MAX_LOOKS
