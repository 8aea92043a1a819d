"""Labelled forgeries made from real faces, with NumPy and OpenCV only.

`self_blend` makes the self-blended images of Shiohara and Yamasaki, "Detecting Deepfakes with
Self-Blended Images" (CVPR 2022), written from the paper: two views of one face, one of them
changed, blended along a mask of that face. `swap_face` blends one person's face onto another's, as
face-swapping programs do.

Both take MTCNN's five landmarks, float32 (5, 2), pixels: left eye, right eye, nose, left and right
mouth corner as seen in the image. Images are RGB, uint8, (height, width, 3).
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.images import Image

Landmarks = npt.NDArray[np.float32]
Plane = npt.NDArray[np.float32]
"""One number per pixel, float32, (height, width)."""

BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
ELASTIC_ALPHA, ELASTIC_SIGMA = 50.0, 7.0
"""Strength and smoothness (pixels) of the mask's deformation, for a face 112 pixels wide."""


@dataclass(frozen=True)
class Outline:
    """The edge of a face: two half ellipses that meet at the eyes, in units of the face's scale."""

    half_width: float
    above: float
    """From the eye line up."""
    below: float
    """From the eye line down."""
    start: float = -9.0
    """Where the outline begins below the eye line; above it is cut off."""


OUTLINES = {
    "whole": Outline(1.05, above=0.85, below=1.75),
    "inner": Outline(1.1, above=0.52, below=1.42),
    "tight": Outline(0.8, above=0.4, below=1.3),
    "lower": Outline(0.95, above=0.5, below=1.7, start=0.3),
}
"""Forehead to chin; brows to chin; eyes, nose and mouth; nose to chin."""


def face_scale(landmarks: Landmarks) -> float:
    """The size of a face, pixels: the distance of the eyes, or of eyes and mouth if longer."""
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    down = (left_mouth + right_mouth - left_eye - right_eye) / 2
    return max(float(np.linalg.norm(right_eye - left_eye)), float(np.linalg.norm(down)), 1.0)


def face_mask(landmarks: Landmarks, shape: tuple[int, ...], outline: str = "inner") -> Plane:
    """1 inside the named outline of the face, 0 outside; (height, width) as in `shape`."""
    form, scale = OUTLINES[outline], face_scale(landmarks)
    left_eye, right_eye, _, left_mouth, right_mouth = landmarks
    eyes, mouth = (left_eye + right_eye) / 2, (left_mouth + right_mouth) / 2
    across, down = _unit(right_eye - left_eye, (1, 0)), _unit(mouth - eyes, (0, 1))
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    depth = np.sin(angle) * np.where(np.sin(angle) > 0, form.below, form.above)
    points = np.stack([form.half_width * np.cos(angle), np.maximum(depth, form.start)], axis=1)
    corners = eyes + scale * points @ np.stack([across, down])
    mask = np.zeros(shape[:2], np.float32)
    cv2.fillPoly(mask, [np.round(corners * 16).astype(np.int32)], 1.0, cv2.LINE_8, 4)
    return mask


def _unit(
    vector: npt.NDArray[np.floating], fallback: tuple[float, float]
) -> npt.NDArray[np.floating]:
    length = float(np.linalg.norm(vector))
    return vector / length if length > 1e-3 else np.asarray(fallback, np.float32)


def swap_face(
    source: Image,
    source_landmarks: Landmarks,
    target: Image,
    target_landmarks: Landmarks,
) -> Image:
    """The target with the face of the source: warped, in the target's colours, softly blended.

    Args:
        source: the picture that gives the face.
        source_landmarks: its five landmarks.
        target: the picture that receives it.
        target_landmarks: its five landmarks.

    Returns:
        RGB, uint8, the target's shape.
    """
    matrix = similarity(source_landmarks, target_landmarks)
    shrink = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    if shrink < 1:
        source = np.asarray(cv2.GaussianBlur(source, (0, 0), 0.4 / shrink), np.uint8)
    height, width = target.shape[:2]
    warped = cv2.warpAffine(source, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    mask = face_mask(target_landmarks, target.shape, "inner")
    coloured = match_colours(np.asarray(warped, np.uint8), target, mask)
    return blend(coloured, target, soften(mask, 0.18 * face_scale(target_landmarks)))


def similarity(source: Landmarks, target: Landmarks) -> npt.NDArray[np.float64]:
    """The rotation, scale and shift from `source` to `target` by least squares, a (2, 3) matrix."""
    a, b = (
        points[:, 0] + 1j * points[:, 1] for points in (source.astype(float), target.astype(float))
    )
    spread = a - a.mean()
    turn = np.vdot(spread, b - b.mean()) / max(float(np.vdot(spread, spread).real), 1e-9)
    shift = b.mean() - turn * a.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def match_colours(image: Image, reference: Image, mask: Plane) -> Image:
    """Give `image` the mean and spread of `reference` inside the mask.

    Per channel of CIELAB (Reinhard et al. 2001).
    """
    inside = mask > 0.5
    if not inside.any():
        return image
    lab, wanted = (
        cv2.cvtColor(x, cv2.COLOR_RGB2LAB).astype(np.float32) for x in (image, reference)
    )
    mean, goal = lab[inside].mean(0), wanted[inside].mean(0)
    gain = np.clip(wanted[inside].std(0) / np.maximum(lab[inside].std(0), 1e-3), 0.7, 1.4)
    moved = np.clip((lab - mean) * gain + goal, 0, 255).astype(np.uint8)
    return np.asarray(cv2.cvtColor(moved, cv2.COLOR_LAB2RGB), np.uint8)


def soften(mask: Plane, width_px: float) -> Plane:
    """The mask with an edge that falls to 0 over about `width_px`, inside the original edge."""
    width_px = max(width_px, 1.0)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(width_px / 2) + 1,) * 2)
    bordered = cv2.erode(mask, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.GaussianBlur(bordered, (0, 0), width_px / 3), np.float32)


def blend(source: Image, target: Image, mask: Plane) -> Image:
    """The mixture mask * source + (1 - mask) * target."""
    weight = mask[..., None]
    return np.round(weight * source + (1 - weight) * target).astype(np.uint8)


def self_blend(
    image: Image, landmarks: Landmarks, rng: np.random.Generator, *, keep_surroundings: bool = False
) -> Image:
    """A forgery of the face with itself: the marks of blending without another face.

    One of two copies is changed in colour and sharpness, the source copy is moved and scaled a
    little, and both are blended along a randomly deformed mask of the face with a random strength.

    Args:
        image: a real face.
        landmarks: its five landmarks.
        rng: what is drawn comes from here; the same draws on another frame of the same shape make
            the same forgery.
        keep_surroundings: change the copy that gives the face, never the one around it.

    Returns:
        RGB, uint8, the image's shape.
    """
    source, target = image, image
    if rng.random() < 0.5 or keep_surroundings:
        source = _change_sharpness(_change_colours(source, rng), rng)
    else:
        target = _change_sharpness(_change_colours(target, rng), rng)
    mask = face_mask(landmarks, image.shape, str(rng.choice(list(OUTLINES))))
    source, mask = _move(source, mask, landmarks, rng)
    mask = _random_edge(_deform(mask, landmarks, rng), landmarks, rng)
    return blend(source, target, mask * np.float32(rng.choice(BLEND_RATIOS)))


def _change_colours(image: Image, rng: np.random.Generator) -> Image:
    """Shift channels, hue, saturation, value, brightness and contrast, each at random."""
    changed = image.astype(np.float32)
    if rng.random() < 0.4:
        changed += rng.uniform(-20, 20, 3)
    if rng.random() < 0.4:
        hsv = cv2.cvtColor(np.clip(changed, 0, 255).astype(np.uint8), cv2.COLOR_RGB2HSV).astype(
            np.float32
        )
        hsv[..., 0] = (hsv[..., 0] + rng.uniform(-6, 6)) % 180
        hsv[..., 1:] *= rng.uniform(0.75, 1.25, 2)
        changed = cv2.cvtColor(np.clip(hsv, 0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB).astype(
            np.float32
        )
    if rng.random() < 0.6:
        contrast, brightness = rng.uniform(0.85, 1.15), rng.uniform(-15, 15)
        changed = (changed - 127.5) * contrast + 127.5 + brightness
    return np.clip(changed, 0, 255).astype(np.uint8)


def _change_sharpness(image: Image, rng: np.random.Generator) -> Image:
    """Shrink by 2 or 4 and enlarge again, or sharpen."""
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        factor = int(rng.choice((2, 4)))
        small = (max(1, width // factor), max(1, height // factor))
        shrunk = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        return np.asarray(
            cv2.resize(shrunk, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
        )
    strength = rng.uniform(0.2, 0.5)
    detail = image.astype(np.float32) - cv2.GaussianBlur(image, (0, 0), 1.0)
    return np.asarray(np.clip(image + 4 * strength * detail, 0, 255), np.uint8)


def _move(
    source: Image, mask: Plane, landmarks: Landmarks, rng: np.random.Generator
) -> tuple[Image, Plane]:
    """Shift by at most 3% across and 1.5% down of the face's box; scale by 0.95 to 1/0.95."""
    height, width = source.shape[:2]
    face_px = 2.2 * face_scale(landmarks)
    across, down = rng.uniform(-0.03, 0.03) * face_px, rng.uniform(-0.015, 0.015) * face_px
    scale = rng.uniform(0.95, 1 / 0.95)
    x, y = (float(value) for value in landmarks[2])
    matrix = np.array([[scale, 0, (1 - scale) * x + across], [0, scale, (1 - scale) * y + down]])
    moved = cv2.warpAffine(source, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8), np.asarray(
        cv2.warpAffine(mask, matrix, (width, height)), np.float32
    )


def _deform(mask: Plane, landmarks: Landmarks, rng: np.random.Generator) -> Plane:
    """Elastic deformation (Simard et al. 2003): every pixel moves by smoothed noise."""
    height, width = mask.shape
    ratio = 2.2 * face_scale(landmarks) / 112
    noise = rng.uniform(-1, 1, (2, height, width)).astype(np.float32)
    shift = [cv2.GaussianBlur(plane, (0, 0), ELASTIC_SIGMA * ratio) for plane in noise]
    gain = ELASTIC_ALPHA * ratio * ratio
    ys, xs = np.mgrid[:height, :width].astype(np.float32)
    moved = cv2.remap(mask, xs + gain * shift[0], ys + gain * shift[1], cv2.INTER_LINEAR)
    return np.asarray(moved, np.float32)


def _random_edge(mask: Plane, landmarks: Landmarks, rng: np.random.Generator) -> Plane:
    """Grow or shrink the mask a little and soften its edge, between two blurs of random width."""
    scale = face_scale(landmarks)
    first, second = rng.uniform(0.03, 0.15, 2) * scale
    blurred = cv2.GaussianBlur(mask, (0, 0), max(first, 0.5))
    moved = np.where(blurred > rng.choice((0.2, 0.5, 0.8)), np.float32(1), np.float32(0))
    return np.asarray(cv2.GaussianBlur(moved, (0, 0), max(second, 0.5)), np.float32)
