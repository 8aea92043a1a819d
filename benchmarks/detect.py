"""How fast `deepkd detect` judges a clip: `python benchmarks/detect.py [CLIP] --help`.

Whole processes are timed, as a user starts them: `deepkd detect CLIP`, and OpenCV reading the same
clip to its end, in turn, so that the ratio holds on a machine whose speed drifts. Prints tables, or
JSON with `--json`; `--write` puts the tables into `docs/detect.md`, too.
"""

import argparse
import compileall
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import av
from documents import ROOT, fill

from deepkd.machine import cores, machine

CLIP = ROOT / "data" / "samples" / "real.mp4"
DOCUMENT = ROOT / "docs" / "detect.md"
READ_ALL = """
import cv2, sys
video = cv2.VideoCapture(sys.argv[1])
while video.read()[0]: pass
"""
PEAK = """
import resource, sys
from deepkd.cli.start import main
try: main()
finally: print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""
FIRST = """
import sys, time
start_s = float(sys.argv.pop(1))
from deepkd.video.decoder import Decoder
decode = Decoder.first
def first(decoder):
    print("BEGINS", time.time() - start_s, file=sys.stderr)
    sample = decode(decoder)
    print("FIRST", time.time() - start_s, file=sys.stderr)
    return sample
Decoder.first = first
from deepkd.cli.start import main
main()
"""
"""`deepkd` that says how long after a time it began to decode, and had a frame; what decodes is
loaded first anyway."""
STAGES = ("decode", "faces", "score", "total")


@dataclass(frozen=True)
class Run:
    """One finished process."""

    wall_s: float
    cpu_s: float
    out: str
    err: str


def main() -> None:
    args = arguments()
    compileall.compile_dir(ROOT / "deepkd", quiet=1)  # as pip does when it installs
    with tempfile.TemporaryDirectory() as folder:
        document = {
            "clip": {"name": args.clip.name, **about(args.clip)},
            "machine": machine(cores()).to_dict(),
            "against_opencv": against_opencv(args.clip, args.runs),
            "batch": batch(args.clip, args.copies, args.workers, Path(folder)),
            "memory": memory(args.clip, args.lengths, Path(folder)),
        }
    text = "\n".join(table(document))
    print(json.dumps(document, indent=2) if args.json else text)
    if args.write:
        DOCUMENT.write_text(fill(DOCUMENT.read_text(), "speed", text))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Time and memory of `deepkd detect` as whole processes."
    )
    parser.add_argument(
        "clip", nargs="?", type=Path, default=CLIP, help="clip (default: data/samples/real.mp4)"
    )
    parser.add_argument("--runs", type=int, default=7, help="timed pairs of processes (default: 7)")
    parser.add_argument(
        "--copies", type=int, default=8, help="copies of the clip judged as a folder; 0: none"
    )
    parser.add_argument(
        "--workers", type=int, nargs="*", default=[0, 1, 2], help="processes tried on the folder"
    )
    parser.add_argument(
        "--lengths",
        type=float,
        nargs="*",
        default=[10, 60, 600],
        help="seconds of the looped clips",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--write", action="store_true", help=f"write the tables into {DOCUMENT.name}, too"
    )
    return parser.parse_args()


def about(clip: Path) -> dict[str, Any]:
    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        codec = stream.codec_context
        length_s = float((stream.duration or 0) * (stream.time_base or 0))
        return {
            "codec": codec.name,
            "width": codec.width,
            "height": codec.height,
            "length_s": round(length_s, 2),
        }


def run(*words: str, on: int | None = None) -> Run:
    """Run Python code in the checkout on `cores` cores; show its standard error if it fails."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=environment, check=False,
        preexec_fn=(lambda: _stay_on(on)) if on else None,
    )  # fmt: skip
    wall_s, after = time.perf_counter() - start, os.times()
    if done.returncode:
        sys.exit(f"failed: {' '.join(words)}\n{done.stderr}")
    cpu_s = (
        after.children_user + after.children_system - before.children_user - before.children_system
    )
    return Run(wall_s, cpu_s, done.stdout, done.stderr)


def _stay_on(count: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def against_opencv(clip: Path, runs: int) -> dict[str, Any]:
    """The median time of both programs, run in turn, and of the ratio of the pairs."""
    command = ("-m", "deepkd", "detect", str(clip), "--format", "json")
    pairs = [(run(*command), run("-c", READ_ALL, str(clip))) for _ in range(1 + runs)][1:]
    timings = [json.loads(ours.out)["videos"][0]["timing_ms"] for ours, _ in pairs]
    return {
        "runs": runs,
        "deepkd": {
            "wall_s": median(a.wall_s for a, _ in pairs),
            "cpu_s": median(a.cpu_s for a, _ in pairs),
        },
        "opencv": {
            "wall_s": median(b.wall_s for _, b in pairs),
            "cpu_s": median(b.cpu_s for _, b in pairs),
        },
        "wall_ratio": median(a.wall_s / b.wall_s for a, b in pairs),
        "cpu_ratio": median(a.cpu_s / b.cpu_s for a, b in pairs),
        "stages_ms": {stage: median(timing[stage] for timing in timings) for stage in STAGES},
        **first_frame_ms(command[2:], runs),
        "starting_ms": median(
            1000 * a.wall_s - timing["total"] for (a, _), timing in zip(pairs, timings, strict=True)
        ),
    }


def first_frame_ms(words: Sequence[str], runs: int) -> dict[str, float]:
    """Milliseconds from the start of a process to its first decoding and its first frame."""
    said = [
        dict(line.split()[:2] for line in lines) for lines in (_marks(words) for _ in range(runs))
    ]
    keys = {"BEGINS": "decoding_begins_ms", "FIRST": "first_frame_ms"}
    return {key: median(1000 * float(one[mark]) for one in said) for mark, key in keys.items()}


def _marks(words: Sequence[str]) -> list[str]:
    lines = run("-c", FIRST, repr(time.time()), *words).err.splitlines()
    return [line for line in lines if line.startswith(("BEGINS", "FIRST"))]


def batch(clip: Path, copies: int, workers: Sequence[int], folder: Path) -> list[dict[str, Any]]:
    """Clips per minute of a folder of copies, for each number of worker processes."""
    if not copies:
        return []
    clips = folder / "clips"
    clips.mkdir()
    for number in range(copies):
        shutil.copy(clip, clips / f"{number:03}{clip.suffix}")
    rows = []
    for count in workers:
        on = min(count or cores(), cores())
        command = (
            "-m",
            "deepkd",
            "detect",
            str(clips),
            "--format",
            "jsonl",
            "--quiet",
            "--workers",
            str(count),
        )
        per_minute = 60 * copies / run(*command, on=on).wall_s
        rows.append(
            {"workers": count, "cores": on, "clips": copies, "clips_per_minute": per_minute}
        )
        rows[-1]["clips_per_minute_and_core"] = per_minute / on
    return rows


def memory(clip: Path, lengths_s: Sequence[float], folder: Path) -> list[dict[str, Any]]:
    """Peak memory and time of the clip repeated to each length."""
    rows = []
    for length_s in lengths_s:
        long = loop(clip, folder / f"long-{length_s:g}.mp4", length_s)
        done = run("-c", PEAK, "detect", str(long), "--format", "json")
        peak = int(
            next(line for line in done.err.splitlines() if line.startswith("PEAK")).split()[1]
        )
        video = json.loads(done.out)["videos"][0]
        peak_mb = peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
        rows.append(
            {
                "length_s": round(video["duration_s"], 1), "frames": video["frames_sampled"],
                "peak_mb": peak_mb,
                **{key: asdict(done)[key] for key in ("wall_s", "cpu_s")},
            }
        )  # fmt: skip
        long.unlink()
    return rows


def loop(clip: Path, out: Path, length_s: float) -> Path:
    """The clip's video repeated, packet by packet, until it is about so long."""
    with av.open(str(out), "w") as target:
        with av.open(str(clip)) as source:
            stream = target.add_stream_from_template(source.streams.video[0])
        offset = 0
        while True:
            with av.open(str(clip)) as source:
                own = source.streams.video[0]
                end = offset
                for packet in source.demux(own):
                    if packet.dts is None:
                        continue
                    if float((offset + packet.dts) * own.time_base) >= length_s:
                        return out
                    packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
                    end = max(end, packet.pts + packet.duration)
                    packet.stream = stream
                    target.mux(packet)
                offset = end


def median(values: Any) -> float:
    return round(statistics.median(values), 3)


def table(document: Mapping[str, Any]) -> list[str]:
    clip, at, pair = document["clip"], document["machine"], document["against_opencv"]
    size = f"{clip['width']}x{clip['height']} {clip['codec']}"
    lines = [
        (
            f"`{clip['name']}`, {clip['length_s']} s, {size}; {at['cpu']}, {at['cores']} cores,"
            f" load {at['load']} before the run. New processes in turn, median of"
            f" {pair['runs']}:\n"
        ),
        f"| | wall s | CPU s |\n|---|---:|---:|\n{row('`deepkd detect`', pair['deepkd'])}",
        row("OpenCV, only decoding all frames", pair["opencv"]),
        f"| ratio | {pair['wall_ratio']:.2f} | {pair['cpu_ratio']:.2f} |",
    ]
    if document["batch"]:
        lines.append(f"\nA folder of {document['batch'][0]['clips']} copies of the clip:\n")
        lines.append("| `--workers` | cores | clips per minute | per core |\n|---:|---:|---:|---:|")
    for one in document["batch"]:
        speeds = f"{one['clips_per_minute']:.1f} | {one['clips_per_minute_and_core']:.1f}"
        lines.append(f"| {one['workers']} | {one['cores']} | {speeds} |")
    if document["memory"]:
        lines.append("\nThe clip repeated to these lengths:\n")
        lines.append("| length s | frames | peak MB | wall s | CPU s |\n|---:|---:|---:|---:|---:|")
    for one in document["memory"]:
        times = f"{one['wall_s']:.1f} | {one['cpu_s']:.1f}"
        lines.append(
            f"| {one['length_s']:.0f} | {one['frames']} | {one['peak_mb']:.0f} | {times} |"
        )
    return lines


def row(name: str, times: Mapping[str, float]) -> str:
    return f"| {name} | {times['wall_s']:.2f} | {times['cpu_s']:.2f} |"


if __name__ == "__main__":
    main()
