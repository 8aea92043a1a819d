"""Footage: the faces in the sampled frames of a clip, and what else these show."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from deepkd.scoring.model import InputFormat
from deepkd.video.crops import Crop, crop_face
from deepkd.video.faces import Face, FaceDetector
from deepkd.video.frames import Frame
from deepkd.video.people import People
from deepkd.video.tracks import Tracker

THOROUGH = 4
"""Every fourth frame is also searched for small faces beside larger ones, and so is each frame
after a frame with a small face. To search every frame takes 2.5 times as long at 1080 lines."""


@dataclass
class Seen:
    """What the evenly sampled frames of a clip show, beside scores."""

    samples: list[tuple[float, int]] = field(default_factory=list)
    """Time in seconds and number of the shot of each frame."""
    people: People = field(default_factory=People)


def find_people(
    frames: Iterable[Frame],
    detector: FaceDetector,
    format: InputFormat,
    *,
    seen: Seen | None = None,
) -> Iterator[tuple[int, Crop]]:
    """Every face as (number of its track, crop framed and sized for the model).

    Args:
        frames: in order of time.
        detector: finds the faces.
        format: how the model wants crops framed and sized.
        seen: takes note of every frame.
    """
    tracker, faces = Tracker(), list[Face]()
    for number, frame in enumerate(frames):
        thorough = number % THOROUGH == 0 or any(face.is_small for face in faces)
        faces = detector.detect(frame.image, thorough=thorough)
        tracks = tracker.update(frame.t_s, faces, frame.image)
        crops = [crop_face(frame, face, face_px=format.size, rule=format.crop) for face in faces]
        if seen:
            seen.samples.append((frame.t_s, tracker.shot))
            seen.people.add(zip(tracks, crops, strict=True))
        yield from zip(tracks, crops, strict=True)
