"""Lengths count from the start of the stream, and frame rates are those of the frames."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from field_factory import write_fields
from media import Media, scene

from deepkd.video.frames import Frame, probe, read_frames

NTSC = Fraction(30000, 1001)
DASH = {"movflags": "dash+delay_moov+frag_keyframe"}


def write(
    path: Path,
    *,
    start_s: float = 0,
    fps: Fraction = Fraction(10),
    mux: dict[str, str] | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Six seconds of H.264 by a clock that starts at a time; with a keyframe each second."""
    tick = Fraction(1, 90000)
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "10", **(options or {})})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = tick
        for index in range(round(6 * fps)):
            picture = np.roll(scene(size=(96, 64)), index, axis=1)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = tick, round((start_s + index / fps) / tick)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def declare_half_rate(path: Path) -> Path:
    """Make the header of an MKV declare frames that last twice as long (DefaultDuration)."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\x23\xe3\x83\x84") + 4
    data[at : at + 4] = (2 * int.from_bytes(data[at : at + 4])).to_bytes(4)
    path.write_bytes(data)
    return path


def read(path: Path) -> tuple[list[Frame], list[str]]:
    warnings: list[str] = []
    return list(read_frames(path, frames=6, warn=warnings.append)), warnings


@pytest.mark.parametrize(
    ("name", "mux"),
    [("a.mkv", {}), ("a.nut", {}), ("a.flv", {}), ("a.ts", {}), ("a.mov", {}), ("a.mp4", DASH)],
)
@pytest.mark.parametrize("start_s", [0.5, 36_000])
def test_a_clock_that_starts_late_makes_no_clip_longer(
    name: str, mux: dict[str, str], start_s: float, media: Media
):
    path = write(media.path(name), start_s=start_s, mux=mux)
    frames, warnings = read(path)
    assert warnings == []
    assert probe(path).duration_s == pytest.approx(6, abs=0.25)
    assert [frame.t_s for frame in frames] == pytest.approx([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], abs=0.4)


def test_a_clip_that_is_cut_off_ends_at_its_own_time(media: Media):
    path = write(media.path("cut.mkv"), start_s=36_000)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    _, (warning, *_) = read(path)
    assert warning.endswith("s of the 6.0 s declared, and is judged on those")


@pytest.mark.parametrize("first", [1, 4])
def test_a_fragment_alone_starts_where_it_starts(first: int, media: Media):
    path = write(media.path("part.mp4"), mux=DASH)
    data = path.read_bytes()
    moofs = [at - 4 for at in range(len(data)) if data.startswith(b"moof", at)]
    path.write_bytes(data[: moofs[0]] + data[moofs[first] :])
    frames, warnings = read(path)
    assert warnings == []
    assert probe(path).duration_s == pytest.approx(6 - first, abs=0.25)
    assert frames[-1].t_s == pytest.approx(6 - first, abs=1)


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_interlaced_frames_are_counted_once(name: str, media: Media):
    path = write(media.path(name), fps=NTSC, options={"flags": "+ildct+ilme"})
    assert probe(path).fps == pytest.approx(float(NTSC), rel=1e-4)
    if name == "a.mkv":
        assert probe(declare_half_rate(path)).fps == pytest.approx(float(NTSC), rel=1e-3)


@pytest.mark.parametrize("is_split", [False, True])
@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_fields_that_are_pictures_are_not_counted_as_frames(
    name: str, is_split: bool, media: Media
):
    path = write_fields(media.path(name), seconds=1, fps=NTSC, is_split=is_split)
    found = probe(path)
    assert found.fps == pytest.approx(float(NTSC), rel=0.01)
    assert found.duration_s == pytest.approx(1, abs=0.05)


def test_frames_without_a_time_of_their_own_are_counted(media: Media):
    """A program stream stamps the first of the frames that begin in a packet, here of many."""
    found = probe(write(media.path("a.mpg"), fps=NTSC))
    assert found.fps == pytest.approx(float(NTSC), rel=1e-3)
    assert found.duration_s == pytest.approx(6, abs=0.25)


def test_repeated_frames_of_an_avi_are_not_counted(media: Media):
    assert probe(media.clip("a.avi", seconds=6)).fps == pytest.approx(10)
