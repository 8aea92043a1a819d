"""Augmentations of face crops for training.

All crops of a sample have the same geometry: a real crop and its forgery are moved in the same way,
so that they differ only in the forgery. Photometric changes are drawn for each crop, or once for
both crops of a share of the pairs.

Probabilities follow the DFDC winner's recipe (JPEG, noise, blur, grey) and the Self-Blended Images
paper (JPEG range). Shrinking and enlarging imitates re-encoded clips. `robust` adds the corruptions
of `deepkd evaluate --perturb`, with the real H.264 encoder. A model trained with them has seen
these kinds of corruption: its robustness to them says less about others. `footage` makes
photographs look like frames of a clip: smaller, and encoded by a video codec, some as a GIF. All
randomness comes from torch's generator, so that a seed determines a view.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from PIL import Image as Pillow
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from deepkd.data.corruptions import CORRUPTIONS
from deepkd.images import Image
from deepkd.scoring.model import InputFormat
from deepkd.settings.choices import AUGMENTATIONS


@contextmanager
def seed_rng(seed: int) -> Iterator[None]:
    """Seed torch's CPU generator within the block, and restore it afterwards."""
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed also notes the call for GPUs that may be used later, with a stack trace,
        # which takes longer than a small view.
        torch.default_generator.manual_seed(seed)
        yield


def _picture(view: Tensor) -> Image:
    """(3, H, W) uint8 -> (H, W, 3)."""
    return np.ascontiguousarray(view.permute(1, 2, 0).numpy())


def _view(picture: Image) -> Tensor:
    """(H, W, 3) uint8 -> (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)


class Shrink(v2.Transform):
    """Shrink by a random factor and enlarge again, to lose the detail of the crop."""

    def __init__(self, max_factor: float) -> None:
        super().__init__()
        self.max_factor = max_factor

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        factor = 1 + (self.max_factor - 1) * torch.rand(()).item()
        height, width = image.shape[-2:]
        small = F.resize(
            image, [max(8, round(height / factor)), max(8, round(width / factor))], antialias=True
        )
        return F.resize(small, [height, width], antialias=True)


class Noise(v2.Transform):
    """Gaussian noise of a random strength, in grey levels of 255."""

    def __init__(self, max_sigma: float) -> None:
        super().__init__()
        self.max_sigma = max_sigma

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        sigma = self.max_sigma * torch.rand(()).item()
        return (image + sigma * torch.randn(image.shape)).round().clamp(0, 255).to(torch.uint8)


class Jpeg(v2.Transform):
    """Encode as JPEG of a random quality and decode again."""

    def __init__(self, quality: tuple[int, int]) -> None:
        super().__init__()
        self.quality = quality

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        quality = int(torch.randint(self.quality[0], self.quality[1] + 1, ()))
        _, encoded = cv2.imencode(
            ".jpg", _picture(image.flip(0)), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        return _view(np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))).flip(0)


class Palette(v2.Transform):
    """Save with 256 dithered colours, as a GIF: the picture's own, or in half of them the web's."""

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        picture = Pillow.fromarray(_picture(image))
        if torch.rand(()).item() < 0.5:
            picture = picture.quantize(256, dither=Pillow.Dither.FLOYDSTEINBERG)
        else:
            picture = picture.convert("P", palette=Pillow.Palette.WEB)
        return _view(np.array(picture.convert("RGB")))


class Corrupt(v2.Transform):
    """A corruption of the evaluation at a random severity.

    The logarithm of the severity is uniform; if the range includes 0, the severity itself is.
    """

    def __init__(self, name: str, mild: float, harsh: float) -> None:
        super().__init__()
        self.name, self.mild, self.harsh = name, mild, harsh

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        share, seed = torch.rand(()).item(), int(torch.randint(2**62, ()))
        level = self.mild + (self.harsh - self.mild) * share
        if self.mild * self.harsh > 0:
            level = self.mild * (self.harsh / self.mild) ** share
        return _view(
            CORRUPTIONS[self.name].apply(_picture(image), level, np.random.default_rng(seed))
        )


def _sometimes(probability: float, transform: v2.Transform) -> v2.Transform:
    return v2.RandomApply([transform], p=probability)


@dataclass(frozen=True)
class Augmentation:
    """How much views may differ from their crops."""

    degrees: float
    shift: float
    """Share of the side."""
    zoom: tuple[float, float]
    flip: float
    photometric: tuple[v2.Transform, ...]


_SUITE = {
    Corrupt("h264", 23, 40): 5,
    Corrupt("double-compression", 23, 38): 2,
    Corrupt("downscale", 0.6, 0.2): 3,
    Corrupt("jpeg", 60, 10): 2,
    Corrupt("blur", 3, 21): 2,
    Corrupt("pixelation", 1.5, 6): 1,
    Corrupt("noise", 0.0005, 0.05): 2,
    Corrupt("blocks", 8, 80): 1,
    Corrupt("saturation", 0.8, 0.0): 1,
    Corrupt("contrast", 0.95, 0.35): 1,
}
"""Corruption -> its weight; `robust` draws one of them."""
_CORRUPTION = v2.RandomChoice(list(_SUITE), p=[float(weight) for weight in _SUITE.values()])

NONE = Augmentation(0.0, 0.0, (1.0, 1.0), 0.0, ())
SHIFT = Augmentation(0.0, 2 / 28, (1.0, 1.0), 0.0, ())
"""Up to two pixels of MNIST's 28 in each direction (Hinton et al. 2015, sec. 3)."""
SHIFT_FLIP = Augmentation(0.0, 4 / 32, (1.0, 1.0), 0.5, ())
"""Up to four pixels of CIFAR's 32, and mirrored (He et al. 2016, sec. 4.2)."""
LIGHT = Augmentation(4.0, 0.03, (0.95, 1.1), 0.5, (_sometimes(0.3, Jpeg((60, 100))),))
MODERATE = Augmentation(
    8.0,
    0.06,
    (0.85, 1.25),
    0.5,
    (
        _sometimes(0.3, v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)),
        v2.RandomGrayscale(0.05),
        _sometimes(0.1, Shrink(2.0)),
        _sometimes(0.3, Jpeg((60, 100))),
    ),
)
STANDARD = Augmentation(
    8.0,
    0.06,
    (0.85, 1.25),
    0.5,
    (
        _sometimes(0.5, v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)),
        v2.RandomGrayscale(0.1),
        _sometimes(0.2, Shrink(4.0)),
        _sometimes(0.05, v2.GaussianBlur(5, (0.3, 1.5))),
        _sometimes(0.1, Noise(12.0)),
        _sometimes(0.5, Jpeg((40, 100))),
        v2.RandomErasing(0.1, scale=(0.02, 0.12)),
    ),
)
FOOTAGE = replace(
    STANDARD,
    photometric=(
        _sometimes(0.4, v2.ColorJitter(brightness=0.2, contrast=0.2, saturation=0.2)),
        v2.RandomGrayscale(0.05),
        _sometimes(0.1, v2.GaussianBlur(5, (0.3, 1.5))),
        _sometimes(0.1, Noise(12.0)),
        _sometimes(0.06, Palette()),
        _sometimes(0.3, Shrink(2.5)),
        _sometimes(0.35, Corrupt("h264", 20, 36)),
        _sometimes(0.3, Jpeg((40, 100))),
        _sometimes(0.1, _CORRUPTION),
        v2.RandomErasing(0.1, scale=(0.02, 0.12)),
    ),
)
ROBUST = replace(
    STANDARD,
    photometric=(
        *STANDARD.photometric,
        _sometimes(0.5, _CORRUPTION),
        _sometimes(0.2, _CORRUPTION),
    ),
)


@dataclass(frozen=True)
class Move:
    """A rotation, shift and zoom about the middle of a picture."""

    degrees: float
    right: float
    """Share of the width."""
    down: float
    """Share of the height."""
    zoom: float
    mirrored: bool

    @classmethod
    def draw(cls, limits: Augmentation) -> "Move":
        """Draw one within the limits of an augmentation."""
        turn, right, down = (2 * torch.rand(3) - 1).tolist()
        nearest, farthest = limits.zoom
        zoom = nearest + (farthest - nearest) * torch.rand(()).item()
        mirrored = torch.rand(()).item() < limits.flip
        return cls(turn * limits.degrees, right * limits.shift, down * limits.shift, zoom, mirrored)

    def __call__(self, picture: Image) -> Image:
        """The moved picture, of the same size; uncovered pixels are black."""
        if self.mirrored:
            picture = np.ascontiguousarray(picture[:, ::-1])
        if (self.degrees, self.right, self.down, self.zoom) == (0, 0, 0, 1):
            return picture
        height, width = picture.shape[:2]
        matrix = cv2.getRotationMatrix2D(
            ((width - 1) / 2, (height - 1) / 2), self.degrees, self.zoom
        )
        matrix[:, 2] += (self.right * width, self.down * height)
        return np.asarray(
            cv2.warpAffine(picture, matrix, (width, height), flags=cv2.INTER_CUBIC), np.uint8
        )


class Augment:
    """Crops of any size -> views of one size, uint8 (crops, 3, view_px, view_px).

    Crops are moved at their own size and then resized like a model's input
    (`InputFormat.resize_crop`), so that they are as sharp in training as in use.
    """

    def __init__(self, name: str, view_px: int) -> None:
        self.augmentation = AUGMENTATIONS.load(name)
        self.format = InputFormat(size=view_px)
        self.photometric = (
            v2.Compose(list(self.augmentation.photometric))
            if self.augmentation.photometric
            else None
        )

    def __call__(self, images: Sequence[Image]) -> Tensor:
        """Images (H, W, 3) uint8, RGB."""
        return self.with_clean(images)[0]

    def with_clean(self, images: Sequence[Image], *, alike: bool = False) -> tuple[Tensor, Tensor]:
        """The views, and the same views without photometric changes.

        Args:
            images: (H, W, 3) uint8, RGB; they share a geometry.
            alike: whether photometric changes are drawn once for all of them.
        """
        move = Move.draw(self.augmentation)
        moved = torch.stack([_view(self.format.resize_crop(move(image))) for image in images])
        if self.photometric is None:
            return moved, moved
        if not alike:
            return torch.stack([self.photometric(view) for view in moved]), moved
        seed = int(torch.randint(2**62, ()))
        views = []
        for view in moved:
            with seed_rng(seed):
                views.append(self.photometric(view))
        return torch.stack(views), moved
