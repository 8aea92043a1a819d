"""Sound: what a clip lets hear, carried over into its annotated copy at its own times, as Opus."""

from collections.abc import Generator
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.container import OutputContainer

from deepkd.video.decoder import open_container
from deepkd.video.frames import MAX_PIXELS

RATE = 48_000
"""Samples per second that Opus takes."""


class Sound:
    """The first sound of a clip, encoded piece by piece as far as the pictures have come.

    Sound that cannot be decoded is left out from there on: the copy is made for its pictures.
    """

    def __init__(self, path: Path, target: OutputContainer) -> None:
        """Find the sound, and add its stream to `target`; to be called before anything is written there."""
        self._target, self._stream = target, None
        self._coming = self._decoded(path)
        self._next = next(self._coming, None)
        if self._next is not None:
            layout = "mono" if self._next.layout.nb_channels == 1 else "stereo"
            self._stream = target.add_stream("libopus", rate=RATE, layout=layout)

    def up_to(self, t_s: float) -> None:
        """Write the sound before a time, seconds since the start of the video."""
        while self._stream is not None and self._next is not None and (self._next.time or 0.0) < t_s:
            self._target.mux(self._stream.encode(self._next))
            self._next = next(self._coming, None)

    def close(self, end_s: float) -> None:
        """Write what is left before the end of the pictures."""
        self.up_to(end_s)
        self._coming.close()
        if self._stream is not None:
            self._target.mux(self._stream.encode())

    @staticmethod
    def _decoded(path: Path) -> Generator[AudioFrame, None, None]:
        """The pieces of sound, timed from the start of the video; none from before it."""
        with path.open("rb") as file, open_container(path, file, MAX_PIXELS) as source:
            streams = [stream for stream in source.streams.audio if stream.codec_context]
            if not streams:
                return
            video = source.streams.video[0]
            start_s = float((video.start_time or 0) * (video.time_base or 0))
            try:
                for frame in source.decode(streams[0]):
                    t_s = None if frame.pts is None else float(frame.time or 0.0) - start_s
                    if t_s is not None and t_s >= 0:
                        frame.time_base = Fraction(1, frame.sample_rate)
                        frame.pts = round(t_s * frame.sample_rate)
                        yield frame
            except (av.FFmpegError, OSError, IndexError):
                return
