"""`deepkd prune`: a smaller network out of a trained one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.cli.train import Resume
from deepkd.config import load_config
from deepkd.settings.compression import PruneConfig

Source = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Trained model: a run folder, a .safetensors or .pth."),
]
Data = Annotated[
    Path, typer.Option(help="Crops that show what channels are worth, and to fine-tune on.")
]
Out = Annotated[Path, typer.Option(help="Folder of the pruned model.")]
Teachers = Annotated[
    list[Path] | None,
    typer.Option(
        help=(
            "What teaches after each step, as in distill; several speak with their mean. RUN"
            " unless given."
        )
    ),
]


@takes_settings(PruneConfig)
def prune(
    run: Source,
    *,
    data: Data,
    out: Out,
    teacher: Teachers = None,
    resume: Resume = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Take away the channels that a network misses least, until it is small enough.

    With --epochs the unpruned network, or each --teacher, teaches the pruned one after each step.
    Without, go on with `deepkd distill --student NAME --init OUT --teacher RUN`, or on labels alone
    with `deepkd train --model NAME --init OUT`. Widths stay multiples of 8 and travel with the
    weights.
    """
    config = load_config(PruneConfig, config_file, **settings)
    from deepkd.cli.progress import wrote
    from deepkd.cli.training import following, warn
    from deepkd.compression.gradual import prune_in_steps
    from deepkd.models.checkpoints import load_checkpoint

    if config.latency_ms is not None:
        _warn_if_busy()
    teachers = [load_checkpoint(path) for path in teacher or []]
    pruned = prune_in_steps(
        load_checkpoint(run),
        data,
        out,
        config,
        follow=following,
        teachers=teachers,
        resume=resume,
        warn=warn,
    )
    size = f"{pruned.params:,} parameters, {pruned.macs / 1e6:.1f} M multiply-accumulates"
    taken_ms = pruned.metadata["pruned"]["measured_ms"]
    size += "" if taken_ms is None else f", {taken_ms:.3g} ms for one crop when it was pruned"
    wrote(out, f": {size}")


def _warn_if_busy() -> None:
    """A warning where other work on this machine makes the measured time too long."""
    from rich.console import Console

    from deepkd.machine import cores, machine
    from deepkd.tables.benchmark import busy_warning

    for line in busy_warning(machine(cores()), then="prune again when it is idle"):
        Console(stderr=True).print(f"[yellow]warning:[/] {line}", highlight=False)
