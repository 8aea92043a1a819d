r"""How models judge footage of other origins: AUC of clips and false alarms, per source.

    python benchmarks/origins.py deepkd-nano RUN ... --dfdc dfdc-crops --wild wild-crops \
        --cross ffpp-crops --write

A clip's logit is the mean of its crops' logits, as in a verdict, and a model's own calibration and
thresholds decide. The split `val` of `--wild` holds sources that are not in its split `train`, and
`--cross` is never trained on. Corruptions fall on the crops of both validation splits; what they
cost is the mean AUC of the two. `--test` adds DFDC's test split, which is looked at once for each
published model. `--write` puts the tables into docs/origins.md, and the JSON lies in OUT.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from documents import ROOT, fill, markdown, say

from deepkd.data.corruptions import corrupt
from deepkd.data.crops import CropSet, load_crops
from deepkd.evaluation.bootstrap import percentiles
from deepkd.evaluation.figures import group_by_video, video_means
from deepkd.evaluation.metrics import auc, auc_resamples
from deepkd.models.checkpoints import load_model
from deepkd.scoring.thresholds import Label

BATCH = 32
CORRUPTIONS = {"JPEG 50": ("jpeg", 50), "1/4 size": ("downscale", 0.25), "CRF 40": ("h264", 40)}
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Clips:
    """Clips of one set of crops, (N,) each; a label of 1 is FAKE."""

    labels: Array
    sources: npt.NDArray[np.str_]
    originals: list[str]
    logits: Array

    def area(self) -> dict[str, Any]:
        """AUC and its 95% interval over resampled originals."""
        drawn = auc_resamples(self.labels, self.logits, self.originals)
        return {"value": auc(self.labels, self.logits), "interval": percentiles(drawn)}


def judge_clips(model: Any, crops: CropSet, step: tuple[str, float] | None = None) -> Clips:
    """The clips of a crop set as a model scores them, perhaps corrupted."""
    logits = []
    for start in range(0, len(crops), BATCH):
        rows = crops.rows[start : start + BATCH]
        images = [crops.image(start + place) for place in range(len(rows))]
        if step:
            images = [
                corrupt(image, *step, seed=0, key=row.file)
                for image, row in zip(images, rows, strict=True)
            ]
        logits.append(np.ravel(model.logits(images)).astype(float))
    known = [index for index, row in enumerate(crops.rows) if row.label]
    rows = [crops.rows[index] for index in known]
    videos = group_by_video(rows)
    datasets = np.array([row.dataset for row in rows])
    labels = np.array([float(row.label == "FAKE") for row in rows])
    forged, means, sources = video_means(videos, labels, np.concatenate(logits)[known], datasets)
    return Clips(forged, sources, [rows[video[0]].original for video in videos], means)


def count_answers(model: Any, clips: Clips, label: float) -> dict[str, dict[str, float]]:
    """Share of each answer among the clips of one label, for each source and `all` alike."""
    answers = [model.thresholds.label(p) for p in model.calibration.probability(clips.logits)]
    found = {}
    for source in sorted(set(clips.sources[clips.labels == label])):
        own = np.flatnonzero((clips.labels == label) & (clips.sources == source))
        shares = {one.value: float(np.mean([answers[i] == one for i in own])) for one in Label}
        found[source or "DFDC"] = {"clips": len(own), **shares}
    keys = [one.value for one in Label]
    alike = {key: float(np.mean([row[key] for row in found.values()])) for key in keys}
    return {"all": {"clips": int((clips.labels == label).sum()), **alike}, **found}


def name_of(given: str) -> str:
    """What the tables call a model: its file's name without the ending, or its run's."""
    path = Path(given)
    known = path.suffix in (".onnx", ".safetensors", ".pth")
    return (
        path.parent.name if path.name == "model.safetensors" else path.stem if known else path.name
    )


def measure_model(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Every figure of one model."""
    model: Any = load_model(name)
    sets = {"DFDC val": load_crops(args.dfdc, "val"), "wild val": load_crops(args.wild, "val")}
    clean = {title: judge_clips(model, crops) for title, crops in sets.items()}
    figures: dict[str, Any] = {"name": name_of(name), "params": model.params}
    figures["auc"] = {title: clips.area() for title, clips in clean.items()}
    cross = judge_clips(model, load_crops(args.cross))
    figures["auc"]["FaceForensics++"] = cross.area()
    if args.test:
        figures["auc"]["DFDC test"] = judge_clips(model, load_crops(args.dfdc, "test")).area()
    figures["real"] = count_answers(model, clean["wild val"], 0.0)
    figures["forged"] = count_answers(model, clean["wild val"], 1.0)
    figures["real cross"] = count_answers(model, cross, 0.0)["all"]
    figures["forged cross"] = count_answers(model, cross, 1.0)["all"]
    figures["real dfdc"] = count_answers(model, clean["DFDC val"], 0.0)["all"]
    steps = CORRUPTIONS.items() if args.corruptions else ()
    figures["lost"] = {title: lose_auc(model, sets, clean, step) for title, step in steps}
    return figures


def lose_auc(
    model: Any, sets: dict[str, CropSet], clean: dict[str, Clips], step: tuple[str, float]
) -> float:
    """AUC lost to a corruption, the mean of the sets."""
    lost = []
    for title, crops in sets.items():
        corrupted = judge_clips(model, crops, step)
        lost.append(clean[title].area()["value"] - corrupted.area()["value"])
    return float(np.mean(lost))


def show_auc(rows: list[dict[str, Any]]) -> str:
    """A row per model: parameters, AUC on each set, AUC lost to corruptions."""
    sets = list(dict.fromkeys(title for row in rows for title in row["auc"]))
    lines = []
    for row in rows:
        cells = [show_area(row["auc"].get(title)) for title in sets]
        lost = [f"{row['lost'][t]:.3f}" if t in row["lost"] else "" for t in CORRUPTIONS]
        lines.append([row["name"], f"{row['params']:,}", *cells, *lost])
    return markdown(["model", "parameters", *sets, *(f"lost: {t}" for t in CORRUPTIONS)], lines)


def show_area(area: dict[str, Any] | None) -> str:
    if area is None:
        return ""
    low, high = area["interval"] or (np.nan, np.nan)
    return f"{area['value']:.3f} [{low:.3f}, {high:.3f}]"


def show_answers(rows: list[dict[str, Any]]) -> str:
    """A row per model: real clips called FAKE, forged ones called FAKE."""
    titles = ["model", "real called FAKE: DFDC val", "unseen sources", "worst source"]
    titles += ["FaceForensics++", "forged called FAKE: unseen sources", "FaceForensics++"]
    lines = []
    for row in rows:
        within = {name: one["FAKE"] for name, one in row["real"].items() if name != "all"}
        worst = max(within, key=lambda name: within[name])
        lines.append(
            [
                row["name"],
                f"{row['real dfdc']['FAKE']:.1%}",
                f"{row['real']['all']['FAKE']:.1%}",
                f"{worst}, {within[worst]:.1%}",
                f"{row['real cross']['FAKE']:.1%}",
                f"{row['forged']['all']['FAKE']:.1%}",
                f"{row['forged cross']['FAKE']:.1%}",
            ]
        )
    return markdown(titles, lines)


def main() -> None:
    """Measure, keep the JSON, and print or write the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="shipped names, ONNX files, runs, checkpoints")
    parser.add_argument("--dfdc", type=Path, required=True)
    parser.add_argument("--wild", type=Path, required=True)
    parser.add_argument("--cross", type=Path, required=True, help="crops never trained on")
    parser.add_argument("--test", action="store_true", help="also DFDC's test split")
    parser.add_argument("--no-corruptions", dest="corruptions", action="store_false")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "origins-figures")
    parser.add_argument("--write", action="store_true", help="into docs/origins.md")
    args = parser.parse_args()
    rows = []
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.models:
        say(f"origins: {name}")
        rows.append(measure_model(name, args))
        (args.out / "origins.json").write_text(json.dumps(rows, indent=2) + "\n")
    tables = {"auc": show_auc(rows), "answers": show_answers(rows)}
    document = ROOT / "docs" / "origins.md"
    for part, table in tables.items():
        print(table, end="\n\n")
        if args.write:
            document.write_text(fill(document.read_text(), part, table))


if __name__ == "__main__":
    main()
