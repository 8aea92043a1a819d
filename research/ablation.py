"""What each way of distilling brings on face crops, and what it does not.

    python research/ablation.py run --data CROPS --teacher RUN --out OUT --seeds 0 1 2
    python research/ablation.py table --out OUT

The students of one seed start from the same weights and are trained side by side on the very same
views in the same order, so that only the method differs. Two draw from less: `alone, tenth` and
`kd, tenth` see a tenth of the families only (as many views of them); `kd + unlabelled` sees all
crops and the labels of that tenth. Methods are the files of `recipes/`, with one schedule for all.
`run` keeps the validation logits of every student and skips finished seeds.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from deepkd.config import load_config
from deepkd.data.crops import Batch, CropDataset, CropSet, collate, load_crops
from deepkd.data.sampling import epoch_batches
from deepkd.data.transforms import Augment
from deepkd.distillation.distiller import Distillation
from deepkd.distillation.modifiers import with_labels_hidden
from deepkd.evaluation.metrics import auc, log_loss
from deepkd.models.checkpoints import load_checkpoint
from deepkd.models.registry import TorchModel
from deepkd.outputs import write_whole
from deepkd.settings.training import DistillConfig
from deepkd.training.engine import GRADIENT_NORM
from deepkd.training.schedule import adamw, averaged, warmup_cosine
from deepkd.training.supervised import start_model
from deepkd.training.validation import crop_logits

RECIPES = Path(__file__).resolve().parent.parent / "recipes"
TENTH = 0.1
RESAMPLES = 1000
Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Method:
    """One row of the table: a recipe, which crops it draws from, and which labels it sees."""

    name: str
    recipe: str | None
    tenth: bool = False
    hidden: bool = False
    noise: float = 0.0
    """Of the teacher, on half of the samples; a recipe may have its own."""


METHODS = (
    Method("alone", None),
    Method("kd", "hinton"),
    Method("logit_mse", "logits"),
    Method("kd + attention transfer", "attention-transfer"),
    Method("kd + amd", "amd-global"),
    Method("kd + similarity", "similarity"),
    Method("logit_mse + noise", "noisy-teacher"),
    Method("kd + noise", "hinton", noise=0.5),
    Method("alone, tenth", None, tenth=True),
    Method("kd, tenth", "hinton", tenth=True),
    Method("kd + unlabelled", "hinton", hidden=True),
)
AGAINST = {"kd, tenth": "alone, tenth", "kd + unlabelled": "kd, tenth"}
"""What a method is compared with; `alone` unless named here."""


class Remembering(nn.Module):
    """A teacher that all students of a step share; it answers each view once."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.answer: Tensor | None = None

    def forward(self, views: Tensor) -> Tensor:
        """The network's own output for the views of this step."""
        if torch.jit.is_tracing():
            raise RuntimeError("a network with a memory cannot be traced")
        if self.answer is None:
            self.answer = self.network(views)
        return self.answer


class Lesson:
    """One student on its way: its objective, its optimiser and the average of its weights."""

    def __init__(
        self, method: Method, teacher: TorchModel, args: argparse.Namespace, seed: int
    ) -> None:
        recipe = RECIPES / f"{method.recipe}.toml" if method.recipe else None
        config = load_config(
            DistillConfig,
            recipe,
            student=args.student,
            init=args.init,
            seed=seed,
            labelled_share=1.0,
        )
        if recipe is None:
            config = dataclasses.replace(config, losses=({"name": "bce"},))
        if method.noise:
            config = dataclasses.replace(config, teacher_noise=method.noise)
        taps = {
            name: [student, f"network.{its}"]
            for name, (student, its) in (config.taps or {}).items()
        }
        config = dataclasses.replace(config, taps=taps or None, device="cpu")
        self.student = start_model(args.student, config)
        self.objective = Distillation(self.student, [teacher], config)
        self.optimiser = adamw(self.objective, args.lr, config.weight_decay)
        self.lr = args.lr
        self.average = averaged(self.student.module, 0.999)

    def learn(self, batch: Batch, labels: Tensor, progress: float) -> None:
        """One step."""
        self.objective.train()
        self.objective.progress = progress
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr * warmup_cosine(round(progress * 10_000), 10_000, 0.1)
        views = batch.views.float().div(255).contiguous(memory_format=torch.channels_last)
        loss = self.objective(views, labels, batch.rows)["total"]
        loss.backward()
        nn.utils.clip_grad_norm_(self.objective.parameters(), GRADIENT_NORM)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        self.average.update_parameters(self.student.module)

    def logits(self, crops: CropSet) -> npt.NDArray[np.float32]:
        """The averaged student's, of every crop."""
        return crop_logits(
            dataclasses.replace(self.student, module=self.average.module, trained=True), crops
        )


def main() -> None:
    """Run or print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    run = verbs.add_parser("run", help="train the students of each seed")
    run.add_argument("--data", type=Path, required=True)
    run.add_argument("--teacher", type=Path, required=True)
    run.add_argument("--student", default="pico")
    run.add_argument(
        "--init",
        type=Path,
        help="checkpoint that every student starts from, a pruned one for instance",
    )
    run.add_argument("--views", type=int, default=16_000, help="of each student")
    run.add_argument("--batch", type=int, default=32)
    run.add_argument("--lr", type=float, default=2e-3)
    run.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    names = [method.name for method in METHODS]
    run.add_argument(
        "--methods", nargs="+", choices=names, default=names, help="only these rows of the table"
    )
    run.add_argument("--limit", type=int, help="train on about so many crops, whole families")
    run.add_argument(
        "--val-limit", type=int, help="validate on about so many crops, whole families"
    )
    table = verbs.add_parser("table", help="print what the runs show, as Markdown")
    for each in (run, table):
        each.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if args.verb == "run":
        for seed in args.seeds:
            run_seed(args, seed)
    else:
        print_table(args.out)


def run_seed(args: argparse.Namespace, seed: int) -> None:
    """Train every method with one seed and keep what it says of the validation crops."""
    target = args.out / f"seed-{seed}.npz"
    if target.exists():
        return
    args.out.mkdir(parents=True, exist_ok=True)
    teacher = load_checkpoint(args.teacher)
    teacher.module = Remembering(teacher.module)
    memory: Remembering = teacher.module
    train, val = (
        load_crops(args.data, "train", limit=args.limit),
        load_crops(args.data, "val", limit=args.val_limit),
    )
    hidden = with_labels_hidden(train, TENTH)
    chosen = [method for method in METHODS if method.name in args.methods]
    few = CropSet(train.root, [row for row in hidden.rows if row.label])
    lessons: dict[Method, Lesson] = {}
    for method in chosen:
        memory.answer = None
        lessons[method] = Lesson(method, teacher, args, seed)
    steps, view_px = args.views // args.batch, teacher.format.size
    streams = [(train, [m for m in chosen if not m.tenth]), (few, [m for m in chosen if m.tenth])]
    streams = [(crops, methods) for crops, methods in streams if methods]
    draws = [batches(crops, view_px, args, seed, steps) for crops, _ in streams]
    started = time.monotonic()
    for step, drawn in enumerate(zip(*draws, strict=True)):
        for batch, (_, methods) in zip(drawn, streams, strict=True):
            memory.answer = None
            for method in methods:
                labels = (
                    torch.from_numpy(hidden.labels[batch.rows]) if method.hidden else batch.labels
                )
                lessons[method].learn(batch, labels, step / steps)
        if step % 20 == 19:
            tell_progress(seed, step + 1, steps, started)
    found = {method.name: lesson.logits(val) for method, lesson in lessons.items()}
    found["teacher"] = crop_logits(load_checkpoint(args.teacher), val)
    about = {key: getattr(args, key) for key in ("student", "views", "batch", "lr")}
    about |= {
        "params": lessons[chosen[0]].student.params,
        "crops": len(train),
        "labelled": len(few),
    }
    about |= {"teacher": teacher.name, "started": "pruned" if args.init else "from scratch"}
    originals = np.array([row.original for row in val.rows])
    with write_whole(target) as beside, beside.open("wb") as file:
        np.savez(file, labels=val.labels, originals=originals, about=json.dumps(about), **found)


def tell_progress(seed: int, done: int, steps: int, started: float) -> None:
    """Say how long the rest takes; `started` is a time of the monotonic clock."""
    left_s = (time.monotonic() - started) / done * (steps - done)
    print(f"seed {seed}: step {done} of {steps}, {left_s:.0f} s left", file=sys.stderr, flush=True)


def batches(
    crops: CropSet, view_px: int, args: argparse.Namespace, seed: int, steps: int
) -> Iterator[Batch]:
    """`steps` batches of real and forged crops of the same originals, moved alike."""
    keys = []
    for epoch in range(steps):
        keys += epoch_batches(crops, "paired", batch=args.batch, seed=seed, epoch=epoch)
        if len(keys) >= steps:
            break
    dataset = CropDataset(crops, Augment("standard", view_px))
    return iter(DataLoader(dataset, batch_sampler=keys[:steps], collate_fn=collate, num_workers=1))


def print_table(out: Path) -> None:
    """AUC and log loss of each method over the seeds, with intervals."""
    runs = [np.load(path) for path in sorted(out.glob("seed-*.npz"))]
    if not runs:
        raise SystemExit(f"{out}: holds no seed-*.npz; make some with `run`")
    labels, (_, source) = runs[0]["labels"], np.unique(runs[0]["originals"], return_inverse=True)
    names = [
        name for name in [*(m.name for m in METHODS), "teacher"] if all(name in run for run in runs)
    ]
    logits = {name: np.stack([run[name] for run in runs]) for name in names}
    resampled = {name: aucs(labels, values, source) for name, values in logits.items()}
    print("| method | AUC | of single seeds | log loss | AUC gained over | |")
    print("|---|---:|---:|---:|---|---:|")
    for name, values in logits.items():
        single = [auc(labels, z) or 0.0 for z in values]
        loss = float(np.mean([log_loss(labels, z) for z in values]))
        other = "" if name in {"alone", "alone, tenth", "teacher"} else AGAINST.get(name, "alone")
        gain = ""
        if other in logits:
            change = np.mean(single) - np.mean([auc(labels, z) or 0.0 for z in logits[other]])
            gain = f"{change:+.3f} {interval(resampled[name] - resampled[other], signed=True)}"
        seeds = " ".join(f"{value:.3f}" for value in single) if name != "teacher" else ""
        area = f"{np.mean(single):.3f} {interval(resampled[name])}"
        print(f"| {name} | {area} | {seeds} | {loss:.3f} | {other} | {gain} |")
    about = json.loads(str(runs[0]["about"]))
    print(f"\n{len(runs)} seeds; " + ", ".join(f"{key} {value}" for key, value in about.items()))


def aucs(
    labels: npt.NDArray[np.float32], logits: npt.NDArray[np.float32], source: npt.NDArray[np.intp]
) -> Floats:
    """AUC of each resample of the originals, mean over the seeds (S, rows)."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(source == index) for index in range(source.max() + 1)]
    found = []
    for _ in range(RESAMPLES):
        rows = np.concatenate(
            [members[index] for index in rng.integers(0, len(members), len(members))]
        )
        found.append(np.mean([auc(labels[rows], z[rows]) or 0.5 for z in logits]))
    return np.array(found)


def interval(values: Sequence[float] | Floats, *, signed: bool = False) -> str:
    """The middle 95 %."""
    low, high = np.quantile(values, (0.025, 0.975))
    return f"[{low:+.3f}, {high:+.3f}]" if signed else f"[{low:.3f}, {high:.3f}]"


if __name__ == "__main__":
    main()
