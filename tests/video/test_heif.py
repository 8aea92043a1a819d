"""HEIC, AVIF and TIFF are stills: upright, joined from tiles, in SDR, or refused in words."""

import io
import struct
from collections.abc import Sequence
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hdr_factory import TRANSFERS, hdr_signal, planes
from media import Media, scene
from PIL import Image, ImageOps, features

from deepkd.errors import ImageError
from deepkd.pipeline import detect
from deepkd.video.frames import MAX_PIXELS, probe, read_frames
from deepkd.video.heif import Heif
from deepkd.video.stills import read_still

QUIET = {"x265-params": "log-level=none", "crf": "8"}


def box(kind: str, *contents: bytes) -> bytes:
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind.encode()) + content


def encoded(frame: av.VideoFrame, transfer: int) -> tuple[bytes, bytes]:
    """The settings of the decoder, and one picture in HEVC, as an MP4 holds them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx265", rate=1, options=QUIET)
        stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
        stream.codec_context.color_trc, stream.codec_context.thread_count = transfer, 1
        stream.codec_context.time_base = frame.time_base = Fraction(1, 1000)
        frame.pts = 0
        for packet in (*stream.encode(frame), *stream.encode()):
            packet.pts = packet.dts = 0
            container.mux(packet)
    file.seek(0)
    with av.open(file) as container:
        packet = next(container.demux(video=0))
        return bytes(packet.stream.codec_context.extradata), bytes(packet)


def list_changes(
    size: tuple[int, int],
    turns: int,
    mirror: int | None,
    colors: tuple[int, int, int, int] | None,
) -> list[bytes]:
    """The properties of the whole picture: its size, how it is turned, its colours."""
    changes = [
        box("ispe", bytes(4), struct.pack(">II", *size)),
        box("irot", bytes([turns])),
        box("imir", bytes([mirror or 0])),
    ]
    if colors:
        numbers = struct.pack(">HHHB", *colors[:3], colors[3] << 7)
        changes.append(box("colr", b"nclx", numbers))
    return changes


def locate(pictures: Sequence[bytes], grid: bytes, start: int) -> bytes:
    """Where each picture lies, from `start` on, and the grid that joins them."""
    places = b""
    for number, data in enumerate(pictures, 1):
        places += struct.pack(">HHHHII", number, 0, 0, 1, start, len(data))
        start += len(data)
    if grid:
        places += struct.pack(">HHHHII", len(pictures) + 1, 1, 0, 1, 0, len(grid))
    return places


def write_heic(
    path: Path,
    frames: Sequence[av.VideoFrame],
    *,
    size: tuple[int, int],
    columns: int = 1,
    turns: int = 0,
    mirror: int | None = None,
    colors: tuple[int, int, int, int] | None = None,
) -> Path:
    """A HEIC as phones write it: one picture, or tiles to join; properties turn it."""
    pictures = [encoded(frame, colors[1] if colors else 2) for frame in frames]
    properties = [
        box("hvcC", pictures[0][0]),
        box("ispe", bytes(4), struct.pack(">II", frames[0].width, frames[0].height)),
        *list_changes(size, turns, mirror, colors),
    ]
    is_grid, count = len(frames) > 1, len(frames)
    shown = [4] * (turns > 0) + [5] * (mirror is not None)
    uses = [[1, 2, *[6] * bool(colors), *([] if is_grid else shown)]] * count
    kinds = [b"hvc1"] * count
    grid = b""
    if is_grid:
        kinds.append(b"grid")
        uses = [*uses, [3, *shown]]
        grid = bytes([0, 0, count // columns - 1, columns - 1]) + struct.pack(">HH", *size)
    entries = [
        box("infe", bytes([2, 0, 0, 0]), struct.pack(">HH4sB", number, 0, kind, 0))
        for number, kind in enumerate(kinds, 1)
    ]
    used = b"".join(
        struct.pack(">HB", number, len(use)) + bytes(use) for number, use in enumerate(uses, 1)
    )
    parts = struct.pack(f">HH{count}H", count + 1, count, *range(1, count + 1))

    def meta(start: int) -> bytes:
        places = locate([data for _, data in pictures], grid, start)
        return box(
            "meta",
            bytes(4),
            box("pitm", bytes(4), struct.pack(">H", len(kinds))),
            box("iinf", bytes(4), struct.pack(">H", len(kinds)), *entries),
            box("iref", bytes(4), box("dimg", parts)) if is_grid else b"",
            box("idat", grid) if is_grid else b"",
            box(
                "iprp",
                box("ipco", *properties),
                box("ipma", bytes(4), struct.pack(">I", len(uses)), used),
            ),
            box("iloc", bytes([1, 0, 0, 0, 0x44, 0]), struct.pack(">H", len(kinds)), places),
        )

    head = box("ftyp", b"heic", bytes(4), b"mif1heic")
    start = len(head) + len(meta(0)) + 8
    path.write_bytes(head + meta(start) + box("mdat", *(data for _, data in pictures)))
    return path


def frame_of(picture: np.ndarray) -> av.VideoFrame:
    array = np.ascontiguousarray(picture)
    return av.VideoFrame.from_ndarray(array, format="rgb24").reformat(format="yuv420p")


def difference(image: np.ndarray, expected: np.ndarray) -> float:
    assert image.shape == expected.shape
    return float(np.abs(image.astype(int) - expected).mean())


@pytest.mark.parametrize("mirror", [None, 0, 1])
@pytest.mark.parametrize("turns", range(4))
def test_a_heic_comes_upright(turns: int, mirror: int | None, media: Media):
    upright = scene(size=(320, 240))
    stored = {None: upright, 0: upright[::-1], 1: upright[:, ::-1]}[mirror]
    stored = np.rot90(stored, -turns)
    path = write_heic(
        media.path("a.heic"), [frame_of(stored)], size=stored.shape[1::-1],
        turns=turns, mirror=mirror,
    )  # fmt: skip
    info = probe(path)
    assert (info.is_image, info.codec, info.width, info.height) == (True, "heic", 320, 240)
    assert difference(read_still(path, max_pixels=MAX_PIXELS), upright) < 3


@pytest.mark.parametrize("turns", [0, 1])
def test_tiles_are_joined(turns: int, media: Media):
    upright = scene(size=(300, 220))
    stored = np.rot90(upright, -turns)
    height, width = stored.shape[:2]
    padded = np.pad(stored, ((0, 384 - height), (0, 384 - width), (0, 0)), mode="edge")
    tiles = [
        frame_of(padded[top : top + 128, left : left + 128])
        for top in range(0, height, 128)
        for left in range(0, width, 128)
    ]
    columns = -(-width // 128)
    path = write_heic(
        media.path("a.heic"), tiles, size=(width, height), columns=columns, turns=turns
    )
    assert difference(read_still(path, max_pixels=MAX_PIXELS), upright) < 3


@pytest.mark.parametrize("transfer", TRANSFERS)
def test_an_hdr_heic_comes_in_sdr(transfer: str, media: Media):
    picture = scene(size=(320, 240))
    luma, *chroma = planes(hdr_signal(picture, transfer), 9, is_full=True, bits=10)
    halved = [part.reshape(120, 2, 160, 2).mean((1, 3)).reshape(-1, 320) for part in chroma]
    array = np.rint(np.concatenate([luma, *halved])).clip(0, 1023).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(array, format="yuv420p10le")
    colors = (9, TRANSFERS[transfer], 9, 1)
    path = write_heic(media.path("a.heic"), [frame], size=(320, 240), colors=colors)
    assert probe(path).warnings == (f"HDR ({transfer}) was converted to SDR",)
    assert difference(read_still(path, max_pixels=MAX_PIXELS), picture) < 3


@pytest.mark.parametrize("name", ["a.avif", "a.tif", "a.tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_avif_and_tiff_come_upright(name: str, orientation: int, media: Media):
    if name == "a.avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    exif = Image.Exif()
    exif[0x112] = orientation
    stored = Image.fromarray(scene(size=(320, 240)))
    path = media.path(name)
    stored.save(path, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))
    assert probe(path).is_image
    assert difference(read_still(path, max_pixels=MAX_PIXELS), expected) < 2.5


def test_a_face_is_judged_alike_whatever_it_is_saved_as(media: Media):
    picture = scene(size=(640, 480), forged=True)
    Image.fromarray(picture).save(media.path("a.png"))
    Image.fromarray(picture).save(media.path("a.tif"))
    Image.fromarray(picture).save(media.path("a.avif"), quality=100, subsampling="4:4:4")
    write_heic(media.path("a.heic"), [frame_of(picture)], size=(640, 480))
    expected = detect(media.path("a.png"))
    assert expected.score is not None
    for name in ("a.tif", "a.avif", "a.heic"):
        found = detect(media.path(name))
        assert found.score == pytest.approx(expected.score, abs=0.05), name
        assert "too few frames" not in found.reason


def test_an_animated_avif_is_a_video(media: Media):
    pictures = [Image.fromarray(scene(size=(160, 120), phase=index)) for index in range(6)]
    path = media.path("a.avif")
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    assert not probe(path).is_image
    assert len(list(read_frames(path, frames=6))) == 6


def save_pages(media: Media) -> Path:
    pages = [Image.fromarray(scene(phase=index)) for index in range(3)]
    pages[0].save(media.path("a.tif"), save_all=True, append_images=pages[1:])
    return media.path("a.tif")


def save_raw(media: Media) -> Path:
    path = media.path("a.tif")
    Image.fromarray(scene()).save(path, tiffinfo={254: 1})
    return path


def save_unknown(media: Media) -> Path:
    path = write_heic(media.path("a.heic"), [frame_of(scene())], size=(320, 240))
    path.write_bytes(path.read_bytes().replace(b"hvc1", b"unci"))
    return path


def save_huge(media: Media) -> Path:
    path = write_heic(media.path("a.heic"), [frame_of(scene())], size=(320, 240))
    size = struct.pack(">II", 320, 240)
    path.write_bytes(path.read_bytes().replace(size, struct.pack(">II", 1 << 31, 1 << 31)))
    return path


REFUSED = {
    "pages": (save_pages, "has 3 pages; save each as a file of its own"),
    "raw": (save_raw, "is a camera's raw picture; save it as JPEG, PNG or TIFF"),
    "another codec": (save_unknown, "neither HEVC nor AV1; save it as JPEG or PNG"),
    "huge": (save_huge, "is more than the limit of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(name: str, media: Media):
    make, message = REFUSED[name]
    with pytest.raises(ImageError, match=message):
        probe(make(media))


@pytest.mark.parametrize("name", ["a.heic", "a.avif", "a.tif"])
def test_damaged_files_are_refused(name: str, media: Media, capfd: pytest.CaptureFixture):
    path = media.path(name)
    if name == "a.heic":
        write_heic(path, [frame_of(scene())], size=(320, 240))
    else:
        Image.fromarray(scene()).save(path)
    data = path.read_bytes()
    capfd.readouterr()
    rng = np.random.default_rng(0)
    for end in (20, 60, len(data) // 8, len(data) // 2):
        path.write_bytes(data[:end])
        with pytest.raises(ImageError, match="cut off or damaged"):
            probe(path)
    for _ in range(60):
        changed = bytearray(data)
        for at in rng.integers(4 if name == "a.tif" else 12, min(len(data), 700), 4):
            changed[at] = rng.integers(256)
        path.write_bytes(changed)
        with suppress(ImageError):
            assert read_still(path, max_pixels=1 << 20).ndim == 3
    assert capfd.readouterr() == ("", "")


def test_the_limit_holds_before_decoding(media: Media, monkeypatch: pytest.MonkeyPatch):
    path = write_heic(media.path("a.heic"), [frame_of(scene())], size=(320, 240))
    monkeypatch.setattr(Heif, "decode", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="320x240 px is more than the limit of 76799 px"):
        read_still(path, max_pixels=320 * 240 - 1)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_gray_and_deep_tiffs_are_read(depth: type, media: Media):
    gray = cv2.cvtColor(scene(), cv2.COLOR_RGB2GRAY).astype(depth) * (
        257 if depth != np.uint8 else 1
    )
    path = media.path("a.tif")
    cv2.imwrite(str(path), gray.astype(depth))
    image = read_still(path, max_pixels=MAX_PIXELS)
    assert difference(image[..., 0], cv2.cvtColor(scene(), cv2.COLOR_RGB2GRAY)) < 1
