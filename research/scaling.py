"""How AUC grows with originals, views and size: the figures behind `research/scaling.md`.

    python research/scaling.py --data CROPS --init START --size RUN ...

`data` trains one network on growing shares of the originals, with as many views of each share, by
`deepkd train`; it goes on where it was stopped. `views` reads the metrics of the published
trainings, a chain being several runs that went on from one another. `size` opens finished runs;
`grid` shapes students and trains each for a short while; `unseen` asks finished runs about
forgeries of other kinds. What OUT has of `size` and `unseen` of runs not named now stays.
Everything else is judged on the split `val`, on which the weights of each run were chosen.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from documents import ROOT, Part, beside_earlier, deepkd, markdown, parser_of, write_parts
from grid import GRID, add_grid_options
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from unseen import UNSEEN, add_unseen_options

from deepkd.data.crops import CropSet, load_crops
from deepkd.data.sampling import epoch_batches
from deepkd.models.checkpoints import load_checkpoint
from deepkd.tables.plots import COLORS, read_metrics, save_plot
from deepkd.training.checkpointing import CONFIG_FILE, METRICS_FILE

CHAINS = {
    "mobilenetv2": ("teacher0", "teacher1", "teacher"),
    "lite0": ("lite0", "lite0-labels"),
    "helper": ("helper",),
    "nano": (
        "nano-first",
        "nano-second",
        "nano-sharp",
        "nano-third",
        "nano-fourth",
        "nano-blends-last",
        "nano-fifth",
    ),
    "cross-efficient-vit": (
        "b0",
        "cross-efficient-vit-warm",
        "cross-efficient-vit",
        "cross-efficient-vit-second",
    ),
    "lite-half": ("lite-half", "lite-half-second", "lite-half-third"),
    "pico": (
        "pico-short",
        "pico-long",
        "pico-two",
        "pico-three",
        "pico-four",
        "pico",
        "pico-sharp",
        "pico-swift",
    ),
}
"""Line of the plot -> the published trainings that it is made of, in their order."""
GOAL = 0.95
"""AUC that the project aims at."""


# Data


def measure_data(args: argparse.Namespace) -> dict[str, Any]:
    whole = load_crops(args.data, "train")
    rows = []
    for share in sorted(args.shares):
        limit = round(share * len(whole)) if share < 1 else None
        crops = load_crops(args.data, "train", limit=limit)
        epochs = max(1, round(args.views / views_of_epoch(crops, args.batch)))
        run = args.out / f"share-{share:g}"
        train(args, run, limit, epochs)
        lines = read_metrics(run / METRICS_FILE)
        rows.append(
            {
                "originals": len({row.original for row in crops.rows}),
                "crops": len(crops),
                "epochs": epochs,
                "views": lines[-1]["step"] * args.batch,
                "train_loss": lines[-1]["train_loss"],
                "val_log_loss": lines[-1]["val_log_loss"],
                "val_auc": max(line["val_auc"] for line in lines),
            }
        )
    return {
        "model": args.model,
        "size": args.image_size,
        "recipe": " ".join(recipe(args)),
        "rows": rows,
    }


def views_of_epoch(crops: CropSet, batch: int) -> int:
    return batch * len(epoch_batches(crops, "paired", batch=batch, seed=0, epoch=0))


def recipe(args: argparse.Namespace) -> list[str]:
    """What every share is trained with."""
    fixed = [
        "--sampling",
        "paired",
        "--lr",
        "6e-4",
        "--warmup",
        "0.1",
        "--weight-decay",
        "0.02",
        "--ema",
        "0.998",
    ]
    sizes = [
        "--model",
        args.model,
        "--image-size",
        str(args.image_size),
        "--batch",
        str(args.batch),
    ]
    return [*sizes, *fixed, "--patience", "0"]


def train(args: argparse.Namespace, run: Path, limit: int | None, epochs: int) -> None:
    """One training, in `args.processes` processes; nothing where it is finished."""
    if (run / METRICS_FILE).exists() and (run / METRICS_FILE).read_text().count("\n") == epochs:
        return
    own = ["--data", args.data, "--out", run, "--epochs", epochs, "--workers", "1", "--resume"]
    own += ["--limit", limit] if limit else []
    own += ["--init", args.init] if args.init else []
    own += ["--compile"] if args.compile else []
    deepkd("train", *own, *recipe(args), processes=args.processes)


def show_data(document: Mapping[str, Any]) -> str:
    rows = document["rows"]
    titles = [
        "originals",
        "crops",
        "epochs",
        "views",
        "loss in training",
        "log loss on val",
        "AUC on val",
    ]
    lines = [
        [
            *(f"{row[key]:,}" for key in ("originals", "crops", "epochs", "views")),
            *(f"{row[key]:.3f}" for key in ("train_loss", "val_log_loss", "val_auc")),
        ]
        for row in rows
    ]
    about = f"`{document['model']}`, {document['size']} px: `deepkd train {document['recipe']}`."
    return f"{markdown(titles, lines, left=0)}\n\n{about}\n\n{outlook(rows)}"


def outlook(rows: Sequence[Mapping[str, Any]]) -> str:
    """What a doubling of the originals brings, and how far the goal is at that rate."""
    if len(rows) < 2:
        return "One share shows no trend."
    gain = float(
        np.polyfit(
            np.log2([row["originals"] for row in rows]), [row["val_auc"] for row in rows], 1
        )[0]
    )
    text = f"A doubling of the originals brings {gain:+.4f} of AUC (least squares)"
    missing = GOAL - rows[-1]["val_auc"]
    if gain <= 0 or missing <= 0:
        return f"{text}."
    if rows[-1]["val_auc"] < max(row["val_auc"] for row in rows):
        few = f"{rows[-1]['views']:,} views are too few to show what more would bring"
        return f"{text}, but most originals do not do best: {few}."
    needed = rows[-1]["originals"] * 2 ** (missing / gain)
    return (
        f"{text}; were it to go on so, AUC {GOAL} would take this network and schedule about"
        f" {needed:,.0f} originals. A straight line through few points of one seed each: an order"
        " of magnitude, no promise."
    )


# Views


def measure_views(args: argparse.Namespace) -> dict[str, Any]:
    folder = ROOT / "research" / "runs"
    chains = [
        {"name": name, "points": points([folder / run for run in runs])}
        for name, runs in CHAINS.items()
    ]
    shown = {stage for runs in CHAINS.values() for stage in runs}
    others = [Path(run) for run in args.size if Path(run).name not in shown]
    chains += [{"name": run.name, "points": points([run])} for run in others]
    return {"chains": chains}


def points(runs: Sequence[Path]) -> list[dict[str, float]]:
    """Views seen and AUC on val after each epoch, over runs that went on from one another."""
    found, before = [], 0
    for run in runs:
        batch = json.loads((run / CONFIG_FILE).read_text())["batch"]
        lines = read_metrics(run / METRICS_FILE)
        found += [
            {"views": before + line["step"] * batch, "val_auc": line["val_auc"]} for line in lines
        ]
        before = found[-1]["views"]
    return found


def show_views(document: Mapping[str, Any]) -> str:
    titles = [
        "training",
        "views",
        "AUC on val at its end",
        "at half of its views",
        "gained by the second half",
    ]
    lines = []
    for chain in document["chains"]:
        last = chain["points"][-1]
        half = min(chain["points"], key=lambda point: abs(point["views"] - last["views"] / 2))
        gained = last["val_auc"] - half["val_auc"]
        shown = [
            f"{last['views']:,}",
            f"{last['val_auc']:.4f}",
            f"{half['val_auc']:.4f}",
            f"{gained:+.4f}",
        ]
        lines.append([chain["name"], *shown])
    return markdown(titles, lines)


# Size


def measure_size(args: argparse.Namespace) -> dict[str, Any]:
    rows = []
    for run in args.size:
        model = load_checkpoint(Path(run))
        shape = {"params": model.params, "macs": model.macs, "size": model.format.size}
        rows.append({"name": Path(run).name, **shape, "val_auc": read_kept_auc(Path(run))})
    return {"rows": sorted(beside_earlier(args, "size", rows), key=lambda row: -row["params"])}


def read_kept_auc(run: Path) -> float:
    """AUC on val of the weights that a run kept."""
    areas = [float(line["val_auc"]) for line in read_metrics(run / METRICS_FILE)]
    return (
        areas[-1]
        if json.loads((run / CONFIG_FILE).read_text()).get("keep") == "last"
        else max(areas)
    )


def show_size(document: Mapping[str, Any]) -> str:
    lines = [
        [
            row["name"],
            f"{row['params']:,}",
            f"{row['macs'] / 1e6:.1f}",
            f"{row['size']} px",
            f"{row['val_auc']:.4f}",
        ]
        for row in document["rows"]
    ]
    return markdown(["run", "parameters", "MMACs", "input", "AUC on val"], lines)


# The picture


def draw(args: argparse.Namespace) -> None:
    """AUC against originals, views and parameters, from what OUT holds."""
    found = {name: json.loads((args.out / f"{name}.json").read_text()) for name in DRAWN}

    def panels(figure: Any) -> None:
        data, views, size = figure.subplots(1, 3, sharey=True)
        for axes, part, key, line in (
            (data, "data", "originals", "o-"),
            (size, "size", "params", "o"),
        ):
            rows = found[part]["rows"]
            axes.plot(
                [row[key] for row in rows], [row["val_auc"] for row in rows], line, color=COLORS[0]
            )
        for chain, color in zip(found["views"]["chains"], COLORS * 2, strict=False):
            places = [[point[key] for point in chain["points"]] for key in ("views", "val_auc")]
            views.plot(*places, "o-", markersize=3, color=color, label=chain["name"])
        name_the_best(size, found["size"]["rows"])
        named = {data: "originals in training", views: "views in training", size: "parameters"}
        for axes, label in named.items():
            axes.set(xscale="log", xlabel=label)
            axes.xaxis.set_major_locator(LogLocator(subs=(1,) if axes is size else (1, 2, 5)))
            axes.xaxis.set_major_formatter(EngFormatter(sep=""))
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.axhline(GOAL, color=COLORS[6], linestyle=":")
        data.set_ylabel("AUC on val")
        views.legend(loc="lower right")

    save_plot(args.document.with_suffix(".png"), panels, width=12, height=4.4)


def name_the_best(axes: Any, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the name of the best run of each number of parameters beside its point."""
    best = {row["params"]: row for row in sorted(rows, key=itemgetter("val_auc"))}
    for place, params in enumerate(sorted(best)):
        last = place == len(best) - 1
        beside = {
            "xytext": (-4 if last else 4, 5 if place % 2 or last else -11),
            "ha": "right" if last else "left",
        }
        area = best[params]["val_auc"]
        axes.annotate(best[params]["name"], (params, area), textcoords="offset points", **beside)


PARTS = {
    "data": Part(measure_data, show_data),
    "views": Part(measure_views, show_views),
    "size": Part(measure_size, show_size),
    "grid": GRID,
    "unseen": UNSEEN,
}
DRAWN = ("data", "views", "size")
"""The parts that the picture shows."""


def main() -> None:
    parser = parser_of(__doc__, "scaling", PARTS)
    parser.set_defaults(document=None)
    parser.add_argument("--init", type=Path, help="weights that every share starts from")
    parser.add_argument("--model", default="mobilenetv2_100", help="network of the registry")
    parser.add_argument("--image-size", type=int, default=128, help="of its input, pixels")
    parser.add_argument(
        "--shares", type=float, nargs="+", default=[0.125, 0.25, 0.5, 1.0], help="of the originals"
    )
    parser.add_argument("--views", type=int, default=62_000, help="that each share is trained for")
    parser.add_argument("--batch", type=int, default=64, help="crops of a step")
    parser.add_argument("--processes", type=int, default=2, help="that train together")
    parser.add_argument("--compile", action="store_true", help="as of `deepkd train`")
    parser.add_argument(
        "--size", nargs="+", default=[], help="finished runs, for the curves of views and size"
    )
    add_grid_options(parser)
    add_unseen_options(parser)
    args = parser.parse_args()
    args.document = args.document or args.out / "scaling.md"
    if not args.document.exists():
        args.out.mkdir(parents=True, exist_ok=True)
        marks = [f"<!-- {name} -->\n<!-- /{name} -->\n" for name in PARTS]
        args.document.write_text("\n".join(marks))
    write_parts(PARTS, args)
    if all((args.out / f"{name}.json").exists() for name in DRAWN):
        draw(args)


if __name__ == "__main__":
    main()
