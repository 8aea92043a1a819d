"""Derive the figures of `docs/compression.md`: `python benchmarks/compression.py --models DIR --data CROPS`.

DIR holds the models to compare, ONNX files and run folders: whatever is there gets a row. Each part
is measured by the functions behind `deepkd benchmark --pareto`, `deepkd quantize`, `deepkd detect
--runtime` and `scripts/browser_check.py`, kept as JSON in OUT, and written between its two marks in
the document; `--only` measures some parts again and leaves the others as they are. Measure on an
idle machine.
"""

import argparse
import shutil
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from documents import ROOT, Part, markdown, parser_of, say, write_parts

from deepkd.benchmark.latency import take_turns
from deepkd.benchmark.pareto import pareto
from deepkd.benchmark.results import ParetoDocument
from deepkd.compression.quantize import as_onnx, quantize
from deepkd.compression.results import QuantizeDocument
from deepkd.errors import UsageError
from deepkd.machine import cores, machine
from deepkd.outputs import check_folder
from deepkd.scoring.model import Scorer
from deepkd.settings.compression import QuantizeConfig
from deepkd.settings.evaluation import BenchmarkConfig
from deepkd.tables import pareto as pareto_report
from deepkd.tables import quantize as quantize_report
from deepkd.tables.plots import RUNTIMES

sys.path.insert(0, str(ROOT / "scripts"))

import browser_check

PICTURE = "![AUC against milliseconds and megabytes, the Pareto fronts marked](compression.png)"
NOISE = 32
"""Crops on which two runtimes are compared."""
YARDSTICK = "efficientnet_lite0"
"""A network whose speed is known on many machines: times as shares of its time travel better than
milliseconds."""
AIM_MS, ITS_MS = 0.35, 2.83
"""The aim for one face of a small model, and what the yardstick takes on the two cores that the aim
was set for."""


def measure_models(args: argparse.Namespace) -> dict[str, Any]:
    config = BenchmarkConfig(
        teacher=args.teacher,
        runs=args.runs,
        threads=args.threads,
        data=args.data,
        split=args.split,
        limit=args.limit,
    )
    document = pareto(args.models, config, say=say)
    check_folder(args.out / "pareto")
    pareto_report.write_pareto(args.out / "pareto", document)
    shutil.copyfile(args.out / "pareto" / "pareto.png", args.document.with_suffix(".png"))
    return document.to_dict()


def show_models(document: Mapping[str, Any]) -> str:
    found = ParetoDocument.from_dict(document)
    table = replace(pareto_report.pareto_table(found), notes=pareto_report.notes(found))
    return f"{table.markdown()}\n\n{PICTURE}"


def measure_yardstick(args: argparse.Namespace) -> dict[str, Any]:
    config = BenchmarkConfig(teacher=YARDSTICK, runs=2 * args.runs, batch=1, threads=args.threads)
    return pareto(args.models, config, say=say).to_dict()


def show_yardstick(document: Mapping[str, Any]) -> str:
    at = document["machine"]
    rows = sorted(document["models"], key=_quickest, reverse=True)
    (whole,) = (_quickest(row) for row in rows if row["role"] == "teacher")
    counts = [latency["threads"] for latency in rows[0]["latency_ms"]]
    times = [f"ms, {count} thread{'s' * (count > 1)}" for count in counts]
    titles = ["Model", "MMACs", *times, f"of {YARDSTICK}'s time"]
    lines = [
        [
            row["name"],
            f"{row['macs'] / 1e6:.1f}",
            *(f"{latency['single']:.2f}" for latency in row["latency_ms"]),
            f"{_quickest(row) / whole:.3f}",
        ]
        for row in rows
    ]
    return (
        f"{markdown(titles, lines)}\n\nONNX Runtime {at['onnxruntime']}, {at['cpu']}, load"
        f" {at['load']} before the run; in turn in one process, median of single crops. The last"
        " column takes each model with that number of threads with which it is faster. The aim for"
        f" a small model, {AIM_MS} ms where this network takes {ITS_MS} ms, is"
        f" {AIM_MS / ITS_MS:.3f} of it."
    )


def _quickest(row: Mapping[str, Any]) -> float:
    """Milliseconds of one crop, with that number of threads with which it is faster."""
    return min(float(latency["single"]) for latency in row["latency_ms"])


def measure_quantized(args: argparse.Namespace) -> dict[str, Any]:
    config = QuantizeConfig(runs=2 * args.runs, threads=args.threads, limit=args.limit)
    document = quantize(
        args.student, args.data, args.out / "quantized.onnx", config, say=say
    ).to_dict()
    if document["written"]:
        document["written"]["path"] = Path(document["written"]["path"]).name
    return document


def show_quantized(document: Mapping[str, Any]) -> str:
    titles = ["variant", "file", "AUC", "its change", "latency", "of float32's", "replaces float32"]
    table = quantize_report.quantize_table(QuantizeDocument.from_dict(document))
    columns = [
        replace(column, title=title) for title, column in zip(titles, table.columns, strict=True)
    ]
    return replace(table, columns=columns).markdown()


def measure_runtimes(args: argparse.Namespace) -> dict[str, Any]:
    threads = args.threads or cores()
    path = as_onnx(args.student, args.out)
    try:
        scorers = [
            Scorer.load(path, threads=threads, runtime=name) for name in ("onnxruntime", "openvino")
        ]
    except UsageError as error:
        return {"missing": str(error)}
    size = scorers[0].format.size
    crops = list(np.random.default_rng(0).integers(0, 256, (NOISE, size, size, 3), np.uint8))
    logits = [scorer.logits(crops) for scorer in scorers]
    where = machine(threads)
    timings = take_turns(scorers, runs=2 * args.runs, batch=32)
    rows = [
        {
            "runtime": scorer.runtime,
            "single_ms": float(np.median(timing.single)) * 1000,
            "batch_ms": float(np.median(timing.batch)) * 1000 / 32,
        }
        for scorer, timing in zip(scorers, timings, strict=True)
    ]
    return {
        "machine": where.to_dict(),
        "difference": float(np.abs(logits[0] - logits[1]).max()),
        "runtimes": rows,
    }


def show_runtimes(document: Mapping[str, Any]) -> str:
    if "missing" in document:
        return f"Not measured: {document['missing']}."
    at = document["machine"]
    lines = [
        [
            f"{RUNTIMES[row['runtime']]} {at[row['runtime']]}",
            f"{row['single_ms']:.3f}",
            f"{row['batch_ms']:.3f}",
        ]
        for row in document["runtimes"]
    ]
    table = markdown(["runtime", "ms, one crop", "ms per crop in 32s"], lines)
    return (
        f"{table}\n\n{at['cpu']}, {at['threads']} threads, load {at['load']} before the run, both"
        f" in turn in one process. Largest difference of two logits on {NOISE} crops of noise:"
        f" {document['difference']:.1e}."
    )


def measure_browser(args: argparse.Namespace) -> dict[str, Any]:
    lacking = browser_check.missing(args.ort_web)
    path = as_onnx(args.student, args.out)
    return {"missing": lacking} if lacking else browser_check.check(str(path), args.ort_web)


def show_browser(document: Mapping[str, Any]) -> str:
    if "missing" in document:
        return "Not measured: there was no Chromium or no onnxruntime-web."
    pairs = zip(document["logits"]["browser"], document["logits"]["here"], strict=True)
    names = ["astronaut", "grace_hopper", *(f"noise {number}" for number in (1, 2, 3))]
    lines = [
        [name, f"{there:.6f}", f"{here:.6f}"]
        for name, (there, here) in zip(names, pairs, strict=True)
    ]
    return (
        f"{markdown(['crop', 'logit in the browser', 'logit in ONNX Runtime'], lines)}\n\n`{document['model']}`"
        f" in onnxruntime-web {document['onnxruntime_web']}, {document['browser']}, headless, one"
        " thread of WebAssembly: the largest difference of two logits is"
        f" {document['difference']:.1e}; one crop takes {document['ms']:.1f} ms (median of"
        f" {browser_check.RUNS})."
    )


PARTS = {
    "models": Part(measure_models, show_models),
    "yardstick": Part(measure_yardstick, show_yardstick),
    "quantized": Part(measure_quantized, show_quantized),
    "runtimes": Part(measure_runtimes, show_runtimes),
    "browser": Part(measure_browser, show_browser),
}


def main() -> None:
    parser = parser_of(__doc__, "compression", PARTS)
    parser.add_argument(
        "--models", type=Path, required=True, help="folder of the models to compare"
    )
    parser.add_argument(
        "--teacher",
        help="run folder, file or name (default: the published architecture, untrained)",
    )
    parser.add_argument(
        "--student", default="deepkd-nano", help="model that is quantized and run elsewhere"
    )
    parser.add_argument("--ort-web", type=Path, help="folder of the unpacked onnxruntime-web")
    write_parts(PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
