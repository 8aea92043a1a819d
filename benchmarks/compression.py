"""Derive the figures of `docs/compression.md`: `python benchmarks/compression.py --models DIR --data CROPS`.

DIR holds the models to compare, ONNX files and run folders: whatever is there gets a row. Each part is measured by the
functions behind `deepkd benchmark --pareto`, `deepkd quantize`, `deepkd detect --runtime` and
`scripts/browser_check.py`, kept as JSON in OUT, and written between its two marks in the document; `--only` measures
some parts again and leaves the others as they are. Measure on an idle machine.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from documents import ROOT, Part, markdown, parser_of, say, write_parts

from deepkd.compression.quantize import as_onnx, quantize
from deepkd.errors import UsageError
from deepkd.evaluation.benchmark import take_turns
from deepkd.evaluation.contenders import Contender, open_contenders
from deepkd.evaluation.evaluation import distinct_names
from deepkd.evaluation.pareto import find_models, pareto
from deepkd.machine import cores, machine
from deepkd.outputs import check_folder
from deepkd.report import pareto as pareto_report
from deepkd.report import quantize as quantize_report
from deepkd.report.plots import RUNTIMES
from deepkd.scoring.model import Scorer
from deepkd.settings.compression import QuantizeConfig
from deepkd.settings.evaluation import BenchmarkConfig

sys.path.insert(0, str(ROOT / "scripts"))

import browser_check

PICTURE = "![AUC against milliseconds and megabytes, the Pareto fronts marked](compression.png)"
NOISE = 32
"""Crops on which two runtimes are compared."""
YARDSTICK = "efficientnet_lite0"
"""A network whose speed is known on many machines: times as shares of its time travel better than milliseconds."""
AIM_MS, ITS_MS = 0.35, 2.83
"""The aim for one face of a small model, and what the yardstick takes on the two cores that the aim was set for."""


def measure_models(args: argparse.Namespace) -> dict[str, Any]:
    config = BenchmarkConfig(
        teacher=args.teacher, runs=args.runs, threads=args.threads, data=args.data, split=args.split, limit=args.limit
    )
    document = pareto(args.models, config, say=say)
    check_folder(args.out / "pareto")
    pareto_report.write_pareto(args.out / "pareto", document)
    shutil.copyfile(args.out / "pareto" / "pareto.png", args.document.with_suffix(".png"))
    return document


def show_models(document: Mapping[str, Any]) -> str:
    titles = pareto_report.titles(document)
    lines = [pareto_report.cells(row, document["batch"]) for row in document["models"]]
    return f"{markdown(titles, lines, left=2)}\n\n{pareto_report.notes(document)}\n\n{PICTURE}"


def measure_yardstick(args: argparse.Namespace) -> dict[str, Any]:
    counts = [args.threads] if args.threads else sorted({1, cores()})
    arguments = [YARDSTICK, *map(str, find_models(args.models))]
    where = machine(max(counts))
    taken: list[list[float]] = []
    for threads in counts:
        with tempfile.TemporaryDirectory(prefix="deepkd-") as root:
            models = [_in_onnxruntime(argument, Path(root), threads) for argument in arguments]
            timings = take_turns([one.model for one in models], runs=2 * args.runs, batch=1)
        taken.append([float(np.median(timing.single)) * 1000 for timing in timings])
    names = distinct_names([one.name for one in models], arguments)
    rows = [
        {
            "name": name,
            "size": one.model.format.size,
            "macs": one.macs,
            "single_ms": list(ms),
            "share": min(ms) / min(each[0] for each in taken),
        }
        for name, one, ms in zip(names, models, zip(*taken, strict=True), strict=True)
    ]
    return {"machine": where, "threads": counts, "models": sorted(rows, key=lambda row: -row["share"])}


def _in_onnxruntime(argument: str, root: Path, threads: int) -> Contender:
    return open_contenders(argument, "student", Path(tempfile.mkdtemp(dir=root)), threads=threads)[0]


def show_yardstick(document: Mapping[str, Any]) -> str:
    at = document["machine"]
    times = [f"ms, {count} thread{'s' * (count > 1)}" for count in document["threads"]]
    titles = ["Model", "input", "MMACs", *times, f"of {YARDSTICK}'s time"]
    lines = [
        [
            row["name"],
            f"{row['size']} px",
            f"{row['macs'] / 1e6:.1f}",
            *(f"{ms:.2f}" for ms in row["single_ms"]),
            f"{row['share']:.3f}",
        ]
        for row in document["models"]
    ]
    return (
        f"{markdown(titles, lines)}\n\nONNX Runtime {at['onnxruntime']}, {at['cpu']}, load {at['load']} before the "
        "run; in turn in one process, median of single crops. The last column takes each model with that number of "
        f"threads with which it is faster. The aim for a small model, {AIM_MS} ms where this network takes {ITS_MS} "
        f"ms, is {AIM_MS / ITS_MS:.3f} of it."
    )


def measure_quantized(args: argparse.Namespace) -> dict[str, Any]:
    config = QuantizeConfig(runs=2 * args.runs, threads=args.threads, limit=args.limit)
    document = quantize(args.student, args.data, args.out / "quantized.onnx", config, say=say)
    if document["written"]:
        document["written"]["path"] = Path(document["written"]["path"]).name
    return document


def show_quantized(document: Mapping[str, Any]) -> str:
    titles = ["variant", "file", "AUC", "its change", "latency", "of float32's", "replaces float32"]
    notes = "\n".join([quantize_report.outcome(document), *quantize_report.notes(document)])
    return f"{markdown(titles, [list(line) for line in quantize_report.lines(document)])}\n\n{notes}"


def measure_runtimes(args: argparse.Namespace) -> dict[str, Any]:
    threads = args.threads or cores()
    path = as_onnx(args.student, args.out)
    try:
        scorers = [Scorer.load(path, threads=threads, runtime=name) for name in ("onnxruntime", "openvino")]
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
    return {"machine": where, "difference": float(np.abs(logits[0] - logits[1]).max()), "runtimes": rows}


def show_runtimes(document: Mapping[str, Any]) -> str:
    if "missing" in document:
        return f"Not measured: {document['missing']}."
    at = document["machine"]
    lines = [
        [f"{RUNTIMES[row['runtime']]} {at[row['runtime']]}", f"{row['single_ms']:.3f}", f"{row['batch_ms']:.3f}"]
        for row in document["runtimes"]
    ]
    table = markdown(["runtime", "ms, one crop", "ms per crop in 32s"], lines)
    return (
        f"{table}\n\n{at['cpu']}, {at['threads']} threads, load {at['load']} before the run, both in turn in one "
        f"process. Largest difference of two logits on {NOISE} crops of noise: {document['difference']:.1e}."
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
    lines = [[name, f"{there:.6f}", f"{here:.6f}"] for name, (there, here) in zip(names, pairs, strict=True)]
    return (
        f"{markdown(['crop', 'logit in the browser', 'logit in ONNX Runtime'], lines)}\n\n"
        f"`{document['model']}` in onnxruntime-web {document['onnxruntime_web']}, {document['browser']}, headless, one "
        f"thread of WebAssembly: the largest difference of two logits is {document['difference']:.1e}; one crop takes "
        f"{document['ms']:.1f} ms (median of {browser_check.RUNS})."
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
    parser.add_argument("--models", type=Path, required=True, help="folder of the models to compare")
    parser.add_argument("--teacher", help="run folder, file or name (default: the published architecture, untrained)")
    parser.add_argument("--student", default="deepkd-nano", help="model that is quantized and run elsewhere")
    parser.add_argument("--ort-web", type=Path, help="folder of the unpacked onnxruntime-web")
    write_parts(PARTS, parser.parse_args())


if __name__ == "__main__":
    main()
