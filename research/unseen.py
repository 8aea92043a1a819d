"""What self-blended forgeries bring: the part `unseen` of `research/scaling.py`.

From a real crop of each original of val two forgeries are made: one self-blended, as trainings with
`--self-blend` see them of other faces, and a swap with the face of another original, which no
training makes. Each run of `--unseen` is asked about both, and about the crops of another data set
(`--cross`). What is made lies in OUT.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
from documents import Part, beside_earlier, interval, markdown, say

from deepkd.data.chance import chance
from deepkd.data.crops import CropSet, load_crops
from deepkd.data.forge.methods import METHODS, Portrait
from deepkd.data.index import CropRow, write_index
from deepkd.data.landmarks import LandmarkFinder
from deepkd.data.leakage import recipe_of
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.images import Image
from deepkd.models.checkpoints import load_checkpoint
from deepkd.settings.evaluation import EvaluateConfig


def forge(args: argparse.Namespace) -> Path:
    """A folder of the real crops of val and of one forgery of each by each method."""
    folder: Path = args.out / "unseen"
    folder.mkdir(parents=True, exist_ok=True)
    faces = portraits(load_crops(args.data, "val", limit=args.limit))
    rows = []
    for place, (original, face) in enumerate(faces):
        donor = faces[(place + len(faces) // 2) % len(faces)][1]
        rows.append(keep(folder, original, "REAL", "", face.image))
        for name, method in METHODS.items():
            picture = method.apply(face, donor, chance(0, name, original), False)
            rows.append(keep(folder, original, "FAKE", name, picture))
    write_index(folder / "index.csv", rows)
    return folder


def portraits(crops: CropSet) -> list[tuple[str, Portrait]]:
    """One real crop of each original with its face, where landmarks are found."""
    finder, found = LandmarkFinder(), {}
    for index, row in enumerate(crops.rows):
        if row.label == "REAL" and row.original not in found:
            picture = crops.image(index)
            landmarks = finder.find(row, picture)
            if landmarks is not None:
                found[row.original] = Portrait(picture, landmarks)
    return list(found.items())


def keep(folder: Path, original: str, label: str, method: str, picture: Image) -> CropRow:
    """The row of a picture that is written without loss."""
    file = f"{Path(original).stem}-{method or 'real'}.png"
    cv2.imwrite(str(folder / file), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    return CropRow(file, label, original=original, method=method, split="val")


def measure_unseen(args: argparse.Namespace) -> dict[str, Any]:
    if not (args.unseen and args.cross):
        raise SystemExit("this part needs --unseen and --cross")
    made = evaluate_runs(args, forge(args), "val")
    own, other = (
        evaluate_runs(args, args.data, "val"),
        evaluate_runs(args, args.cross, args.cross_split),
    )
    rows = [
        {
            "name": Path(run).name.removesuffix(".safetensors"),
            "self_blend": recipe_of(load_checkpoint(Path(run))).get("self_blend", 0.0),
            "val": its["crops"]["auc"],
            "made": {name: method["auc"] for name, method in forgeries["methods"].items()},
            "cross": (cross["videos"] or cross["crops"])["auc"],
        }
        for run, its, forgeries, cross in zip(args.unseen, own, made, other, strict=True)
    ]
    return {
        "cross": args.cross_name + (" videos" if other[0]["videos"] else ""),
        "rows": beside_earlier(args, "unseen", rows),
    }


def evaluate_runs(args: argparse.Namespace, data: Path, split: str) -> list[dict[str, Any]]:
    """What `deepkd evaluate` says of each run."""
    say(f"{data.name}, {split}")
    config = EvaluateConfig(data=data, split=split, limit=args.limit, resamples=args.resamples)
    return [one.to_dict() for one in evaluate_files(tuple(map(str, args.unseen)), config, warn=say)]


def show_unseen(document: Mapping[str, Any]) -> str:
    """A row per run: AUC on known forgeries, on those made here, and on other data."""
    made = list(document["rows"][0]["made"])
    titles = [
        "run",
        "self-blends in its last training",
        "val",
        *(f"{name} of val" for name in made),
    ]
    lines = [
        [
            row["name"],
            f"{row['self_blend']:.0%}",
            *(
                interval(each)
                for each in (row["val"], *(row["made"][name] for name in made), row["cross"])
            ),
        ]
        for row in document["rows"]
    ]
    return markdown([*titles, document["cross"]], lines)


UNSEEN = Part(measure_unseen, show_unseen)


def add_unseen_options(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument(
        "--unseen", nargs="+", default=[], help="runs or checkpoints that are asked about them"
    )
    parser.add_argument("--cross", type=Path, help="crops of another data set")
    parser.add_argument("--cross-split", default="cross", help="their split")
    parser.add_argument(
        "--cross-name", default="FaceForensics++", help="what the page calls the other data set"
    )
    parser.add_argument("--resamples", type=int, default=1000, help="behind the 95%% intervals")
