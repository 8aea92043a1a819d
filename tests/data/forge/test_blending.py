"""Forgeries made from real faces: they change the face, and only the face."""

import numpy as np
import pytest
from media import Image, Portrait

from deepkd.data.forge.blending import (
    OUTLINES,
    blend,
    face_mask,
    face_scale,
    match_colours,
    self_blend,
    similarity,
    soften,
    swap_face,
)

SQUARE = np.array([(40, 40), (60, 40), (50, 50), (42, 60), (58, 60)], np.float32)
"""Landmarks of an upright face with eyes 20 pixels apart."""


def test_similarity_recovers_a_known_rotation_scale_and_shift() -> None:
    moved = 1.5 * SQUARE @ np.array([[0, 1], [-1, 0]], np.float32) + np.array([7, -3], np.float32)
    matrix = similarity(SQUARE, moved)
    assert matrix == pytest.approx(np.array([[0, -1.5, 7], [1.5, 0, -3]]), abs=1e-4)


def test_similarity_of_points_that_coincide_is_finite() -> None:
    assert np.isfinite(similarity(np.ones((5, 2), np.float32), SQUARE)).all()


@pytest.mark.parametrize("outline", OUTLINES)
def test_masks_hold_the_face_and_leave_the_rest(outline: str) -> None:
    mask = face_mask(SQUARE, (120, 110, 3), outline)
    assert mask.shape == (120, 110) and set(np.unique(mask)) == {0.0, 1.0}
    assert mask[60, 50] == 1, "the mouth is inside"
    assert mask[40, 40] == (0 if outline == "lower" else 1), (
        "the eye is outside of the lower face only"
    )
    assert mask[5, 5] == mask[110, 50] == mask[60, 90] == 0


def test_the_mask_turns_with_the_face() -> None:
    upright = face_mask(SQUARE, (100, 100))
    turned = np.stack([SQUARE[:, 1], 99 - SQUARE[:, 0]], axis=1)
    assert np.mean(face_mask(turned, (100, 100)) != np.rot90(upright)) < 0.01


def test_face_scale_is_the_longer_of_the_two_distances() -> None:
    assert face_scale(SQUARE) == pytest.approx(20)
    narrow = SQUARE * np.array([0.2, 1], np.float32)
    assert face_scale(narrow) == pytest.approx(20), "a face seen from the side keeps its height"
    assert face_scale(np.zeros((5, 2), np.float32)) == 1.0


def test_soft_masks_stay_inside_the_hard_one() -> None:
    hard = face_mask(SQUARE, (120, 110), "whole")
    soft = soften(hard, 6)
    assert soft.max() == pytest.approx(1) and soft[hard == 0].max() < 0.1
    assert ((soft > 0.1) & (soft < 0.9)).any()


def test_blend_is_the_weighted_mean() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert blend(white, black, np.array([[0, 0.25], [0.5, 1]], np.float32))[..., 0].tolist() == [
        [0, 50],
        [100, 200],
    ]


def test_match_colours_gives_the_reference_mean(astronaut: Image) -> None:
    dark = (astronaut // 2).astype(np.uint8)
    mask = face_mask(
        np.float32([(205, 101), (247, 103), (225, 129), (201, 140), (245, 141)]), astronaut.shape
    )
    inside = mask > 0.5
    matched = match_colours(dark, astronaut, mask)
    assert matched[inside].mean(0) == pytest.approx(astronaut[inside].mean(0), abs=4)
    assert match_colours(dark, astronaut, np.zeros_like(mask)) is dark


@pytest.mark.parametrize(
    ("source", "target"), [("astronaut", "grace_hopper"), ("grace_hopper", "astronaut")]
)
def test_swap_face_changes_the_face_only(
    people: dict[str, Portrait], source: str, target: str
) -> None:
    giver, taker = people[source], people[target]
    swapped = swap_face(giver.image, giver.landmarks, taker.image, taker.landmarks)
    assert swapped.shape == taker.image.shape and swapped.dtype == np.uint8
    change = np.abs(swapped.astype(int) - taker.image).mean(-1)
    face = face_mask(taker.landmarks, taker.image.shape) > 0
    assert change[face].mean() > 8 and change[~face].mean() < 0.2
    assert np.abs(swapped[face].mean(0) - taker.image[face].mean(0)).max() < 12, (
        "it has the target's colours"
    )


def test_swap_with_oneself_changes_little(people: dict[str, Portrait]) -> None:
    one = people["astronaut"]
    swapped = swap_face(one.image, one.landmarks, one.image, one.landmarks)
    assert np.abs(swapped.astype(int) - one.image).mean() < 1


def test_self_blends_are_reproducible_differ_and_keep_the_face(people: dict[str, Portrait]) -> None:
    one = people["grace_hopper"]
    made = [self_blend(one.image, one.landmarks, np.random.default_rng(seed)) for seed in range(12)]
    again = self_blend(one.image, one.landmarks, np.random.default_rng(3))
    assert all(image.shape == one.image.shape and image.dtype == np.uint8 for image in made)
    assert np.array_equal(made[3], again)
    assert len({image.tobytes() for image in made}) == 12
    for image in made:
        correlation = np.corrcoef(image.mean(-1).ravel(), one.image.mean(-1).ravel())[0, 1]
        assert correlation > 0.9, "the picture is still that of the face"


def test_self_blends_leave_an_edge_around_the_face(people: dict[str, Portrait]) -> None:
    one = people["grace_hopper"]
    face = face_mask(one.landmarks, one.image.shape, "tight") > 0
    outside = face_mask(one.landmarks, one.image.shape, "whole") == 0
    outside[:300] = False
    steps = []
    for seed in range(24):
        image = self_blend(one.image, one.landmarks, np.random.default_rng(seed)).astype(float)
        change = image - one.image
        steps.append(np.abs(change[face].mean(0) - change[outside].mean(0)).max())
    assert np.mean(np.array(steps) > 2) > 0.5, (
        "most differ in colour between the face and its surroundings"
    )


@pytest.mark.parametrize("shape", [(8, 8), (33, 57)])
def test_tiny_pictures_are_taken(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    landmarks = SQUARE * (min(shape) / 100)
    assert self_blend(image, landmarks, np.random.default_rng(0)).shape == image.shape
    assert swap_face(image, landmarks, image, landmarks).shape == image.shape
