"""Views of the pictures of a class set: whole batches at once where pictures are small."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from deepkd.data.classes import ClassSet
from deepkd.data.crops import CropSet
from deepkd.data.transforms import Augment, Augmentation
from deepkd.data.views import Batch, CropDataset, SampleKey


class ClassViews(Dataset[Batch]):
    """Batches of small pictures, moved by whole pixels, from the memory of the set.

    Uncovered pixels are black. A key always gives the same view.
    """

    def __init__(self, pictures: ClassSet, recipe: Augmentation, view_px: int) -> None:
        """Decode the pictures, and keep them.

        Args:
            pictures: to show.
            recipe: see `moves_whole_pixels`.
            view_px: side of the views, pixels.
        """
        self.pictures = pictures.stacked(view_px)
        self.labels = pictures.labels
        self.reach = round(recipe.shift * view_px)
        self.flip = recipe.flip

    def __getitem__(self, key: SampleKey) -> Batch:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[SampleKey]) -> list[Batch]:
        """One batch with a view of each key."""
        rows = np.array([key.rows[0] for key in keys])
        views = self.pictures[rows]
        if self.reach or self.flip:
            views = self._moved(views, np.array([key.seed for key in keys], np.uint64))
        channels_last = torch.from_numpy(views).permute(0, 3, 1, 2)
        return [Batch(channels_last, torch.from_numpy(self.labels[rows]), torch.from_numpy(rows))]

    def _moved(
        self, views: npt.NDArray[np.uint8], seeds: npt.NDArray[np.uint64]
    ) -> npt.NDArray[np.uint8]:
        """Each view (N, S, S, 3) shifted, and mirrored with the probability `flip`."""
        draws = np.random.Generator(np.random.Philox(seeds[0])).random((3, len(views)))
        side, reach = views.shape[1], self.reach
        padded = np.zeros((len(views), side + 2 * reach, side + 2 * reach, 3), np.uint8)
        padded[:, reach : reach + side, reach : reach + side] = views
        down, right = (draws[:2] * (2 * reach + 1)).astype(int)
        for place, is_mirrored in enumerate(draws[2] < self.flip):
            y, x = down[place], right[place]
            view = padded[place, y : y + side, x : x + side]
            views[place] = view[:, ::-1] if is_mirrored else view
        return views


def moves_whole_pixels(recipe: Augmentation) -> bool:
    """Whether views are only shifted and mirrored."""
    return not recipe.degrees and recipe.zoom == (1.0, 1.0) and not recipe.photometric


def make_dataset(
    crops: CropSet, augment: Augment, *, view_px: int, with_clean: bool
) -> ClassViews | CropDataset:
    """What gives the views of a set: from memory where that suffices, else file by file."""
    is_light = moves_whole_pixels(augment.augmentation) and not with_clean
    if isinstance(crops, ClassSet) and is_light and crops.is_small(view_px):
        return ClassViews(crops, augment.augmentation, view_px)
    return CropDataset(crops, augment, with_clean=with_clean)
