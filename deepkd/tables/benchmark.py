"""Benchmarks for people and programs: a document of schema deepkd.benchmark/1 as tables, JSON or CSV."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from deepkd.outputs import writing
from deepkd.tables.plots import BENCHMARK_PLOTS, RUNTIMES, draw_benchmark
from deepkd.tables.table import Figures, print_json, print_table
from deepkd.text import cell, csv_writer, visible

ROWS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "Runtime": lambda row: RUNTIMES[row["runtime"]],
    "Parameters": lambda row: f"{row['params']:,}",
    "Multiply-accumulates": lambda row: f"{row['macs'] / 1e6:,.1f} M",
    "File": lambda row: f"{row['bytes'] / 1e6:,.2f} MB",
    "Latency of one crop, p50": lambda row: f"{row['latency_ms']['p50']:,.3f} ms",
    "Latency of one crop, p95": lambda row: f"{row['latency_ms']['p95']:,.3f} ms",
    "Throughput": lambda row: f"{row['throughput_per_s']:,.1f} crops/s",
    "Peak memory of a process": lambda row: (
        "-" if row["peak_rss_mb"] is None else f"{row['peak_rss_mb']:,.0f} MB"
    ),
    "AUC": lambda row: "-" if row["auc"] is None else f"{row['auc']:.4f}",
}
REDUCTIONS = {
    "params_pct": "parameters",
    "size_pct": "file size",
    "latency_pct": "latency, each as deployed",
    "latency_same_runtime_pct": "latency, both as ONNX files",
}
UNTRAINED = "(untrained)"
BUSY = 0.5
"""Load per core from which times are called too long."""


def benchmark_tables(document: Mapping[str, Any]) -> Group:
    """Models side by side, what the student saves, the clip from decoding to verdict, and how it was measured."""
    parts: list[RenderableType] = [_models(document), _notes(document)]
    if any(value is not None for value in document["reduction"].values()):
        parts.insert(1, _reductions(document["reduction"]))
    if document["end_to_end"]:
        parts.insert(-1, _clip(document["end_to_end"]))
    return Group(*parts)


def _models(document: Mapping[str, Any]) -> Figures:
    models = document["models"]
    heads = ["", *(f"{visible(row['name'])}\n{row['role']}" for row in models)]
    rows = [[title, *(value_of(row) for row in models)] for title, value_of in ROWS.items()]
    return Figures(heads, rows, title="Models")


def _reductions(reduction: Mapping[str, float | None]) -> Table:
    table = Table("The student saves", "of the teacher's")
    for key, name in REDUCTIONS.items():
        value = reduction[key]
        table.add_row("-" if value is None else f"{value:.2f} %", name)
    return table


def _clip(clip: Mapping[str, Any]) -> Figures:
    stages = ("decode", "faces", "score", "total")
    rows = [
        [role, *(f"{taken[stage]:,.1f}" for stage in stages)]
        for role, taken in clip["breakdown_ms"].items()
    ]
    title = visible(f"{clip['video']}, from decoding to verdict (ms)")
    return Figures(["with the", *stages], rows, title=title)


def _notes(document: Mapping[str, Any]) -> Text:
    at = document["machine"]
    runs = document["models"][0]["latency_ms"]["runs"]
    versions = ", ".join(
        f"{name} {at[name]}" for name in ("torch", "onnxruntime", "openvino") if at[name]
    )
    lines = [
        f"{at['cpu']}, {at['threads']} of {at['cores']} cores, {versions}; models in turn in one"
        f" process, {runs} runs, throughput in batches of {at['throughput_batch']}, memory in a"
        " process per model."
    ]
    lines += busy(at)
    if any(UNTRAINED in row["name"] for row in document["models"]):
        lines.append(
            "untrained: an architecture as it is built; its size and speed are those of a trained"
            " one, and it has neither AUC nor verdicts."
        )
    if any(row["auc"] is not None for row in document["models"]):
        lines.append(
            "AUC: people may recur across splits (the index names none), which flatters it."
        )
    lines += [
        line for row in document["models"] for line in trained_on(row["name"], row["training_data"])
    ]
    return Text("\n".join(lines), style="dim")


def trained_on(name: str, share: float | None) -> list[str]:
    """What a reader has to know of a model that was trained on what it is measured on; [] of any other."""
    if not share:
        return []
    return [
        f"{visible(name)} was TRAINED on {share:.1%} of these originals; its figures say nothing"
        " about new ones."
    ]


def busy(
    at: Mapping[str, Any], *, then: str = "measure again when it is idle, or with --threads 1"
) -> list[str]:
    """A warning where the machine of a document had more to do than to measure, and what to do then; [] where not."""
    if (at["load"] or 0) <= BUSY * at["cores"]:
        return []
    return [
        f"The machine was busy (load {at['load']} on {at['cores']} cores): times are too long,"
        f" PyTorch's on several threads most of all; {then}."
    ]


def benchmark_csv(document: Mapping[str, Any]) -> str:
    """One line per model; an empty cell is no value."""
    text = io.StringIO()
    writer = csv_writer(text)
    plain = ["name", "role", "runtime", "params", "macs", "bytes"]
    latency, rest = ["batch", "p50", "p95", "runs"], ["throughput_per_s", "peak_rss_mb", "auc"]
    writer.writerow([*plain, *(f"latency_ms_{key}" for key in latency), *rest])
    for row in document["models"]:
        cells = (
            [cell(row["name"])]
            + [row[key] for key in plain[1:]]
            + [row["latency_ms"][key] for key in latency]
        )
        writer.writerow(cells + [row[key] for key in rest])
    return text.getvalue()


FILES = ("benchmark.json", "benchmark.csv", *BENCHMARK_PLOTS)
"""What `write_benchmark` writes."""


def write_benchmark(folder: Path, document: Mapping[str, Any]) -> None:
    """Write `FILES`, each whole or not at all, and the plots last: they need what may be missing.

    Raises:
        OutputError: a file cannot be written.
    """
    with writing(folder / FILES[0]) as beside:
        beside.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    with writing(folder / FILES[1]) as beside:
        beside.write_text(benchmark_csv(document), encoding="utf-8")
    draw_benchmark(folder, document)


FORMATS: dict[str, Callable[[Mapping[str, Any]], None]] = {
    "table": lambda document: print_table(benchmark_tables(document)),
    "json": print_json,
    "csv": lambda document: print(benchmark_csv(document), end=""),
}
"""`--format` -> what prints the document to standard output."""
