"""Silence: whether the sound streams of a file hold nothing but digital silence."""

from collections.abc import Iterator
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.container import InputContainer

from deepkd.errors import VideoError
from deepkd.video.containers import open_container

LONGEST_S = 600.0
"""Seconds of silence after which the rest is not listened to, and counts as sound."""
STEP = 2.0**-15
"""The smallest step of 16-bit sound, as a share of the loudest; what is no louder is silence."""


def is_silent(path: Path, max_pixels: int) -> bool:
    """Whether all sound that a file has is silence; False where that is not known.

    The first sample that is louder ends the search, so it is short in nearly all files.
    """
    try:
        with path.open("rb") as file, open_container(path, file, max_pixels) as container:
            heard_s = 0.0
            for piece in _decode(container):
                heard_s += piece.samples / max(piece.sample_rate, 1)
                if not _is_still(piece) or heard_s > LONGEST_S:
                    return False
    except (av.FFmpegError, VideoError, OSError, IndexError, ValueError, OverflowError):
        return False
    return True


def _decode(container: InputContainer) -> Iterator[AudioFrame]:
    known = [stream for stream in container.streams.audio if stream.codec_context]
    pieces = (piece for packet in container.demux(known) for piece in packet.decode())
    return (piece for piece in pieces if isinstance(piece, AudioFrame))


def _is_still(piece: AudioFrame) -> bool:
    import numpy as np  # decoding does not wait for it

    samples = piece.to_ndarray()
    if samples.dtype == np.uint8:
        return bool((samples == 128).all())
    scale = 1.0 if samples.dtype.kind == "f" else 2.0 ** (8 * samples.itemsize - 1)
    return bool((np.abs(samples.astype(np.float64)) <= STEP * scale).all())
