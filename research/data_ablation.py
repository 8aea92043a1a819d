r"""What each kind of training data adds on footage of other origins: `data_ablation.md`.

    PYTHONPATH=benchmarks python research/data_ablation.py --init START.safetensors \
        --dfdc dfdc-crops --wild wild-crops --cross ffpp-crops --out runs/data-ablation --write

A model that knows DFDC alone is trained on once for each step, always from the same weights, for
the same number of crops. Each step adds one kind of data to those before it. Steps that are done
are kept in OUT, and one that was stopped goes on. Nothing is chosen by these figures.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from documents import ROOT, fill, markdown, say
from origins import judge_clips, show_area

from deepkd.data.crops import load_crops
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint
from deepkd.models.export import export_onnx
from deepkd.scoring.model import Scorer
from deepkd.settings.training import DataSource, TrainConfig
from deepkd.tables.plots import COLORS, save_plot
from deepkd.training.supervised import train

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = ROOT / "research" / "data_ablation.md"
REAL = {
    "youtube-faces": 60, "lrs3": 30, "voxceleb": 24, "deepfacelive-inputs": 18, "lfw": 45,
    "celeba": 25, "utkface": 20, "ffhq": 20,
}  # fmt: skip
SWAPS = {"deepfacelive": 45}
GENERATED = {
    "hyperlips": 24, "ciplab": 36, "flux-lora": 18, "anitalker": 16, "edtalk": 15,
    "fantasy-talking": 13, "generated-faces": 28, "generated-portraits": 28,
}  # fmt: skip
"""Data sets of wild-crops, by kind, with their weights."""
SHARED: dict[str, Any] = {
    "epochs": 1, "batch": 64, "lr": 4e-4, "weight_decay": 0.02, "warmup": 0.1, "ema": 0.99,
    "keep": "last", "workers": 1, "checkpoint_every": 50, "same_encoding": 0.7,
}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """A training on some of the data."""

    name: str
    wild: Mapping[str, float] = field(default_factory=dict)
    """The data sets of wild-crops that are drawn, with their weights."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    def list_sources(self, dfdc: Path, wild: Path) -> list[DataSource]:
        """What is drawn from each folder."""
        if not self.wild:
            return [DataSource(dfdc)]
        every = {row.dataset for row in load_crops(wild, "train").rows}
        weights = {name: self.wild.get(name, 0.0) for name in sorted(every)}
        return [DataSource(dfdc, 1.2), DataSource(wild, 1.0, weights)]


BLENDS = {"self_blend": 0.3}
MADE = {**BLENDS, "face_swap": 0.12}
STEPS = (
    Step("DFDC alone"),
    Step("+ real footage and photographs, self-blended", REAL, BLENDS),
    Step("+ face swaps made while loading", REAL, MADE),
    Step("+ swaps by DeepFaceLive and their originals", {**REAL, **SWAPS}, MADE),
    Step("+ generated faces and talking heads", {**REAL, **SWAPS, **GENERATED}, MADE),
    Step(
        "+ video compression (`footage`)",
        {**REAL, **SWAPS, **GENERATED},
        {**MADE, "augment": "footage"},
    ),
)


def run_step(number: int, step: Step, args: argparse.Namespace) -> dict[str, Any]:
    """Train and measure one step, if OUT does not have it."""
    run, kept = args.out / f"step-{number}", args.out / f"step-{number}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    if not (run / WEIGHTS_FILE).exists():
        config = TrainConfig(
            **{**SHARED, "augment": "moderate", **step.settings},
            model=args.model,
            init=args.init,
            limit=args.crops,
            val_limit=args.val_crops,
        )
        sources = step.list_sources(args.dfdc, args.wild)
        train(sources, run, config, resume=(run / "config.json").exists(), warn=say)
    found = {"name": step.name, "auc": measure(run, args)}
    kept.write_text(json.dumps(found, indent=2) + "\n")
    return found


def measure(run: Path, args: argparse.Namespace) -> dict[str, Any]:
    """AUC on the clips of each set."""
    scorer = Scorer.load(str(export_onnx(load_checkpoint(run), run / "model.onnx")))
    sets = {
        "DFDC val": load_crops(args.dfdc, "val"),
        "wild val": load_crops(args.wild, "val"),
        "FaceForensics++": load_crops(args.cross),
    }
    return {title: judge_clips(scorer, crops).area() for title, crops in sets.items()}


def show(rows: list[dict[str, Any]]) -> str:
    """A row per step."""
    titles = list(rows[0]["auc"])
    lines = [[row["name"], *(show_area(row["auc"][title]) for title in titles)] for row in rows]
    return markdown(["trained on", *titles], lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """AUC of each step on each set, with its interval."""

    def draw(figure: "Figure") -> None:
        axes = figure.add_subplot()
        for place, title in enumerate(rows[0]["auc"]):
            areas = [row["auc"][title] for row in rows]
            values = [area["value"] for area in areas]
            spread = [[abs(area["interval"][i] - area["value"]) for area in areas] for i in (0, 1)]
            heights = [number + 0.15 * (place - 1) for number in range(len(rows))]
            look = {"color": COLORS[place], "capsize": 2, "label": title}
            axes.errorbar(values, heights, xerr=spread, fmt="os^"[place], **look)
        axes.axvline(0.5, color="0.4", linewidth=1, linestyle=":")
        axes.set_yticks(range(len(rows)), [row["name"].replace("`", "") for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel("AUC of clips, with its 95% interval (0.5 is guessing)")
        figure.legend(loc="outside upper center", ncols=3)

    save_plot(path, draw, width=8.5, height=3.8)


def main() -> None:
    """Run the steps that are missing, print the table, and write the page if asked to."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="lite", help="network of --init")
    parser.add_argument("--init", type=Path, help="checkpoint that each step starts from")
    parser.add_argument("--dfdc", type=Path, required=True)
    parser.add_argument("--wild", type=Path, required=True)
    parser.add_argument("--cross", type=Path, required=True, help="crops never trained on")
    parser.add_argument("--crops", type=int, default=13_000, help="of each training, about")
    parser.add_argument("--val-crops", type=int, default=600, help="that calibrate, about")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "data-ablation")
    parser.add_argument("--write", action="store_true", help="into research/data_ablation.md")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, step in enumerate(STEPS):
        say(f"data_ablation: {step.name}")
        rows.append(run_step(number, step, args))
    print(show(rows))
    if args.write:
        PAGE.write_text(fill(PAGE.read_text(), "steps", show(rows)))
        plot(rows, PAGE.with_suffix(".png"))


if __name__ == "__main__":
    main()
