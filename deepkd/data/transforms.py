"""Augmentations of face crops for training.

The geometry is shared by all crops of a sample (a real and a forgery of it are moved alike, so that only the forgery
tells them apart); everything photometric is drawn for each crop. Probabilities follow the DFDC winner's recipe (JPEG,
noise, blur, grey) and the Self-Blended Images paper (JPEG range); shrinking and enlarging stands for re-encoded clips.
`robust` adds what `deepkd evaluate --perturb` measures, H.264 by the real encoder: a model trained with it has seen
these kinds of damage, and its robustness to them says less about others.
All randomness comes from torch's generator, so that a seed fixes a view.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

from deepkd.data.perturbations import PERTURBATIONS

BLACK = 0


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's CPU generator at `seed` inside, as it was outside."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


class Shrink(v2.Transform):
    """Shrink by a random factor and enlarge again: the detail that a smaller copy of the clip would have lost."""

    def __init__(self, max_factor: float) -> None:
        super().__init__()
        self.max_factor = max_factor

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        factor = 1 + (self.max_factor - 1) * torch.rand(()).item()
        height, width = image.shape[-2:]
        small = F.resize(image, [max(8, round(height / factor)), max(8, round(width / factor))], antialias=True)
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
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[..., ::-1])
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR))
        return torch.from_numpy(np.ascontiguousarray(decoded[..., ::-1])).permute(2, 0, 1)


class Damage(v2.Transform):
    """A perturbation of the evaluation's suite at a random level, drawn evenly in its logarithm (or itself, to 0)."""

    def __init__(self, name: str, mild: float, harsh: float) -> None:
        super().__init__()
        self.name, self.mild, self.harsh = name, mild, harsh

    def forward(self, image: Tensor) -> Tensor:
        """(3, H, W) uint8 -> the same."""
        share, seed = torch.rand(()).item(), int(torch.randint(2**62, ()))
        level = self.mild + (self.harsh - self.mild) * share
        if self.mild * self.harsh > 0:
            level = self.mild * (self.harsh / self.mild) ** share
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
        damaged = PERTURBATIONS[self.name].apply(pixels, level, np.random.default_rng(seed))
        return torch.from_numpy(np.ascontiguousarray(damaged)).permute(2, 0, 1)


def _sometimes(probability: float, transform: v2.Transform) -> v2.Transform:
    return v2.RandomApply([transform], p=probability)


@dataclass(frozen=True)
class Augmentation:
    """How far views may stray from their crops."""

    degrees: float
    shift: float
    """Share of the side."""
    zoom: tuple[float, float]
    flip: float
    photometric: tuple[v2.Transform, ...]


_SUITE = {
    Damage("h264", 23, 40): 5,
    Damage("double-compression", 23, 38): 2,
    Damage("downscale", 0.6, 0.2): 3,
    Damage("jpeg", 60, 10): 2,
    Damage("blur", 3, 21): 2,
    Damage("pixelation", 1.5, 6): 1,
    Damage("noise", 0.0005, 0.05): 2,
    Damage("blocks", 8, 80): 1,
    Damage("saturation", 0.8, 0.0): 1,
    Damage("contrast", 0.95, 0.35): 1,
}
"""What `robust` draws one of -> how often, in proportion."""
_DAMAGE = v2.RandomChoice(list(_SUITE), p=[float(weight) for weight in _SUITE.values()])

AUGMENTATIONS = {
    "none": Augmentation(0.0, 0.0, (1.0, 1.0), 0.0, ()),
    "light": Augmentation(4.0, 0.03, (0.95, 1.1), 0.5, (_sometimes(0.3, Jpeg((60, 100))),)),
    "moderate": Augmentation(
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
    ),
    "standard": Augmentation(
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
    ),
}
_STANDARD = AUGMENTATIONS["standard"]
AUGMENTATIONS["robust"] = replace(
    _STANDARD, photometric=(*_STANDARD.photometric, _sometimes(0.5, _DAMAGE), _sometimes(0.2, _DAMAGE))
)


class Augment:
    """Crops of any size -> views of one size, uint8 (crops, 3, view_px, view_px)."""

    def __init__(self, name: str, view_px: int) -> None:
        self.recipe = AUGMENTATIONS[name]
        self.view_px = view_px
        self.photometric = v2.Compose(list(self.recipe.photometric)) if self.recipe.photometric else None

    def __call__(self, images: Sequence[Tensor]) -> Tensor:
        """Images (3, H, W) uint8, RGB."""
        return self.with_clean(images)[0]

    def with_clean(self, images: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The views, and the same views before anything photometric was done to them."""
        moved = self._move(torch.stack([self._sized(image) for image in images]))
        if self.photometric is None:
            return moved, moved
        return torch.stack([self.photometric(view) for view in moved]), moved

    def _sized(self, image: Tensor) -> Tensor:
        side = [self.view_px, self.view_px]
        return image if list(image.shape[-2:]) == side else F.resize(image, side, antialias=True)

    def _move(self, stack: Tensor) -> Tensor:
        recipe = self.recipe
        turn, right, down = (2 * torch.rand(3) - 1).tolist()
        zoom = recipe.zoom[0] + (recipe.zoom[1] - recipe.zoom[0]) * torch.rand(()).item()
        if torch.rand(()).item() < recipe.flip:
            stack = F.horizontal_flip(stack)
        if recipe.degrees == recipe.shift == 0 and recipe.zoom == (1.0, 1.0):
            return stack
        return F.affine(
            stack,
            angle=turn * recipe.degrees,
            translate=[right * recipe.shift * self.view_px, down * recipe.shift * self.view_px],
            scale=zoom,
            shear=[0.0, 0.0],
            interpolation=v2.InterpolationMode.BILINEAR,
            fill=[BLACK],
        )
