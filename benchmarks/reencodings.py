"""How far a score moves where the same crop is saved in other bytes.

`python benchmarks/reencodings.py --data DFDC WILD` saves crops of the split `val` in ways that no
viewer notices, judges them again, and prints tables for a model card: the spread of the scores, and
what the changes of `deepkd.scoring.fragility` make of the verdicts.
"""

import argparse
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from documents import markdown
from PIL import Image as Pillow

from deepkd.data.crops import CropSet, load_crops
from deepkd.images import Image
from deepkd.scoring.fragility import choose_variants
from deepkd.scoring.model import Scorer
from deepkd.scoring.thresholds import Label

Scores = npt.NDArray[np.float64]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="folders of crops")
    parser.add_argument("--model", default="deepkd-nano", help="name or ONNX file")
    parser.add_argument("--crops", type=int, default=200, help="crops of all folders together")
    args = parser.parse_args()
    scorer = Scorer.load(args.model)
    images, is_fake = chosen(args.data, args.crops)
    before = scorer.probabilities(images)
    after = {
        name: scorer.probabilities([change(image) for image in images])
        for name, change in REENCODINGS.items()
    }
    print(f"{len(images)} crops, {is_fake.sum()} forged, {scorer.name}\n")
    rows = [row(name, before, found, scorer) for name, found in after.items()]
    rows.append(row("any of them", before, farthest(before, after), scorer))
    print(markdown(["saved as", "mean", "90% below", "largest", "another verdict, %"], rows), "\n")
    rows = changes(images, is_fake, before, scorer)
    print(markdown(["crops", "verdict", "before", "with the rule"], rows), "\n")
    rows = [palette_row(kind, images, before, scorer) for kind in ("own", "web")]
    print(markdown(["palette", "decided otherwise", "with the rule"], rows))


def chosen(folders: Sequence[Path], count: int) -> tuple[list[Image], npt.NDArray[np.bool_]]:
    """Crops of the validation splits, as many of each folder and label, drawn with a fixed seed."""
    each = count // (2 * len(folders))
    images, labels = [], []
    for folder in folders:
        crops: CropSet = load_crops(folder, "val")
        for label in (0, 1):
            places = np.flatnonzero(crops.labels == label)
            drawn = np.random.default_rng(0).choice(places, min(each, len(places)), replace=False)
            images += [crops.image(int(place)) for place in drawn]
            labels += [label == 1] * len(drawn)
    return images, np.array(labels)


def row(name: str, before: Scores, after: Scores, scorer: Scorer) -> list[str]:
    """How far scores move, and the share of verdicts that do."""
    moved = np.abs(after - before)
    numbers = (moved.mean(), np.quantile(moved, 0.9), moved.max())
    changed = share_changed(before, after, scorer)
    return [name, *(f"{number:.3f}" for number in numbers), f"{100 * changed:.1f}"]


def share_changed(before: Scores, after: Scores, scorer: Scorer) -> float:
    """The share of crops whose scores give another verdict."""
    label = scorer.thresholds.label
    return float(np.mean([label(a) is not label(b) for a, b in zip(after, before, strict=True)]))


def measure_reencodings(
    folders: Sequence[Path], scorer: Scorer, *, count: int = 200
) -> dict[str, Any]:
    """For a model card: mean change of the probability and share of changed verdicts, by way."""
    images, _ = chosen(folders, count)
    before = scorer.probabilities(images)
    ways = {}
    for name, change in REENCODINGS.items():
        after = scorer.probabilities([change(image) for image in images])
        changed = share_changed(before, after, scorer)
        ways[name] = {"mean": float(np.abs(after - before).mean()), "changed": changed}
    return {"crops": len(images), "ways": ways}


def farthest(before: Scores, after: dict[str, Scores]) -> Scores:
    """For each crop the score that lies farthest from the first one."""
    found = np.stack(list(after.values()))
    return np.asarray(found[np.abs(found - before).argmax(0), np.arange(len(before))])


def changes(
    images: Sequence[Image], is_fake: npt.NDArray[np.bool_], before: Scores, scorer: Scorer
) -> list[list[str]]:
    """How many crops have each verdict, before and with the rule for fragile scores."""
    labels = [scorer.thresholds.label(score) for score in before]
    held = verdicts(images, before, scorer, has_palette=False)
    rows = []
    for title, places in (("real", ~is_fake), ("forged", is_fake)):
        for verdict in (Label.FAKE, Label.REAL, Label.INCONCLUSIVE):
            counts = [
                sum(found[place] is verdict for place in np.flatnonzero(places))
                for found in (labels, held)
            ]
            rows.append([title, verdict, *map(str, counts)])
    return rows


def verdicts(
    images: Sequence[Image], scores: Scores, scorer: Scorer, *, has_palette: bool
) -> list[Label]:
    """The verdict on each crop, INCONCLUSIVE where a harmless change gives another."""
    label = scorer.thresholds.label
    variants = [
        scorer.probabilities([make(scorer.format.resize_crop(image)) for image in images])
        for make in choose_variants(has_palette=has_palette)
    ]
    return [
        label(score)
        if all(label(found[place]) is label(score) for found in variants)
        else Label.INCONCLUSIVE
        for place, score in enumerate(scores)
    ]


def palette_row(kind: str, images: Sequence[Image], before: Scores, scorer: Scorer) -> list[str]:
    """How many crops are FAKE or REAL with a palette, and were not so without it."""
    label = scorer.thresholds.label
    saved = [with_palette(kind)(image) for image in images]
    scores = scorer.probabilities(saved)
    held = verdicts(saved, scores, scorer, has_palette=True)
    counts = [
        sum(
            now is not Label.INCONCLUSIVE and now is not label(score)
            for now, score in zip(found, before, strict=True)
        )
        for found in ([label(score) for score in scores], held)
    ]
    return [kind, *map(str, counts)]


def saved(ending: str, *options: int) -> Callable[[Image], Image]:
    """A crop as OpenCV saves and reads it."""

    def change(image: Image) -> Image:
        _, data = cv2.imencode(ending, image[..., ::-1], options)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], np.uint8)

    return change


def jpeg(quality: int, *, sampling: int = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420):
    return saved(
        ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling
    )


def turned_jpeg(quality: int, quarters: int) -> Callable[[Image], Image]:
    """A JPEG that was saved lying on its side, as cameras do, and is shown upright."""
    save = jpeg(quality)
    return lambda image: np.ascontiguousarray(
        np.rot90(save(np.ascontiguousarray(np.rot90(image, quarters))), -quarters)
    )


def shifted_jpeg(quality: int, px: int) -> Callable[[Image], Image]:
    """A JPEG whose blocks of 8 pixels begin elsewhere."""
    save = jpeg(quality)

    def change(image: Image) -> Image:
        padded = np.pad(image, ((px, 0), (px, 0), (0, 0)), mode="edge")
        return np.ascontiguousarray(save(padded)[px:, px:])

    return change


def with_palette(kind: str) -> Callable[[Image], Image]:
    """256 dithered colors."""

    def change(image: Image) -> Image:
        found = Pillow.fromarray(image).quantize(256, dither=Pillow.Dither.FLOYDSTEINBERG)
        if kind == "web":
            found = Pillow.fromarray(image).convert("P")
        file = io.BytesIO()
        found.save(file, "GIF")
        return np.array(Pillow.open(file).convert("RGB"))

    return change


def larger_by_one(image: Image) -> Image:
    height, width = image.shape[:2]
    return np.asarray(
        cv2.resize(image, (width + 1, height + 1), interpolation=cv2.INTER_LINEAR), np.uint8
    )


REENCODINGS: dict[str, Callable[[Image], Image]] = {
    "JPEG 95": jpeg(95),
    "JPEG 90": jpeg(90),
    "JPEG 90, 4:4:4": jpeg(90, sampling=cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    "JPEG 90, turned by 90 degrees": turned_jpeg(90, 1),
    "JPEG 90, turned by 180 degrees": turned_jpeg(90, 2),
    **{f"JPEG 90, blocks shifted by {px}": shifted_jpeg(90, px) for px in (1, 3, 4, 7)},
    "WebP 90": saved(".webp", cv2.IMWRITE_WEBP_QUALITY, 90),
    "1 pixel larger": larger_by_one,
    "palette of its own (PNG, GIF)": with_palette("own"),
    "palette of the web (GIF)": with_palette("web"),
}
"""Name -> a crop saved so and read again, RGB uint8."""

if __name__ == "__main__":
    main()
