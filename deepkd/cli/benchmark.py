"""`deepkd benchmark`: size and speed of models, side by side."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from deepkd.cli.options import ConfigFile, takes_settings
from deepkd.config import load_config
from deepkd.settings.evaluation import BenchmarkConfig

D = TypeVar("D")
Models = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[MODEL...]",
        help=(
            "Further models: run folders, .safetensors, .pth or .onnx files, or names of shipped"
            " models."
        ),
    ),
]
Pareto = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help=(
            "Measure every model of this folder and the teacher, on 1 and 2 threads, and mark "
            "those that no other beats in AUC, time and size together (the Pareto front)."
        ),
    ),
]
Out = Annotated[Path | None, typer.Option(help="Folder for the figures (JSON, CSV) and plots.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier benchmark in --out.")
]


@takes_settings(BenchmarkConfig)
def benchmark(
    models: Models = None,
    *,
    pareto: Pareto = None,
    out: Out = None,
    overwrite: Overwrite = False,
    config_file: ConfigFile = None,
    **settings: Any,
) -> None:
    """Compare a teacher and a student: size, latency, throughput, memory and AUC.

    If no model is named, the teacher is cross-efficient-vit, untrained, and the student
    deepkd-nano.
    """
    config = load_config(BenchmarkConfig, config_file, **settings)
    if pareto:
        _pareto(pareto, config, models or [], out, overwrite=overwrite)
        return
    from deepkd.benchmark.benchmark import benchmark as measure
    from deepkd.tables.benchmark import FILES, FORMATS, write_benchmark

    _check_files(out, FILES, overwrite=overwrite)
    document = _measure(partial(measure, config, models or []))
    if out:
        _write(out, FILES[0], config, document, write_benchmark)
    FORMATS[config.format](document)


def _pareto(
    folder: Path, config: BenchmarkConfig, models: list[str], out: Path | None, *, overwrite: bool
) -> None:
    """Every model of a folder, in place of a teacher and a student."""
    from deepkd.benchmark.pareto import pareto as measure
    from deepkd.errors import UsageError
    from deepkd.tables.pareto import FILES, FORMATS, write_pareto

    for name in ("video", "student"):
        if getattr(config, name):
            raise UsageError(
                f"--pareto measures crops with every model of a folder; leave out --{name}"
            )
    _check_files(out, FILES, overwrite=overwrite)
    document = _measure(partial(measure, folder, config, models))
    if out:
        _write(out, FILES[0], config, document, write_pareto)
    FORMATS[config.format](document)


def _measure(measure: Callable[..., D]) -> D:
    """What is measured, with its progress shown."""
    from deepkd.cli.progress import progress, say, warn

    with progress("benchmark", "turns") as show:
        return measure(say=lambda text: say(f"benchmark: {text}"), warn=warn, progress=show)


def _write(
    out: Path, first: str, config: BenchmarkConfig, document: D, write: Callable[[Path, D], None]
) -> None:
    """The settings beside the first file, then the files."""
    from deepkd.outputs import settings_beside

    config.save(settings_beside(out / first))
    write(out, document)


def _check_files(out: Path | None, names: Sequence[str], *, overwrite: bool) -> None:
    """Make sure, before any work, that these files and the settings can be written to `out`."""
    from deepkd.outputs import check_outputs

    if out:
        first, *others = (out / name for name in names)
        check_outputs([first], files=others, overwrite=overwrite)
