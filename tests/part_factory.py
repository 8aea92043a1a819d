"""Parts of made-up verdicts, which take no clips to judge."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from deepkd.cluster.parts import Part, PartFiles, open_part
from deepkd.report import Provenance
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.verdict import Label, TrackVerdict, Verdict
from deepkd.shards import Shard
from deepkd.video.sources import Source

MADE_WITH = Provenance("green", "ab" * 32, 4, {}, {"model": "green", "frames": 16, "workers": 0})


def made_with(*, sha256: str = "ab" * 32, **settings: object) -> Provenance:
    """A model and settings, changed where asked."""
    return Provenance("green", sha256, 4, {}, {**MADE_WITH.settings, **settings})


def open_made(
    folder: Path, shard: Shard | None = None, *, about: Provenance = MADE_WITH, **flags: bool
) -> Part:
    """The part of a shard."""
    return open_part(PartFiles(folder, shard or Shard()), about, **flags)


def make_verdict(path: Path, label: Label = Label.REAL, people: int = 1) -> Verdict:
    """A verdict with frames for each person."""
    if label is Label.ERROR:
        return Verdict.from_failure(path, "is damaged")
    frames = tuple(_frame(t_s) for t_s in (0.5, 1.0))
    tracks = tuple(TrackVerdict(n, frames, label, 0.25 + n, "looks real") for n in range(people))
    return Verdict(
        label,
        0.25,
        'a reason, with "quotes"',
        tracks,
        path=path,
        duration_s=2.0,
        fps=25.0,
        frames_sampled=2,
    )


def _frame(t_s: float) -> FrameScore:
    return FrameScore(t_s, (1.0, 2.0, 30.0, 40.0), -1.0, 0.25, 0.99)


def judge(
    part: Part, paths: Iterable[Path], labels: Mapping[str, Label] | None = None
) -> list[str]:
    """Judge what a part lacks, by the label for each name (REAL without one).

    Returns:
        The names of what was judged.
    """
    judged = []
    for source in part.list_missing(map(Source, paths)):
        part.add(make_verdict(source.path, (labels or {}).get(source.path.name, Label.REAL)))
        judged.append(source.path.name)
    return judged


def make_clips(folder: Path, names: Iterable[str]) -> list[Path]:
    """Small files of different content."""
    paths = [folder / name for name in names]
    for path in paths:
        path.write_text(f"clip {path.name}")
    return paths


def read_lines(file: Path) -> list[tuple[str, str]]:
    """(name, verdict) of each line."""
    entries = map(json.loads, file.read_text().splitlines())
    return [(Path(entry["path"]).name, entry["verdict"]) for entry in entries]
