"""Picture sets: a sequence of (picture, label), such as a torchvision data set, to train on."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from deepkd.data.crops import CropSet
from deepkd.data.index import CropRow
from deepkd.errors import DataError
from deepkd.images import Image


@dataclass
class PictureSet(CropSet):
    """A crop set of a sequence of samples, for `fit`, `evaluate` and `CropDataset`.

    The `file` of a row is its position in the sequence. `picture_set` makes it.
    """

    samples: Sequence[tuple[object, object]] = field(default=(), repr=False)

    def image(self, index: int) -> Image:
        """One picture: RGB, uint8, (height, width, 3).

        Raises:
            DataError: the sample is neither a PIL image nor an array of 8-bit grey levels or
                colours.
        """
        place = int(self.rows[index].file)
        return as_rgb(self.samples[place][0], f"sample {place}")

    def subset(self, indices: Sequence[int]) -> "PictureSet":
        """The same pictures, only some rows."""
        return replace(self, rows=[self.rows[index] for index in indices])


def picture_set(
    samples: Sequence[tuple[object, object]],
    *,
    fake: Callable[[Hashable], bool | None] = bool,
    labels: Sequence[object] | None = None,
    method: Callable[[Hashable], str] = lambda label: "",
) -> PictureSet:
    """Make a crop set of a sequence of (picture, label).

    Nothing is copied: each process reads a picture when it needs it. `samples` can be a torchvision
    data set without a `transform`.

    Args:
        samples: `samples[i]` is (PIL image or uint8 array (H, W), (H, W, 1) or (H, W, 3) in RGB,
            label).
        fake: label -> whether the sample counts as FAKE; None for a sample without a label.
        labels: one per sample; by default `samples.targets`, else those of the samples.
        method: label -> its subclass, for training with subclasses; FAKE samples only.

    Raises:
        DataError: there are no samples, or not as many labels as samples.
    """
    if labels is None:
        labels = getattr(samples, "targets", None)
    known = [samples[place][1] for place in range(len(samples))] if labels is None else list(labels)
    if not known or len(known) != len(samples):
        raise DataError(
            f"{len(samples)} samples with {len(known)} labels; give a label for each of at least"
            " one sample"
        )
    rows = [_make_row(place, label, fake, method) for place, label in enumerate(known)]
    return PictureSet(Path(), rows, samples=samples)


def _make_row(
    place: int,
    label: Hashable,
    fake: Callable[[Hashable], bool | None],
    method: Callable[[Hashable], str],
) -> CropRow:
    label = label.item() if hasattr(label, "item") else label
    forged = fake(label)
    name = {None: "", False: "REAL", True: "FAKE"}[forged if forged is None else bool(forged)]
    return CropRow(str(place), name, str(place), str(place), method=method(label) if forged else "")


def as_rgb(picture: object, name: str) -> Image:
    """Convert a picture to (height, width, 3), RGB, uint8.

    Args:
        picture: a PIL image of any mode, or a uint8 array (H, W), (H, W, 1) or (H, W, 3).
        name: of the picture, for the error.

    Raises:
        DataError: it is something else, such as the float tensor of a transform.
    """
    array = np.asarray(picture.convert("RGB") if hasattr(picture, "convert") else picture)
    if array.ndim == 2:
        array = array[..., None]
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (1, 3):
        advice = "give PIL images or uint8 arrays, e.g. a torchvision data set without a transform"
        raise DataError(
            f"{name}: is {array.dtype} {array.shape}, not a picture (H, W, 3) of uint8; {advice}"
        )
    return np.array(
        np.broadcast_to(array, (*array.shape[:2], 3))
    )  # a copy, since a PIL image cannot be written to
