"""The closer look: more frames near the moments at which single frames look forged."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from deepkd.scoring.model import InputFormat
from deepkd.scoring.rules import Criteria, odd_frames
from deepkd.scoring.scores import FrameScore
from deepkd.video.crops import Crop, crop_face
from deepkd.video.faces import FaceDetector
from deepkd.video.frames import Frame, Moments, Plan
from deepkd.video.shots import ALIKE, Look
from deepkd.video.tracks import same_person

MAX_MOMENTS, STEP_S, MAX_REACH_S = 3, 0.2, 1.0
"""A clip is looked at more closely at a few moments at most, with a frame every `STEP_S` seconds,
from the sample before to the sample after, but no farther than `MAX_REACH_S` seconds."""


def suspicious_moments(
    people: Mapping[int, Sequence[FrameScore]], criteria: Criteria, reach_s: float
) -> Iterator[tuple[int, FrameScore]]:
    """The most suspicious frames that do not decide alone, as (person, frame).

    Args:
        people: person -> scores in order of time.
        criteria: what the clip is judged by.
        reach_s: two moments of one person lie farther apart than this, seconds.
    """
    odd = [
        (person, frame)
        for person, frames in people.items()
        for frame in odd_frames(frames, criteria)
    ]
    chosen: list[tuple[int, FrameScore]] = []
    for person, frame in sorted(odd, key=lambda one: -one[1].logit):
        if all(person != other or abs(frame.t_s - near.t_s) > reach_s for other, near in chosen):
            chosen.append((person, frame))
    yield from chosen[:MAX_MOMENTS]


def around(t_s: float, reach_s: float) -> Plan:
    """The plan that takes frames `STEP_S` apart, from `reach_s` before a time to as long after."""

    def plan(duration_s: float) -> Moments:
        start_s, end_s = max(0.0, t_s - reach_s), min(duration_s, t_s + reach_s)
        return Moments(np.arange(start_s, end_s, STEP_S).tolist() or [t_s], STEP_S)

    return plan


def follow_person(
    moment: FrameScore, frames: Iterable[Frame], detector: FaceDetector, format: InputFormat
) -> Iterator[Crop]:
    """The crops of one person in frames near a moment, in the same shot.

    Args:
        moment: when and where the person was seen.
        frames: frames near it, in order of time.
        detector: finds the faces.
        format: how the model wants crops framed and sized.
    """
    looks: dict[float, Look] = {}
    crops: list[Crop] = []
    for frame in frames:
        looks[frame.t_s] = Look.of(frame.image)
        for thorough in (False, True):
            faces = detector.detect(frame.image, thorough=thorough)
            found = same_person(moment.t_s, moment.box, frame.t_s, [face.box for face in faces])
            if found is not None:
                crops.append(crop_face(frame, faces[found], face_px=format.size, rule=format.crop))
                break
    if looks:
        shot = looks[min(looks, key=lambda t_s: abs(t_s - moment.t_s))]
        yield from (crop for crop in crops if looks[crop.t_s].likeness(shot) >= ALIKE)
