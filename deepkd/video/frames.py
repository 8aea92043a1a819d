"""Frames: a video or image as upright pictures, sampled evenly, with exact times."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from deepkd.errors import VideoError
from deepkd.languages import Note
from deepkd.video.containers import check_size
from deepkd.video.decoder import Decoder, Sample, never, open_decoder
from deepkd.video.lengths import FIELD_RATE, count_fields_once, lengths_s
from deepkd.video.silence import is_silent
from deepkd.video.stills import check_file, has_palette, read_still, still_kind

if TYPE_CHECKING:
    from deepkd.images import Image

MAX_PIXELS = 7680 * 4320
"""Largest frame that is decoded (8K); a larger one is refused before it fills the memory."""

MAX_SAMPLES = 100_000
"""How many moments of a video are looked at, at most: more than a day has seconds, whatever length
it declares."""

MAX_SHIFT = 0.4
"""How far a cheap frame may lie from the middle of its part, as a share of the part, before dearer
ones are decoded."""


PALETTE = Note("stored with at most 256 colors, which may shift the score")


@dataclass(frozen=True)
class VideoInfo:
    """What a file says about its video, or its still image."""

    path: Path
    width: int
    """Pixels, upright and square."""
    height: int
    """Pixels, upright and square."""
    rotation_deg: int
    """Turn that made the frames upright, mirrored ones mirrored back first, degrees
    counter-clockwise: 0 to 270."""
    fps: float
    """Mean frame rate, 0 where unknown and for a still image."""
    duration_s: float
    """Length of the video stream, 0 for a still image; what is there, where the file declares
    something else."""
    codec: str
    is_image: bool
    warnings: tuple[str, ...] = ()
    """What is odd about the file, one sentence each."""
    has_sound: bool = False
    """A sound stream of silence is none."""
    has_palette: bool = False
    """Whether a pixel is stored as one of at most 256 colors."""


@dataclass(frozen=True)
class Frame:
    """One decoded frame."""

    image: Image
    """RGB, uint8, (height, width, 3), upright."""
    t_s: float
    """Time since the start of the video stream, seconds."""
    index: int
    """0, 1, 2 ... in the order sampled."""


@dataclass(frozen=True)
class Moments:
    """Which frames to take of a video."""

    times_s: Sequence[float]
    """The times wanted, seconds, in order; the frame nearest to each is taken."""
    part_s: float
    """What one frame stands for, seconds: it lies as near to its time as a share of this
    (`MAX_SHIFT`) asks for."""
    left_out: int = 0
    """How many more were asked for, beyond `MAX_SAMPLES`."""


Plan = Callable[[float], Moments]
"""From the length of a video, seconds, to the moments to look at."""


def evenly(count: Callable[[float], int]) -> Plan:
    """The plan that cuts a video into equal parts and takes the middle of each.

    There are so many for its length in seconds, but `MAX_SAMPLES` at most.
    """

    def plan(duration_s: float) -> Moments:
        asked = count(duration_s)
        parts = min(asked, MAX_SAMPLES)
        part_s = duration_s / parts
        return Moments([(number + 0.5) * part_s for number in range(parts)], part_s, asked - parts)

    return plan


class Reading(Protocol):
    """An open video or still image: what it is, and then its frames."""

    @property
    def info(self) -> VideoInfo:
        """What the file holds, found by decoding its first frame."""
        ...

    def frames(self, warn: Callable[[str], None] | None = None) -> Iterator[Frame]:
        """The frames, see `read_frames`; to be called once."""
        ...


@contextmanager
def open_media(
    path: str | os.PathLike[str],
    plan: Plan,
    *,
    max_pixels: int = MAX_PIXELS,
    threads: int = 0,
    stop: Callable[[], bool] = never,
) -> Iterator[Reading]:
    """Open a video or an image, and keep it open for a `with` block.

    Args:
        path: a video or an image.
        plan: which frames of a video to take; an image has but one.
        max_pixels: larger frames are refused.
        threads: decoder threads, 0 for as many as there are cores.
        stop: asked between packets; where it says so, `Stopped` is raised.

    Raises:
        VideoError, ImageError: it cannot be opened, or not one frame decodes.
    """
    path = Path(path)
    head = check_file(path)
    kind = still_kind(head)
    if kind:
        warnings: list[str] = []
        image = read_still(path, max_pixels=max_pixels, warn=warnings.append)
        if has_palette(head):
            warnings.append(PALETTE)
        yield _Still(path, kind, image, warnings, has_palette(head))
        return
    with open_decoder(path, max_pixels=max_pixels, threads=threads, stop=stop) as video:
        declared_s, length_s = lengths_s(path, video, max_pixels, stop)
        yield _Moving(path, video, max_pixels, declared_s, length_s, plan(length_s))


def probe(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> VideoInfo:
    """What the file holds, found by decoding its first frame.

    Raises:
        VideoError, ImageError: it cannot be opened or decoded.
    """
    with open_media(path, evenly(lambda duration_s: 1), max_pixels=max_pixels) as file:
        return file.info


def read_frames(
    path: str | os.PathLike[str],
    *,
    frames: int,
    max_pixels: int = MAX_PIXELS,
    threads: int = 0,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Frame]:
    """At most `frames` frames, evenly spaced over the whole video; a still image gives exactly one.

    The duration is cut into equal parts, and the frame nearest to the middle of each is taken among
    those that are cheap to decode: keyframes where they lie close enough, else frames that others
    refer to, else all. Memory does not grow with the length of the video.

    Args:
        path: a video or an image.
        frames: how many to sample, up to `MAX_SAMPLES`; a shorter video gives all that it has.
        max_pixels: larger frames are refused.
        threads: decoder threads, 0 for as many as there are cores.
        warn: takes a sentence about each thing wrong with a video that still decodes.

    Raises:
        VideoError, ImageError: it cannot be opened, or not one frame decodes.
    """
    with open_media(
        path, evenly(lambda duration_s: frames), max_pixels=max_pixels, threads=threads
    ) as file:
        yield from file.frames(warn)


class _Still:
    """A `Reading` of an image."""

    def __init__(
        self, path: Path, kind: str, image: Image, warnings: Sequence[str], has_palette: bool
    ) -> None:
        height, width = image.shape[:2]
        self.info = VideoInfo(
            path, width, height, 0, 0.0, 0.0, kind, is_image=True, warnings=tuple(warnings),
            has_palette=has_palette,
        )  # fmt: skip
        self._image = image

    def frames(self, warn: Callable[[str], None] | None = None) -> Iterator[Frame]:
        yield Frame(self._image, 0.0, 0)


class _Moving:
    """A `Reading` of a video, decoded once."""

    def __init__(
        self,
        path: Path,
        video: Decoder,
        max_pixels: int,
        declared_s: float,
        length_s: float,
        moments: Moments,
    ) -> None:
        self.path, self._video, self._max_pixels = path, video, max_pixels
        self._declared_s, self._length_s, self._moments = declared_s, length_s, moments
        video.begin(moments.times_s[0], MAX_SHIFT * moments.part_s)

    @cached_property
    def info(self) -> VideoInfo:
        video, first = self._video, self._video.first()
        if first is None:
            raise _undecodable(self.path, video)
        check_size(self.path, first.picture, self._max_pixels)
        if first.picture.interlaced_frame and video.fps > FIELD_RATE:
            count_fields_once(self.path, video, self._max_pixels)
        orientation = video.orientation(first.picture)
        width, height = orientation.size(first.picture)
        is_dotted = video.codec == "gif" or first.picture.format.name == "pal8"
        warnings = list(_remarks(video.others, orientation.color.hdr, is_dotted))
        turn = 90 * orientation.quarter_turns
        found = VideoInfo(
            self.path, width, height, turn, video.fps, self._length_s, video.codec, False,
            tuple(warnings), video.has_sound and not is_silent(self.path, self._max_pixels),
            is_dotted,
        )  # fmt: skip
        check_size(self.path, found, self._max_pixels)
        return found

    def frames(self, warn: Callable[[str], None] | None = None) -> Iterator[Frame]:
        index, orientation = -1, None
        for index, sample in enumerate(_sample(self._video, self._moments)):
            check_size(self.path, sample.picture, self._max_pixels)
            orientation = orientation or self._video.orientation(sample.picture)
            yield Frame(orientation.upright(sample.picture), sample.t_s, index)
        if index < 0:
            raise _undecodable(self.path, self._video)
        if warn:
            for sentence in _complaints(
                self._video, self._declared_s, self._length_s, self._moments
            ):
                warn(sentence)


def every_frame(path: Path, *, max_pixels: int = MAX_PIXELS) -> Iterator[tuple[float, Image]]:
    """Every frame of a video that decodes, RGB uint8 and upright, with its time in seconds.

    Raises:
        VideoError: it cannot be opened, or a frame is too large.
    """
    check_file(path)
    with open_decoder(path, max_pixels=max_pixels) as video:
        while video.climb(0.0):
            pass  # up to the level that leaves nothing out
        orientation = None
        for sample in video.decode_rest():
            check_size(path, sample.picture, max_pixels)
            orientation = orientation or video.orientation(sample.picture)
            yield sample.t_s, orientation.upright(sample.picture)


def _sample(video: Decoder, moments: Moments) -> Iterator[Sample]:
    """The frame nearest to each moment, each frame once."""
    last_s = float("-inf")
    for target_s in moments.times_s:
        found = video.nearest(target_s)
        while _is_far(found, target_s, moments.part_s) and video.climb(target_s):
            found = video.nearest(target_s)
        if found and found.t_s > last_s:
            last_s = found.t_s
            yield found


def _is_far(found: Sample | None, target_s: float, part_s: float) -> bool:
    return found is None or abs(found.t_s - target_s) > MAX_SHIFT * part_s


def _complaints(
    video: Decoder, declared_s: float, length_s: float, moments: Moments
) -> Iterator[str]:
    """What was wrong with a video that still decoded."""
    if moments.left_out:
        count = len(moments.times_s)
        yield Note(
            "it is looked at {count} times, every {part_s:.6g} s, which is the most, instead of the"
            " {asked} asked for",
            count=count,
            part_s=moments.part_s,
            asked=count + moments.left_out,
        )
    if video.damaged:
        why = video.error or "incomplete frames"
        yield Note("{count} damaged pieces were left out ({why})", count=video.damaged, why=why)
    missing_s = length_s - moments.part_s - video.end_s if video.end_s is not None else 0.0
    end_s = video.end_s if missing_s > (1 / video.fps if video.fps else 0.1) else length_s
    if end_s is not None and end_s < declared_s:
        yield Note(
            "it ends at {end:.1f} s of the {declared:.1f} s declared, and is judged on those",
            end=end_s,
            declared=declared_s,
        )
    elif length_s > declared_s:
        yield Note(
            "it goes on to {end:.1f} s where {declared:.1f} s are declared, and is judged on all of"
            " it",
            end=length_s,
            declared=declared_s,
        )


def _remarks(others: int, hdr: str, has_palette: bool) -> Iterator[str]:
    """What is odd about a video, by the number of its further streams and how it has colors."""
    if others == 1:
        yield Note("1 more video stream is not judged")
    elif others:
        yield Note("{count} more video streams are not judged", count=others)
    if hdr:
        yield Note("HDR ({kind}) was converted to SDR", kind=hdr)
    if has_palette:
        yield PALETTE


def _undecodable(path: Path, video: Decoder) -> VideoError:
    why = video.error or "it holds no frames"
    return VideoError(
        f"{path}: not one frame of its {video.codec} video can be decoded ({why}); "
        "re-encode it, e.g. with ffmpeg -i in -c:v libx264 out.mp4"
    )
