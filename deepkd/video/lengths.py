"""Lengths: how long a video is and how many frames it has a second, whatever it declares."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path

from deepkd.video.decoder import Decoder, open_decoder
from deepkd.video.index import End

FAR = 1 / 16
"""How far the end of a video may lie from the declared one, as a share of its length, before the
declaration is disbelieved: samples would go astray, and a few bytes in the header would do to
escape a verdict."""

FPS_ERROR = 1.5
"""A frame rate that is this many times what was measured, or a part of it as small, is wrong."""

FIELD_RATE = 45.0
"""Interlaced video of more frames a second than this counts each field for one."""

FEW = 6
"""Frames that show how far apart they are."""


def lengths_s(
    path: Path, video: Decoder, max_pixels: int, stop: Callable[[], bool]
) -> tuple[float, float]:
    """The declared and the true length of the video stream, seconds, from its start.

    The video's frame rate is replaced where it is far from what was measured.

    The declared one is true if it is near the end of the frames, else that is measured. A whole
    index is believed; without one it costs a look at the end of the file, and where that shows
    nothing, or may hide that times begin anew, a pass over it, not decoded.
    """
    declared_s = video.declared_s
    if declared_s is None:
        with open_decoder(path, max_pixels=max_pixels, stop=stop) as again:
            length_s = again.measure_length()
            return length_s, length_s
    # Some files declare when the stream ends, by a clock that started earlier than the stream.
    declarable_s = [declared_s, *[declared_s - video.start_s] * (0 < video.start_s < declared_s)]
    end = video.find_indexed_end()
    if not end or not any(end.is_near(said_s, FAR * said_s) for said_s in declarable_s):
        end = _measure_end(path, video, (1 - 2 * FAR) * min(declarable_s), max_pixels, stop)
    if not end:
        return declared_s, declared_s
    video.fps = _true_fps(video, end.gap_s)
    declared_s = min(declarable_s, key=lambda said_s: abs(said_s - end.length_s))
    is_true = end.is_near(declared_s, FAR * declared_s)
    return declared_s, declared_s if is_true else end.length_s


def _measure_end(
    path: Path, video: Decoder, late_s: float, max_pixels: int, stop: Callable[[], bool]
) -> End | None:
    """The end of the frames, looked for from a time on and then from the start of the file."""
    for after_s in (None,) if video.may_restart else (late_s, None):
        with open_decoder(path, max_pixels=max_pixels, stop=stop) as again:
            end = again.end(after_s)
            if again.has_restarted:
                video.stop_seeking()
        if end:
            return end
    return None


def _true_fps(video: Decoder, gap_s: float) -> float:
    """The declared frame rate, or another one where that is far from what was measured.

    Files of interlaced video may declare half of the frame rate, and FFmpeg counts each repeated
    frame of an AVI as a new one.

    Args:
        video: what declares it.
        gap_s: mean time from one frame to the next as measured, seconds.
    """
    rates = (video.fps, video.guessed_fps, 1 / gap_s if gap_s > 0 else 0.0)
    near = (rate for rate in rates if 1 / FPS_ERROR < rate * gap_s < FPS_ERROR)
    return next(near, video.fps)


def count_fields_once(path: Path, video: Decoder, max_pixels: int) -> None:
    """Replace the frame rate of interlaced video by that of its first frames.

    Where each field is a picture of its own, files and FFmpeg take it for a frame.
    """
    with open_decoder(path, max_pixels=max_pixels) as again:
        while again.climb(0.0):
            pass  # up to the level that leaves nothing out
        times_s = [sample.t_s for sample in islice(again.decode_rest(), FEW)]
    if len(times_s) > 1 and times_s[-1] > times_s[0]:
        measured = (len(times_s) - 1) / (times_s[-1] - times_s[0])
        if measured * FPS_ERROR < video.fps:
            video.fps /= 2
