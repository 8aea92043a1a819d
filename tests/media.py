"""Tiny clips and stills for tests, made from two public-domain portraits; nothing is downloaded.

    media = Media(tmp_path)
    media.clip("a.mp4")                                        one moving face, 1 s, 10 fps,
    320x240, H.264 media.clip("b.mp4", faces=("astronaut", "grace_hopper"))   two people side by
    side media.clip("c.mp4", forged=True)                           the other person's face blended
    on media.clip("d.mp4", faces=())                              noise: no face media.clip("e.mp4",
    rotation_deg=90, size=(322, 240), codec="libx265", times=(0, 0.1, 0.5)) media.audio("f.mp4"),
    media.truncated("g.mp4"), media.junk("h.mp4"), media.still("i.jpg") declare(media.clip("j.mkv"),
    36_000)                       the header lies about the length

The portraits, both public domain: Eileen Collins (NASA, scikit-image), Grace Hopper (US Navy,
Matplotlib).
"""

import math
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import matplotlib.cbook
import numpy as np
import numpy.typing as npt
import skimage.data

Image = npt.NDArray[np.uint8]
"""RGB, uint8, (height, width, 3)."""

CLOCK = 90_000
"""Ticks per second of the clips' time base: exact for every usual frame rate."""
EXIF = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0%c\0\0\0\0\0\0"


@dataclass(frozen=True)
class Portrait:
    """A public-domain photograph with one face, and where facenet-pytorch's MTCNN finds it."""

    image: Image
    box: tuple[float, float, float, float]
    """x, y, width, height, pixels."""
    landmarks: npt.NDArray[np.float32]
    """(5, 2) pixels: left eye, right eye, nose, left and right mouth corner, as seen in the
    image."""


@cache
def portraits() -> dict[str, Portrait]:
    """The two people, by name."""
    hopper = cv2.imread(str(matplotlib.cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)))[
        ..., ::-1
    ]
    eyes_nose_mouth = {
        "astronaut": [
            (205.4, 101.5),
            (246.9, 103.1),
            (225.1, 129.2),
            (201.2, 139.6),
            (245.1, 141.1),
        ],
        "grace_hopper": [
            (220.3, 189.9),
            (308.5, 187.1),
            (269.2, 238.9),
            (230.4, 282.6),
            (306.8, 279.6),
        ],
    }
    points = {name: np.asarray(value, np.float32) for name, value in eyes_nose_mouth.items()}
    return {
        "astronaut": Portrait(
            skimage.data.astronaut(), (180.3, 60.7, 88.1, 111.5), points["astronaut"]
        ),
        "grace_hopper": Portrait(
            hopper.copy(), (163.7, 105.8, 183.9, 238.2), points["grace_hopper"]
        ),
    }


@cache
def forged_portrait(name: str) -> Image:
    """The portrait with the other person's face blended on."""
    from deepkd.data.forge.blending import swap_face

    target = portraits()[name]
    source = portraits()["grace_hopper" if name == "astronaut" else "astronaut"]
    return swap_face(source.image, source.landmarks, target.image, target.landmarks)


def scene(
    faces: Sequence[str] = ("astronaut",),
    *,
    size: tuple[int, int] = (320, 240),
    phase: float = 0.0,
    face_share: float = 0.45,
    forged: bool | Sequence[str] = False,
    seed: int = 0,
) -> Image:
    """One picture, (height, width, 3): the people side by side, each on a small circle at `phase`
    (radians).

    `face_share` is a face's height as a share of the picture's height; `forged` is everybody or the
    names of some; without faces it is noise.
    """
    width, height = size
    if not faces:
        return np.random.default_rng((seed, round(phase * 1000))).integers(
            0, 256, (height, width, 3), np.uint8
        )
    picture = np.empty((height, width, 3), np.uint8)
    edges = np.linspace(0, width, len(faces) + 1).astype(int)
    for name, left, right in zip(faces, edges, edges[1:], strict=False):
        fake = forged if isinstance(forged, bool) else name in forged
        picture[:, left:right] = _person(name, (right - left, height), phase, face_share, fake)
    return picture


def _person(
    name: str, size: tuple[int, int], phase: float, face_share: float, forged: bool
) -> Image:
    portrait = portraits()[name]
    x, y, w, h = portrait.box
    width, height = size
    scale = min(face_share * height / h, 0.8 * width / w)
    drift = 0.05 * scale * h
    across = width / 2 + drift * math.cos(phase) - scale * (x + w / 2)
    down = height / 2 + drift * math.sin(phase) - scale * (y + h / 2)
    image = forged_portrait(name) if forged else portrait.image
    if scale < 1:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / scale)
    matrix = np.array([[scale, 0, across], [0, scale, down]])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def write_video(
    path: Path,
    pictures: Iterable[Image],
    *,
    times: Iterable[float] | None = None,
    fps: float = 10,
    codec: str = "libx264",
    pixel_format: str | None = None,
    rotation_deg: int = 0,
    mirrored: bool = False,
    pixel_aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Encode RGB pictures; MP4s carry their index first, so that the head of a cut file can still
    be decoded.

    `times` (seconds) makes the frame rate variable; `rotation_deg` is how far clockwise a player
    has to turn the stored picture, and `mirrored` says that it has to mirror it before (MP4 and MOV
    only).
    """
    pictures = iter(pictures)
    first = next(pictures)
    height, width = first.shape[:2]
    if pixel_format is None:
        pixel_format = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        pixel_format = "yuvj420p" if codec == "mjpeg" else pixel_format
    if codec == "libx264":  # its tree of macroblocks differs from run to run
        options = {"mbtree": "0", **(options or {})}
    index_first = {"movflags": "faststart"} if path.suffix in {".mp4", ".mov"} else {}
    with av.open(str(path), "w", options=index_first) as container:
        stream = container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1001), options=options
        )
        stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
        stream.codec_context.thread_count = 1
        if pixel_aspect:
            stream.codec_context.sample_aspect_ratio = pixel_aspect
        if codec not in {"mpeg4", "mpeg2video"}:
            stream.codec_context.time_base = Fraction(1, CLOCK)
        for picture, t_s in zip(_chain(first, pictures), _clock(times, fps), strict=False):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            base = stream.codec_context.time_base or Fraction(1, CLOCK)
            frame.pts, frame.time_base = round(Fraction(t_s) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    if rotation_deg or mirrored:
        _set_matrix(path, rotation_deg, -1 if mirrored else 1)
    return path


def _chain(first: Image, rest: Iterator[Image]) -> Iterator[Image]:
    yield first
    yield from rest


def _clock(times: Iterable[float] | None, fps: float) -> Iterator[float]:
    if times is not None:
        yield from times
        return
    index = 0
    while True:
        yield index / fps
        index += 1


def _set_matrix(path: Path, rotation_deg: int, side: int) -> None:
    """Patch the matrix of the first track header, as phones write it."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4
    matrix = start + (52 if data[start] == 1 else 40)
    cos, sin = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[rotation_deg % 360]
    one = 1 << 16
    values = (side * cos * one, side * sin * one, 0, -sin * one, cos * one, 0, 0, 0, 1 << 30)
    data[matrix : matrix + 36] = struct.pack(">9i", *values)
    path.write_bytes(data)


def declare(path: Path, declared_s: float) -> Path:
    """Make the header of a clip (MKV, MP4) declare another length, seconds."""
    data = bytearray(path.read_bytes())
    if path.suffix == ".mkv":
        at = data.index(b"\x44\x89\x88") + 3  # the element Duration, eight bytes of it
        data[at : at + 8] = struct.pack(">d", 1000 * declared_s)
    else:
        for box in (b"mvhd", b"mdhd"):
            at = data.index(box) + 16
            (ticks,) = struct.unpack(">I", data[at : at + 4])
            data[at + 4 : at + 8] = struct.pack(">I", round(declared_s * ticks))
    path.write_bytes(data)
    return path


class Media:
    """A factory of small files in one folder; every method returns the path it wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, name: str) -> Path:
        """Where `name` goes; its folders are made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def clip(
        self,
        name: str = "clip.mp4",
        *,
        faces: Sequence[str] = ("astronaut",),
        seconds: float = 1.0,
        fps: float = 10,
        size: tuple[int, int] = (320, 240),
        times: Sequence[float] | None = None,
        moving: bool = True,
        forged: bool | Sequence[str] = False,
        forged_between_s: tuple[float, float] = (0.0, math.inf),
        face_share: float = 0.45,
        codec: str = "libx264",
        pixel_format: str | None = None,
        rotation_deg: int = 0,
        mirrored: bool = False,
        options: dict[str, str] | None = None,
    ) -> Path:
        """A clip of the named people (none: noise).

        `size` is (width, height) as a viewer sees it; a rotated clip is stored turned back, a
        mirrored one mirrored. `forged`: everybody, or the names of those forged, within
        `forged_between_s` (seconds).
        """
        count = max(1, round(seconds * fps))
        moments = [index / fps for index in range(count)] if times is None else list(times)
        begin, end = forged_between_s
        pictures = (
            scene(
                faces,
                size=size,
                phase=2 * math.pi * t_s / 2 if moving else 0.0,
                face_share=face_share,
                forged=forged if begin <= t_s < end else False,
                seed=index if moving else 0,
            )
            for index, t_s in enumerate(moments)
        )
        turned = (np.rot90(picture, rotation_deg // 90) for picture in pictures)
        stored = (np.fliplr(picture) if mirrored else picture for picture in turned)
        return write_video(
            self.path(name), stored, times=times, fps=fps, codec=codec, pixel_format=pixel_format,
            rotation_deg=rotation_deg, mirrored=mirrored, options=options,
        )  # fmt: skip

    def still(
        self, name: str = "still.jpg", *, exif_orientation: int | None = None, **options: object
    ) -> Path:
        """A picture (JPEG, PNG, WebP, BMP by its suffix); the options are those of `scene`. With
        `exif_orientation` (3, 6 or 8; JPEG) the stored picture is turned so that a viewer sees it
        upright.
        """
        picture = scene(**options)  # type: ignore[arg-type]
        turns = {None: 0, 3: 2, 6: 1, 8: 3}[exif_orientation]
        path = self.path(name)
        cv2.imwrite(str(path), np.ascontiguousarray(np.rot90(picture, turns)[..., ::-1]))
        if exif_orientation:
            data, tag = path.read_bytes(), EXIF % exif_orientation
            path.write_bytes(
                data[:2] + b"\xff\xe1" + struct.pack(">H", len(tag) + 2) + tag + data[2:]
            )
        return path

    def audio(self, name: str = "audio.mp4", *, seconds: float = 0.5, codec: str = "aac") -> Path:
        """A file with sound (a quiet tone) and no picture."""
        path, rate = self.path(name), 16_000
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate, layout="mono")
            wave = 0.1 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
            frame = av.AudioFrame.from_ndarray(
                wave.astype(np.float32)[None], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = rate, 0
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    def truncated(
        self, name: str = "truncated.mp4", *, share: float = 0.6, **options: object
    ) -> Path:
        """A clip cut after `share` of its bytes; the options are those of `clip`."""
        path = self.clip(name, **options)  # type: ignore[arg-type]
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        return path

    def junk(self, name: str = "junk.mp4", *, size: int = 4096, text: bool = False) -> Path:
        """A file that is no video: random bytes, text, or (`size=0`) nothing."""
        path = self.path(name)
        path.write_bytes(
            b"not a video\n" * (size // 12) if text else np.random.default_rng(0).bytes(size)
        )
        return path
