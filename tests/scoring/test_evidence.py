import dataclasses

import cv2
import numpy as np
import pytest
from media import portraits

from deepkd.scoring.evidence import FLAWS, MIN_FACE_PX, brightness, flaw, is_profile, sharpness
from deepkd.video.crops import CROP_RULES, Crop, crop_face
from deepkd.video.faces import Face
from deepkd.video.frames import Frame


@pytest.fixture
def crop() -> Crop:
    astronaut = portraits()["astronaut"]
    face = Face(astronaut.box, 0.999, astronaut.landmarks)
    return crop_face(Frame(astronaut.image, 0.0, 0), face, face_px=160, rule=CROP_RULES["dfdc"])


def with_image(change):
    return lambda crop: dataclasses.replace(crop, image=np.asarray(change(crop.image), np.uint8))


def with_face(**changes):
    return lambda crop: dataclasses.replace(crop, face=dataclasses.replace(crop.face, **changes))


PROFILE = np.array([[30, 40], [50, 40], [22, 55], [28, 70], [45, 70]], np.float32)

CASES = {
    "a good face": (lambda crop: crop, None),
    "small": (lambda crop: dataclasses.replace(crop, source_px=MIN_FACE_PX - 0.1), "too small"),
    "just large enough": (lambda crop: dataclasses.replace(crop, source_px=MIN_FACE_PX), None),
    "dark": (with_image(lambda image: image * 0.1), "too dark"),
    "dim": (with_image(lambda image: image * 0.3), None),
    "blurred": (with_image(lambda image: cv2.GaussianBlur(image, (0, 0), 7)), "too blurred"),
    "a little soft": (with_image(lambda image: cv2.GaussianBlur(image, (0, 0), 1.5)), None),
    "a profile": (with_face(landmarks=PROFILE), "turned away"),
    "doubtful": (with_face(probability=0.8), "hidden or unclear"),
    "flat grey": (with_image(lambda image: image * 0 + 128), "too blurred"),
}


@pytest.mark.parametrize("name", CASES)
def test_flaw(name: str, crop: Crop):
    change, found = CASES[name]
    answer = flaw(change(crop))
    assert answer is None if found is None else answer.startswith(found)


def test_every_flaw_has_a_case():
    named = [found for _, found in CASES.values() if found]
    assert all(any(flaw.startswith(found) for found in named) for flaw in FLAWS)


@pytest.mark.parametrize("size", [64, 160, 400])
def test_sharpness_does_not_depend_on_the_size_of_the_picture(crop: Crop, size: int):
    resized = cv2.resize(crop.image, (size, size), interpolation=cv2.INTER_AREA)
    assert sharpness(resized) == pytest.approx(sharpness(crop.image), abs=0.05)


@pytest.mark.parametrize("turn_deg", range(0, 360, 45))
def test_a_tilted_head_is_not_turned_away(crop: Crop, turn_deg: int):
    angle = np.deg2rad(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    assert not is_profile(crop.face.landmarks @ turn)
    assert is_profile(PROFILE @ turn)


def test_brightness_by_hand():
    assert brightness(np.full((4, 4, 3), (100, 200, 50), np.uint8)) == pytest.approx(
        29.9 + 117.4 + 5.7
    )
