"""Perturbations: what happens to a picture on its way through cameras, codecs and web sites, in graded levels.

The first seven are the distortions of DeeperForensics-1.0 (Jiang et al., CVPR 2020) with its five
levels each, written anew. There they fall on whole frames, and so they do here where clips are
judged (`deepkd.evaluation.corruption`). On crops they fall on the pixels of the crop as it is stored,
which for an enlarged face is milder in blur and compression and harsher in blocks. Levels go from
mild to severe.

Images are RGB, uint8, (height, width, 3); an image keeps its shape.
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
"""A perturbation and its level."""
BLOCK_PX, GREY = 8, 128
STUDIO = np.array([255 / 219, 255 / 224, 255 / 224], np.float32)
"""Video levels of luma and chroma (16 to 235, 16 to 240) stretched to the full range."""
REUPLOAD = 0.75
"""Scale between the two passes of `double-compression`."""


@dataclass(frozen=True)
class Perturbation:
    """One kind of damage in several levels."""

    title: str
    """What a report calls it, with the meaning and span of its levels."""
    levels: tuple[float, ...]
    """From mild to severe."""
    apply: Callable[[Image, float, np.random.Generator], Image]
    """(image, level, source of chance) -> the damaged image, of the same shape."""
    only_clips: bool = False
    """Whether it does nothing to a single picture."""


def perturb(image: Image, name: str, level: float, *, seed: int, key: str) -> Image:
    """The image with one perturbation at one level.

    Chance hangs on `seed`, `key`, `name` and `level` alone: the order, the batch and the process do
    not matter.

    Args:
        image: RGB, uint8, (height, width, 3); it is not changed.
        name: of PERTURBATIONS.
        level: one of its levels.
        seed: of the whole evaluation.
        key: tells this image from the others, such as its file name.
    """
    return PERTURBATIONS[name].apply(image, level, chance(seed, name, f"{level:g}", key))


def conditions_of(names: Iterable[str]) -> list[Step]:
    """Every level of some perturbations, from mild to severe."""
    return [(name, float(level)) for name in names for level in PERTURBATIONS[name].levels]


def parse_conditions(text: str, *, crops: bool) -> list[Step]:
    """The perturbations and levels behind `all` or `NAME[:LEVEL][,...]`, in the order of the registry.

    Args:
        text: what the user gave; a name without a level stands for all of its levels.
        crops: whether they shall fall on crops; `all` then leaves out what only clips can suffer.

    Raises:
        ConfigError: an unknown name or level, none, or one that does nothing to crops.
    """
    parts = [part.strip().partition(":") for part in text.split(",") if part.strip()]
    unknown = sorted({name for name, _, _ in parts} - {*PERTURBATIONS, "all"})
    if unknown or not parts:
        raise ConfigError(
            f"unknown perturbation '{', '.join(unknown)}'; choose from all,"
            f" {', '.join(PERTURBATIONS)}"
        )
    fit = [name for name, kind in PERTURBATIONS.items() if not (crops and kind.only_clips)]
    useless = sorted({name for name, _, _ in parts} - {*fit, "all"})
    if useless:
        raise ConfigError(
            f"perturbation '{', '.join(useless)}' does nothing to crops; leave it out, or evaluate"
            " clips"
        )
    wanted = {step for name, _, level in parts for step in _named(name, level, fit)}
    return [step for step in conditions_of(fit) if step in wanted]


def _named(name: str, level: str, fit: Iterable[str]) -> list[Step]:
    """The conditions that one `NAME[:LEVEL]` stands for."""
    every = conditions_of(fit if name == "all" else [name])
    found = [step for step in every if not level or step[1] == _number(level)]
    if name == "all" and level:
        raise ConfigError(
            f"all:{level}: each perturbation has its own levels; name one, such as jpeg:50"
        )
    if not found:
        levels = ", ".join(f"{step[1]:g}" for step in every)
        raise ConfigError(f"perturbation '{name}' has no level '{level}'; choose from {levels}")
    return found


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _saturation(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Chroma times `level`, luma as it is."""
    planes = _to_ycc(image)
    planes[..., 1:] = 0.5 + (planes[..., 1:] - 0.5) * np.float32(level)
    return _from_ycc(planes)


def _contrast(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Every value times `level`, as published: a darker picture with less contrast."""
    return (image * np.float32(level)).astype(np.uint8)


def _blocks(image: Image, level: float, rng: np.random.Generator) -> Image:
    """`level` grey squares of 8 pixels (as many times as 256 goes into the shorter side, at least once)."""
    height, width = image.shape[:2]
    result = image.copy()
    for _ in range(round(level) * max(1, min(height, width) // 256)):
        x, y = rng.integers(0, max(1, width - BLOCK_PX)), rng.integers(0, max(1, height - BLOCK_PX))
        result[y : y + BLOCK_PX, x : x + BLOCK_PX] = GREY
    return result


def _noise(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Gaussian noise of variance `level` on luma and chroma, where black to white is 219/255."""
    planes = _to_ycc(image)
    noise = rng.standard_normal(planes.shape, np.float32) * np.float32(level**0.5)
    return _from_ycc(planes + noise * STUDIO)


def _blur(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Gaussian blur with a window of `level` pixels (odd), standard deviation a sixth of that."""
    side = round(level) | 1
    return np.asarray(cv2.GaussianBlur(image, (side, side), level / 6), np.uint8)


def _pixelation(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Shrunk `level` times by bilinear sampling, without smoothing first, and enlarged again."""
    return _shrunk(image, 1 / level, cv2.INTER_LINEAR)


def _downscale(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Shrunk to the share `level` of its side by area averaging, and enlarged again: what a thumbnail leaves."""
    return _shrunk(image, level, cv2.INTER_AREA)


def _shrunk(image: Image, scale: float, how: int) -> Image:
    height, width = image.shape[:2]
    small = cv2.resize(
        image, (max(1, int(width * scale)), max(1, int(height * scale))), interpolation=how
    )
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _jpeg(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Encoded as JPEG of quality `level`."""
    bgr = np.ascontiguousarray(image[..., ::-1])
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, round(level)])[1]
    return np.ascontiguousarray(
        np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)[..., ::-1]
    )


def _h264(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Encoded by x264 as a clip of one frame at the constant rate factor `level`, and decoded again."""
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = even.shape[1], even.shape[0], "yuv420p"
    encoder.time_base, encoder.framerate = Fraction(1, 25), Fraction(25)
    encoder.options = {"crf": f"{level:g}", "threads": "1"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.ascontiguousarray(decoded[0].to_ndarray(format="rgb24")[:height, :width])


def _double(image: Image, level: float, rng: np.random.Generator) -> Image:
    """Encoded at the constant rate factor `level`, shrunk to 3/4, encoded again: a clip that is uploaded once more."""
    height, width = image.shape[:2]
    size = (max(2, round(width * REUPLOAD)), max(2, round(height * REUPLOAD)))
    small = cv2.resize(_h264(image, level, rng), size, interpolation=cv2.INTER_AREA)
    again = _h264(np.asarray(small, np.uint8), level, rng)
    return np.asarray(cv2.resize(again, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def _mixed(image: Image, level: float, rng: np.random.Generator) -> Image:
    """`level` different ones of the seven distortions, drawn with their levels and order for each image."""
    for name, its in draw_mixed(level, rng):
        image = PERTURBATIONS[name].apply(image, its, rng)
    return image


def draw_mixed(level: float, rng: np.random.Generator) -> list[Step]:
    """(name, level) of `level` different ones of the seven distortions, in the order in which they fall."""
    names = [str(name) for name in rng.permutation(DISTORTIONS)[: round(level)]]
    return [(name, float(rng.choice(PERTURBATIONS[name].levels))) for name in names]


def _none(image: Image, level: float, rng: np.random.Generator) -> Image:
    """The image as it is."""
    return image


def _to_ycc(image: Image) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Luma and two chromas, float32, 0 to 1."""
    return np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb), np.float32)


def _from_ycc(planes: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> Image:
    rgb = cv2.cvtColor(planes.astype(np.float32), cv2.COLOR_YCrCb2RGB)
    return np.clip(np.round(rgb * 255), 0, 255).astype(np.uint8)


PERTURBATIONS = {
    "saturation": Perturbation("Saturation x .4 to 0", (0.4, 0.3, 0.2, 0.1, 0.0), _saturation),
    "contrast": Perturbation("Contrast x .85 to .35", (0.85, 0.725, 0.6, 0.475, 0.35), _contrast),
    "blocks": Perturbation("Grey blocks, 16 to 80", (16, 32, 48, 64, 80), _blocks),
    "noise": Perturbation("Noise, variance .001-.05", (0.001, 0.002, 0.005, 0.01, 0.05), _noise),
    "blur": Perturbation("Blur, 7 to 21 px", (7, 9, 13, 17, 21), _blur),
    "pixelation": Perturbation("Pixelation, 2 to 6 px", (2, 3, 4, 5, 6), _pixelation),
    "h264": Perturbation("H.264, CRF 30 to 40", (30, 32, 35, 38, 40), _h264),
    "jpeg": Perturbation("JPEG, quality 90 to 10", (90, 70, 50, 30, 10), _jpeg),
    "downscale": Perturbation("Downscale to 1/2, 1/4", (0.5, 0.25), _downscale),
    "frame-rate": Perturbation("At most 15 frames/s", (15,), _none, only_clips=True),
    "double-compression": Perturbation("H.264 twice, CRF 23-38", (23, 28, 33, 38), _double),
    "mixed": Perturbation("2, 3, 4 of the first seven", (2, 3, 4), _mixed),
}
"""Name -> what is done, in the order of the reports."""
SUITE = 1
"""Raised whenever a perturbation of crops or clips changes, so that scores of the old damage are
not taken for new."""
DISTORTIONS = tuple(PERTURBATIONS)[:7]
"""Those of DeeperForensics-1.0."""
