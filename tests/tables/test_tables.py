"""Tables of figures: at 60 columns and more no figure loses or breaks its digits."""

import io
from typing import Any

import pytest
from rich.console import Console, RenderableType

from deepkd.benchmark.results import BenchmarkDocument, ParetoDocument
from deepkd.compression.results import QuantizeDocument
from deepkd.tables.benchmark import benchmark_tables
from deepkd.tables.pareto import pareto_table
from deepkd.tables.quantize import quantize_table
from deepkd.tables.table import Column, Table

AT = {
    "cpu": "CPU",
    "device": "cpu",
    "system": "Linux",
    "python": "3",
    "deepkd": "1",
    "threads": 2,
    "cores": 2,
    "torch": "2",
    "onnxruntime": "1",
    "openvino": None,
    "load": 0.1,
}
MODEL = {
    "name": "cross-efficient-vit (untrained)",
    "role": "teacher",
    "params": 101_377_129,
    "macs": 2_027_500_000,
    "bytes": 405_508_516,
    "training_data": None,
}


def measure(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def benchmarked() -> dict[str, Any]:
    latency = {"batch": 1, "p50": 1234.567, "p95": 2345.678, "runs": 50}
    row = {
        "runtime": "torch",
        "latency_ms": latency,
        "throughput_per_s": 1234.5,
        "peak_rss_mb": 4321.0,
        "auc": 0.95,
    }
    return {
        "machine": {**AT, "throughput_batch": 32},
        "models": [{**MODEL, **row}] * 6,
        "reduction": {},
        "end_to_end": {
            "video": "c.mp4",
            "teacher_s": None,
            "student_s": None,
            "breakdown_ms": {"teacher": dict.fromkeys(STAGES, 123_456.7)},
        },
    }


STAGES = ("decode", "faces", "score", "total")


def compared() -> dict[str, Any]:
    latency = [{"threads": count, "single": 1234.56, "batch": 2345.67} for count in (1, 2)]
    row = {
        "made": ["distilled", "pruned"],
        "latency_ms": latency,
        "auc": measure(0.8),
        "front": ["latency", "bytes"],
    }
    data = {"name": "crops", "split": "test", "crops": 9}
    models = [{**MODEL, **row}] * 2
    return {
        "machine": AT,
        "runtime": "onnxruntime",
        "runs": 50,
        "batch": 1,
        "data": data,
        "models": models,
        "left_out": [],
    }


def quantised() -> dict[str, Any]:
    row = {
        **MODEL,
        "variant": "int8",
        "made": None,
        "sha256": "0",
        "auc": 0.9521,
        "auc_change": measure(-0.001),
        "latency_ms": 1234.567,
    }
    row |= {
        "latency_ratio": measure(0.9),
        "accepted": False,
        "objections": ["not faster here, and its AUC falls"],
    }
    return {
        "machine": AT,
        "max_drop": 0.002,
        "models": [row] * 2,
        "written": None,
        "data": {"split": "val", "crops": 9, "training_data": 0},
        "twin": {"latency_ms": 2345.678, "latency_ratio": measure(1.0), "faster_below": 0.99},
        "calibration": {"split": "train", "crops": 9, "distances": {"plain": 0.1}},
    }


FIGURES = {
    "benchmark": [
        "101,377,129",
        "2,027.5 M",
        "1,234.567 ms",
        "1,234.5 crops/s",
        "4,321 MB",
        "123,456.7",
    ],
    "pareto": ["101,377,129", "2,027.5", "405.51", "1,234.56", "2,345.67", "0.8000 [0.700, 0.900]"],
    "quantize": [
        "405.51 MB",
        "-0.0010 [-0.1010, +0.0990]",
        "1,234.567 ms",
        "0.90 [0.80, 1.00]",
        "2,345.678 ms",
    ],
}


def shown(content: RenderableType, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(content)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", [60, 80, 160, 400])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_whole_at_any_width(name: str, width: int) -> None:
    tables = {
        "benchmark": lambda: benchmark_tables(BenchmarkDocument.from_dict(benchmarked())),
        "pareto": lambda: pareto_table(ParetoDocument.from_dict(compared())),
        "quantize": lambda: quantize_table(QuantizeDocument.from_dict(quantised())),
    }
    text = shown(tables[name](), width)
    assert "…" not in text
    assert [figure for figure in FIGURES[name] if figure not in text] == []


def test_figures_stand_side_by_side_where_they_fit_and_else_below() -> None:
    columns = [Column("a model", is_words=True, is_left=True), Column("of bytes")]
    figures = Table(columns, [["the first one", "101,377,129"], ["second", ""]], title="T")
    wide, narrow = shown(figures, 24), shown(figures, 23)
    assert "│ the    │ 101,377,129 │" in wide and "│ first  │" in wide
    assert [line.rstrip() for line in narrow.splitlines()] == [
        "T",
        "the first one",
        "  of bytes  101,377,129",
        "second",
    ]


def test_files_hold_values_and_people_read_formats() -> None:
    columns = [
        Column("Model", key="name", is_left=True),
        Column(key="role"),
        Column("MB", lambda size: f"{size / 1e6:.1f}", key="bytes"),
        Column("Made", ", ".join, key="made"),
        Column("shown only"),
    ]
    rows = [("=nano", "student", 1_800_000, ("distilled", "int8"), "x"), None]
    table = Table(columns, rows, notes=["a note"])
    assert table.csv() == "name,role,bytes,made\n'=nano,student,1800000,distilled int8\n"
    assert table.markdown().splitlines() == [
        "| Model | MB | Made | shown only |",
        "|---|---:|---:|---:|",
        "| =nano | 1.8 | distilled, int8 | x |",
        "",
        "a note",
    ]
