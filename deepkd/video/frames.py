"""Frames: a video or a still image as upright pictures, evenly sampled in time, with exact timestamps."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from deepkd.errors import VideoError
from deepkd.video.decoder import Decoder, Sample, check_size, opened
from deepkd.video.stills import check_file, read_still, still_kind

Image = npt.NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""

MAX_PIXELS = 7680 * 4320
"""Largest frame that is decoded (8K); a larger one is refused before it fills the memory."""

MAX_SHIFT = 0.4
"""How far a cheap frame may lie from the middle of its part, as a share of the part, before dearer ones are decoded."""


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video, or its still image."""

    path: Path
    width: int
    """Pixels, upright."""
    height: int
    """Pixels, upright."""
    rotation_deg: int
    """Turn applied to make the frames upright, degrees counter-clockwise: 0, 90, 180 or 270."""
    fps: float
    """Mean frame rate, 0 where unknown and for a still image."""
    duration_s: float
    """Length of the video stream, 0 for a still image."""
    codec: str
    is_image: bool
    warnings: tuple[str, ...] = ()
    """What is odd about the file, one sentence each."""


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    image: Image
    """RGB, uint8, (height, width, 3), upright."""
    t_s: float
    """Time since the start of the video stream, seconds."""
    index: int
    """0, 1, 2 ... in the order sampled."""


def probe(path: Path, *, max_pixels: int = MAX_PIXELS) -> VideoInfo:
    """What the file holds, found by decoding its first frame.

    Raises:
        VideoError, ImageError: it cannot be opened or decoded.
    """
    kind = still_kind(check_file(path))
    if kind:
        height, width = read_still(path, max_pixels=max_pixels).shape[:2]
        return VideoInfo(path, width, height, 0, 0.0, 0.0, kind, is_image=True)
    with opened(path, max_pixels=max_pixels) as video:
        first = next(video.decoded(), None)
        if first is None:
            raise _undecodable(path, video)
        check_size(path, first.picture, max_pixels)
        turns = _quarter_turns(first.picture)
        size = (first.picture.width, first.picture.height)
        width, height = reversed(size) if turns % 2 else size
        duration_s = _duration_s(path, video)
    warnings = (f"{video.others} more video streams are ignored",) if video.others else ()
    return VideoInfo(path, width, height, turns * 90, video.fps, duration_s, video.codec, False, warnings)


def read_frames(
    path: Path,
    *,
    frames: int,
    info: VideoInfo | None = None,
    max_pixels: int = MAX_PIXELS,
    threads: int = 0,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """At most `frames` frames, evenly spaced over the whole video; a still image gives exactly one.

    The duration is cut into equal parts, and the frame nearest to the middle of each is taken among those that are
    cheap to decode: keyframes where they lie close enough, else frames that others refer to, else all. Memory does
    not grow with the length of the video.

    Args:
        path: a video or an image.
        frames: how many to sample; a shorter video gives all that it has.
        info: what `probe` gave, to save measuring the duration again.
        max_pixels: larger frames are refused.
        threads: decoder threads, 0 for as many as there are cores.
        warn: takes a sentence about each thing wrong with a video that still decodes.

    Raises:
        VideoError, ImageError: it cannot be opened, or not one frame decodes.
    """
    if still_kind(check_file(path)):
        yield Frame(read_still(path, max_pixels=max_pixels), 0.0, 0)
        return
    with opened(path, max_pixels=max_pixels, threads=threads) as video:
        duration_s = info.duration_s if info else _duration_s(path, video)
        index = -1
        for index, sample in enumerate(_sampled(video, duration_s, frames)):
            check_size(path, sample.picture, max_pixels)
            yield Frame(upright(sample.picture), sample.t_s, index)
        if index < 0:
            raise _undecodable(path, video)
        if warn:
            for sentence in _complaints(video, duration_s, frames):
                warn(sentence)


def every_frame(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[float, Image]]:
    """Every frame of a video that decodes, RGB uint8 and upright, with its time in seconds.

    Raises:
        VideoError: it cannot be opened, or a frame is too large.
    """
    check_file(path)
    with opened(path, max_pixels=max_pixels) as video:
        while video.climb(0.0):
            pass  # up to the level that leaves nothing out
        for sample in video.decoded():
            check_size(path, sample.picture, max_pixels)
            yield sample.t_s, upright(sample.picture)


def _sampled(video: Decoder, duration_s: float, frames: int) -> Iterator[Sample]:
    """The frame nearest to the middle of each of `frames` equal parts of the duration, each frame once."""
    part_s = duration_s / frames
    last_s = float("-inf")
    for number in range(frames):
        target_s = (number + 0.5) * part_s
        found = video.nearest(target_s)
        while _is_far(found, target_s, part_s) and video.climb(target_s):
            found = video.nearest(target_s)
        if found and found.t_s > last_s:
            last_s = found.t_s
            yield found


def _is_far(found: Sample | None, target_s: float, part_s: float) -> bool:
    return found is None or abs(found.t_s - target_s) > MAX_SHIFT * part_s


def _complaints(video: Decoder, duration_s: float, frames: int) -> Iterator[str]:
    """What was wrong with a video that still decoded."""
    if video.damaged:
        yield f"{video.damaged} damaged pieces were left out ({video.error or 'incomplete frames'})"
    part_s = duration_s / frames
    missing_s = duration_s - part_s - video.end_s if video.end_s is not None else 0.0
    if missing_s > (1 / video.fps if video.fps else 0.1):
        yield f"it ends at {video.end_s:.1f} s of the {duration_s:.1f} s declared, and is judged on those"


def _duration_s(path: Path, video: Decoder) -> float:
    """The declared length of the video stream, else the measured one."""
    if video.declared_s is not None:
        return video.declared_s
    with opened(path, max_pixels=MAX_PIXELS) as again:
        return again.measured_s()


def _undecodable(path: Path, video: Decoder) -> VideoError:
    why = video.error or "it holds no frames"
    return VideoError(
        f"{path}: not one frame of its {video.codec} video can be decoded ({why}); "
        "re-encode it, e.g. with ffmpeg -i in -c:v libx264 out.mp4"
    )


def _quarter_turns(picture: VideoFrame) -> int:
    """Quarter turns counter-clockwise, 0 to 3, that make the picture upright."""
    return round(picture.rotation / 90) % 4


def upright(picture: VideoFrame) -> Image:
    """The picture as RGB uint8 (H, W, 3), turned upright."""
    image = picture.to_ndarray(format="rgb24")
    return np.ascontiguousarray(np.rot90(image, _quarter_turns(picture)))
