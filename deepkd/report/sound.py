"""Sound: what a clip lets hear, carried over into its annotated copy at its own times, as Opus."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain, groupby
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import OutputContainer

from deepkd.video.containers import open_container, video_streams
from deepkd.video.frames import MAX_PIXELS

RATE, SAMPLE_FORMAT = 48_000, "s16"
"""What Opus is given, whatever the clip has: samples per second, and kind of number."""
OVERLAP_S = 0.015
"""How far a piece may begin before the one before it ends, as times are rounded: less than a frame
of Opus (0.02 s)."""


class Sound:
    """The first sound of a clip, encoded piece by piece as far as the pictures have come.

    Sound that cannot be decoded or encoded is left out from there on: the copy is made for its
        pictures.
    """

    def __init__(self, path: Path, target: OutputContainer) -> None:
        """Find the sound, and add its stream to `target`, before anything is written there."""
        self._target, self._stream = target, None
        self._coming = self._decode(path)
        self._next = next(self._coming, None)
        if self._next is not None:
            self._stream = target.add_stream("libopus", rate=RATE, layout=self._next.layout.name)

    def up_to(self, t_s: float) -> None:
        """Write the sound before a time, seconds since the start of the video."""
        while (
            self._stream is not None and self._next is not None and (self._next.time or 0.0) < t_s
        ):
            self._write(self._next)
            self._next = next(self._coming, None)

    def close(self, end_s: float) -> None:
        """Write what is left before the end of the pictures."""
        self.up_to(end_s)
        self._coming.close()
        self._write(None)

    def _write(self, piece: AudioFrame | None) -> None:
        """Encode a piece, or with None what the encoder still holds."""
        if self._stream is None:
            return
        try:
            self._target.mux(self._stream.encode(piece))
        except (av.FFmpegError, ValueError):
            self._stream = None

    @staticmethod
    def _decode(path: Path) -> Generator[AudioFrame, None, None]:
        """The pieces of sound, timed from the start of the video; none from before it."""
        with path.open("rb") as file, open_container(path, file, MAX_PIXELS) as source:
            streams = [stream for stream in source.streams.audio if stream.codec_context]
            if not streams:
                return
            video = video_streams(path, source)[0]
            start_s = float((video.start_time or 0) * (video.time_base or 0))
            with suppress(av.FFmpegError, OSError, IndexError, ValueError, OverflowError):
                yield from _alike(_retime(source.decode(streams[0]), start_s))


def _retime(pieces: Iterable[AudioFrame], start_s: float) -> Iterator[AudioFrame]:
    """The pieces from a time on, timed from there, without those that overlap earlier ones."""
    end_s = 0.0
    for piece in pieces:
        t_s = None if piece.pts is None else float(piece.time or 0.0) - start_s
        if t_s is not None and t_s >= max(0.0, end_s - OVERLAP_S):
            piece.time_base = Fraction(1, piece.sample_rate)
            piece.pts = round(t_s * piece.sample_rate)
            end_s = t_s + piece.samples / piece.sample_rate
            yield piece


def _alike(pieces: Iterable[AudioFrame]) -> Iterator[AudioFrame]:
    """The pieces for Opus, mono or stereo like the first, even if the file's format changes."""
    layout = ""
    for (given, *_), run in groupby(
        pieces, lambda piece: (piece.layout.name, piece.sample_rate, piece.format.name)
    ):
        layout = layout or ("mono" if given == "mono" else "stereo")
        resampler = AudioResampler(SAMPLE_FORMAT, layout, RATE)
        for piece in chain(run, [None]):
            yield from resampler.resample(piece)
