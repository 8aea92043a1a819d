"""What a training shows: progress and a line per epoch on standard error, and its curves as a picture."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from deepkd.cli.progress import progress

if TYPE_CHECKING:
    from deepkd.training.engine import Progress


@contextmanager
def following(run: Path, what: str) -> Iterator[Callable[["Progress"], None]]:
    """A function to hand to a training as `report`; draws the run's curves when the training has ended."""
    from deepkd.report.plots import draw_training

    console = Console(stderr=True)
    leads = os.environ.get("RANK", "0") == "0"
    with progress(what, "steps") as show:

        def report(now: "Progress") -> None:
            if not leads:
                return
            if now.validation is None:
                show(now.step, now.steps)
            else:
                figures = now.validation
                console.print(
                    f"epoch {now.epoch}: loss {figures['train_loss']:.4f}, validation AUC {figures['val_auc']:.4f}, "
                    f"log loss {figures['val_log_loss']:.4f}",
                    highlight=False,
                )

        yield report
    if leads:
        draw_training(run / "metrics.jsonl", run / "curves.png")
        console.print(f"wrote {run}", highlight=False, markup=False)
