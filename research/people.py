"""How well `deepkd.video.people` tells who returns after a cut from who is new.

    python research/people.py DATA

DATA is a crop index with landmarks and times. A track is the crops of a video, or of a person from
several videos. Its halves show one person; the second half also comes at half the size and in other
light. Tracks of different people are those of other identities, or of other sources where those are
unknown: data sets whose names begin alike, up to a hyphen, are one source.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from deepkd.data.crops import CropSet, load_crops
from deepkd.data.index import CropRow
from deepkd.images import Image
from deepkd.video.crops import Crop
from deepkd.video.faces import Face
from deepkd.video.people import ALIKE, MAX_LOOKS, Appearance, likeness, stack

LEAST = 6
"""Crops of a track, at least."""
Key = tuple[str, str, str]
"""Source, identity ("" where unknown) and name of a track."""


def keep(image: Image) -> Image:
    return image


def shrink(image: Image) -> Image:
    return np.asarray(cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA))


def dim(image: Image) -> Image:
    return np.clip(image * np.array((0.85, 0.9, 0.95)), 0, 255).astype(np.uint8)


def flatten(image: Image) -> Image:
    return np.clip(255 * (0.05 + 0.85 * (image / 255) ** 1.25), 0, 255).astype(np.uint8)


VARIANTS: dict[str, Callable[[Image], Image]] = {
    "as it is": keep,
    "half the size": shrink,
    "dimmer, other white": dim,
    "less contrast": flatten,
}
"""How the second half of a track is shown."""


def find_tracks(crops: CropSet) -> dict[Key, list[int]]:
    """The tracks, each as places in the index: a half, then the other."""
    tracks: dict[Key, list[int]] = defaultdict(list)
    for place, row in enumerate(crops.rows):
        if row.landmarks is not None:
            tracks[name_track(row)].append(place)
    for places in tracks.values():
        places.sort(key=lambda place: (crops.rows[place].video, crops.rows[place].t_s or 0.0))
    return {key: places for key, places in tracks.items() if len(places) >= LEAST}


def name_track(row: CropRow) -> Key:
    identity = ";".join(row.identities)
    return row.dataset.partition("-")[0], identity, identity or row.video


def look_at(crops: CropSet, places: list[int], change: Callable[[Image], Image]) -> Appearance:
    """Some faces, spread over the places, as `People` keeps them."""
    spread = np.linspace(0, len(places) - 1, min(MAX_LOOKS, len(places))).round().astype(int)
    found = []
    for place in spread:
        image, row = crops.image(places[place]), crops.rows[places[place]]
        changed = change(image)
        points = np.array(row.landmarks, np.float32).reshape(5, 2)
        points *= changed.shape[0] / image.shape[0]
        face = Face((0.0, 0.0, *image.shape[1::-1]), 1.0, points)
        found.append(Appearance.of(Crop(changed, row.t_s or 0.0, face, image.shape[0], points)))
    return stack(found)


def main() -> None:
    """Print the share of returns that are known, and of strangers that are taken for one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="crop index with landmarks")
    parser.add_argument("--limit", type=int, help="about this many crops")
    args = parser.parse_args()
    crops = load_crops(args.data, limit=args.limit)
    tracks = find_tracks(crops)
    first = {
        key: look_at(crops, places[: len(places) // 2], keep) for key, places in tracks.items()
    }
    for name, change in VARIANTS.items():
        second = {
            key: look_at(crops, places[len(places) // 2 :], change)
            for key, places in tracks.items()
        }
        for is_named in (False, True):
            same = [likeness(first[key], second[key]) for key in tracks if bool(key[1]) == is_named]
            what = "people in several videos" if is_named else "videos"
            print(f"{name}: {np.mean(np.array(same) >= ALIKE):.1%} of {len(same)} {what} known")
        apart = [
            likeness(first[one], second[other]) for one in tracks for other in tracks
            if one[:2] != other[:2] and (one[0] != other[0] or (one[1] and other[1]))
        ]  # fmt: skip
        print(f"  {sum(each >= ALIKE for each in apart)} of {len(apart)} comparisons of different"
              f" people taken for one; likeness {max(apart):.3f} at most")  # fmt: skip


if __name__ == "__main__":
    main()
