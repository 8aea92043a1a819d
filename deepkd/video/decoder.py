"""Decoder: one open video that decodes forward, seeks, and finds the frame nearest to a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, cast

import av
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from deepkd.errors import VideoError
from deepkd.video.containers import check_size, has_sound, open_container, video_streams
from deepkd.video.hdr import Color
from deepkd.video.index import End, read_index
from deepkd.video.joins import RESTARTING, Joins
from deepkd.video.orientation import Orientation

SKIPS: tuple[Literal["NONKEY", "NONREF", "DEFAULT"], ...] = ("NONKEY", "NONREF", "DEFAULT")
"""What the decoder leaves out, from the cheapest to the dearest: all but keyframes, frames that no
other refers to, nothing. FFmpeg's `BIDIR` is cheaper than `NONREF` and wrong: encoders let frames
refer to bidirectional ones, and without these the pictures are damaged (25 to 35 dB in the clips
measured)."""

SEEK_S = 10.0
"""A sample farther ahead than this is reached by seeking; encoders put keyframes closer than
this."""

ASPECTS = (0.25, 4.0)
"""Between these a file is believed what it says of its pixels' shape; films are shot at 0.5 to
2."""

GUESSED_FPS = 25.0
"""For streams that carry neither timestamps nor a frame rate."""


@dataclass(frozen=True)
class Sample:
    """A decoded picture, not yet converted."""

    picture: VideoFrame
    t_s: float
    """Time since the start of the video stream, seconds."""


class Stopped(Exception):
    """Whoever wanted the frames wants no more."""


def never() -> bool:
    """What is asked where nobody stops a decoder."""
    return False


class Decoder:
    """An open video, see `open_decoder`. It starts at the cheapest level of `SKIPS`."""

    _before: Sample | None
    _ahead: Sample | None
    _coming: Iterator[Sample]

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        *,
        max_pixels: int,
        threads: int = 0,
        stop: Callable[[], bool] = never,
    ) -> None:
        self.path = path
        self.damaged = 0
        """Packets and frames left out."""
        self.error = ""
        """What FFmpeg said last."""
        self.end_s: float | None = None
        """Time of the last frame, once it was reached with every frame decoded."""
        self.others = 0
        """Further video streams in the file."""
        self._file, self._max_pixels, self._threads = file, max_pixels, threads
        self._level, self._stop = 0, stop
        self._choice = 0
        self._open()
        if self.others:
            try:
                self._choice = self._first_filled()
            finally:
                self.close()
            self._open()
        self._start = self._stream.start_time or 0
        self._tick_s = self._stream.time_base or Fraction(0)
        self.may_restart = self._container.format.name in RESTARTING
        """Whether only reading all of it shows where it ends."""
        self._is_timed = self._can_seek = self._stream.start_time is not None
        self.codec = self._stream.codec_context.name
        self.fps = float(self._stream.average_rate or self._stream.guessed_rate or 0)
        """Mean frame rate, 0 where unknown."""
        self.guessed_fps = float(self._stream.guessed_rate or 0)
        """FFmpeg's other estimate of it."""

    def close(self) -> None:
        """Let go of the decoder's memory and threads; the file is the caller's."""
        self._before = self._ahead = None
        self._coming = iter(())  # the generator refers to this object, and would keep all of it
        self._container.close()

    @property
    def declared_s(self) -> float | None:
        """Length of the video stream as the file declares it, seconds; None where it does not."""
        if self._stream.duration and self._stream.duration > 0 and self._tick_s:
            return float(self._stream.duration * self._tick_s)
        whole = self._container.duration
        return whole / av.time_base if whole and whole > 0 and self._is_timed else None

    @property
    def start_s(self) -> float:
        """The time on the file's own clock at which the video stream starts, seconds."""
        return float(self._start * self._tick_s)

    def orientation(self, picture: VideoFrame) -> Orientation:
        """How the pictures of the video are turned and shown, by any of them."""
        context = self._stream.codec_context
        color = Color(context.color_trc, context.color_primaries)
        return Orientation.of(picture, self.pixel_aspect, color)

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel by its height; 1 where the file has no sensible value."""
        aspect = float(self._stream.sample_aspect_ratio or 1)
        return aspect if ASPECTS[0] <= aspect <= ASPECTS[1] else 1.0

    def first(self) -> Sample | None:
        """The first frame, without taking it from the frames to come; None without frames."""
        while self._ahead is None:
            self._ahead = next(self._coming, None)
            if self._ahead is None and not self.climb(0.0):
                break
        return self._ahead

    def begin(self, target_s: float, within_s: float) -> None:
        """Start a level higher where no keyframe lies near the first target.

        That is what `nearest` and `climb` would find out by decoding. To be called before any frame
        is decoded.
        """
        index = read_index(self._stream)
        if self._is_timed and index and not index.has_keyframe(target_s, within_s):
            self._level += 1
            self._stream.codec_context.skip_frame = SKIPS[self._level]

    def end(self, after_s: float | None = None) -> End | None:
        """The end of the frames, by reading from the keyframe before a time, else from here.

        None where that shows fewer than two frames with times. What a file declares plays no part.
        """
        if after_s is not None:
            try:
                self._container.seek(self._start + int(after_s / self._tick_s), stream=self._stream)
            except (av.FFmpegError, OverflowError):
                return None
        timed = waiting = 0
        first_s, last_s = float("inf"), float("-inf")
        for t_s in self._times_s():
            waiting += first_s < float("inf") or t_s is not None
            if t_s is not None:
                timed, waiting = timed + waiting, 0
                first_s, last_s = min(first_s, t_s), max(last_s, t_s)
        if timed < 2 or not self._is_timed:
            return None
        return End(last_s + waiting * (gap_s := (last_s - first_s) / (timed - 1)), gap_s)

    @property
    def has_restarted(self) -> bool:
        """Whether times began anew in what was read."""
        return self._joins.shift != 0

    def stop_seeking(self) -> None:
        """Reach all samples by decoding on."""
        self._can_seek = False

    def find_indexed_end(self) -> End | None:
        """The end of the frames by the file's index; None without a whole, true index."""
        index = read_index(self._stream)
        return index.find_end(self.path.stat().st_size) if self._is_timed and index else None

    def measure_length(self) -> float:
        """Length of the video stream, seconds, by reading on to the end without decoding."""
        count, end = 0, self._start
        for packet in self._packets():
            count += packet.size > 0
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
        if self._is_timed:
            return float((end - self._start) * self._tick_s)
        return count / (self.fps or GUESSED_FPS)

    def _times_s(self) -> Iterator[float | None]:
        """When the frames to come are shown, seconds, in the order of the file; None: no time."""
        for packet in self._packets():
            stamp = packet.dts if packet.pts is None else packet.pts
            if packet.size and not packet.is_discard:
                yield None if stamp is None else float((stamp - self._start) * self._tick_s)

    def decode_rest(self) -> Iterator[Sample]:
        """The further frames in order of time, without skipped and damaged ones."""
        for packet in self._packets():
            try:
                pictures = packet.decode()
            except av.FFmpegError as error:
                self.damaged, self.error = self.damaged + 1, str(error.strerror)
                continue
            for picture in pictures:
                self.damaged += picture.is_corrupt
                if not picture.is_corrupt:
                    yield Sample(picture, self._time_s(picture))

    def nearest(self, target_s: float) -> Sample | None:
        """The decoded frame nearest to a time; times must not decrease. None without frames."""
        if self._can_seek and target_s - (self._ahead.t_s if self._ahead else 0.0) > SEEK_S:
            self._skip_to(target_s)
        while self._ahead is None or self._ahead.t_s < target_s:
            sample = next(self._coming, None)
            if sample is None:
                self._note_end()
                break
            self._before, self._ahead = self._ahead, sample
        found = [sample for sample in (self._before, self._ahead) if sample]
        return min(found, key=lambda sample: abs(sample.t_s - target_s), default=None)

    def climb(self, target_s: float) -> bool:
        """Skip fewer frames, from before `target_s` on; False where none is skipped."""
        if self._level + 1 == len(SKIPS) or not self._is_timed:
            return False
        landed_late = (
            self._before is None and self._ahead is not None and self._ahead.t_s > target_s
        )
        self._can_seek = self._can_seek and not landed_late
        self._level += 1
        self.close()
        # Opened anew, since some decoders (dav1d) settle at birth what they leave out, and some
        # files seek badly.
        self._open()
        return True

    def _open(self) -> None:
        self._file.seek(0)
        self._container = open_container(self.path, self._file, self._max_pixels)
        try:
            streams = video_streams(self.path, self._container)
            self.others, self._stream = len(streams) - 1, streams[self._choice]
            self.has_sound = has_sound(self._container)
            check_size(self.path, self._stream.codec_context, self._max_pixels)
        except VideoError:
            self.close()
            raise
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = self._threads
        is_timed = self._stream.start_time is not None
        self._stream.codec_context.skip_frame = SKIPS[self._level] if is_timed else "DEFAULT"
        self._restart()

    def _first_filled(self) -> int:
        """Which video stream is the first with anything in it; 0 where none is."""
        streams = video_streams(self.path, self._container)
        filled = set()
        for packet in self._demux(streams):
            if packet.size:
                filled.add(packet.stream.index)
            if streams[0].index in filled:
                break
        return next((place for place, stream in enumerate(streams) if stream.index in filled), 0)

    def _restart(self) -> None:
        """Decode on from where the file is now."""
        self._before = self._ahead = None
        self._joins = Joins(self._stream.time_base)
        self._decoded = 0
        self._coming = self.decode_rest()

    def _skip_to(self, target_s: float) -> None:
        """Jump to the keyframe before `target_s`; never again once that does not lead ahead."""
        here_s = self._ahead.t_s if self._ahead else -1.0
        try:
            self._container.seek(self._start + int(target_s / self._tick_s), stream=self._stream)
        except av.FFmpegError as error:
            self.error, self._can_seek = str(error.strerror), False
            return
        self._restart()
        self._ahead = next(self._coming, None)
        self._can_seek = self._ahead is not None and self._ahead.t_s > here_s

    def _note_end(self) -> None:
        if self._ahead and (self._level + 1 == len(SKIPS) or not self._is_timed):
            self.end_s = self._ahead.t_s

    def _packets(self) -> Iterator["Packet[VideoStream]"]:
        """The packets of the video; where times start again, they go on from those before."""
        packets = self._demux([self._stream])
        return self._joins.go_on(packets) if self.may_restart else packets

    def _demux(self, streams: list[VideoStream]) -> Iterator["Packet[VideoStream]"]:
        packets = cast("Iterator[Packet[VideoStream]]", self._container.demux(streams))
        try:
            for packet in packets:
                if self._stop():
                    raise Stopped
                yield packet
        except (av.FFmpegError, OSError) as error:
            self.error = str(error.strerror)
        except IndexError:
            self.error = (  # PyAV knows only those at its head
                "a stream begins in the middle of the file"
            )

    def _time_s(self, picture: VideoFrame) -> float:
        """From the timestamp; in a stream without any, from the number of frames before."""
        self._decoded += 1
        stamp = picture.pts if picture.pts is not None else picture.dts
        if stamp is None:
            return (self._decoded - 1) / (self.fps or GUESSED_FPS)
        return float((stamp - self._start) * self._tick_s)


@contextmanager
def open_decoder(
    path: Path, *, max_pixels: int, threads: int = 0, stop: Callable[[], bool] = never
) -> Iterator[Decoder]:
    """The decoder of a file's first video stream; closed at the end, whatever happens.

    Raises:
        VideoError: it is no video, holds no video stream, or its frames are larger than
            `max_pixels`.
        Stopped: while decoding, once `stop` says so.
    """
    # A file object, not its name: names may hold any bytes, and FFmpeg takes some for a protocol or
    # a pattern.
    with path.open("rb") as file:
        video = Decoder(path, file, max_pixels=max_pixels, threads=threads, stop=stop)
        try:
            yield video
        finally:
            video.close()
