"""What many clips cost: `python benchmarks/scale.py --write` fills a table of `docs/scale.md`.

The driver of `--cluster` plans and hands out fake clips: real paths, listed as they are by
`deepkd detect --cluster`, and an engine that answers at once. Its time and memory are measured in a
new process for each number of clips. What a clip takes in a part is measured on the sample clips.
"""

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from documents import ROOT, deepkd, fill, markdown

from deepkd.cluster.judge import Judged, judge_on
from deepkd.cluster.process import pack
from deepkd.machine import cores, machine
from deepkd.pool import Outcome
from deepkd.settings.detect import DetectConfig
from deepkd.video.sources import find_sources

DOCUMENT = ROOT / "docs" / "scale.md"
DETECT = ROOT / "docs" / "detect.md"
CLIP_MB = 3.3
"""The mean of four clips of DFDC."""
SAMPLES = [ROOT / "data" / "samples" / name for name in ("real.mp4", "forged.mp4")]
COUNTS = (1000, 100_000, 1_000_000)
CLIPS_PER_SHARD = 200
SLOTS = 1000


class Fake:
    """An engine whose machines have every verdict at once."""

    sent = 0

    def __init__(self, address: str = "", *, cpus: int = 1) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def slots(self) -> int:
        """Pieces of work at the same time."""
        return SLOTS

    def run(self, works: Any) -> Iterator[Outcome[Any, Any]]:
        """Pack all work, as if it were sent, and answer."""
        for name, work in works:
            self.sent += len(pack(work))
            yield Outcome(name, Judged(Counter(REAL=name[1])))


class Names:
    """A list on standard input: paths of clips that are not there, made as they are read."""

    def __init__(self, count: int) -> None:
        self.lines = (b"/mnt/clips/%03d/clip-%07d.mp4\n" % (n % 1000, n) for n in range(count))

    def __iter__(self) -> Iterator[bytes]:
        return self.lines

    def readline(self, size: int = -1) -> bytes:
        """The next line."""
        return next(self.lines, b"")

    def read(self) -> bytes:
        """All lines."""
        return b"".join(self.lines)


def main() -> None:
    args = arguments()
    if args.drive:
        print(json.dumps(drive(args.drive)))
        return
    rows = [driven(count) for count in args.counts]
    found = {"machine": machine(cores()).to_dict(), "driver": rows, "bytes": part_bytes()}
    text = show(found)
    print(json.dumps(found, indent=2) if args.json else text)
    if args.write:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(), "million", text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Time and memory of the driver of a cluster.")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of clips")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--write", action="store_true", help=f"write into {DOCUMENT.name}, too")
    parser.add_argument("--drive", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def driven(count: int) -> dict[str, Any]:
    """Seconds and memory of a new process that drives this many clips."""
    words = [sys.executable, __file__, "--drive", str(count)]
    return json.loads(subprocess.run(words, capture_output=True, check=True, text=True).stdout)


def drive(count: int) -> dict[str, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began, cpu, engine = time.perf_counter(), time.process_time(), Fake()
    sources = find_sources(["-"], stdin=Names(count))
    with tempfile.TemporaryDirectory() as out:
        shards = max(1, count // CLIPS_PER_SHARD)
        judged = judge_on(engine, sources, out, DetectConfig(), "0" * 64, shards=shards)
    assert judged.tally.total() == count
    return {
        "clips": count,
        "shards": shards,
        "seconds": round(time.perf_counter() - began, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "base_mb": round(before / 1024),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "sent_bytes_per_clip": round(engine.sent / count),
    }


def part_bytes() -> int:
    """Bytes of a part and its journal for each of the sample clips."""
    with tempfile.TemporaryDirectory() as out:
        deepkd("detect", *SAMPLES, "--out", out, "--quiet")
        files = [*Path(out).glob("*.jsonl"), *Path(out).glob("*.journal")]
        return sum(file.stat().st_size for file in files) // len(SAMPLES)


def show(found: dict[str, Any]) -> str:
    about = found["machine"]
    titles = [
        "clips",
        "shards",
        "seconds",
        "of them CPU",
        "peak memory, MB",
        "sent, bytes per clip",
    ]
    lines = [
        [
            f"{row['clips']:,}", f"{row['shards']:,}", f"{row['seconds']:.1f}",
            f"{row['cpu_s']:.1f}", str(row["peak_mb"]), str(row["sent_bytes_per_clip"]),
        ]
        for row in found["driver"]
    ]  # fmt: skip
    per_minute = clips_per_core_minute()
    per_second = 1000 * per_minute / 60
    return (
        f"A million clips of ten seconds, 1080p, take {10**6 / per_minute / 60:.0f} core hours"
        f" ({per_minute} clips a minute and core, [measured](detect.md#speed)) and"
        f" {found['bytes'] / 1000:.1f} GB of results. In an object store they take 2 million"
        f" requests, and 1,000 to list them. 1,000 cores read {per_second:.0f} clips a second,"
        f" which at {CLIP_MB} MB each (the mean of four DFDC clips) are"
        f" {per_second * CLIP_MB / 1000:.1f} GB/s: the network is the first limit. What handing out"
        " the shards takes, with machines that answer at once (`python benchmarks/scale.py"
        f" --write`; {about['cpu']}, {about['cores']} cores):"
        f"\n\n{markdown(titles, lines, left=0)}"
    )


def clips_per_core_minute() -> float:
    """What `benchmarks/detect.py` measured with one worker on one core."""
    found = re.search(r"^\| 1 \| 1 \| ([\d.]+) \|", DETECT.read_text(), re.MULTILINE)
    if not found:
        raise SystemExit(f"{DETECT}: has no row of one worker on one core")
    return float(found[1])


if __name__ == "__main__":
    main()
