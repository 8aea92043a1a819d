"""Trees of empty files that look like data sets, and the clips found in them as tables."""

import json
from pathlib import Path

from deepkd.data.clips import Clip

Fields = dict[str, tuple[object, ...]]


def tree(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def table(clips: list[Clip], *fields: str) -> Fields:
    return {clip.video: tuple(getattr(clip, field) for field in fields) for clip in clips}


def dfdc(root: Path) -> Path:
    part = tree(
        root, "dfdc_train_part_0/a.mp4", "dfdc_train_part_0/b.mp4", "dfdc_train_part_1/c.mp4"
    )
    rows = {"a.mp4": {"label": "REAL", "split": "train"}}
    rows |= {"b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"}}
    (part / "dfdc_train_part_0/metadata.json").write_text(json.dumps(rows))
    rows = {"c.mp4": {"label": "FAKE", "split": "train", "original": "gone.mp4"}}
    (part / "dfdc_train_part_1/metadata.json").write_text(json.dumps(rows))
    return root
