"""Corruptions: effects of cameras, codecs and web sites on a picture, at several severities.

The terms are those of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations" (ICLR 2019). The first seven corruptions are the distortions of
DeeperForensics-1.0 (Jiang et al., CVPR 2020) with its five severities each, implemented anew. They
are applied to whole frames of clips, as published. On crops they are applied to the stored pixels;
for an enlarged face, blur and compression are then milder and blocks harsher.

A severity is the parameter of a corruption, such as a JPEG quality. Severities go from mild to
severe. Images are RGB, uint8, (height, width, 3); an image keeps its shape.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np

from deepkd.data.chance import chance
from deepkd.errors import ConfigError
from deepkd.images import Image

Step = tuple[str, float]
"""A corruption and its severity."""
BLOCK_PX, GREY = 8, 128
STUDIO = np.array([255 / 219, 255 / 224, 255 / 224], np.float32)
"""Stretches luma and chroma of video (16 to 235, 16 to 240) to the full range."""
REUPLOAD = 0.75
"""Scale between the two passes of `double-compression`."""


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption at several severities."""

    title: str
    """Its name in a report, with the meaning and the range of its severities."""
    severities: tuple[float, ...]
    """From mild to severe."""
    apply: Callable[[Image, float, np.random.Generator], Image]
    """(image, severity, random generator) -> the corrupted image, of the same shape."""
    only_clips: bool = False
    """Whether it changes clips only, not a single picture."""


def corrupt(image: Image, name: str, severity: float, *, seed: int, key: str) -> Image:
    """Apply one corruption at one severity to an image.

    Random numbers depend only on `seed`, `key`, `name` and `severity`, not on the order, the batch
    or the process.

    Args:
        image: RGB, uint8, (height, width, 3); it is not changed.
        name: of `CORRUPTIONS`.
        severity: one of its severities.
        seed: of the whole evaluation.
        key: unique for each image, such as its file name.

    Returns:
        RGB, uint8, (height, width, 3).
    """
    return CORRUPTIONS[name].apply(image, severity, chance(seed, name, f"{severity:g}", key))


def list_conditions(names: Iterable[str]) -> list[Step]:
    """List every severity of some corruptions, from mild to severe."""
    return [(name, float(value)) for name in names for value in CORRUPTIONS[name].severities]


def parse_conditions(text: str, *, crops: bool) -> list[Step]:
    """Parse `all` or `NAME[:SEVERITY][,...]`.

    Args:
        text: what the user gave; a name without a severity means all of its severities.
        crops: whether they are applied to crops; `all` then leaves out those for clips only.

    Returns:
        Corruptions and severities, in the order of `CORRUPTIONS`.

    Raises:
        ConfigError: no name, an unknown name or severity, or one that does nothing to crops.
    """
    parts = [part.strip().partition(":") for part in text.split(",") if part.strip()]
    unknown = sorted({name for name, _, _ in parts} - {*CORRUPTIONS, "all"})
    if unknown or not parts:
        raise ConfigError(
            f"unknown perturbation '{', '.join(unknown)}'; choose from all,"
            f" {', '.join(CORRUPTIONS)}"
        )
    fit = [name for name, kind in CORRUPTIONS.items() if not (crops and kind.only_clips)]
    useless = sorted({name for name, _, _ in parts} - {*fit, "all"})
    if useless:
        raise ConfigError(
            f"perturbation '{', '.join(useless)}' does nothing to crops; leave it out, or evaluate"
            " clips"
        )
    wanted = {step for name, _, severity in parts for step in _parse_condition(name, severity, fit)}
    return [step for step in list_conditions(fit) if step in wanted]


def _parse_condition(name: str, severity: str, fit: Iterable[str]) -> list[Step]:
    """The conditions of one `NAME[:SEVERITY]`."""
    every = list_conditions(fit if name == "all" else [name])
    found = [step for step in every if not severity or step[1] == _parse_number(severity)]
    if name == "all" and severity:
        raise ConfigError(
            f"all:{severity}: each perturbation has its own levels; name one, such as jpeg:50"
        )
    if not found:
        known = ", ".join(f"{step[1]:g}" for step in every)
        raise ConfigError(f"perturbation '{name}' has no level '{severity}'; choose from {known}")
    return found


def _parse_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _desaturate(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Multiply chroma by `severity`; luma stays."""
    planes = _to_ycc(image)
    planes[..., 1:] = 0.5 + (planes[..., 1:] - 0.5) * np.float32(severity)
    return _from_ycc(planes)


def _darken(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Multiply every value by `severity`, as published: darker, with less contrast."""
    return (image * np.float32(severity)).astype(np.uint8)


def _draw_blocks(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Draw `severity` grey squares of 8 pixels, once for each 256 pixels of the shorter side."""
    height, width = image.shape[:2]
    result = image.copy()
    for _ in range(round(severity) * max(1, min(height, width) // 256)):
        x, y = rng.integers(0, max(1, width - BLOCK_PX)), rng.integers(0, max(1, height - BLOCK_PX))
        result[y : y + BLOCK_PX, x : x + BLOCK_PX] = GREY
    return result


def _add_noise(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Add Gaussian noise of variance `severity` to luma and chroma in video range."""
    planes = _to_ycc(image)
    noise = rng.standard_normal(planes.shape, np.float32) * np.float32(severity**0.5)
    return _from_ycc(planes + noise * STUDIO)


def _blur(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Blur with a Gaussian window of `severity` pixels (odd); its deviation is a sixth of that."""
    side = round(severity) | 1
    return np.asarray(cv2.GaussianBlur(image, (side, side), severity / 6), np.uint8)


def _pixelate(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Shrink `severity` times by bilinear sampling without smoothing, then enlarge."""
    return _resample(image, 1 / severity, cv2.INTER_LINEAR)


def _downscale(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Shrink to the share `severity` of the side by area averaging, as a thumbnail; enlarge."""
    return _resample(image, severity, cv2.INTER_AREA)


def _resample(image: Image, scale: float, how: int) -> Image:
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(1, int(width * scale)), max(1, int(height * scale))), interpolation=how
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _encode_jpeg(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Encode as JPEG of quality `severity`."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, round(severity)])[1]
    return np.ascontiguousarray(
        np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    )


def _encode_h264(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Encode with x264 as a clip of one frame, at the constant rate factor `severity`; decode."""
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = {"crf": f"{severity:g}", "threads": "1"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.ascontiguousarray(decoded[0].to_ndarray(format="rgb24")[:height, :width])


def _encode_twice(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Encode with x264, shrink to 3/4 and encode again, as a clip that is uploaded twice."""
    height, width = image.shape[:2]
    size = (max(2, round(width * REUPLOAD)), max(2, round(height * REUPLOAD)))
    small = cv2.resize(_encode_h264(image, severity, rng), size, interpolation=cv2.INTER_AREA)
    again = _encode_h264(np.asarray(small, np.uint8), severity, rng)
    return np.asarray(cv2.resize(again, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _mix(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Apply `severity` different ones of `DISTORTIONS`, drawn for each image."""
    for name, its_severity in draw_mixed(severity, rng):
        image = CORRUPTIONS[name].apply(image, its_severity, rng)
    return image


def draw_mixed(severity: float, rng: np.random.Generator) -> list[Step]:
    """Draw different ones of `DISTORTIONS` with their severities, in the order to apply.

    Args:
        severity: how many.
        rng: random generator.
    """
    names = [str(name) for name in rng.permutation(DISTORTIONS)[: round(severity)]]
    return [(name, float(rng.choice(CORRUPTIONS[name].severities))) for name in names]


def _keep(image: Image, severity: float, rng: np.random.Generator) -> Image:
    """Keep the image as it is."""
    return image


def _to_ycc(image: Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Luma and two chromas, float32, 0 to 1."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb), np.float32)


def _from_ycc(planes: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> Image:
    rgb = cv2.cvtColor(planes.astype(np.float32), cv2.COLOR_YCrCb2RGB)
    return np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8)


CORRUPTIONS = {
    "saturation": Corruption("Saturation x .4 to 0", (0.4, 0.3, 0.2, 0.1, 0.0), _desaturate),
    "contrast": Corruption("Contrast x .85 to .35", (0.85, 0.725, 0.6, 0.475, 0.35), _darken),
    "blocks": Corruption("Grey blocks, 16 to 80", (16, 32, 48, 64, 80), _draw_blocks),
    "noise": Corruption("Noise, variance .001-.05", (0.001, 0.002, 0.005, 0.01, 0.05), _add_noise),
    "blur": Corruption("Blur, 7 to 21 px", (7, 9, 13, 17, 21), _blur),
    "pixelation": Corruption("Pixelation, 2 to 6 px", (2, 3, 4, 5, 6), _pixelate),
    "h264": Corruption("H.264, CRF 30 to 40", (30, 32, 35, 38, 40), _encode_h264),
    "jpeg": Corruption("JPEG, quality 90 to 10", (90, 70, 50, 30, 10), _encode_jpeg),
    "downscale": Corruption("Downscale to 1/2, 1/4", (0.5, 0.25), _downscale),
    "frame-rate": Corruption("At most 15 frames/s", (15,), _keep, only_clips=True),
    "double-compression": Corruption("H.264 twice, CRF 23-38", (23, 28, 33, 38), _encode_twice),
    "mixed": Corruption("2, 3, 4 of the first seven", (2, 3, 4), _mix),
}
"""Name -> corruption, in the order of the reports."""
SUITE = 1
"""Version of the corruptions of crops and clips. Raise it with every change, so that stored scores
of old corruptions are not used."""
DISTORTIONS = tuple(CORRUPTIONS)[:7]
"""The corruptions of DeeperForensics-1.0."""
