"""Re-derive the headline numbers of the README: `python benchmarks/headline.py --help`.

Everything is measured by the functions behind `deepkd benchmark` and `deepkd evaluate`, teacher and
students in turn in one run, and printed as a Markdown table; `--write` puts it into the README.
Times hold for one machine; the columns of what a student gains hold for others too.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from documents import ROOT, fill, interval, markdown

from deepkd.benchmark.benchmark import benchmark
from deepkd.benchmark.candidates import STUDENT, TEACHER, open_model
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.machine import Machine
from deepkd.settings.evaluation import BenchmarkConfig, EvaluateConfig
from deepkd.shipped import shipped_card, shipped_students
from deepkd.tables.benchmark import busy_warning
from deepkd.video.frames import probe

Line = list[str]
Row = Mapping[str, Any]
Show = Callable[[float], str]
Gain = Callable[[float, float], str]
README = ROOT / "README.md"
RUNTIMES = {"torch": "PyTorch", "onnxruntime": "ONNX Runtime"}
STUDENTS = sorted(shipped_students(), key=lambda name: name != STUDENT)
"""Shipped students, the usual one first: the clip is timed with it alone."""


def main() -> None:
    args = arguments()
    first, *further = args.student
    config = BenchmarkConfig(
        teacher=args.teacher, student=first, runs=args.runs, video=args.video, threads=args.threads
    )
    document = benchmark(
        config, further, say=lambda text: print(f"headline: {text}", file=sys.stderr)
    ).to_dict()
    lines = [*sizes(document), *speeds(document), *clip(document), *accuracy(args)]
    teacher, _, students = rows(document)
    titles = [
        "",
        teacher["name"],
        *(title for student in students for title in (student["name"], "its gain")),
    ]
    table = markdown(titles, [[*line, *[""] * (len(titles) - len(line))] for line in lines])
    notes = [*conditions(document), *([] if args.data else quote_cards(args.student))]
    if args.help_time:
        notes.append(f"`deepkd --help` takes {help_seconds():.2f} s (median of 7).")
    text = f"{table}\n\n" + "\n".join(notes)
    print(text)
    if args.write:
        README.write_text(fill(README.read_text(), "headline", text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Re-derive the README's headline numbers as a Markdown table."
    )
    parser.add_argument(
        "--teacher",
        default=TEACHER,
        help=f"run folder, file or name (default: {TEACHER}, untrained)",
    )
    parser.add_argument(
        "--student",
        nargs="+",
        default=STUDENTS,
        help=f"run folders, files or names (default: {' '.join(STUDENTS)})",
    )
    parser.add_argument("--data", type=Path, help="folder of labelled crops for the AUC")
    parser.add_argument("--split", default="test", help="split of the index (default: test)")
    parser.add_argument("--video", type=Path, help="clip to time from decoding to verdict")
    parser.add_argument(
        "--runs", type=int, default=50, help="timed runs of each model (default: 50)"
    )
    parser.add_argument("--threads", type=int, help="CPU threads (default: all cores)")
    parser.add_argument("--help-time", action="store_true", help="time `deepkd --help` too")
    parser.add_argument("--write", action="store_true", help="write the table into the README, too")
    return parser.parse_args()


def rows(document: Mapping[str, Any]) -> tuple[Row, Row, list[Row]]:
    """The teacher as deployed, the teacher in ONNX Runtime, the students as deployed."""
    teachers = [row for row in document["models"] if row["role"] == "teacher"]
    students: dict[str, Row] = {}
    for row in document["models"]:
        if row["role"] != "teacher":
            students.setdefault(row["name"], row)
    return teachers[0], teachers[-1], list(students.values())


def compare(name: str, large: float, small: Sequence[float], shown: Show, gain: Gain) -> Line:
    """One line of the table: what the teacher has, and what each student has and gains."""
    return [
        name,
        shown(large),
        *(cell for value in small for cell in (shown(value), gain(large, value))),
    ]


def less(large: float, small: float) -> str:
    return f"-{100 * (1 - small / large):.2f} %"


def times_less(large: float, small: float) -> str:
    return f"{large / small:.1f}x less"


def sizes(document: Mapping[str, Any]) -> Iterator[Line]:
    teacher, _, students = rows(document)
    for name, key, shown, gain in (
        ("parameters", "params", lambda count: f"{count:,}", less),
        ("multiply-accumulates", "macs", lambda count: f"{count / 1e6:,.1f} M", less),
        ("file", "bytes", lambda size: f"{size / 1e6:,.2f} MB", less),
        ("peak memory of a process", "peak_rss_mb", lambda size: f"{size:,.0f} MB", times_less),
    ):
        if teacher[key] is not None:  # memory, where the system does not say
            yield compare(name, teacher[key], [student[key] for student in students], shown, gain)


def speeds(document: Mapping[str, Any]) -> Iterator[Line]:
    teacher, twin, students = rows(document)

    def faster(slow: float, fast: float) -> str:
        return f"{slow / fast:,.0f}x faster ({less(slow, fast)})"

    def milliseconds(taken: float) -> str:
        return f"{taken:,.2f} ms"

    for large in (teacher, twin):
        name = RUNTIMES.get(large["runtime"], large["runtime"])
        quick = [student["latency_ms"]["p50"] for student in students]
        yield compare(
            f"latency of one face, teacher in {name}",
            large["latency_ms"]["p50"],
            quick,
            milliseconds,
            faster,
        )
    batch = document["machine"]["throughput_batch"]
    many = [student["throughput_per_s"] for student in students]
    yield compare(
        f"throughput, batch of {batch}",
        teacher["throughput_per_s"],
        many,
        lambda count: f"{count:,.0f} faces/s",
        lambda slow, fast: f"{fast / slow:,.0f}x",
    )


def clip(document: Mapping[str, Any]) -> Iterator[Line]:
    found = document["end_to_end"]
    if found:
        info = probe(Path(found["video"]))
        name = f"a clip of {info.duration_s:.0f} s, {info.height} lines, from decoding to verdict"
        yield compare(
            name,
            found["teacher_s"],
            [found["student_s"]],
            lambda taken: f"{taken:.2f} s",
            lambda slow, fast: f"{slow / fast:.1f}x faster",
        )


def accuracy(args: argparse.Namespace) -> Iterator[Line]:
    """AUC with its interval; only trained models are judged."""
    if not args.data:
        return
    trained = [
        name
        for name in (args.teacher, *args.student)
        if getattr(open_model(name, threads=1), "trained", True)
    ]
    config = EvaluateConfig(data=args.data, split=args.split)
    found = dict(
        zip(trained, (one.crops.auc for one in evaluate_files(trained, config)), strict=True)
    )
    teacher, *students = [found.get(name) for name in (args.teacher, *args.student)]
    line = [
        f"AUC, {args.data.name} {args.split}",
        interval(vars(teacher)) if teacher else "untrained",
    ]
    for student in students:
        gain = f"{student.value - teacher.value:+.4f}" if student and teacher else ""
        line += [interval(vars(student)) if student else "untrained", gain]
    yield line


def quote_cards(students: Sequence[str]) -> Iterator[str]:
    """What the cards of shipped students say of their AUC."""
    for student in students:
        card = shipped_card(getattr(open_model(student, threads=1), "sha256", ""))
        if card:
            figures = "; ".join(
                f"{data} {figure.split()[0]}" for data, figure in card["auc"].items()
            )
            yield f"AUC of {Path(card['file']).stem}: {figures}."


def conditions(document: Mapping[str, Any]) -> Iterator[str]:
    at, runs = document["machine"], document["models"][0]["latency_ms"]["runs"]
    yield (
        f"{at['cpu']}, {at['threads']} threads, load {at['load']} before the run; PyTorch"
        f" {at['torch']}, ONNX Runtime {at['onnxruntime']}; the models take turns in one process,"
        f" median of {runs} runs."
    )
    yield from busy_warning(Machine.from_dict(at))
    if any("untrained" in row["name"] for row in document["models"]):
        yield "The size and speed of the untrained teacher do not depend on its weights."


def help_seconds() -> float:
    taken = []
    for _ in range(7):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "deepkd", "--help"], capture_output=True, check=True)
        taken.append(time.perf_counter() - start)
    return sorted(taken)[3]


if __name__ == "__main__":
    main()
