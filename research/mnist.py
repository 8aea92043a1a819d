"""MNIST as in Hinton et al. 2015, section 3: test errors alone, distilled, and without the threes.

    PYTHONPATH=benchmarks python research/mnist.py run --data data/mnist --out runs/mnist
    PYTHONPATH=benchmarks python research/mnist.py page

The teacher (1200-1200, dropout, jittered pictures) and the students (800-800, no regularisation)
train for far fewer epochs than the paper's. `run` trains one row after the other and keeps what is
done in `research/reference/mnist.json`; a run that was stopped goes on at its last checkpoint when
the same command is given again. `page` writes the table into `research/reference/README.md`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from documents import fill, markdown

from deepkd.data.classes import ClassSet, load_classes
from deepkd.distillation.distiller import distill_on
from deepkd.errors import DeepKDError, Interrupted
from deepkd.evaluation.classes import class_logits
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.registry import TorchModel
from deepkd.outputs import write_whole
from deepkd.settings.distillation import DistillConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.progress import Progress
from deepkd.training.supervised import train_on

REFERENCE = Path(__file__).with_name("reference")
RESULTS, PAGE = REFERENCE / "mnist.json", REFERENCE / "README.md"
SHARED: dict[str, Any] = {
    "batch": 128, "lr": 1e-3, "optimizer": "adam", "schedule": "cosine", "weight_decay": 0.0,
    "warmup": 0.0, "ema": 0.0, "keep": "last", "label_smoothing": 0.0, "val_split": "test",
    "workers": 0,
}  # fmt: skip
TERMS = ({"name": "bce", "weight": 0.1}, {"name": "kd", "weight": 0.9, "temperature": 20})
"""The labels with "a considerably lower weight" than the soft targets (section 2)."""
LEFT_OUT = "3"
CORRECTED = "without 3, bias corrected"
PUBLISHED = {"teacher": (67, None), "alone": (146, None), "distilled": (74, None),
             "without 3": (206, 133), CORRECTED: (109, 14)}  # fmt: skip
"""Errors on the 10,000 test pictures, and on the 1,010 threes among them, in the paper."""
Done = dict[str, dict[str, Any]]
Logits = npt.NDArray[np.float32]
Labels = npt.NDArray[np.intp]


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "page"))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/mnist"))
    parser.add_argument("--epochs", type=int, default=20, help="of each student")
    parser.add_argument("--teacher-epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=int, help="pictures, to try it")
    parser.add_argument("--results", type=Path, default=RESULTS, help="JSON file of the figures")
    args = parser.parse_args()
    if args.what == "page":
        PAGE.write_text(fill(PAGE.read_text(), "mnist", page(read(args.results))))
    elif args.limit and args.results == RESULTS:
        parser.error("a try with --limit keeps its figures elsewhere: give --results FILE")
    elif args.data is None:
        parser.error("--data FOLDER is missing")
    else:
        torch.set_num_threads(args.threads)
        try:
            run(args)
        except (DeepKDError, Interrupted) as error:
            raise SystemExit(f"mnist: {error}") from error


def run(args: argparse.Namespace) -> None:
    """Train what is not done yet, and print the table."""
    rows = Rows(args)
    rows.train_teacher()
    for seed in range(args.seeds):
        rows.train_alone(seed)
        rows.distill("distilled", rows.train, seed)
        rows.distill(f"without {LEFT_OUT}", rows.others, seed)
    print(page(read(args.results)))


class Rows:
    """The pictures, and the rows that are trained on them."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.results = args, args.results
        self.train = load_classes(args.data, "train+val", limit=args.limit)
        self.test = load_classes(args.data, "test", limit=args.limit)
        kept = [index for index, row in enumerate(self.train.rows) if row.label != LEFT_OUT]
        # A student must know the class that it never sees, so the set keeps its classes.
        self.others = self.train.subset(kept)

    def train_teacher(self) -> None:
        """One network; the paper has one, too."""
        if "teacher" not in read(self.results):
            settings = {**SHARED, "epochs": self.args.teacher_epochs, "augment": "shift"}
            self._train("teacher", TrainConfig(model="mlp-1200-dropout", **settings))

    def train_alone(self, seed: int) -> None:
        """The student, from labels."""
        if f"alone {seed}" not in read(self.results):
            self._train(f"alone {seed}", TrainConfig(model="mlp-800", **self._settings(seed)))

    def distill(self, name: str, pictures: ClassSet, seed: int) -> None:
        """The student, from labels and the teacher."""
        row = f"{name} {seed}"
        if row in read(self.results):
            return
        config = DistillConfig(student="mlp-800", losses=TERMS, **self._settings(seed))
        folder, clock = self._folder(row), _Clock(self._folder(row))
        teacher, resume = load_checkpoint(self._folder("teacher")), is_begun(folder)
        student = distill_on(
            [teacher], pictures, self.test, folder, config, resume=resume, report=clock
        )
        self._note(row, student, clock)

    def _settings(self, seed: int) -> dict[str, Any]:
        return {**SHARED, "epochs": self.args.epochs, "augment": "none", "seed": seed}

    def _train(self, row: str, config: TrainConfig) -> None:
        folder, clock = self._folder(row), _Clock(self._folder(row))
        resume = is_begun(folder)
        model = train_on(self.train, self.test, folder, config, resume=resume, report=clock)
        self._note(row, model, clock)

    def _folder(self, row: str) -> Path:
        return Path(self.args.out / row.replace(" ", "-"))

    def _note(self, row: str, model: TorchModel, clock: "_Clock") -> None:
        """Add the figures of a finished row."""
        logits = class_logits(model, self.test, range(len(self.test)))
        own = self.test.classes.index(LEFT_OUT)
        figures = count_errors(logits, self.test.labels.astype(int), own)
        if row.startswith("without"):
            figures["corrected"] = correct_bias(logits, self.test.labels.astype(int), own)
        figures["epochs"] = model.metadata["recipe"]["epochs"]
        figures["cpu_seconds"] = round(clock.seconds())
        self.results.parent.mkdir(parents=True, exist_ok=True)
        with write_whole(self.results) as path:
            path.write_text(json.dumps({**read(self.results), row: figures}, indent=1) + "\n")
        print(row, figures, flush=True)


class _Clock:
    """Processor seconds of a row so far, over its interruptions."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "seconds.json"
        self.before = json.loads(self.file.read_text()) if self.file.exists() else 0.0
        self.start = time.process_time()

    def __call__(self, progress: Progress) -> None:
        if progress.validation:
            with write_whole(self.file) as path:
                path.write_text(json.dumps(self.seconds()))

    def seconds(self) -> float:
        """Of the processor; what was done after the last whole epoch before a stop is left out."""
        return float(self.before + time.process_time() - self.start)


def is_begun(run: Path) -> bool:
    """Whether a run was stopped, to go on with."""
    return (run / "last.pt").is_file()


def count_errors(logits: Logits, labels: Labels, own: int) -> dict[str, Any]:
    """How many pictures are taken for another class, and how many of the class `own`."""
    wrong = logits.argmax(1) != labels
    return {
        "errors": int(wrong.sum()),
        "of": len(labels),
        "errors_on_3": int(wrong[labels == own].sum()),
        "threes": int((labels == own).sum()),
    }


def correct_bias(logits: Logits, labels: Labels, own: int) -> dict[str, Any]:
    """The errors with the bias of the class left out that is best on the test pictures.

    The paper chooses it there, too.
    """
    moves = np.arange(0, 20, 0.1, dtype=np.float32)
    column = np.eye(logits.shape[1], dtype=np.float32)[own]
    tried = [count_errors(logits + move * column, labels, own) for move in moves]
    best = min(range(len(moves)), key=lambda place: tried[place]["errors"])
    return {"bias": round(float(moves[best]), 1), **tried[best]}


def read(path: Path) -> Done:
    """Row -> its figures."""
    found: Done = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return found


def page(done: Done) -> str:
    """The table, and how it came about, as Markdown."""
    if not done:
        return "No row is done yet."
    titles = ["", "errors", "spread", "seeds", "in the paper", "errors on threes", "in the paper"]
    lines = []
    for name, published in PUBLISHED.items():
        own = figures_of(name, done)
        if own:
            errors = [one["errors"] for one in own]
            spread = f"{statistics.stdev(errors):.1f}" if len(own) > 1 else ""
            threes = f"{statistics.mean(one['errors_on_3'] for one in own):.1f}"
            said, said_on_3 = ("" if one is None else str(one) for one in published)
            lines.append([name, f"{statistics.mean(errors):.1f}", spread, str(len(own)), said,
                          threes, said_on_3])  # fmt: skip
    return f"{markdown(titles, lines)}\n\n{conditions(done)}"


def figures_of(name: str, done: Done) -> list[Mapping[str, Any]]:
    """The figures of a row of the table, one for each seed."""
    rows = [one for row, one in done.items() if row.startswith(name.partition(",")[0])]
    return [one["corrected"] for one in rows] if name == CORRECTED else rows


def conditions(done: Done) -> str:
    """Epochs, time and biases."""
    first = next(iter(done.values()))
    students = sorted({one["epochs"] for row, one in done.items() if row != "teacher"})
    biases = [f"{one['bias']:g}" for one in figures_of(CORRECTED, done)]
    lines = [f"Errors on {first['of']:,} test pictures, {first['threes']:,} of them threes."]
    if "teacher" in done:
        lines.append(f"The teacher trained for {done['teacher']['epochs']} epochs,")
        lines.append(f"each student for {' or '.join(map(str, students)) or 'none yet'}, all")
        lines.append(f"in {sum(one['cpu_seconds'] for one in done.values()) / 60:.0f} minutes of")
        lines.append("one processor.")
    if biases:
        lines.append(f"Best biases of class 3: {', '.join(biases)} (3.5 in the paper).")
    return " ".join(lines)


if __name__ == "__main__":
    main()
