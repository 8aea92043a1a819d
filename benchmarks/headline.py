"""Re-derive the headline numbers of the README: `python benchmarks/headline.py --help`.

Everything is measured by the functions behind `deepkd benchmark` and `deepkd evaluate`, teacher and student in turn in
one run, and printed as a Markdown table; `--write` puts it into the README. Times hold for one machine; the last column
holds for others too.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from documents import ROOT, filled, interval, markdown

from deepkd.evaluation.benchmark import benchmark
from deepkd.evaluation.contenders import STUDENT, TEACHER, open_model
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.report.benchmark import busy
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig
from deepkd.shipped import shipped_card
from deepkd.video.frames import probe

Line = tuple[str, str, str, str]
README = ROOT / "README.md"


def main() -> None:
    args = arguments()
    config = BenchmarkConfig(
        teacher=args.teacher, student=args.student, runs=args.runs, video=args.video, threads=args.threads
    )
    document = benchmark(config, say=lambda text: print(f"headline: {text}", file=sys.stderr))
    lines = [*sizes(document), *speeds(document), *clip(document), *accuracy(args, document)]
    names = {row["role"]: row["name"] for row in document["models"]}
    table = markdown(["", names["teacher"], names["student"], "student's gain"], [list(line) for line in lines])
    notes = [*conditions(document), *(judged_elsewhere(args.student) if not args.data else [])]
    if args.help_time:
        notes.append(f"`deepkd --help` takes {help_seconds():.2f} s (median of 7).")
    text = f"{table}\n\n" + "\n".join(notes)
    print(text)
    if args.write:
        README.write_text(filled(README.read_text(), "headline", text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Re-derive the README's headline numbers as a Markdown table.")
    parser.add_argument("--teacher", default=TEACHER, help=f"run folder, file or name (default: {TEACHER}, untrained)")
    parser.add_argument("--student", default=STUDENT, help=f"run folder, file or name (default: {STUDENT})")
    parser.add_argument("--data", type=Path, help="folder of labelled crops for the AUC")
    parser.add_argument("--split", default="test", help="split of the index (default: test)")
    parser.add_argument("--video", type=Path, help="clip to time from decoding to verdict")
    parser.add_argument("--runs", type=int, default=50, help="timed runs of each model (default: 50)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--help-time", action="store_true", help="time `deepkd --help` too")
    parser.add_argument("--write", action="store_true", help="write the table into the README, too")
    return parser.parse_args()


def rows(document: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """The teacher as deployed, the teacher in ONNX Runtime, the student."""
    teachers = [row for row in document["models"] if row["role"] == "teacher"]
    student = next(row for row in document["models"] if row["role"] == "student")
    return teachers[0], teachers[-1], student


def sizes(document: Mapping[str, Any]) -> Iterator[Line]:
    teacher, _, student = rows(document)
    saved = document["reduction"]
    yield "parameters", f"{teacher['params']:,}", f"{student['params']:,}", f"-{saved['params_pct']:.2f} %"
    macs = 100 * (1 - student["macs"] / teacher["macs"])
    yield "multiply-accumulates", f"{teacher['macs'] / 1e6:,.0f} M", f"{student['macs'] / 1e6:,.1f} M", f"-{macs:.1f} %"
    size = f"-{saved['size_pct']:.2f} %"
    yield "file", f"{teacher['bytes'] / 1e6:,.1f} MB", f"{student['bytes'] / 1e6:,.2f} MB", size
    memory = f"{teacher['peak_rss_mb'] / student['peak_rss_mb']:.1f}x less"
    yield "peak memory of a process", f"{teacher['peak_rss_mb']:,.0f} MB", f"{student['peak_rss_mb']:,.0f} MB", memory


def speeds(document: Mapping[str, Any]) -> Iterator[Line]:
    teacher, twin, student = rows(document)
    for name, large in (("as deployed", teacher), ("both in ONNX Runtime", twin)):
        slow, fast = large["latency_ms"]["p50"], student["latency_ms"]["p50"]
        gain = f"{slow / fast:,.0f}x faster (-{100 * (1 - fast / slow):.2f} %)"
        yield f"latency of one crop, {name}", f"{slow:,.1f} ms", f"{fast:,.2f} ms", gain
    slow, fast = teacher["throughput_per_s"], student["throughput_per_s"]
    batch = document["machine"]["throughput_batch"]
    yield f"throughput, batch of {batch}", f"{slow:,.0f} crops/s", f"{fast:,.0f} crops/s", f"{fast / slow:,.0f}x"


def clip(document: Mapping[str, Any]) -> Iterator[Line]:
    found = document["end_to_end"]
    if found:
        slow, fast = found["teacher_s"], found["student_s"]
        info = probe(Path(found["video"]))
        name = f"a clip of {info.duration_s:.0f} s, {info.height} lines, from decoding to verdict"
        yield name, f"{slow:.2f} s", f"{fast:.2f} s", f"{slow / fast:.1f}x faster"


def accuracy(args: argparse.Namespace, document: Mapping[str, Any]) -> Iterator[Line]:
    """AUC with its interval; only trained models are judged."""
    if not args.data:
        return
    named = {"teacher": args.teacher, "student": args.student}
    trained = {role: name for role, name in named.items() if getattr(open_model(name, threads=1), "trained", True)}
    config = EvaluateConfig(data=args.data, split=args.split)
    found = dict(zip(trained, evaluate_files(list(trained.values()), config), strict=True))
    cells = [interval(vars(found[role].crops.auc)) if role in found else "untrained" for role in named]
    gain = f"{found['student'].crops.auc.value - found['teacher'].crops.auc.value:+.4f}" if len(found) == 2 else ""
    yield f"AUC, {args.data.name} {args.split}", cells[0], cells[1], gain


def judged_elsewhere(student: str) -> Iterator[str]:
    """What the card of a shipped student says of its AUC."""
    card = shipped_card(getattr(open_model(student, threads=1), "sha256", ""))
    if card:
        figures = "; ".join(f"{data}: {figure}" for data, figure in card["auc"].items())
        yield f"AUC of the shipped student, from its card: {figures}."


def conditions(document: Mapping[str, Any]) -> Iterator[str]:
    at, runs = document["machine"], document["models"][0]["latency_ms"]["runs"]
    yield (
        f"{at['cpu']}, {at['threads']} threads, load {at['load']} before the run; PyTorch {at['torch']}, "
        f"ONNX Runtime {at['onnxruntime']}; models in turn in one process, median of {runs} runs."
    )
    yield from busy(at)
    if any("untrained" in row["name"] for row in document["models"]):
        yield "An untrained teacher is the published architecture: size and speed do not depend on the weights."


def help_seconds() -> float:
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "deepkd", "--help"], capture_output=True, check=True)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[3]


if __name__ == "__main__":
    main()
