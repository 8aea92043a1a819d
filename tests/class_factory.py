"""Pictures of classes: noise around a colour for each class."""

from pathlib import Path

import cv2
import numpy as np

COLOURS = {"blue": (200, 40, 40), "green": (40, 200, 40), "grey": (120, 120, 120),
           "red": (40, 40, 200)}  # fmt: skip
CLASSES = tuple(COLOURS)


def write_pictures(root: Path, *, px: int = 28, **counts: int) -> Path:
    """A folder SPLIT/CLASS/ with the given number of pictures of each class in each split."""
    random = np.random.default_rng(0)
    for split, count in counts.items():
        for name, colour in COLOURS.items():
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                image = np.clip(random.normal(colour, 30, (px, px, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / split / name / f"{number}.png"), image)
    return root
