"""Which of a file's streams is judged, and recordings whose times begin anew."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from media import Media, write_video

from deepkd.video.frames import every_frame, probe, read_frames

RED, BLUE = ((200, 30, 30), (30, 30, 200))
SIZE = (96, 64)
"""Width and height, pixels."""


def solid(color: tuple[int, int, int], size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.full((size[1], size[0], 3), color, np.uint8)


def colors(path: Path, frames: int) -> list[str]:
    return [
        "red" if frame.image[..., 0].mean() > 100 else "blue"
        for frame in read_frames(path, frames=frames)
    ]


def write_two(
    path: Path, *, filled: tuple[bool, bool] = (True, True), sizes=(SIZE, SIZE), default: int = 0
) -> Path:
    """Two streams, a red and a blue one, either of which may stay without a packet."""
    with av.open(str(path), "w") as container:
        streams = []
        for place, size in enumerate(sizes):
            stream = container.add_stream("libx264", rate=10)
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
            stream.disposition = Disposition.default if place == default else Disposition(0)
            streams.append(stream)
        for stream, color, size, some in zip(streams, (RED, BLUE), sizes, filled, strict=True):
            for index in range(10 if some else 0):
                frame = av.VideoFrame.from_ndarray(solid(color, size), format="rgb24")
                frame.pts = index
                container.mux(stream.encode(frame))
            if some:
                container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["two.mp4", "two.mkv"])
@pytest.mark.parametrize(("default", "shown"), [(0, "red"), (1, "blue")])
def test_the_stream_that_players_show_is_read(
    name: str, default: int, shown: str, tmp_path: Path
) -> None:
    path = write_two(tmp_path / name, default=default)
    assert colors(path, 4) == [shown] * 4
    assert probe(path).warnings == ("1 more video stream is not judged",)


def test_where_none_is_marked_the_largest_is_read(tmp_path: Path) -> None:
    path = write_two(tmp_path / "two.ts", sizes=(SIZE, (192, 128)), default=-1)
    assert colors(path, 4) == ["blue"] * 4


@pytest.mark.parametrize("name", ["empty.ts", "empty.mkv"])
@pytest.mark.parametrize(("filled", "shown"), [((False, True), "blue"), ((True, False), "red")])
def test_a_stream_without_anything_in_it_is_passed_over(
    name: str, filled: tuple[bool, bool], shown: str, tmp_path: Path
) -> None:
    path = write_two(tmp_path / name, filled=filled)
    assert colors(path, 4) == [shown] * 4


def joined(media: Media, name: str, codec: str) -> Path:
    """Two recordings of two seconds in one file, each with times that begin at zero."""
    parts = []
    for color in (RED, BLUE):
        part = write_video(media.path(f"part-{name}"), [solid(color)] * 50, fps=25, codec=codec)
        parts.append(part.read_bytes())
    path = media.path(name)
    path.write_bytes(b"".join(parts))
    return path


@pytest.mark.parametrize(
    ("name", "codec"), [("joined.ts", "libx264"), ("joined.mpg", "mpeg2video")]
)
def test_recordings_joined_into_one_file_are_read_to_the_end(
    name: str, codec: str, media: Media
) -> None:
    path = joined(media, name, codec)
    assert probe(path).duration_s == pytest.approx(4, abs=0.1)
    assert colors(path, 8) == ["red"] * 4 + ["blue"] * 4
    times = [frame.t_s for frame in read_frames(path, frames=8)]
    np.testing.assert_allclose(times, np.arange(0.25, 4, 0.5), atol=0.1)


def test_one_damaged_time_is_no_new_recording(media: Media) -> None:
    path = write_video(media.path("a.ts"), [solid(RED)] * 50, fps=25, options={"bf": "0"})
    data, at = bytearray(path.read_bytes()), 0
    for _ in range(20):
        at = data.index(b"\x00\x00\x01\xe0", at + 1)
    ticks = 90_000 * 600
    bits = 0x21_0001_0001 | ticks >> 30 << 33 | (ticks >> 15 & 0x7FFF) << 17 | (ticks & 0x7FFF) << 1
    data[at + 9 : at + 14] = bits.to_bytes(5, "big")
    path.write_bytes(data)
    times = sorted(t_s for t_s, _ in every_frame(path))
    assert len(times) >= 49
    assert times[-2] == pytest.approx(49 / 25, abs=0.1)
