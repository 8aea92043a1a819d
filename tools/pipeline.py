"""Run the main commands once, from clips to a verdict, and keep what each printed.

    python tools/pipeline.py --data CROPS [--videos CLIPS] [--out runs/pipeline] [--write FILE.md]

CROPS is a folder with a crop index (splits train, val, test), CLIPS a folder of clips in any known
layout. The sizes are for a laptop: the teacher sees a thousand crops, so its figures show that the
chain works, not how good it gets.
"""

import argparse
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

TRAIN = "--limit 1200 --val-limit 400 --workers 1"


def stages(data: Path, videos: Path | None, out: Path) -> list[tuple[str, str, str]]:
    """Title, command line, and the same line as a reader would type it."""
    known = {"CROPS": str(data), "OUT": str(out), **({"CLIPS": str(videos)} if videos else {})}
    lines = [
        ("Extract faces", "extract CLIPS --out OUT/crops --frames 16"),
        (
            "Train the teacher",
            f"train --data CROPS --out OUT/teacher --epochs 1 --batch 16 --lr 1e-4 {TRAIN}",
        ),
        (
            "Distil the student, and train it alone",
            (
                "distill --data CROPS --teacher OUT/teacher --out OUT/student --alone --epochs 2"
                f" --lr 2e-3 {TRAIN}"
            ),
        ),
        (
            "Prune the student",
            f"prune OUT/student --data CROPS --out OUT/small --params 300000 --epochs 1 {TRAIN}",
        ),
        ("Export", "export OUT/student --out OUT/student.onnx --name pipeline-nano"),
        (
            "Quantise",
            (
                "quantize OUT/student.onnx --data CROPS --out OUT/student-int8.onnx --keep int8"
                " --limit 400"
            ),
        ),
        (
            "Evaluate",
            (
                "evaluate OUT/teacher OUT/student OUT/small deepkd-nano --data CROPS --split val"
                " --limit 400"
            ),
        ),
        (
            "Benchmark",
            "benchmark --teacher OUT/teacher --student OUT/student.onnx --out OUT/benchmark",
        ),
        ("Detect with a shipped student", "detect CLIPS"),
    ]
    shown = [(title, line) for title, line in lines if videos or "CLIPS" not in line]
    return [(title, _fill(line, known), f"deepkd {line}") for title, line in shown]


def _fill(line: str, known: dict[str, str]) -> str:
    return re.sub("|".join(known), lambda name: shlex.quote(known[name[0]]), line)


def run(line: str) -> tuple[str, float]:
    """What `deepkd LINE` printed on standard output, and how long it took in seconds.

    Raises:
        SystemExit: it failed.
    """
    start = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-m", "deepkd", *shlex.split(line)], stdout=subprocess.PIPE, text=True
    )
    if result.returncode not in {0, 3}:
        raise SystemExit(f"deepkd {line}\nended with exit code {result.returncode}")
    return result.stdout, time.monotonic() - start


def without_paths(text: str, places: dict[str, Path | None]) -> str:
    """The text with this machine's folders called by the names that the commands use."""
    for name, path in places.items():
        text = (
            re.sub(rf"(?<![\w./-]){re.escape(str(path))}(?=/|[^\w.-]|$)", name, text)
            if path
            else text
        )
    return text


def main() -> None:
    """Read the command line, run the stages, write the document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with a crop index")
    parser.add_argument("--videos", type=Path, help="folder of clips")
    parser.add_argument("--out", type=Path, default=Path("runs/pipeline"))
    parser.add_argument("--write", type=Path, help="Markdown file for the record")
    args = parser.parse_args()
    if args.out.exists():
        raise SystemExit(
            f"{args.out}: exists already, maybe of an earlier run; remove it, or give another --out"
        )

    parts = [
        "# The pipeline, end to end",
        (
            "Written by `make pipeline DATA=CROPS VIDEOS=CLIPS`, which runs the main commands once"
            " on a small subset: the teacher is trained for minutes where it takes hours, so its"
            " figures show that the chain works, not how good it gets. `deepkd-nano` is the student"
            " that `detect` uses; `nano`, which is distilled here, is another network, begun from"
            " nothing. Times are of one run on one machine."
        ),
    ]
    for title, line, shown in stages(args.data, args.videos, args.out):
        print(f"== {title}: {shown}", file=sys.stderr, flush=True)
        printed, seconds = run(line)
        print(printed, flush=True)
        text = without_paths(printed, {"CLIPS": args.videos, "CROPS": args.data, "OUT": args.out})
        parts.append(f"## {title}\n\n    {shown}\n\nTook {seconds:.0f} s.")
        if text.strip():
            parts.append(f"```\n{text.rstrip()}\n```")
    if args.write:
        args.write.write_text("\n\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
