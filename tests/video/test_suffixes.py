"""The endings by which folders are searched are those of what can be read."""

from pathlib import Path

import av
import numpy as np
import pytest
from av.format import ContainerFormat
from media import Media, scene

from deepkd.video.containers import CONTAINERS
from deepkd.video.frames import probe, read_frames
from deepkd.video.suffixes import IMAGE_SUFFIXES, VIDEO_SUFFIXES

FORMATS = {
    ".avc": "h264",
    ".divx": "avi",
    ".m4v": "mp4",
    ".mj2": "mov",
    ".mk3d": "matroska",
    ".mpe": "mpeg",
    ".qt": "mov",
    ".rmvb": "rm",
}
"""How FFmpeg calls them as it writes, where an ending alone does not say so."""
CODECS = {
    "gif": ".gif",
    "libvpx": ".ivf .ogv .webm",
    "libx265": ".265 .h265 .hevc",
    "libsvtav1": ".obu",
    "mpeg4": ".avi .divx",
    "mpeg2video": ".m2v .mpe .mpeg .mpg .mxf .vob .wtv",
    "rv20": ".rm .rmvb",
    "wmv2": ".asf .wmv",
    "wrapped_avframe": ".y4m",
    "jpeg2000": ".mj2",
}
"""Codec -> endings of what takes it, and not H.264."""
QUIET = {
    "libx265": {"x265-params": "log-level=none"},
    "libsvtav1": {"preset": "12", "svtav1-params": "lp=1"},
}
SOUNDS = "aac ac3 flac isma m2a m4a m4b mka mks mp2 mp3 mpa ogg"
OTHERS = "avif heic heif psp ism h26l"
"""Pictures, Paint Shop's too, a list of streams, and what nobody writes."""


def write(path: Path) -> Path:
    """One second in the format that the ending stands for."""
    codec = next(
        (name for name, endings in CODECS.items() if path.suffix in endings.split()), "libx264"
    )
    with av.open(str(path), "w", format=FORMATS.get(path.suffix)) as container:
        stream = container.add_stream(codec, rate=25, options=QUIET.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = (
            176,
            144,
            "rgb8" if codec == "gif" else "yuv420p",
        )
        stream.codec_context.thread_count = 1
        for index in range(25):
            picture = np.roll(scene(size=(176, 144)), index, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("suffix", sorted(VIDEO_SUFFIXES))
def test_videos_are_read(suffix: str, media: Media, capfd: pytest.CaptureFixture):
    path = write(media.path(f"a{suffix}"))
    assert probe(path).duration_s == pytest.approx(1, abs=0.1)
    assert [frame.t_s for frame in read_frames(path, frames=4)] == pytest.approx(
        [0.1, 0.4, 0.6, 0.9], abs=0.15
    )


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_images_are_read(suffix: str, media: Media):
    alike = {".jfif": ".jpg", ".jpe": ".jpg", ".heic": ".avif", ".heif": ".avif", ".hif": ".avif"}
    written = media.still(f"a{alike.get(suffix, suffix)}")
    assert probe(written.rename(media.path(f"b{suffix}"))).is_image


def test_every_ending_of_a_container_is_known():
    endings = set[str]().union(
        *(ContainerFormat(name, "r").extensions for name in CONTAINERS.split(","))
    )
    assert {
        f".{ending}" for ending in endings.difference(SOUNDS.split(), OTHERS.split())
    } <= VIDEO_SUFFIXES
