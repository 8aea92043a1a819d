"""Benchmarks as tables, CSV and JSON."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from deepkd.tables.bars import BENCHMARK_PLOTS, draw_benchmark
from deepkd.tables.plots import RUNTIMES
from deepkd.tables.table import Column, Table, as_json, formats, write_texts
from deepkd.text import visible

if TYPE_CHECKING:
    from deepkd.benchmark.results import (
        BenchmarkDocument,
        BenchmarkMachine,
        BenchmarkRow,
        ClipTiming,
        Reduction,
    )
    from deepkd.machine import Machine


def _or_dash(form: str) -> Callable[[float | None], str]:
    return lambda value: "-" if value is None else form.format(value)


COLUMNS: tuple[tuple[Column, "Callable[[BenchmarkRow], object]"], ...] = (
    (Column(key="name"), lambda row: row.name),
    (Column(key="role"), lambda row: row.role),
    (Column("Runtime", RUNTIMES.__getitem__, key="runtime"), lambda row: row.runtime),
    (Column("Parameters", "{:,}".format, key="params"), lambda row: row.params),
    (
        Column("Multiply-accumulates", lambda macs: f"{macs / 1e6:,.1f} M", key="macs"),
        lambda row: row.macs,
    ),
    (Column("File", lambda size: f"{size / 1e6:,.2f} MB", key="bytes"), lambda row: row.bytes),
    (Column(key="latency_ms_batch"), lambda row: row.latency_ms.batch),
    (
        Column("Latency of one crop, p50", "{:,.3f} ms".format, key="latency_ms_p50"),
        lambda row: row.latency_ms.p50,
    ),
    (
        Column("Latency of one crop, p95", "{:,.3f} ms".format, key="latency_ms_p95"),
        lambda row: row.latency_ms.p95,
    ),
    (Column(key="latency_ms_runs"), lambda row: row.latency_ms.runs),
    (
        Column("Throughput", "{:,.1f} crops/s".format, key="throughput_per_s"),
        lambda row: row.throughput_per_s,
    ),
    (
        Column("Peak memory of a process", _or_dash("{:,.0f} MB"), key="peak_rss_mb"),
        lambda row: row.peak_rss_mb,
    ),
    (Column("AUC", _or_dash("{:.4f}"), key="auc"), lambda row: row.auc),
)
ACCURACY = Column("Accuracy", _or_dash("{:.4f}"), key="accuracy")
"""In place of AUC, for models that tell classes apart."""
"""How each figure is shown, and where it stands in a row."""
REDUCTIONS = {
    "params_pct": "parameters",
    "size_pct": "file size",
    "latency_pct": "latency, each as deployed",
    "latency_same_runtime_pct": "latency, both as ONNX files",
}
UNTRAINED = "(untrained)"
BUSY = 0.5
"""Load per core from which times are called too long."""


def benchmark_table(document: "BenchmarkDocument") -> Table:
    """A row per model."""
    columns, values = zip(*COLUMNS, strict=True)
    if any(row.accuracy is not None for row in document.models):
        columns, values = (*columns[:-1], ACCURACY), (*values[:-1], lambda row: row.accuracy)
    rows = [[value_of(row) for value_of in values] for row in document.models]
    return Table(columns, rows, title="Models")


def benchmark_tables(document: "BenchmarkDocument") -> Group:
    """Models side by side, what the student saves, the clip, and how it was measured."""
    heads = [f"{visible(row.name)}\n{row.role}" for row in document.models]
    parts: list[RenderableType] = [benchmark_table(document).transpose(heads)]
    if any(value is not None for value in vars(document.reduction).values()):
        parts.append(_reductions(document.reduction))
    if document.end_to_end:
        parts.append(_clip(document.end_to_end))
    return Group(*parts, Text("\n".join(_notes(document)), style="dim"))


def _reductions(reduction: "Reduction") -> RichTable:
    columns = [
        Column("The student saves", _or_dash("{:.2f} %"), is_left=True),
        Column("of the teacher's", is_left=True),
    ]
    rows = [[getattr(reduction, key), name] for key, name in REDUCTIONS.items()]
    return Table(columns, rows).rich()


def _clip(clip: "ClipTiming") -> Table:
    stages = ("decode", "faces", "score", "total")
    columns = [
        Column("with the", is_words=True, is_left=True),
        *(Column(stage, "{:,.1f}".format) for stage in stages),
    ]
    rows = [
        [role, *(taken[stage] for stage in stages)] for role, taken in clip.breakdown_ms.items()
    ]
    return Table(columns, rows, title=visible(f"{clip.video}, from decoding to verdict (ms)"))


def _notes(document: "BenchmarkDocument") -> list[str]:
    """How it was measured, and what to know of the models."""
    lines = [_conditions(document.machine, document.models[0].latency_ms.runs)]
    lines += busy_warning(document.machine)
    if any(UNTRAINED in row.name for row in document.models):
        lines.append(
            "untrained: an architecture as it is built; its size and speed are those of a trained"
            " one, and it has neither AUC nor verdicts."
        )
    if any(row.auc is not None for row in document.models):
        lines.append(
            "AUC: people may recur across splits (the index names none), which flatters it."
        )
    return lines + [
        line for row in document.models for line in warn_of_training(row.name, row.training_data)
    ]


def _conditions(at: "BenchmarkMachine", runs: int) -> str:
    versions = ", ".join(
        f"{name} {getattr(at, name)}"
        for name in ("torch", "onnxruntime", "openvino")
        if getattr(at, name)
    )
    return (
        f"{at.cpu}, {at.threads} of {at.cores} cores, {versions}; models in turn in one"
        f" process, {runs} runs, throughput in batches of {at.throughput_batch}, memory in a"
        " process per model."
    )


def warn_of_training(name: str, share: float | None) -> list[str]:
    """A warning where a model was trained on what it is measured on; else []."""
    if not share:
        return []
    return [
        f"{visible(name)} was TRAINED on {share:.1%} of these originals; its figures say nothing"
        " about new ones."
    ]


def busy_warning(
    at: "Machine", *, then: str = "measure again when it is idle, or with --threads 1"
) -> list[str]:
    """A warning where the machine was busy with other work, and what to do then; else []."""
    if (at.load or 0) <= BUSY * at.cores:
        return []
    return [
        f"The machine was busy (load {at.load} on {at.cores} cores): times are too long,"
        f" PyTorch's on several threads most of all; {then}."
    ]


FILES = ("benchmark.json", "benchmark.csv", *BENCHMARK_PLOTS)
"""What `write_benchmark` writes."""


def write_benchmark(folder: Path, document: "BenchmarkDocument") -> None:
    """Write `FILES`, each whole or not at all, and the plots last: they need what may be missing.

    Raises:
        OutputError: a file cannot be written.
    """
    texts = (as_json(document), benchmark_table(document).csv())
    write_texts(folder, dict(zip(FILES, texts, strict=False)))
    draw_benchmark(folder, document)


FORMATS: "dict[str, Callable[[BenchmarkDocument], None]]" = formats(
    benchmark_tables, benchmark_table
)
"""`--format` -> what prints the document to standard output."""
