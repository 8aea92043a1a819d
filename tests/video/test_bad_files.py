"""Files that cannot be read, or not wholly, are refused or told of in words."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from media import Media

from deepkd.errors import DeepKDError, ImageError, VideoError
from deepkd.video.frames import probe, read_frames


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_truncated_clips_give_what_is_left_and_a_warning(share: float, media: Media):
    warnings: list[str] = []
    path = media.truncated(seconds=4, share=share, options={"g": "4"})
    frames = list(read_frames(path, frames=8, warn=warnings.append))
    assert 8 * share - 3 < len(frames) <= 8
    assert warnings and all("it ends at" in warning or "damaged" in warning for warning in warnings)


def test_a_whole_clip_gives_no_warning(media: Media):
    warnings: list[str] = []
    list(read_frames(media.clip(seconds=2), frames=100, warn=warnings.append))
    assert warnings == []


def playlist(media: Media, text: str) -> Path:
    clip = media.clip("real.ts")
    path = media.path("list.mp4")
    path.write_text(text.format(clip))
    return path


def fifo(media: Media) -> Path:
    os.mkfifo(media.path("fifo.mp4"))
    return media.path("fifo.mp4")


def folder(media: Media) -> Path:
    media.path("x.mp4").mkdir()
    return media.path("x.mp4")


def loop(media: Media) -> Path:
    media.path("loop.mp4").symlink_to("loop.mp4")
    return media.path("loop.mp4")


def damaged_still(media: Media, name: str, *, cut: bool) -> Path:
    path = media.still(name)
    data = path.read_bytes()
    half = data[: len(data) // 2]
    path.write_bytes(half if cut else half + bytes(len(half)))
    return path


BAD: dict[str, tuple[Callable[[Media], Path], type[DeepKDError], str]] = {
    "empty": (lambda media: media.junk(size=0), VideoError, "is empty"),
    "random bytes": (lambda media: media.junk(), VideoError, "not a video or image"),
    "text": (lambda media: media.junk(text=True), VideoError, "not a video or image"),
    "only the head": (
        lambda media: media.truncated(share=0.02),
        VideoError,
        ("damaged, or not a video|no video that"),
    ),
    "sound": (lambda media: media.audio(), VideoError, r"its streams are: audio \(aac\)"),
    "sound by itself": (
        lambda media: media.audio("a.mp3", codec="mp3"),
        VideoError,
        r"audio \(mp3\w*\)",
    ),
    "folder": (folder, VideoError, "is a folder"),
    "pipe": (fifo, VideoError, "is a pipe"),
    "device": (lambda media: Path("/dev/zero"), VideoError, "is a pipe, socket or device"),
    "missing": (lambda media: media.path("none.mp4"), VideoError, "No such file"),
    "symlink loop": (loop, VideoError, "cannot be read"),
    "NUL in the name": (lambda media: Path("a\0b.mp4"), VideoError, "cannot be read"),
    "playlist": (
        lambda media: playlist(
            media, "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:{}\n#EXT-X-ENDLIST\n"
        ),
        VideoError,
        "not a video or image",
    ),
    "script": (
        lambda media: playlist(media, ("ffconcat version 1.0\nfile '{}'\n")),
        VideoError,
        "not a video or image",
    ),
    "stream description": (
        lambda media: playlist(
            media,
            "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
            "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        ),
        VideoError,
        "not a video or image",
    ),
    "damaged PNG": (
        lambda media: damaged_still(media, "a.png", cut=False),
        ImageError,
        "cut off or damaged",
    ),
    "cut PNG": (
        lambda media: damaged_still(media, "a.png", cut=True),
        ImageError,
        "cut off or damaged",
    ),
    "cut JPEG": (
        lambda media: damaged_still(media, "a.jpg", cut=True),
        ImageError,
        "cut off or damaged",
    ),
    "cut WebP": (
        lambda media: damaged_still(media, "a.webp", cut=True),
        ImageError,
        "cut off or damaged",
    ),
    "cut BMP": (
        lambda media: damaged_still(media, "a.bmp", cut=True),
        ImageError,
        "cut off or damaged",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_in_words(name: str, media: Media, capfd: pytest.CaptureFixture):
    make, error, message = BAD[name]
    path = make(media)
    capfd.readouterr()
    for read in (probe, lambda path: list(read_frames(path, frames=4))):
        with pytest.raises(error, match=message) as caught:
            read(path)
        assert str(caught.value).startswith(str(path))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("make", "error"), [(Media.clip, VideoError), (Media.still, ImageError)])
def test_huge_pictures_are_refused(
    make: Callable[[Media], Path], error: type[DeepKDError], media: Media
):
    path = make(media)
    with pytest.raises(error, match=r"320x240 px .*limit of 76799 px"):
        list(read_frames(path, frames=1, max_pixels=320 * 240 - 1))
    assert len(list(read_frames(path, frames=1, max_pixels=320 * 240))) == 1


@pytest.mark.parametrize(
    "name", [b"caf\xe9.mp4", b"pipe:0", b"a%03d.mp4", b"new\nline.mp4", b"caf\xe9.jpg"]
)
def test_any_name_will_do(name: bytes, media: Media):
    made = media.still() if name.endswith(b"jpg") else media.clip()
    path = made.rename(made.parent / os.fsdecode(name))
    assert len(list(read_frames(path, frames=3))) == (1 if name.endswith(b"jpg") else 3)
