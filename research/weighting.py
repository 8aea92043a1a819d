"""Whether frames should weigh by face size and sharpness.

    python research/weighting.py --data CROPS

`deepkd detect` scores a person by the plain mean of frame logits. No validation clips with several
frames exist in DFDC crops, so several crops of one label, drawn at random, stand for the frames of
a clip: a weighting that trusts the telling crops more must separate such groups better. Every crop
is in one group of a drawing; drawings differ.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from deepkd.data.crops import CropSet, load_crops
from deepkd.evaluation.metrics import auc
from deepkd.scoring.evidence import sharpness
from deepkd.scoring.model import Scorer

Array = npt.NDArray[np.float64]

LARGE_PX = 224.0
"""Faces larger than this count no more: the crops hold no more detail."""
WEIGHTS: dict[str, Callable[[Array, Array], Array]] = {
    "all the same": lambda face_px, sharp: np.ones_like(face_px),
    "by face size": lambda face_px, sharp: np.minimum(face_px, LARGE_PX),
    "by sharpness": lambda face_px, sharp: sharp,
    "by both": lambda face_px, sharp: np.minimum(face_px, LARGE_PX) * sharp,
}


def main() -> None:
    args = arguments()
    crops = load_crops(args.data, args.split)
    known = [i for i, row in enumerate(crops.rows) if row.label and row.face_px][: args.limit]
    logits, sharp = score(crops, known, Scorer.load(args.model))
    face_px = np.array([crops.rows[i].face_px for i in known], float)
    labels = np.array([crops.rows[i].label == "FAKE" for i in known])
    found = {
        name: drawings(labels, logits, weigh(face_px, sharp), args)
        for name, weigh in WEIGHTS.items()
    }
    even = next(iter(found.values()))
    print(
        f"{args.model}, {len(known)} crops of {args.split} in groups of {args.group},"
        f" {args.drawings} drawings\n"
    )
    print(
        "| frames weigh | AUC of groups | against all the same | better in |\n|---|---:|---:|---:|"
    )
    for name, values in found.items():
        gain = values - even
        print(f"| {name} | {values.mean():.4f} | {gain.mean():+.4f} | {(gain > 0).mean():.0%} |")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="AUC of groups of crops by weighted means of their logits."
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of crops with an index that has face_px"
    )
    parser.add_argument("--split", default="val", help="split of the index")
    parser.add_argument("--model", default="deepkd-nano", help="model that scores")
    parser.add_argument("--group", type=int, default=4, help="crops that stand for a clip")
    parser.add_argument(
        "--drawings", type=int, default=200, help="times that groups are drawn anew"
    )
    parser.add_argument("--limit", type=int, help="take the first so many crops only")
    return parser.parse_args()


def score(crops: CropSet, indices: list[int], scorer: Scorer) -> tuple[Array, Array]:
    """Logit and sharpness of each crop, (N,) both."""
    logits, sharp = [], []
    for start in range(0, len(indices), 32):
        images = [crops.image(i) for i in indices[start : start + 32]]
        logits.append(scorer.logits(images))
        sharp += [sharpness(image) for image in images]
    return np.concatenate(logits).astype(float), np.array(sharp)


def drawings(
    labels: npt.NDArray[np.bool_], logits: Array, weights: Array, args: argparse.Namespace
) -> Array:
    """AUC of the groups of every drawing; all weightings see the same groups."""
    values = []
    for seed in range(args.drawings):
        random = np.random.default_rng(seed)
        groups = [
            drawn
            for label in (False, True)
            for drawn in group(np.flatnonzero(labels == label), args.group, random)
        ]
        means = [np.average(logits[group], weights=weights[group]) for group in groups]
        values.append(auc([labels[group[0]] for group in groups], means))
    return np.array(values, float)


def group(
    indices: npt.NDArray[np.intp], size: int, random: np.random.Generator
) -> list[npt.NDArray[np.intp]]:
    shuffled = random.permutation(indices)
    return list(shuffled[: len(shuffled) // size * size].reshape(-1, size))


if __name__ == "__main__":
    main()
