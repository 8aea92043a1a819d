"""Derive the figures of a student's card, and its essence that reports show.

    python benchmarks/model_card.py --data CROPS --cross OTHER_CROPS --teacher RUN

Each part is measured by the functions behind `deepkd evaluate` and `deepkd detect`, kept as JSON in
OUT, and written between its two marks in `weights/deepkd-nano.md`; `--only` measures some parts
again and leaves the others as they are. Damaged crops stay in OUT: a run that was stopped goes on.
`weights/NAME.json` gets file, hash, AUC and training data from the parts; its limits are sentences
of the card that people chose, and stay. `--model deepkd-NAME --document weights/deepkd-NAME.md`
writes the card of another student, which is begun where there is none.
"""

import argparse
import math
import os
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from card_essence import write_essence
from card_text import (
    VERDICTS,
    count_crops,
    show_beyond,
    show_bytes,
    show_damage,
    show_figures,
    show_file,
    show_odds,
    show_reliability,
    show_samples,
    show_trained,
    show_verdicts,
)
from documents import ROOT, Part, document_parser, say, show_progress, write_parts
from reencodings import measure_reencodings

from deepkd.config import load_config
from deepkd.data.leakage import recipe_of
from deepkd.data.mixture import load_data
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.evaluation.figures import sources_of
from deepkd.evaluation.metrics import measure
from deepkd.evaluation.results import Evaluation
from deepkd.pipeline import Detector
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.model import Scorer
from deepkd.scoring.thresholds import Thresholds
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.settings.training import TrainConfig
from deepkd.tables.curves import Curves, draw_reliability
from deepkd.tables.robustness import draw_robustness

CARD = ROOT / "weights" / "deepkd-nano.md"


@cache
def evaluate(
    models: tuple[str, ...], config: EvaluateConfig, out: Path | None = None
) -> list[Evaluation]:
    """The models on one set of crops, measured once for all parts."""
    return evaluate_files(models, config, out=out, warn=say, progress=show_progress)


def on(args: argparse.Namespace, data: Path, split: str, **more: Any) -> EvaluateConfig:
    return EvaluateConfig(
        data=data, split=split, limit=args.limit, resamples=args.resamples, **more
    )


def models_of(args: argparse.Namespace) -> tuple[str, ...]:
    return (args.model, *([args.teacher] if args.teacher else []))


def sets_of(args: argparse.Namespace) -> dict[str, list[Evaluation]]:
    """Name of a set of crops -> student and teacher on it; the other data set comes last."""
    places = {
        f"{args.data_name} val": (args.data, "val"),
        f"{args.data_name} test": (args.data, "test"),
        args.cross_name: (args.cross, args.cross_split),
    }
    return {name: evaluate(models_of(args), on(args, *place)) for name, place in places.items()}


# The file, and what it learned from


def measure_file(args: argparse.Namespace) -> dict[str, Any]:
    scorer = Scorer.load(args.model)
    weights = [
        tensor for tensor in onnx.load(scorer.path).graph.initializer if len(tensor.dims) > 1
    ]
    return {
        "file": scorer.path.name,
        "sha256": scorer.sha256,
        "kinds": sorted(
            {str(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)) for tensor in weights}
        ),
        "bytes": scorer.bytes,
        "architecture": scorer.metadata.get("architecture", scorer.name),
        "params": scorer.params,
        "macs": scorer.macs,
        "input": scorer.format.to_dict(),
        "evidence": scorer.has_evidence,
    }


def measure_trained(args: argparse.Namespace) -> dict[str, Any]:
    """What the model's file says that it learned from, if these crops are that."""
    scorer = Scorer.load(args.model)
    known = recipe_of(scorer).get("index_sha256")
    sources = (
        load_config(TrainConfig, args.trained_with).list_sources() if args.trained_with else []
    )
    crops = load_data(sources or args.data, "train")
    if known != crops.index_sha256():
        other = (
            f"crops whose list has the SHA-256 {known}"
            if known
            else "data that its file does not name"
        )
        return {"sha256": scorer.sha256, "trained_on": other}
    titles = [args.data_title, *args.also_titles]
    parts = [load_data(source, "train") for source in sources] if sources else [crops]
    counts = [count_crops(part) for part in parts]
    named = [f"{count} of {title}" for count, title in zip(counts, titles, strict=True)]
    return {"sha256": scorer.sha256, "trained_on": "; ".join(named)}


# Figures


def measure_figures(args: argparse.Namespace) -> dict[str, Any]:
    found = sets_of(args)
    documents = {name: [one.to_dict() for one in models] for name, models in found.items()}
    columns = {name: [one["crops"] for one in models] for name, models in documents.items()}
    other = documents[args.cross_name]
    if all(one["videos"] for one in other):
        columns[f"{args.cross_name} videos"] = [one["videos"] for one in other]
    return {
        "sha256": Scorer.load(args.model).sha256,
        "models": [{"name": one["name"], "params": one["params"]} for one in other],
        "cross": args.cross_name,
        "sets": columns,
        "methods": {
            name: [one["methods"][name]["auc"] for one in other] for name in other[0]["methods"]
        },
    }


# Data that it never saw


def measure_beyond(args: argparse.Namespace) -> dict[str, Any]:
    found = sets_of(args)
    home, other = found[f"{args.data_name} test"][0], found[args.cross_name][0]
    return {
        "sha256": Scorer.load(args.model).sha256,
        "cross": args.cross_name,
        "home": args.data_name,
        "home_auc": home.whole.to_dict()["auc"],
        "level": "videos" if other.videos else "crops",
        "auc": (other.videos or other.whole).to_dict()["auc"],
        "methods": {name: metrics.to_dict()["auc"] for name, metrics in other.methods.items()},
    }


# Verdicts


def count_verdicts(thresholds: Thresholds, found: Evaluation, label: int) -> dict[str, int]:
    """How many of the real (0) or forged (1) crops get each verdict."""
    counts = Counter(
        thresholds.label(score) for score in found.probabilities[found.labels == label]
    )
    return {str(verdict): counts[verdict] for verdict in VERDICTS}


def measure_verdicts(args: argparse.Namespace) -> dict[str, Any]:
    scorer = Scorer.load(args.model)
    sets = {name: models[0] for name, models in sets_of(args).items()}
    return {
        "folders": len(recipe_of(scorer).get("data", ())),
        "thresholds": scorer.thresholds.to_dict(),
        "calibration": scorer.calibration.to_dict(),
        "sets": {
            name: {
                kind: count_verdicts(scorer.thresholds, one, label)
                for label, kind in enumerate(("real", "forged"))
            }
            for name, one in sets.items()
        },
    }


# Probabilities where the share of forgeries is known


def assume_share(share: float, calibration: Calibration) -> Calibration:
    """The calibration for data of which so many are forged, made of one that supposes one half."""
    return Calibration(calibration.temperature, calibration.bias + math.log(share / (1 - share)))


def measure_odds(args: argparse.Namespace) -> dict[str, Any]:
    """Calibration errors of someone who knows the share of forgeries of val."""
    found = {
        split: evaluate(models_of(args), on(args, args.data, split))[0] for split in ("val", "test")
    }
    share = found["val"].whole.fake / found["val"].whole.rows
    informed = assume_share(share, Scorer.load(args.model).calibration)
    errors = {
        f"{args.data_name} {split}": (
            measure(
                one.labels,
                one.logits,
                probabilities=informed.probability(one.logits),
                sources=sources_of(one.rows).tolist(),
                resamples=args.resamples,
            ).to_dict()["ece"]
        )
        for split, one in found.items()
    }
    return {"set": f"{args.data_name} val", "share": share, "ece": errors}


# Damage


def measure_damage(args: argparse.Namespace) -> dict[str, Any]:
    config = on(args, args.data, "val", perturb=args.perturb)
    found = [one.figures for one in evaluate(models_of(args), config, args.out / "damage")]
    picture = picture_of(args, "robustness")
    draw_robustness(picture, found)
    models = [one.to_dict() for one in found]
    return {"set": f"{args.data_name} val", "picture": link_to(args, picture), "models": models}


# The same crops in other bytes


def measure_bytes(args: argparse.Namespace) -> dict[str, Any]:
    """How far scores move where crops of the validation splits are saved again."""
    folders = [args.data]
    if args.trained_with:
        folders = [one.path for one in load_config(TrainConfig, args.trained_with).list_sources()]
    return measure_reencodings(folders, Scorer.load(args.model))


# Reliability


def measure_reliability(args: argparse.Namespace) -> dict[str, Any]:
    found = sets_of(args)[f"{args.data_name} val"][0]
    picture = picture_of(args, "reliability")
    draw_reliability(
        picture, [Curves(found.name, found.labels, found.probabilities, roc=None, auc=None)]
    )
    share = found.whole.fake / found.whole.rows
    return {"set": f"{args.data_name} val", "picture": link_to(args, picture), "forged": share}


# Sample clips


def measure_samples(args: argparse.Namespace) -> dict[str, Any]:
    clips = sorted(args.samples.glob("*.mp4"))
    found = [verdict.to_dict() for verdict in Detector(args.model).detect_many(clips)]
    rows = [{key: one[key] for key in ("verdict", "score")} for one in found]
    return {"clips": [{"name": c.name, **row} for c, row in zip(clips, rows, strict=True)]}


# Pictures


def picture_of(args: argparse.Namespace, name: str) -> Path:
    """Where a picture lies: those of another card do not replace the first one's."""
    return args.pictures / (
        f"{name}.png" if args.document.resolve() == CARD else f"{name}-{args.document.stem}.png"
    )


def link_to(args: argparse.Namespace, picture: Path) -> str:
    """The path from the document to a picture."""
    return Path(os.path.relpath(picture.resolve(), args.document.resolve().parent)).as_posix()


PARTS = {
    "file": Part(measure_file, show_file),
    "trained": Part(measure_trained, show_trained),
    "figures": Part(measure_figures, show_figures),
    "reliability": Part(measure_reliability, show_reliability),
    "damage": Part(measure_damage, show_damage),
    "bytes": Part(measure_bytes, show_bytes),
    "verdicts": Part(measure_verdicts, show_verdicts),
    "odds": Part(measure_odds, show_odds),
    "beyond": Part(measure_beyond, show_beyond),
    "samples": Part(measure_samples, show_samples),
}
HEADINGS = {
    "trained": "Training data",
    "figures": "Accuracy",
    "damage": "Compressed and shrunk faces",
    "verdicts": "Verdicts",
    "beyond": "Limits",
}
"""Part -> the heading that begins with it in a new card."""


def begin(args: argparse.Namespace) -> None:
    """A card with nothing but its marks, where there is none yet."""
    if args.document.exists():
        return
    lines = [f"# {Scorer.load(args.model).name}"]
    for name in PARTS:
        lines += [f"## {HEADINGS[name]}"] if name in HEADINGS else []
        lines += [f"<!-- {name} -->\n<!-- /{name} -->"]
    args.document.write_text("\n\n".join(lines) + "\n")
    say(
        f"{args.document}: begun; say in it what the student is for, how it was trained, and whom"
        " it may harm"
    )


def main() -> None:
    parser = document_parser(__doc__, "model_card", PARTS, CARD)
    parser.add_argument(
        "--model", default="deepkd-nano", help="shipped name or ONNX file of the student"
    )
    parser.add_argument("--teacher", help="run folder of its teacher, to stand beside it")
    parser.add_argument("--cross", type=Path, required=True, help="crops of another data set")
    parser.add_argument("--cross-split", default="cross", help="their split")
    parser.add_argument("--data-name", default="DFDC", help="what the card calls the data")
    parser.add_argument(
        "--data-title", default="the DeepFake Detection Challenge", help="its full name"
    )
    parser.add_argument(
        "--trained-with", type=Path, help="settings whose [[data]] tables it was trained on"
    )
    parser.add_argument(
        "--also-titles", nargs="*", default=[], help="full names of the further folders in them"
    )
    parser.add_argument(
        "--cross-name", default="FaceForensics++", help="what the card calls the other data set"
    )
    parser.add_argument(
        "--perturb",
        default="jpeg,downscale,h264",
        help="damage, as `deepkd evaluate --perturb` has it",
    )
    parser.add_argument(
        "--resamples", type=int, default=1000, help="of the originals, behind the intervals"
    )
    samples = ROOT / "data" / "samples"
    parser.add_argument("--samples", type=Path, default=samples, help="clips judged whole")
    parser.add_argument("--pictures", type=Path, default=ROOT / "docs", help="their folder")
    args = parser.parse_args()
    begin(args)
    write_parts(PARTS, args)
    write_essence(args)


if __name__ == "__main__":
    main()
