"""Write the figures of `docs/compress.md`.

    python benchmarks/compression.py --data CROPS [--student MODEL] [--only PART ...]

`quantized` runs `deepkd quantize`, `runtimes` compares ONNX Runtime and OpenVINO, `browser` runs
`tools/browser_check.py`. Each part is kept as JSON in OUT and written between its two marks in the
document. Measure on an idle machine.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from documents import ROOT, Part, markdown, parser_of, say, write_parts

from deepkd.benchmark.latency import take_turns
from deepkd.compression.quantize import as_onnx, quantize
from deepkd.compression.results import QuantizeDocument
from deepkd.errors import UsageError
from deepkd.machine import cores, machine
from deepkd.scoring.model import Scorer
from deepkd.settings.compression import QuantizeConfig
from deepkd.tables import quantize as quantize_report
from deepkd.tables.plots import RUNTIMES

sys.path.insert(0, str(ROOT / "tools"))

import browser_check

NOISE = 32
"""Crops on which two runtimes are compared."""


def measure_quantized(args: argparse.Namespace) -> dict[str, Any]:
    config = QuantizeConfig(runs=2 * args.runs, threads=args.threads, limit=args.limit)
    document = quantize(
        args.student, args.data, args.out / "quantized.onnx", config, say=say
    ).to_dict()
    if document["written"]:
        document["written"]["path"] = Path(document["written"]["path"]).name
    return document


def show_quantized(document: Mapping[str, Any]) -> str:
    titles = [
        "variant",
        "file",
        "AUC",
        "its change",
        "latency",
        "ratio to float32",
        "replaces float32",
    ]
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
    table = markdown(["runtime", "ms, one crop", "ms per crop, batch of 32"], lines)
    return (
        f"{table}\n\n{at['cpu']}, {at['threads']} threads, load {at['load']} before the run, both"
        f" in turn in one process. Logits differ by at most {document['difference']:.1e} on {NOISE}"
        " crops of noise."
    )


def measure_browser(args: argparse.Namespace) -> dict[str, Any]:
    lacking = browser_check.find_missing(args.ort_web)
    path = as_onnx(args.student, args.out)
    return {"missing": lacking} if lacking else browser_check.check(str(path), args.ort_web)


def show_browser(document: Mapping[str, Any]) -> str:
    if "missing" in document:
        return "Not measured: there was no Chromium or no onnxruntime-web."
    return (
        f"`{document['model']}` in onnxruntime-web {document['onnxruntime_web']},"
        f" {document['browser']}, one thread of WebAssembly: one crop takes {document['ms']:.1f} ms"
        f" (median of {browser_check.RUNS}), and logits differ from ONNX Runtime's by at most"
        f" {document['difference']:.1e}."
    )


PARTS = {
    "quantized": Part(measure_quantized, show_quantized),
    "runtimes": Part(measure_runtimes, show_runtimes),
    "browser": Part(measure_browser, show_browser),
}


def main() -> None:
    parser = parser_of(__doc__, "compress", PARTS)
    parser.add_argument(
        "--student", default="deepkd-nano", help="model that is quantized and run elsewhere"
    )
    parser.add_argument("--ort-web", type=Path, help="folder of the unpacked onnxruntime-web")
    write_parts(PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
