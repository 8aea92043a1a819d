"""Crops are framed as their rule says."""

import numpy as np
import pytest

from deepkd.video.crops import (
    CROP_RULES,
    CropRule,
    crop_face,
    crop_square,
)
from deepkd.video.faces import Face
from deepkd.video.frames import Frame

LANDMARKS = np.zeros((5, 2), np.float32)


@pytest.mark.parametrize(
    ("rule", "square"),
    [
        # The box: 100 wide and 200 high, its corner at (40, 60), so its centre at (90, 160).
        (CropRule("height"), (-10, 60, 200)),
        (CropRule("width", reference="width"), (40, 110, 100)),
        (CropRule("longer", reference="longer", scale=1.5), (-60, 10, 300)),
        (CropRule("lower", scale=0.5, shift_y=0.1), (40, 130, 100)),
        (CROP_RULES["dfdc"], (6, 92, 168)),
        (CROP_RULES["tight"], (-10, 60, 200)),
        (CROP_RULES["margin"], (-40, 30, 260)),
    ],
)
def test_squares(rule: CropRule, square: tuple[float, float, float]):
    assert crop_square((40, 60, 100, 200), rule) == pytest.approx(square)


def ramp() -> Frame:
    """Red is x, green is y, blue is 255: (120, 160)."""
    y, x = np.mgrid[:120, :160]
    return Frame(np.stack([x, y, np.full_like(x, 255)], axis=2).astype(np.uint8), 1.5, 3)


def test_a_crop_of_the_same_size_is_the_pixels_themselves():
    crop = crop_face(
        ramp(), Face((30, 20, 64, 64), 0.9, LANDMARKS), face_px=64, rule=CROP_RULES["tight"]
    )
    np.testing.assert_array_equal(crop.image, ramp().image[20:84, 30:94])
    assert (crop.t_s, crop.source_px, crop.face.probability) == (1.5, 64, 0.9)


@pytest.mark.parametrize("face_px", [16, 32, 128])
def test_a_resized_crop_shows_the_same_square(face_px: int):
    crop = crop_face(
        ramp(), Face((30, 20, 64, 64), 0.9, LANDMARKS), face_px=face_px, rule=CROP_RULES["tight"]
    )
    assert crop.image.shape == (face_px, face_px, 3)
    pixel = 64 / face_px
    expected = 30 + (np.arange(face_px) + 0.5) * pixel - 0.5
    np.testing.assert_allclose(crop.image[face_px // 2, :, 0], expected, atol=1)


def test_shrinking_averages():
    checkers = np.indices((64, 64)).sum(0) % 2 * 200
    frame = Frame(np.repeat(checkers[..., None], 3, axis=2).astype(np.uint8), 0.0, 0)
    crop = crop_face(
        frame, Face((0, 0, 64, 64), 0.9, LANDMARKS), face_px=32, rule=CROP_RULES["tight"]
    )
    assert (crop.image == 100).all()


@pytest.mark.parametrize(
    ("x", "y"), [(-32, 0), (0, -32), (128, 0), (0, 88), (-32, -32), (128, 88)], ids=str
)  # fmt: skip
def test_outside_the_frame_is_black(x: int, y: int):
    crop = crop_face(
        ramp(), Face((x, y, 64, 64), 0.9, LANDMARKS), face_px=64, rule=CROP_RULES["tight"]
    )
    rows, columns = np.arange(y, y + 64), np.arange(x, x + 64)
    inside = ((rows >= 0) & (rows < 120))[:, None] & ((columns >= 0) & (columns < 160))
    np.testing.assert_array_equal(crop.image[..., 2] == 255, inside)
    assert not crop.image[~inside].any()


@pytest.mark.parametrize(
    "box", [(500, 500, 64, 64), (-500, 0, 64, 64), (10, 10, 0, 0), (-100, -100, 400, 400)]
)
def test_odd_boxes_give_a_crop_all_the_same(box: tuple[float, float, float, float]):
    crop = crop_face(ramp(), Face(box, 0.9, LANDMARKS), face_px=32, rule=CROP_RULES["tight"])
    assert crop.image.shape == (32, 32, 3)
