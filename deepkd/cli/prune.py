"""`deepkd prune`: a smaller network out of a trained one."""

from pathlib import Path
from typing import Annotated, Any

import typer

from deepkd.cli.options import ConfigFile, check_format, takes_settings
from deepkd.cli.train import Resume
from deepkd.config import load_config
from deepkd.settings.compression import PruneConfig

Source = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Trained model: a run folder, a .safetensors or .pth."),
]
Data = Annotated[
    Path,
    typer.Option(
        help=("Crops, or pictures in SPLIT/CLASS/, to measure importance and to fine-tune on.")
    ),
]
Format = Annotated[
    str, typer.Option(help="Output format of the steps: table or json.", hidden=True)
]
Out = Annotated[Path, typer.Option(help="Folder of the pruned model.")]
Teachers = Annotated[
    list[Path] | None,
    typer.Option(
        help=(
            "Trained model that teaches the pruned one; by default RUN. May be given several "
            "times, as in distill."
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
    format: Format = "table",
    **settings: Any,
) -> None:
    """Remove the least important channels of a trained network, until it is small enough.

    Give one or more limits: --params, --macs-m, --latency-ms. With --epochs the network, or each
    --teacher, teaches the pruned one after each step. Without --epochs, fine-tune it with `deepkd
    distill --student NAME --init OUT --teacher RUN` or `deepkd train --model NAME --init OUT`.
    OUT/steps.png shows AUC, or accuracy of classes, against multiply-accumulates.
    """
    config = load_config(PruneConfig, config_file, **settings)
    from deepkd.cli.progress import wrote
    from deepkd.cli.training import follow_run, warn
    from deepkd.compression.gradual import prune_in_steps, read_steps
    from deepkd.models.checkpoints import load_checkpoint
    from deepkd.tables.prune import FORMATS, draw_steps

    check_format(format, FORMATS)

    if config.latency_ms is not None:
        _warn_if_busy()
    teachers = [load_checkpoint(path) for path in teacher or []]
    pruned = prune_in_steps(
        load_checkpoint(run),
        data,
        out,
        config,
        follow=follow_run,
        teachers=teachers,
        resume=resume,
        warn=warn,
    )
    size = f"{pruned.params:,} parameters, {pruned.macs / 1e6:.1f} M multiply-accumulates"
    taken_ms = pruned.metadata["pruned"]["measured_ms"]
    size += "" if taken_ms is None else f", {taken_ms:.3g} ms for one crop when it was pruned"
    wrote(out, f": {size}")
    steps = read_steps(out)
    draw_steps(out / "steps.png", steps)
    FORMATS[format](steps)


def _warn_if_busy() -> None:
    """Warn if other work on this machine makes the measured time too long."""
    from rich.console import Console

    from deepkd.machine import cores, machine
    from deepkd.tables.benchmark import busy_warning

    for line in busy_warning(machine(cores()), then="prune again when it is idle"):
        Console(stderr=True).print(f"[yellow]warning:[/] {line}", highlight=False)
