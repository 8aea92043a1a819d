"""Augmentations do to a view what they are named after."""

import numpy as np
import torch

from deepkd.data.transforms import Palette, seed_rng


def test_a_palette_leaves_256_colours_of_the_picture_or_of_the_web(astronaut: np.ndarray) -> None:
    image = torch.from_numpy(np.ascontiguousarray(astronaut[40:140, 130:230])).permute(2, 0, 1)
    web = set(range(0, 256, 51))
    kinds = set()
    for seed in range(8):
        with seed_rng(seed):
            view = Palette()(image)
        assert view.shape == image.shape
        assert (view.int() - image.int()).abs().float().mean() < 20
        assert len(torch.unique(view.reshape(3, -1).T, dim=0)) <= 256
        kinds.add(set(view.unique().tolist()) <= web)
    assert kinds == {True, False}
