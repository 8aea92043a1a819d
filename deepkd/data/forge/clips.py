"""Forged clips: one person is followed through a clip, and the face forged in every frame."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from deepkd.data.chance import chance
from deepkd.data.clips import FAKE, REAL, Clip
from deepkd.data.extract.folder import name_folders
from deepkd.data.forge.blending import Landmarks, face_scale
from deepkd.data.forge.camera import FPS, SIZE, film
from deepkd.data.forge.methods import (
    METHODS,
    Portrait,
    Progress,
    Summary,
    check_people,
    choose_donor,
    name_variant,
)
from deepkd.errors import InputError, OutputError
from deepkd.images import Image
from deepkd.outputs import write_whole
from deepkd.settings.data import ForgeConfig
from deepkd.text import csv_writer
from deepkd.video.encoder import write_clip
from deepkd.video.faces import Face, FaceDetector, load_detector
from deepkd.video.frames import every_frame, probe, read_frames
from deepkd.video.tracks import Tracker

LIST_NAME = "clips.csv"
SMOOTH_FRAMES = 2.0
"""Standard deviation of the smoothing of landmarks over time, frames."""
SEEN_SHARE = 0.5
"""Share of the frames in which a person must be found. Between them landmarks are interpolated."""
WINDOW = 6.0
"""Side of the square around the face in which it is forged, in units of the face's scale."""


@dataclass(frozen=True)
class Scene:
    """A source with one person who is followed through it."""

    clip: Clip
    name: str
    """The name of its files."""
    fps: float
    landmarks: npt.NDArray[np.float32]
    """Smoothed landmarks of every frame, (frames, 5, 2), pixels; of a still, (1, 5, 2)."""
    is_still: bool
    face: Portrait
    """The person's face in the first frame with it, for other scenes."""

    @property
    def side_px(self) -> int:
        """Side of the window in which the face is forged, pixels; the same in every frame."""
        scales = [face_scale(points) for points in self.landmarks]
        return math.ceil(WINDOW * float(np.median(scales)))


def forge_clips(
    clips: Sequence[Clip], config: ForgeConfig, summary: Summary, progress: Progress
) -> None:
    """Encode each clip again, unchanged and with its largest face forged, and list all clips."""
    detector = load_detector(config.detector, device=config.device)
    scenes = []
    for number, (clip, name) in enumerate(
        zip(clips, name_folders([clip.video for clip in clips]), strict=True), 1
    ):
        try:
            scene = None if clip.problem else follow(clip, name, detector, config.seconds)
        except InputError as error:
            summary.failed.append((clip.video, str(error).removeprefix(f"{clip.path}: ")))
        else:
            if clip.problem:
                summary.failed.append((clip.video, clip.problem))
            elif scene is None:
                summary.no_face.append(
                    (clip.video, f"nobody is seen in {SEEN_SHARE:.0%} of the frames")
                )
            else:
                scenes.append(scene)
        progress(number, 2 * len(clips))
    check_people(_map_splits(scenes), config, summary)
    lines = []
    for number, scene in enumerate(scenes, 1):
        lines += _write_scene(scene, scenes, config, summary)
        progress(len(clips) + number, len(clips) + len(scenes))
    _write_list(summary.out / LIST_NAME, lines)


def follow(clip: Clip, name: str, detector: FaceDetector, seconds: float) -> Scene | None:
    """Follow the person who covers the largest area over the time of a clip.

    Args:
        clip: a video or a still.
        name: of the files to write.
        detector: finds the faces, in every frame.
        seconds: how much of the clip to read.

    Returns:
        The scene; None where nobody is found in `SEEN_SHARE` of the frames.

    Raises:
        VideoError, ImageError: it cannot be decoded.
    """
    info = probe(clip.path)
    tracker = Tracker()
    people: dict[int, dict[int, Face]] = {}
    faces_of: dict[int, Portrait] = {}
    count = 0
    for count, (t_s, image) in enumerate(_read_source(clip.path, info.is_image, seconds), 1):
        faces = detector.detect(image)
        for person, face in zip(tracker.update(t_s, faces, image), faces, strict=True):
            people.setdefault(person, {})[count - 1] = face
            if person not in faces_of:
                faces_of[person] = _cut_out(Portrait(image, face.landmarks))
    chosen = max(
        people,
        key=lambda person: sum(_measure_area(face) for face in people[person].values()),
        default=-1,
    )
    seen = people.get(chosen, {})
    if not seen or len(seen) < SEEN_SHARE * count:
        return None
    landmarks = smooth_landmarks({number: face.landmarks for number, face in seen.items()}, count)
    return Scene(clip, name, info.fps or FPS, landmarks, info.is_image, faces_of[chosen])


def _measure_area(face: Face) -> float:
    return face.box[2] * face.box[3]


def _read_source(path: Path, is_still: bool, seconds: float) -> Iterator[tuple[float, Image]]:
    if is_still:
        yield from ((frame.t_s, frame.image) for frame in read_frames(path, frames=1))
    else:
        yield from takewhile(lambda frame: frame[0] < seconds, every_frame(path))


def smooth_landmarks(found: dict[int, Landmarks], frames: int) -> npt.NDArray[np.float32]:
    """Interpolate the landmarks of some frames to all frames, then smooth them over time.

    Args:
        found: number of a frame -> its landmarks, (5, 2), pixels.
        frames: the number of frames in all.

    Returns:
        Landmarks of every frame, (frames, 5, 2), pixels.
    """
    known = sorted(found)
    table = np.stack([found[number].ravel() for number in known])
    every = [np.interp(range(frames), known, column) for column in table.T]
    whole = np.stack(every, axis=1).astype(np.float32)
    reach = 2 * math.ceil(3 * SMOOTH_FRAMES) + 1
    smooth = cv2.GaussianBlur(
        whole, (1, reach), 1.0, sigmaY=SMOOTH_FRAMES, borderType=cv2.BORDER_REPLICATE
    )
    return np.asarray(smooth, np.float32).reshape(frames, 5, 2)


def _cut_out(portrait: Portrait) -> Portrait:
    """Cut out the face with little around it, to save memory."""
    side = math.ceil(WINDOW * face_scale(portrait.landmarks))
    x, y, right, bottom = _locate_window(portrait.image, portrait.landmarks, side)
    return Portrait(
        portrait.image[y:bottom, x:right].copy(), portrait.landmarks - np.array((x, y), np.float32)
    )


def _locate_window(image: Image, landmarks: Landmarks, side: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the square around the face, moved to lie in the image."""
    height, width = image.shape[:2]
    across, down = min(side, width), min(side, height)
    x, y = (round(float(value)) for value in landmarks.mean(axis=0))
    left, top = (
        min(max(0, x - across // 2), width - across),
        min(max(0, y - down // 2), height - down),
    )
    return left, top, left + across, top + down


def _write_scene(
    scene: Scene, scenes: Sequence[Scene], config: ForgeConfig, summary: Summary
) -> list[tuple[str, ...]]:
    """Write the clips of one scene; return their lines of the list."""
    real = f"real/{scene.name}.mp4"
    lines: list[tuple[str, ...]] = [(real, REAL, real, scene.clip.split, "", "")]
    _encode_scene(summary.out / real, scene, config.seconds, lambda image, points: image)
    summary.real += 1
    for number in range(config.count):
        fake = f"fake/{name_variant(config, number)}/{scene.name}.mp4"
        donor = _find_donor(scene, scenes, config, number)
        _encode_scene(
            summary.out / fake, scene, config.seconds, _make_forger(scene, donor, config, number)
        )
        giver = f"real/{donor.name}.mp4" if donor else ""
        lines.append((fake, FAKE, real, scene.clip.split, config.method, giver))
        summary.fake += 1
    return lines


def _map_splits(scenes: Sequence[Scene]) -> dict[str, str]:
    return {scene.clip.original: scene.clip.split for scene in scenes}


def _find_donor(
    scene: Scene, scenes: Sequence[Scene], config: ForgeConfig, number: int
) -> Scene | None:
    """Find the scene whose face a forgery gets; None where the method needs no other face."""
    if not METHODS[config.method].needs_donor:
        return None
    by_original = {other.clip.original: other for other in scenes}
    return by_original[choose_donor(scene.clip.original, _map_splits(scenes), number, config)]


def _make_forger(
    scene: Scene, donor: Scene | None, config: ForgeConfig, number: int
) -> Callable[[Image, Landmarks], Image]:
    """Make a function that forges a frame of the scene, with the same draws for every frame."""
    method, side, donor_face = METHODS[config.method], scene.side_px, donor.face if donor else None

    def forge_frame(image: Image, landmarks: Landmarks) -> Image:
        left, top, right, bottom = _locate_window(image, landmarks, side)
        rng = chance(config.seed, "clip", scene.clip.video, number)
        piece = np.ascontiguousarray(image[top:bottom, left:right])
        result = image.copy()
        face = Portrait(piece, landmarks - np.array((left, top), np.float32))
        result[top:bottom, left:right] = method.apply(face, donor_face, rng, True)
        return result

    return forge_frame


def _encode_scene(
    path: Path, scene: Scene, seconds: float, change: Callable[[Image, Landmarks], Image]
) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path.parent}: cannot be made ({error.strerror}); make room there"
        ) from error
    frames = (image for _, image in _read_source(scene.clip.path, scene.is_still, seconds))
    changed: Iterator[Image] = (
        change(image, points) for image, points in zip(frames, scene.landmarks, strict=False)
    )
    if scene.is_still:
        x, y = (float(value) for value in scene.landmarks[0].mean(axis=0))
        still = next(changed)
        window_px = min(still.shape[1], still.shape[0] * SIZE[0] / SIZE[1], 1.6 * scene.side_px)
        changed = film(still, max(1, round(seconds * FPS)), centre=(x, y), window_px=window_px)
    write_clip(path, changed, fps=scene.fps)


def _write_list(path: Path, lines: Sequence[tuple[str, ...]]) -> None:
    with (
        write_whole(path) as beside,
        beside.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv_writer(file)
        writer.writerow(("path", "label", "original", "split", "method", "donor"))
        writer.writerows(lines)
