"""CIFAR-10, WRN-16-3 into WRN-16-1, by every method: accuracy, spread, features, published figures.

    PYTHONPATH=benchmarks python research/reference.py run --data data/cifar10 [--setting short]
    PYTHONPATH=benchmarks python research/reference.py page --setting short
    PYTHONPATH=benchmarks python research/reference.py features --data data/cifar10

One row (a method with a seed) is trained at a time, the teacher first. What is done is kept in
`research/reference/SETTING.json` (of `tiny`, a try, in OUT); a row that was stopped goes on at its
last checkpoint when the same command is given again. Every picture of `train` is trained on, the
weights of the last epoch count, and they are measured on `test`. `page` writes the table into
`research/reference/README.md`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from documents import fill, markdown

from deepkd.data.classes import ClassSet, load_classes
from deepkd.distillation.distiller import distill_on
from deepkd.errors import DeepKDError, Interrupted
from deepkd.evaluation.features import in_the_plane, penultimate, v_score
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.registry import TorchModel
from deepkd.outputs import write_whole
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.progress import Progress
from deepkd.training.supervised import train_on

REFERENCE = Path(__file__).with_name("reference")
PAGE = REFERENCE / "README.md"
SHARED: dict[str, Any] = {
    "augment": "shift-flip",
    "ema": 0.0,
    "keep": "last",
    "label_smoothing": 0.0,
    "val_split": "test",
    "warmup": 0.0,
    "workers": 0,
    "checkpoint_every": 50,
}
SETTINGS: dict[str, dict[str, Any]] = {
    "tiny": {"epochs": 1, "batch": 16, "lr": 5e-4, "optimizer": "adam", "schedule": "constant",
             "weight_decay": 0.0, "limit": 64, "val_limit": 64},
    "short": {"epochs": 20, "batch": 64, "lr": 5e-4, "optimizer": "adam", "schedule": "constant",
              "weight_decay": 0.0},
    "long": {"epochs": 200, "batch": 128, "lr": 0.1, "optimizer": "sgd", "schedule": "steps",
             "weight_decay": 1e-4},
}  # fmt: skip
"""`long` is the schedule of Jeon et al. 2023, arXiv:2302.14130, sec. 4; `short` fits a CPU."""
MAPS = [f"groups.{group}:output" for group in range(3)]
TAPS = {
    **{name: [tap, tap] for name, tap in zip(("low", "mid", "high"), MAPS, strict=True)},
    "features": ["pool:output", "pool:output"],
}
KD: list[dict[str, Any]] = [
    {"name": "bce", "weight": 0.1},
    {"name": "kd", "weight": 0.9, "temperature": 4},
]


def at(name: str, weight: float, *taps: str, **options: float) -> list[dict[str, Any]]:
    """KD, and a loss at each of some taps."""
    return KD + [{"name": name, "weight": weight, "tap": tap, **options} for tap in taps]


ROWS: dict[str, list[dict[str, Any]]] = {
    "kd": KD,
    "attention_transfer": at("attention_transfer", 1000, "low", "mid", "high"),
    "similarity": at("similarity", 3000, "high"),
    "amd": at("amd", 3000, "low", "mid", "high"),
    "amd-local": at("amd", 3000, "low", "mid", "high", local=0.2),
    "hint": at("hint", 1, "high"),
    "dkd": [{"name": "bce"}, {"name": "dkd", "warmup": 0.083}],
    "kd_standardized": [KD[0], {"name": "kd_standardized", "weight": 9}],
    "dist": [{"name": "bce"}, {"name": "dist", "beta": 2, "gamma": 2, "temperature": 4}],
    "rkd": at("rkd_distance", 25, "features") + at("rkd_angle", 50, "features")[2:],
    "pkt": at("pkt", 470, "features"),
    "vid": at("vid", 1, "low", "mid", "high"),
    "nst": at("nst", 50, "low", "mid", "high"),
    "crd": at("crd", 0.8, "features", negatives=4096),  # a quarter of the published number
    "review_kd": [*KD, {"name": "review_kd", "tap": ["low", "mid", "high"], "warmup": 0.083}],
    "afd": [*KD, {"name": "afd", "tap": ["low", "mid", "high"], "weight": 200}],
}
"""Method -> its terms. Weights are those of the reference code, but for `amd` and `hint`."""
SEEDS = (0, 1, 2)
PUBLISHED = {"alone": 91.23, "attention_transfer": 92.07}
"""Method -> accuracy in Zagoruyko & Komodakis 2017, per cent: the student is WRN-16-1, too, but the
teacher WRN-16-2, with 93.69. The tables of Jeon et al. 2023 could not be read."""
FEATURES = ("teacher", "kd", "amd", "amd-local")


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "page", "features"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/reference"))
    parser.add_argument("--setting", choices=tuple(SETTINGS), default="short")
    parser.add_argument("--rows", nargs="*", help="methods; all by default")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    out = args.out / args.setting
    if args.what == "page":
        PAGE.write_text(fill(PAGE.read_text(), "cifar", page(args.setting, out)))
    elif args.data is None:
        parser.error("--data FOLDER is missing")
    elif args.what == "features":
        draw(args.data, out, args.setting)
    else:
        try:
            run(args.data, out, args.setting, args.rows)
        except (DeepKDError, Interrupted) as error:
            raise SystemExit(f"reference: {error}") from error


def run(data: Path, out: Path, setting: str, rows: list[str] | None) -> None:
    """Train what is not done yet."""
    chosen = SETTINGS[setting]
    train = load_classes(data, "train+val", limit=chosen.get("limit"))
    test = load_classes(data, "test", limit=chosen.get("val_limit"))
    for name, seed in order(rows):
        if f"{name}-{seed}" not in read(results(setting, out)):
            train_row(name, seed, out, setting, train, test)
    print(page(setting, out))


def order(rows: list[str] | None) -> Iterator[tuple[str, int]]:
    """The teacher, then every method with the first seed, and so on."""
    yield "teacher", 0
    for seed in SEEDS:
        for name in ("alone", *ROWS):
            if rows is None or name in rows:
                yield name, seed


def train_row(
    name: str, seed: int, out: Path, setting: str, train: ClassSet, test: ClassSet
) -> None:
    """Train one row, or go on with it, and note its figures."""
    folder, chosen = out / f"{name}-{seed}", {**SHARED, **SETTINGS[setting], "seed": seed}
    resume = (folder / "last.pt").is_file()
    clock = _Clock(folder)
    if name in ("teacher", "alone"):
        network = "wrn-16-3" if name == "teacher" else "wrn-16-1"
        config = TrainConfig(model=network, **chosen)
        model = train_on(train, test, folder, config, resume=resume, report=clock)
    else:
        teacher = load_checkpoint(out / "teacher-0")
        used = [tap for term in ROWS[name] for tap in np.atleast_1d(term.get("tap", []))]
        taps = {tap: TAPS[tap] for tap in TAPS if tap in used}
        settings = {**chosen, "student": "wrn-16-1", "losses": tuple(ROWS[name])}
        config = DistillConfig(**settings, taps=taps or None)
        model = distill_on([teacher], train, test, folder, config, resume=resume, report=clock)
    note(results(setting, out), f"{name}-{seed}", model, clock)


class _Clock:
    """Processor seconds of the training so far, over its interruptions, and a line per epoch."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seconds.json"
        self.before = json.loads(self.file.read_text()) if self.file.exists() else 0.0
        self.start, self.epoch = time.process_time(), 0

    def __call__(self, progress: Progress) -> None:
        if progress.step % SHARED["checkpoint_every"] == 0 or progress.validation:
            with write_whole(self.file) as path:
                path.write_text(json.dumps(self.seconds()))
        if progress.validation:
            self.epoch = progress.epoch
            figures = progress.validation
            print(f"{self.file.parent.name} epoch {progress.epoch}:"
                  f" accuracy {100 * figures['val_accuracy']:.2f} %,"
                  f" {self.seconds() / progress.epoch:.0f} s an epoch", flush=True)  # fmt: skip

    def seconds(self) -> float:
        """Of the processor."""
        return float(self.before + time.process_time() - self.start)


def results(setting: str, out: Path) -> Path:
    """Where the figures of a setting are kept."""
    return out / "tiny.json" if setting == "tiny" else REFERENCE / f"{setting}.json"


def read(path: Path) -> dict[str, dict[str, float]]:
    """Row -> its figures."""
    found: dict[str, dict[str, float]] = (
        json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    )
    return found


def note(path: Path, row: str, model: TorchModel, clock: _Clock) -> None:
    """Add the figures of a finished row."""
    kept = model.metadata["validation"]
    figures = {
        "accuracy": kept["val_accuracy"],
        "top5": kept["val_top5"],
        "log_loss": kept["val_log_loss"],
        "params": model.params,
        "cpu_seconds_per_epoch": clock.seconds() / kept["epoch"],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with write_whole(path) as beside:
        beside.write_text(json.dumps({**read(path), row: figures}, indent=1) + "\n")


def page(setting: str, out: Path) -> str:
    """Mean and standard deviation over the seeds that are done, as Markdown."""
    found, epochs = read(results(setting, out)), SETTINGS[setting]["epochs"]
    if not found:
        return "No row is done yet."
    lines = []
    for name in ("teacher", "alone", *ROWS):
        own = [100 * v["accuracy"] for row, v in found.items() if row.rpartition("-")[0] == name]
        if own:
            spread = f"{statistics.stdev(own):.2f}" if len(own) > 1 else ""
            known = str(PUBLISHED.get(name, ""))
            lines.append([name, f"{statistics.mean(own):.2f}", spread, str(len(own)), known])
    titles = ["method", "accuracy, %", "spread", "seeds", "published, from WRN-16-2"]
    about = (
        f"After {epochs} epochs of WRN-16-3 into WRN-16-1. Published: 200 epochs, Zagoruyko &"
        " Komodakis 2017; their teacher, WRN-16-2, has 93.69%."
    )
    return f"{markdown(titles, lines)}\n\n{about}"


def draw(data: Path, out: Path, setting: str, *, pictures: int = 1000) -> None:
    """t-SNE of the features of some networks on test pictures, with their V-scores."""
    from deepkd.offline import import_matplotlib

    test = load_classes(data, "test", limit=pictures)
    images, labels = list(test.stacked(32)), test.labels
    names = [name for name in FEATURES if (out / f"{name}-0" / "model.safetensors").exists()]
    import_matplotlib().use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(names), figsize=(4 * len(names), 4), squeeze=False)
    scores = {}
    for name, place in zip(names, axes[0], strict=True):
        features = penultimate(load_checkpoint(out / f"{name}-0"), images)
        points = in_the_plane(features, 0)
        scores[name] = v_score(features, labels.astype(float), 0)
        place.scatter(*np.asarray(points).T, c=labels, s=4, cmap="tab10")
        place.set_title(f"{name}: V-score {scores[name]:.3f}")
        place.set_axis_off()
    figure.savefig(REFERENCE / f"{setting}-features.png", dpi=90)
    (REFERENCE / f"{setting}-features.json").write_text(json.dumps(scores, indent=1) + "\n")
    print(scores)


if __name__ == "__main__":
    main()
