"""What the closer look of `deepkd detect` changes.

    python research/closer_look.py SOURCE...

Labelled clips are judged with it and without, as they are and repeated until they are long. A
repetition is sampled at other moments than the first, so a long clip shows real material in many
more frames: its chance of a false alarm.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from detect import loop

from deepkd.data.clips import Clip
from deepkd.data.datasets.sources import find_clips
from deepkd.pipeline import Detector
from deepkd.scoring.verdict import Verdict
from deepkd.settings.detect import DetectConfig
from deepkd.video.sources import Source


def main() -> None:
    args = arguments()
    config = DetectConfig(model=args.model)
    detectors = [Detector.load(config.replace(single_look=single)) for single in (True, False)]
    clips = [clip for clip in find_clips(map(str, args.source)) if clip.label in args.label]
    with tempfile.TemporaryDirectory() as folder:
        rows = list(judge(clips, detectors, args.lengths, Path(folder)))
    print("\n".join(table(rows)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Verdicts with and without the closer look.")
    parser.add_argument(
        "source", nargs="+", type=Path, help="data set of videos with labels, e.g. real/ and fake/"
    )
    parser.add_argument("--label", nargs="*", default=["REAL", "FAKE"], help="labels to look at")
    parser.add_argument(
        "--lengths", type=float, nargs="*", default=[0, 60], help="seconds; 0: the clip as it is"
    )
    parser.add_argument("--model", default="deepkd-nano", help="model that judges")
    return parser.parse_args()


Row = tuple[float, Clip, Verdict, Verdict]
"""Length, clip, the verdict without a closer look and with."""


def judge(
    clips: Iterable[Clip], detectors: list[Detector], lengths_s: Iterable[float], folder: Path
) -> Iterator[Row]:
    lengths_s = list(lengths_s)
    for clip in clips:
        for length_s in lengths_s:
            path = (
                loop(clip.path, folder / f"long{clip.path.suffix}", length_s)
                if length_s
                else clip.path
            )
            without, given = (detector.judge(Source(path)) for detector in detectors)
            yield length_s, clip, without, given


def table(rows: list[Row]) -> list[str]:
    lines = [
        "| length s | label | clip | without | with | frames without | with |",
        "|---:|---|---|---|---|---:|---:|",
    ]
    for length_s, clip, a, b in rows:
        frames = f"{a.frames_sampled} | {b.frames_sampled}"
        lines.append(
            f"| {length_s:g} | {clip.label} | {clip.video} | {a.label} | {b.label} | {frames} |"
        )
    for length_s, label in sorted({(row[0], row[1].label) for row in rows}):
        own = [row for row in rows if (row[0], row[1].label) == (length_s, label)]
        changed = Counter(f"{a.label} to {b.label}" for _, _, a, b in own if a.label != b.label)
        said = ", ".join(f"{count} {what}" for what, count in changed.items()) or "none"
        lines.append(
            f"\n{label}, {f'{length_s:g} s' if length_s else 'as they are'}: of {len(own)} verdicts"
            f" changed: {said}"
        )
    return lines


if __name__ == "__main__":
    main()
