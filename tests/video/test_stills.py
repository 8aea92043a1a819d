"""Stills are sized before they are decoded, whatever their headers hold, and animations are
refused."""

import struct
from pathlib import Path

import cv2
import pytest
from media import Media, scene
from PIL import Image

from deepkd.errors import ImageError
from deepkd.video import stills
from deepkd.video.frames import MAX_PIXELS, read_frames
from deepkd.video.stills import read_still

BEFORE_A_MARKER = {
    "nothing": b"",
    "one fill byte": b"\xff",
    "fill bytes": 99 * b"\xff",
    "TEM, which has no length": b"\xff\x01",
    "RST0 to RST7, which have none": b"".join(
        b"\xff" + bytes([marker]) for marker in range(0xD0, 0xD8)
    ),
    "rubbish": b"\0rubbish\xff\0",
    "an empty comment": b"\xff\xfe\0\x02",
}


MPF = b"\xff\xe2\x00\x08MPF\0\0\0"
"""The head of a JPEG's list of several pictures."""


@pytest.mark.parametrize(
    ("index", "behind", "refused"),
    [(b"", "picture", True), (MPF, "picture", False), (b"", "trailer", False), (b"", "", False)],
)
@pytest.mark.parametrize("progressive", [False, True])
def test_pictures_one_after_another_are_a_film_unless_the_first_lists_them(
    index: bytes, behind: str, refused: bool, progressive: bool, media: Media
):
    picture = cv2.imencode(
        ".jpg", scene()[..., ::-1], [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive)]
    )[1].tobytes()
    path = media.path("cam.jpg")
    path.write_bytes(
        picture[:2]
        + index
        + picture[2:]
        + {"picture": picture, "trailer": b"ftypmp42", "": b""}[behind]
    )
    if refused:
        with pytest.raises(ImageError, match="is an animation"):
            read_still(path, max_pixels=MAX_PIXELS)
    else:
        assert read_still(path, max_pixels=MAX_PIXELS).shape == scene().shape


@pytest.mark.parametrize("where", [b"\xff\xdb", b"\xff\xc0"])
@pytest.mark.parametrize("name", BEFORE_A_MARKER)
def test_the_size_of_a_jpeg_is_known_before_it_is_decoded(name: str, where: bytes, media: Media):
    path = media.still()
    before, marker, after = path.read_bytes().partition(where)
    path.write_bytes(before + BEFORE_A_MARKER[name] + marker + after)
    with pytest.raises(ImageError, match="320x240 px is more than the limit"):
        read_still(path, max_pixels=320 * 240 - 1)
    assert read_still(path, max_pixels=320 * 240).shape == (240, 320, 3)


def test_a_picture_of_the_oldest_bmp_is_read(media: Media):
    path = media.path("old.bmp")
    header = struct.pack("<IHHHH", 12, 8, 4, 1, 24)
    path.write_bytes(
        struct.pack("<2sIHHI", b"BM", 14 + 12 + 96, 0, 0, 26) + header + bytes(range(96))
    )
    assert read_still(path, max_pixels=32).shape == (4, 8, 3)


NO_SIZE = {
    "a JPEG without a frame": b"\xff\xd8\xff\xe0\0\x02\xff\xd9",
    "a JPEG that ends in a marker": b"\xff\xd8\xff\xc0\0\x11\x08",
    "a JPEG of fill bytes": b"\xff\xd8" + 100_000 * b"\xff" + b"\0",
    "a JPEG without a height": b"\xff\xd8\xff\xc0\0\x11\x08\0\0\x3e\x80" + bytes(99),
    "a short PNG": b"\x89PNG\r\n\x1a\n" + bytes(9),
    "a short BMP": b"BM" + bytes(12),
}


@pytest.mark.parametrize("name", NO_SIZE)
def test_what_has_no_size_is_never_decoded(
    name: str, media: Media, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(stills, "_decode", lambda data: pytest.fail("it was decoded"))
    path = media.path("a.jpg")
    path.write_bytes(NO_SIZE[name])
    with pytest.raises(ImageError, match="cut off or damaged"):
        read_still(path, max_pixels=1 << 30)


def animated(path: Path, *, pictures: int = 8) -> Path:
    first, *rest = (Image.fromarray(scene(size=(96, 64), phase=index)) for index in range(pictures))
    first.save(path, save_all=True, append_images=rest, duration=100)
    return path


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_animations_are_refused(suffix: str, media: Media):
    path = animated(media.path(f"a.{suffix}"))
    with pytest.raises(ImageError, match="is an animation"):
        read_still(path, max_pixels=96 * 64)
    assert read_still(animated(path, pictures=1), max_pixels=96 * 64).shape == (64, 96, 3)


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_a_gif_made_of_an_animation_is_seen_as_a_whole(suffix: str, media: Media):
    path = media.path("a.gif")
    with Image.open(animated(media.path(f"a.{suffix}"))) as picture:
        picture.save(path, save_all=True)
    assert [frame.t_s for frame in read_frames(path, frames=4)] == pytest.approx(
        [0.1, 0.3, 0.5, 0.7], abs=0.11
    )
