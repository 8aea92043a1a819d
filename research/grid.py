"""Input size, width and depth of the student: the part `grid` of `research/scaling.py`.

A trained EfficientNet-Lite0 (`--grid-source`) is cut to the first blocks of each stage for each
depth and taught for a while by `--grid-teacher`. Each of these is pruned to each number of
parameters at each input size and taught again, as long as the others. What is finished is not done
again.
"""

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

from documents import Part, deepkd, markdown

from deepkd.benchmark.latency import latencies_ms
from deepkd.benchmark.pareto import front
from deepkd.data.families import list_inherited
from deepkd.models.checkpoints import WEIGHTS_FILE, load_checkpoint, save_model
from deepkd.models.registry import TorchModel, build_model
from deepkd.models.students import LiteShape
from deepkd.tables.plots import read_metrics
from deepkd.training.checkpointing import METRICS_FILE

SOURCE = "tf_efficientnet_lite0"
TEACHING = [
    "--epochs",
    "1",
    "--batch",
    "64",
    "--lr",
    "8e-4",
    "--weight-decay",
    "0.02",
    "--ema",
    "0.99",
]


@dataclass(frozen=True)
class Cell:
    """A shape of the student."""

    depth: float
    params: int
    size: int

    def run(self, out: Path) -> Path:
        """Its folder."""
        return out / "grid" / f"depth-{self.depth:g}-{self.params}-{self.size}px"


def shallower(source: TorchModel, depth: float) -> TorchModel:
    """The first blocks of each stage of an EfficientNet-Lite0, with their weights."""
    if source.architecture != SOURCE:
        raise SystemExit(f"--grid-source: holds a {source.architecture}, not a {SOURCE}")
    shape = LiteShape(width=1.0, depth=depth, head=1280, stem=32)
    model = build_model("lite", format=source.format, shape=asdict(shape))
    known = source.module.state_dict()
    model.module.load_state_dict({name: known[name] for name in model.module.state_dict()})
    model.metadata["recipe"] = list_inherited(source)
    return model


def teach(args: argparse.Namespace, command: str, *words: object) -> None:
    """`deepkd distill` or `prune` as all are taught."""
    given = ["--data", args.data, "--teacher", args.grid_teacher, "--limit", args.grid_limit]
    deepkd(command, *words, *given, *TEACHING, "--resume")


def taught(args: argparse.Namespace, depth: float) -> Path:
    """The network of one depth, taught at its source's size."""
    run = args.out / "grid" / f"depth-{depth:g}"
    if not (run / WEIGHTS_FILE).exists():
        run.parent.mkdir(parents=True, exist_ok=True)
        start = save_model(
            shallower(load_checkpoint(args.grid_source), depth), run.with_suffix(".safetensors")
        )
        teach(args, "distill", "--student", "lite", "--init", start, "--out", run)
    return run


def cut(args: argparse.Namespace, cell: Cell) -> Path:
    """One shape, pruned and taught."""
    run = cell.run(args.out)
    if not (run / WEIGHTS_FILE).exists():
        whole = load_checkpoint(taught(args, cell.depth))
        sized = replace(whole, format=replace(whole.format, size=cell.size))
        start = save_model(sized, run.with_name(f"{run.name}-whole.safetensors"))
        teach(args, "prune", start, "--params", cell.params, "--out", run)
        start.unlink()
    return run


def measure_grid(args: argparse.Namespace) -> dict[str, Any]:
    if not (args.grid_source and args.grid_teacher):
        raise SystemExit("the grid needs --grid-source and --grid-teacher")
    cells = [Cell(*each) for each in product(args.grid_depths, args.grid_params, args.grid_sizes)]
    models = [load_checkpoint(cut(args, cell)) for cell in cells]
    times = latencies_ms(models)
    rows = [
        {
            **asdict(cell),
            "macs": model.macs,
            "ms": taken,
            "val_auc": max(
                line["val_auc"]
                for line in read_metrics(cell.run(args.out) / "step-1" / METRICS_FILE)
            ),
        }
        for cell, model, taken in zip(cells, models, times, strict=True)
    ]
    return {"rows": rows, "crops": args.grid_limit}


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """The options of this part."""
    parser.add_argument(
        "--grid-source", type=Path, help=f"run of a trained {SOURCE} that shapes are cut from"
    )
    parser.add_argument("--grid-teacher", type=Path, help="run of what teaches them")
    parser.add_argument(
        "--grid-depths", type=float, nargs="+", default=[0.5, 1.0], help="shares of its blocks"
    )
    parser.add_argument(
        "--grid-params", type=int, nargs="+", default=[170_000, 340_000, 500_000], help="parameters"
    )
    parser.add_argument(
        "--grid-sizes", type=int, nargs="+", default=[128, 160, 192, 224], help="pixels"
    )
    parser.add_argument(
        "--grid-limit", type=int, default=13_500, help="crops that each is taught on, once"
    )


def show_grid(document: Mapping[str, Any]) -> str:
    """A row per depth and parameters, a column per size: AUC and time; the front is bold."""
    rows = document["rows"]
    best = [rows[index] for index in front([(row["ms"], row["val_auc"]) for row in rows])]
    sizes = sorted({row["size"] for row in rows})
    fastest = min(row["ms"] for row in rows)
    lines = []
    for depth, params in sorted({(row["depth"], row["params"]) for row in rows}, reverse=True):
        cells = {
            row["size"]: row for row in rows if (row["depth"], row["params"]) == (depth, params)
        }
        texts = {
            size: f"{row['val_auc']:.3f} in {row['ms'] / fastest:.2f}"
            for size, row in cells.items()
        }
        marked = [f"**{texts[size]}**" if cells[size] in best else texts[size] for size in sizes]
        lines.append([f"{depth:g}", f"{params:,}", *marked])
    table = markdown(["depth", "parameters", *(f"{size} px" for size in sizes)], lines, left=0)
    unit = f"times the fastest cell's {fastest:.2f} ms (ONNX Runtime, one crop, in turns)"
    return f"{table}\n\nAUC on val, in so many {unit}; bold is what no other cell beats in both."


GRID = Part(measure_grid, show_grid)
