"""Corruption of clips, as cameras, codecs and web sites do it, before faces are looked for.

What falls on single frames falls on those that `detect` samples, after decoding. What an encoder
does is done to the whole clip: it is decoded, encoded anew by x264 at a constant rate factor into a
temporary file, and judged from there.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from deepkd.data.chance import chance
from deepkd.data.clips import Clip
from deepkd.data.corruptions import REUPLOAD, Step, draw_mixed
from deepkd.data.corruptions import corrupt as perturb
from deepkd.errors import InputError
from deepkd.images import Image
from deepkd.judging import Alter
from deepkd.outputs import scratch
from deepkd.video.decoder import GUESSED_FPS
from deepkd.video.encoder import write_clip
from deepkd.video.frames import Frame, every_frame, probe
from deepkd.video.sources import Source

Timed = Iterator[tuple[float, Image]]
"""Frames with their times, seconds."""
FAITHFUL_CRF = 16
"""Constant rate factor that leaves no visible trace, for where something else than compression is
measured."""


def steps_of(name: str, level: float, *, seed: int, video: str) -> list[Step]:
    """The steps of a corruption, in order: itself, or for `mixed` what is drawn for this clip."""
    return (
        draw_mixed(level, chance(seed, name, f"{level:g}", video))
        if name == "mixed"
        else [(name, level)]
    )


@contextmanager
def corrupt_clip(
    clip: Clip, name: str, level: float, *, seed: int
) -> Iterator[tuple[Source, Alter]]:
    """A clip under one corruption at one level: what to judge, and what changes its frames.

    The source may be a temporary file, which is gone after the block. A clip that cannot be encoded
    anew is a source with a problem.

    Raises:
        OutputError: the temporary file cannot be written.
    """
    steps = steps_of(name, level, seed=seed, video=clip.video)
    last = max((place for place, (name, _) in enumerate(steps) if name in ENCODINGS), default=-1)
    source = Source(clip.path, clip.problem)
    with scratch() as folder:
        if last >= 0 and not clip.problem:
            path = folder / "clip.mp4"
            try:
                if _encode(clip, path, steps[: last + 1], seed):
                    source, steps = Source(path), steps[last + 1 :]
            except InputError as error:
                source = Source(clip.path, str(error).removeprefix(f"{clip.path}: "))
        yield source, _make_alter(clip, steps, seed)


def _encode(clip: Clip, to: Path, steps: Sequence[Step], seed: int) -> bool:
    """Write the clip after these steps, of which the last is an encoding; False for a still."""
    info = probe(clip.path)
    if info.is_image:
        return False
    alter, (name, level) = _make_alter(clip, steps[:-1], seed), steps[-1]
    frames = ((t_s, alter(Frame(image, t_s, 0)).image) for t_s, image in every_frame(clip.path))
    ENCODINGS[name](frames, to, level, info.fps or GUESSED_FPS)
    return True


def _make_alter(clip: Clip, steps: Sequence[Step], seed: int) -> Alter:
    """A function that does the steps to a frame; random by seed, clip and time of the frame."""

    def alter(frame: Frame) -> Frame:
        image = frame.image
        for name, level in steps:
            image = perturb(
                image, name, level, seed=seed, key=f"{clip.dataset}/{clip.video}@{frame.t_s:.4f}"
            )
        return replace(frame, image=image)

    return alter


def _h264(frames: Timed, to: Path, level: float, fps: float) -> None:
    """Encoded at the constant rate factor `level`."""
    _write(to, (image for _, image in frames), level, fps)


def _double(frames: Timed, to: Path, level: float, fps: float) -> None:
    """Encoded at the constant rate factor `level`, shrunk to 3/4, and encoded again."""
    first = to.with_name("first.mp4")
    _h264(frames, first, level, fps)
    _write(to, (_reduce_colours(image) for _, image in every_frame(first)), level, fps)


def _frame_rate(frames: Timed, to: Path, level: float, fps: float) -> None:
    """Frames left out until there are `level` a second."""
    _write(to, _thin(frames, level), FAITHFUL_CRF, min(fps, level))


def _thin(frames: Timed, fps: float) -> Iterator[Image]:
    """The first frame of every 1/fps seconds."""
    last = -1
    for t_s, image in frames:
        if int(t_s * fps + 1e-3) > last:
            last = int(t_s * fps + 1e-3)
            yield image


def _reduce_colours(image: Image) -> Image:
    height, width = (max(2, round(side * REUPLOAD)) for side in image.shape[:2])
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, frames: Iterator[Image], crf: float, fps: float) -> None:
    write_clip(
        path, frames, fps=fps, options={"crf": f"{crf:g}", "preset": "medium", "threads": "4"}
    )


ENCODINGS: dict[str, Callable[[Timed, Path, float, float], None]] = {
    "h264": _h264,
    "frame-rate": _frame_rate,
    "double-compression": _double,
}
"""Perturbation -> what writes (frames, file, level, frames per second): those that need the whole
clip."""
