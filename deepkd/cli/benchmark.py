"""`deepkd benchmark`: size and speed of models, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from deepkd.cli.options import setting_option
from deepkd.config import load_config
from deepkd.settings import BenchmarkConfig


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL...]",
            help="Further models: run folders, .safetensors, .pth or .onnx files, shipped or registry names.",
        ),
    ] = None,
    teacher: Annotated[str | None, setting_option(BenchmarkConfig, "teacher")] = None,
    student: Annotated[str | None, setting_option(BenchmarkConfig, "student")] = None,
    data: Annotated[Path | None, setting_option(BenchmarkConfig, "data")] = None,
    split: Annotated[str | None, setting_option(BenchmarkConfig, "split")] = None,
    limit: Annotated[int | None, setting_option(BenchmarkConfig, "limit")] = None,
    video: Annotated[Path | None, setting_option(BenchmarkConfig, "video")] = None,
    video_runs: Annotated[int | None, setting_option(BenchmarkConfig, "video_runs")] = None,
    frames: Annotated[int | None, setting_option(BenchmarkConfig, "frames")] = None,
    runs: Annotated[int | None, setting_option(BenchmarkConfig, "runs")] = None,
    batch: Annotated[int | None, setting_option(BenchmarkConfig, "batch")] = None,
    threads: Annotated[int | None, setting_option(BenchmarkConfig, "threads")] = None,
    format: Annotated[str | None, setting_option(BenchmarkConfig, "format")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write benchmark.json, benchmark.csv and the plots to this folder.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier benchmark in --out.")] = False,
    config_file: Annotated[Path | None, typer.Option("--config", help="TOML file with these settings.")] = None,
) -> None:
    """Measure a teacher and a student in turn: parameters, MACs, bytes, latency, throughput, memory, and AUC.

    Without any model named it compares cross-efficient-vit (untrained, for its size and speed) with deepkd-nano.
    """
    config = load_config(
        BenchmarkConfig,
        config_file,
        **{"teacher": teacher, "student": student, "data": data, "split": split, "limit": limit, "video": video},
        **{"video_runs": video_runs, "frames": frames, "runs": runs, "batch": batch, "threads": threads},
        format=format,
    )
    from deepkd.cli.progress import progress, say
    from deepkd.evaluation.benchmark import benchmark as measure
    from deepkd.outputs import check_output
    from deepkd.report.benchmark import FORMATS, write_benchmark

    if out:
        check_output(out / "benchmark.json", overwrite=overwrite)
    with progress("benchmark", "turns") as show:
        document = measure(config, models or [], say=lambda text: say(f"benchmark: {text}"), progress=show)
    if out:
        write_benchmark(out, document)
        config.save(out / "config.json")
    FORMATS[config.format](document)
