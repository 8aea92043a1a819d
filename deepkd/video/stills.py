"""Still images: recognised by content, not by name, turned upright; animations are refused."""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from deepkd.errors import ImageError, VideoError
from deepkd.languages import Note
from deepkd.video.heif import Damaged, Heif
from deepkd.video.tiff import tiff_pages

if TYPE_CHECKING:
    from deepkd.images import Image

BMP_CORE_HEADER = b"\x0c\0\0\0"
"""How OS/2's BMP begins, whose sides take two bytes each."""

MAX_BYTES = 1 << 28
"""Largest image file that is read."""

JPEG_START, JPEG_END, JPEG_INDEX = b"\xff\xd8\xff", 0xD9, b"MPF\0"
"""How a JPEG begins, the marker that ends it, and how its list of several pictures begins (CIPA
DC-007)."""

STARTS = {
    JPEG_START: "jpeg",
    b"\x89PNG\r\n\x1a\n": "png",
    b"II*\0": "tiff",
    b"MM\0*": "tiff",
    b"II+\0": "tiff",
    b"MM\0+": "tiff",
}
HEIF_BRANDS = {
    b"heic": "heic", b"heix": "heic", b"heim": "heic", b"heis": "heic", b"mif1": "heif",
    b"avif": "avif",
}  # fmt: skip
"""How files of one picture call themselves that begin as MP4s do; those of many are videos."""

_JPEG_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
"""The marker of a segment with a length. Fill bytes (FF), TEM (01) and RST0 to RST7 (D0 to D7) may
come before it."""


def check_file(path: Path) -> bytes:
    """The first 30 bytes of a file; anything but a file with content is refused unopened.

    Raises:
        VideoError: it is missing, unreadable, empty, a folder, a pipe or a device.
    """
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "a pipe, socket or device"
            raise VideoError(f"{path}: is {what}; give a video or image file")
        with path.open("rb") as file:
            head = file.read(30)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise VideoError(f"{path}: cannot be read ({why})") from error
    if not head:
        raise VideoError(f"{path}: is empty (0 bytes); copy or download it again")
    return head


def still_kind(head: bytes) -> str | None:
    """What image it is by the first 30 bytes of a file; None for anything else.

    `jpeg`, `png`, `webp`, `bmp`, `tiff`, `heic`, `heif` or `avif`.
    """
    if head[8:12] == b"WEBP":
        return "webp" if head.startswith(b"RIFF") else None
    if head[4:8] == b"ftyp":
        return HEIF_BRANDS.get(head[8:12])
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "bmp"
    return next((kind for start, kind in STARTS.items() if head.startswith(start)), None)


def has_palette(head: bytes) -> bool:
    """Whether an image, by the first 30 bytes of its file, has at most 256 colors: PNG or BMP."""
    kind = still_kind(head)
    return (kind == "png" and head[25:26] == b"\3") or (kind == "bmp" and head[28:29] <= b"\x08")


def read_still(path: Path, *, max_pixels: int, warn: Callable[[str], None] | None = None) -> Image:
    """The picture of an image file, RGB uint8 (H, W, 3), turned as its EXIF data say.

    Args:
        path: the file.
        max_pixels: larger pictures are refused.
        warn: takes a sentence about what was done to the picture.

    Raises:
        ImageError: it is damaged, an animation, or has more than `max_pixels` pixels.
    """
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{path}: the image file is larger than {MAX_BYTES >> 20} MiB; save it smaller"
        )
    width, height = _size(data)
    if width * height > max_pixels:
        raise ImageError(
            f"{path}: {width}x{height} px is more than the limit of {max_pixels} px; save it"
            " smaller"
        )
    _refuse_several(path, data)
    image = _decode(path, data, warn) if width * height else None
    if image is None:
        raise ImageError(f"{path}: the image is cut off or damaged; copy or save it again")
    return image


def _refuse_several(path: Path, data: bytes) -> None:
    """Refuse a file of which more than one picture, or another one, is to be seen.

    Raises:
        ImageError: it is one.
    """
    if _is_animation(data):
        raise ImageError(
            f"{path}: is an animation, and only its first picture can be read; make a GIF or MP4"
            " of it"
        )
    if still_kind(data[:30]) != "tiff":
        return
    pages = tiff_pages(data)
    if pages and pages[0].is_reduced:
        raise ImageError(f"{path}: is a camera's raw picture; save it as JPEG, PNG or TIFF")
    whole = [page for page in pages if not page.is_reduced]
    if len(whole) > 1:
        raise ImageError(f"{path}: has {len(whole)} pages; save each as a file of its own")


def _decode(path: Path, data: bytes, warn: Callable[[str], None] | None) -> Image | None:
    """The picture, without a word on standard error; None where it is damaged."""
    kind = still_kind(data[:30])
    if kind == "png" and not _is_whole_png(data):
        return None
    if kind in HEIF_BRANDS.values():
        return _decode_heif(path, data, warn)
    import cv2
    import numpy as np

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return None if image is None else np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def _decode_heif(path: Path, data: bytes, warn: Callable[[str], None] | None) -> Image | None:
    try:
        picture = Heif(data)
        if not picture.is_known:
            raise ImageError(f"{path}: its picture is neither HEVC nor AV1; save it as JPEG or PNG")
        image = picture.decode()
    except Damaged:
        return None
    if picture.color.hdr and warn:
        warn(Note("HDR ({kind}) was converted to SDR", kind=picture.color.hdr))
    return image


def _is_animation(data: bytes) -> bool:
    """Whether the file is an animated WebP or PNG, or holds several JPEG images."""
    match still_kind(data[:30]):
        case "webp":
            return data[12:16] == b"VP8X" and bool(int.from_bytes(data[20:21]) & 2)
        case "png":
            return b"acTL" in takewhile(lambda kind: kind != b"IDAT", _png_chunks(data))
        case "jpeg":
            segments = list(_jpeg_segments(data))
            # Phones put a second picture, such as what makes it brighter on some screens, behind
            # one that says so.
            says_so = any(data.startswith(JPEG_INDEX, at + 2) for _, at in segments)
            return not says_so and bool(segments) and data.startswith(JPEG_START, segments[-1][1])
        case _:
            return False


def _is_whole_png(data: bytes) -> bool:
    """Whether all of it is there and right; libpng would complain on standard error itself."""
    return b"IEND" in _png_chunks(data)


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """The kinds of the chunks, up to one that is cut off or has a wrong checksum."""
    at = 8
    while len(data) >= at + 12:
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if int.from_bytes(data[end : end + 4]) != zlib.crc32(data[at + 4 : end]):
            return
        yield kind
        at = end + 4


def _size(data: bytes) -> tuple[int, int]:
    """Width and height that an image file declares, pixels; (0, 0) where its header is damaged."""
    try:
        match still_kind(data[:30]):
            case "png":
                width, height = struct.unpack_from(">II", data, 16)
            case "bmp":
                is_old = data[14:18] == BMP_CORE_HEADER
                width, height = struct.unpack_from("<HH" if is_old else "<ii", data, 18)
            case "webp":
                width, height = _webp_size(data)
            case "tiff":
                width, height = next(
                    ((page.width, page.height) for page in tiff_pages(data)), (0, 0)
                )
            case "heic" | "heif" | "avif":
                width, height = Heif(data).size
            case _:
                width, height = _jpeg_size(data)
    except (struct.error, Damaged):
        return 0, 0
    return abs(width), abs(height)


def _webp_size(data: bytes) -> tuple[int, int]:
    match data[12:16]:
        case b"VP8X":
            return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(
                data[27:30], "little"
            )
        case b"VP8L":
            bits = int.from_bytes(data[21:25], "little")
            return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        case _:
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """From the first start-of-frame segment: SOF0 to SOF15 without C4, C8 and CC."""
    for marker, at in _jpeg_segments(data):
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 3)
            return width, height
    return 0, 0


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Each segment of the first picture, to its end: (marker, where its content begins)."""
    at = 2
    while found := _JPEG_SEGMENT.search(data, at):
        marker, at = found[1][0], found.end()
        yield marker, at
        if marker == JPEG_END:
            return
        at += int.from_bytes(data[at : at + 2])
