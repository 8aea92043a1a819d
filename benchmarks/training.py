"""Seconds per training step: deepkd's engine beside a bare PyTorch loop.

    python benchmarks/training.py --data data/cifar10 [--steps 40] [--rounds 3]

Both train WRN-16-1 on the same pictures with the same batch, threads, augmentation and optimiser,
in turn in one process. Times are of the processor, as other work on the machine does not add to
them; the median over all steps counts.
"""

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from deepkd.data.classes import ClassSet, load_classes
from deepkd.models.registry import build_model, normalise
from deepkd.settings.training import TrainConfig
from deepkd.training.progress import Progress
from deepkd.training.supervised import train_on

BATCH, PAD, LR = 64, 4, 5e-4


def time_bare(pictures: ClassSet, steps: int) -> list[float]:
    """Seconds of each step of a plain loop over tensors."""
    model = build_model("wrn-16-1", classes=pictures.classes)
    net = model.module.train().to(memory_format=torch.channels_last)
    images = torch.from_numpy(pictures.stacked(32)).permute(0, 3, 1, 2)
    labels = torch.from_numpy(pictures.labels).long()
    optimiser = torch.optim.Adam(net.parameters(), LR, fused=True)
    order = torch.randperm(len(images))
    seconds = []
    for step in range(steps):
        start = time.process_time()
        rows = order[step * BATCH : (step + 1) * BATCH]
        views = normalise(_augment(images[rows]).float() / 255, model.format)
        optimiser.zero_grad()
        F.cross_entropy(net(views), labels[rows]).backward()
        optimiser.step()
        seconds.append(time.process_time() - start)
    return seconds


def _augment(images: Tensor) -> Tensor:
    """Each picture (N, 3, 32, 32) shifted by up to four pixels and mirrored half the time."""
    padded, views = F.pad(images, (PAD,) * 4), torch.empty_like(images)
    places = torch.randint(2 * PAD + 1, (len(images), 2)).tolist()
    mirrored = (torch.rand(len(images)) < 0.5).tolist()
    for place, (y, x) in enumerate(places):
        view = padded[place, :, y : y + 32, x : x + 32]
        views[place] = view.flip(-1) if mirrored[place] else view
    return views


def time_engine(pictures: ClassSet, steps: int) -> list[float]:
    """Seconds of each step of `deepkd train`, from one report of its progress to the next."""
    marks = [time.process_time()]

    def mark(progress: Progress) -> None:
        if progress.validation is None:
            marks.append(time.process_time())

    settings = TrainConfig(
        model="wrn-16-1",
        epochs=1,
        batch=BATCH,
        lr=LR,
        optimizer="adam",
        schedule="constant",
        warmup=0.0,
        weight_decay=0.0,
        augment="shift-flip",
        ema=0.0,
        label_smoothing=0.0,
        checkpoint_every=10**6,
    )
    train = pictures.subset(range(steps * BATCH))
    train._kept[32] = pictures.stacked(32)[: steps * BATCH]
    held_out = pictures.subset(range(steps * BATCH, steps * BATCH + BATCH))
    with tempfile.TemporaryDirectory() as folder:
        train_on(train, held_out, Path(folder) / "run", settings, report=mark)
    return [after - before for before, after in pairwise(marks[1:])]


def main() -> None:
    """Print both medians and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", required=True, type=Path)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    whole = load_classes(args.data, "train+val")
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(0)).tolist()
    pictures = whole.subset(order[: (args.steps + 1) * BATCH])
    bare: list[float] = []
    engine: list[float] = []
    for _ in range(args.rounds):
        bare += time_bare(pictures, args.steps)
        engine += time_engine(pictures, args.steps)
    first, second = statistics.median(bare), statistics.median(engine)
    times = f"bare loop {first * 1e3:.1f} ms, deepkd {second * 1e3:.1f} ms"
    print(f"{times} a step of {BATCH} pictures, ratio {second / first:.3f}")


if __name__ == "__main__":
    main()
