"""Annotated video: the clip with boxes, people and scores, as WebM (VP9) for browsers."""

import math
from bisect import bisect_right
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from deepkd.errors import OutputError
from deepkd.images import Image
from deepkd.report.console import percent
from deepkd.report.sound import Sound
from deepkd.scoring.scores import Box, FrameScore
from deepkd.scoring.verdict import Label, TrackVerdict, Verdict
from deepkd.timing import Stopwatch, time_limit
from deepkd.video.frames import every_frame

MAX_SIDE_PX = 1920
"""Larger pictures are shrunk: they are to look at, not to judge."""
TICKS = 1000
"""Per second, the clock of WebM."""
OPTIONS = {"crf": "32", "b": "0", "deadline": "realtime", "cpu-used": "8", "row-mt": "1"}

COLORS = {Label.FAKE: (240, 70, 60), Label.REAL: (60, 200, 110), Label.INCONCLUSIVE: (240, 180, 60)}
"""RGB, by what is said of the person."""
PLAIN = (220, 220, 220)
"""Outside the part that looks forged."""


def write_video(verdict: Verdict, out: Path, *, limit_s: float = 0.0) -> None:
    """Draw the verdict into a copy of its clip, `out`.

    Raises:
        OutputError: there is no clip to draw into, it cannot be encoded again, or it takes longer
            than `limit_s`, where that is not 0.
    """
    if verdict.label is Label.ERROR:
        raise OutputError(f"{verdict.path}: {verdict.reason}; so no video was written")
    if not verdict.duration_s:
        raise OutputError(
            f"{verdict.path}: is a still image; --save-video draws into clips, --report shows both"
        )
    try:
        with time_limit(verdict.path, limit_s, _too_slow):
            annotate(verdict, out, limit_s=limit_s)
    except (av.FFmpegError, ValueError, OverflowError) as error:
        if isinstance(error, OSError):
            raise  # of the file that is written
        raise OutputError(
            f"{verdict.path}: cannot be drawn into a copy ({error}), so no video was written; "
            "re-encode it first, e.g. with ffmpeg -i in -c:v libx264 out.mp4"
        ) from error


def _too_slow(path: Path, limit_s: float) -> OutputError:
    return OutputError(
        f"{path}: drawing into a copy took longer than {limit_s:g} s, so no video was written;"
        " raise --timeout"
    )


def annotate(verdict: Verdict, out: Path, *, limit_s: float = 0.0) -> None:
    """Write the clip to `out` with its sound, and the verdict drawn into every frame.

    Raises:
        OutputError: it has taken longer than `limit_s`, where that is not 0, and a frame is still
            to come.
    """
    watch = Stopwatch()
    with out.open("wb") as file, av.open(file, "w", format="webm") as container:
        stream, sound, t_s, last = None, None, 0.0, -1
        for t_s, image in every_frame(verdict.path):
            if limit_s and watch.elapsed_s() > limit_s:
                raise _too_slow(verdict.path, limit_s)
            image = draw_verdict(image, t_s, verdict)
            if stream is None or sound is None:
                stream = container.add_stream(
                    "libvpx-vp9", rate=_rate(verdict.fps), options=OPTIONS
                )
                stream.height, stream.width = image.shape[:2]
                stream.pix_fmt = "yuv420p"
                stream.codec_context.time_base = Fraction(1, TICKS)
                sound = Sound(verdict.path, container)
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            last = picture.pts = max(round(t_s * TICKS), last + 1)
            picture.time_base = Fraction(1, TICKS)
            container.mux(stream.encode(picture))
            sound.up_to(t_s)
        if stream is not None and sound is not None:
            container.mux(stream.encode())
            sound.close(t_s + 1 / (verdict.fps or 25))


def _rate(fps: float | None) -> Fraction:
    """The frame rate for the encoder; VP9 refuses one beyond its clock."""
    return Fraction(min(fps or 25, TICKS)).limit_denominator(1001)


def _fit(image: Image) -> Image:
    """A copy with even sides, as VP9 wants, of at most `MAX_SIDE_PX`."""
    height, width = image.shape[:2]
    scale = min(1.0, MAX_SIDE_PX / max(height, width))
    size = (max(2, round(width * scale) // 2 * 2), max(2, round(height * scale) // 2 * 2))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def draw_verdict(image: Image, t_s: float, verdict: Verdict) -> Image:
    """The picture at `t_s` with a box and text for each person, and the verdict in the corner."""
    picture = _fit(image)
    scale = picture.shape[1] / image.shape[1]
    text_px = max(12, round(picture.shape[0] / 36))
    for track in verdict.tracks:
        found = _at(track, t_s)
        if found is None:
            continue
        box, frame = found
        x, y, width, height = (value * scale for value in box)
        color = _color(track, t_s)
        corners = (round(x), round(y)), (round(x + width), round(y + height))
        cv2.rectangle(picture, *corners, color, max(2, text_px // 8), cv2.LINE_AA)
        score = "not counted" if frame.flaw else percent(frame.score)
        _write(picture, f"{track.name}: {score}", (x, y - 0.4 * text_px), text_px, color)
    color = COLORS.get(verdict.label, PLAIN)
    score = "" if verdict.score is None else f", forgery {percent(verdict.score)}"
    _write(picture, f"{verdict.label}{score}", (0.5 * text_px, 1.5 * text_px), text_px, color)
    return picture


def _color(track: TrackVerdict, t_s: float) -> tuple[int, int, int]:
    if track.forged_s and not track.forged_s[0] <= t_s <= track.forged_s[1]:
        return PLAIN
    return COLORS[track.label]


def _write(
    image: Image, text: str, at: tuple[float, float], text_px: int, color: tuple[int, int, int]
) -> None:
    """One line on a dark ground, kept inside the picture; `at` is its lower left corner."""
    font, scale, thickness = cv2.FONT_HERSHEY_SIMPLEX, text_px / 26, max(1, text_px // 14)
    (width, height), below = cv2.getTextSize(text, font, scale, thickness)
    x = round(min(max(at[0], 0), max(0, image.shape[1] - width)))
    y = round(min(max(at[1], height + below), image.shape[0] - below))
    cv2.rectangle(
        image, (x - 2, y - height - below), (x + width + 2, y + below), (20, 20, 20), cv2.FILLED
    )
    cv2.putText(image, text, (x, y), font, scale, color, thickness, cv2.LINE_AA)


def _at(track: TrackVerdict, t_s: float) -> tuple[Box, FrameScore] | None:
    """Where the person is at `t_s`, and the nearest frame looked at; None when not seen."""
    times = [frame.t_s for frame in track.frames]
    even = [frame.t_s for frame in track.frames if not frame.is_closer]
    step_s = float(np.median(np.diff(even))) if len(even) > 1 else 0.5
    after = bisect_right(times, t_s)
    before_frame, after_frame = (
        track.frames[max(after - 1, 0)],
        track.frames[min(after, len(times) - 1)],
    )
    nearest = min(before_frame, after_frame, key=lambda frame: abs(frame.t_s - t_s))
    gap_s = after_frame.t_s - before_frame.t_s
    if gap_s <= 0 or gap_s > 4 * step_s:
        return (nearest.box, nearest) if abs(nearest.t_s - t_s) <= 0.6 * step_s else None
    share = (t_s - before_frame.t_s) / gap_s
    x, y, w, h = (
        math.fsum((a, share * (b - a)))
        for a, b in zip(before_frame.box, after_frame.box, strict=True)
    )
    return (x, y, w, h), nearest
