"""Progress of a training: a bar and a line per epoch on standard error, then a picture."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from deepkd.cli.progress import progress, wrote
from deepkd.cli.progress import warn as progress_warn

if TYPE_CHECKING:
    from deepkd.training.progress import Progress

DROWNS = 0.95
"""Share of the gradient from which one loss term drowns the others."""


@contextmanager
def follow_run(run: Path, what: str) -> Iterator[Callable[["Progress"], None]]:
    """Give the `report` of a training; at its end, draw the curves of the run."""
    from deepkd.tables.plots import draw_training
    from deepkd.training.processes import leads

    console = Console(stderr=True)
    with progress(what, "steps") as show:

        def report(now: "Progress") -> None:
            if not leads():
                return
            if now.note:
                console.print(now.note, highlight=False, markup=False)
            elif now.validation is None:
                show(now.step, now.steps)
            else:
                figures = now.validation
                console.print(describe_epoch(now.epoch, figures), highlight=False)
                for name, share in find_dominant(figures).items():
                    advice = (
                        f"{escape(name)} makes {share:.0%} of the gradient and drowns the others;"
                        " lower its weight"
                    )
                    console.print(f"[yellow]warning:[/] {advice}", highlight=False)

        yield report
    if leads():
        draw_training(run / "metrics.jsonl", run / "curves.png")
        wrote(run)


def warn(message: str) -> None:
    """A warning on standard error, by the process that speaks for all."""
    from deepkd.training.processes import leads

    if leads():
        progress_warn(message)


def describe_epoch(epoch: int, figures: Mapping[str, Any]) -> str:
    """One line: the loss, and the figures that choose weights."""
    line = f"epoch {epoch}: loss {figures['train_loss']:.4f}, validation"
    if "val_accuracy" in figures:
        line += f" accuracy {figures['val_accuracy']:.4f}, top-5 {figures['val_top5']:.4f}"
    else:
        line += f" AUC {figures['val_auc']:.4f}"
    return f"{line}, log loss {figures['val_log_loss']:.4f}"


def find_dominant(figures: Mapping[str, Any]) -> dict[str, float]:
    """The loss term with more than the share `DROWNS` of the gradient norms -> its share."""
    norms = {
        name.removeprefix("gradient_"): norm
        for name, norm in figures.items()
        if name.startswith("gradient_")
    }
    total = sum(norms.values())
    return {
        name: norm / total
        for name, norm in norms.items()
        if len(norms) > 1 and norm > DROWNS * total
    }
