"""FaceForensics++ and DeepFakeDetection, by the folders of the official download.

original_sequences/SOURCE/COMPRESSION/videos/
manipulated_sequences/METHOD/COMPRESSION/videos/
train.json, val.json, test.json     optional: the official splits, lists of pairs
"""

import json
import re
from pathlib import Path

from deepkd.data.clips import FAKE, REAL, Clip, Layout, Warn, find_videos
from deepkd.errors import DataError

REAL_DIR, FAKE_DIR = "original_sequences", "manipulated_sequences"
COMPRESSIONS = ("raw", "c0", "c23", "c40")


def find_root(path: Path) -> Path | None:
    """Find the folder that holds the sequences: this one, or one above it."""
    path = path.resolve()
    if any((path / name).is_dir() for name in (REAL_DIR, FAKE_DIR)):
        return path
    return next(
        (folder.parent for folder in (path, *path.parents) if folder.name in (REAL_DIR, FAKE_DIR)),
        None,
    )


def read_faceforensics(folder: Path, warn: Warn) -> list[Clip]:
    """Read the clips of the whole data set, or of a folder inside it."""
    root = find_root(folder)
    if root is None:
        raise DataError(
            f"{folder}: has no {REAL_DIR} or {FAKE_DIR}; give the FaceForensics++ folder"
        )
    splits = _read_splits(root)
    tops = [root / REAL_DIR, root / FAKE_DIR] if root == folder.resolve() else [folder.resolve()]
    videos = find_videos([top for top in tops if top.is_dir()], warn)
    clips = (_make_clip(path, root, splits) for path in videos)
    return [clip for clip in clips if clip]


def _make_clip(path: Path, root: Path, splits: dict[str, str]) -> Clip | None:
    """The clip of a file; None for the videos of masks, which lie in the same tree."""
    kind, method, *rest = (*path.relative_to(root).parts[:-1], "")
    compression = next((part for part in rest if part in COMPRESSIONS), None)
    if compression is None:
        return None
    is_fake = kind == FAKE_DIR
    target, donor, scene = _parse_stem(path.stem) if is_fake else (path.stem, "", "")
    people = (target, donor) if scene else re.findall(r"^(\d+)__", path.stem)
    source = method if is_fake or method != "youtube" else "original"
    return Clip(
        path,
        FAKE if is_fake else REAL,
        video=f"{source}/{compression}/{path.name}",
        original=(f"{target}__{scene}" if scene else target) + path.suffix,
        dataset="faceforensics",
        method=method if is_fake else "",
        split=splits.get(target, ""),
        donors=(donor + path.suffix,) if donor and not scene else (),
        identities=tuple(f"actor-{person}" for person in people),
    )


def _parse_stem(stem: str) -> tuple[str, str, str]:
    """Target, donor and scene of `953_974` (no scene) or `01_02__walking_outside__YVGY8LOK`."""
    match = re.fullmatch(r"(\d+)_(\d+)(?:__(.+)__\w+)?", stem)
    return (match[1], match[2], match[3] or "") if match else (stem, "", "")


def _read_splits(root: Path) -> dict[str, str]:
    """Number of a clip -> its official split."""
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        for folder in (root, root / "splits", root / "dataset" / "splits"):
            path = folder / f"{split}.json"
            if path.is_file():
                splits |= dict.fromkeys(_read_numbers(path), split)
    return splits


def _read_numbers(path: Path) -> list[str]:
    hint = 'not a list of pairs such as ["953", "974"]'
    try:
        pairs = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: {hint} ({error})") from error
    if not isinstance(pairs, list) or not all(isinstance(pair, list) for pair in pairs):
        raise DataError(f"{path}: {hint}")
    return [str(number) for pair in pairs for number in pair]


FACEFORENSICS = Layout(fits=lambda folder: find_root(folder) is not None, read=read_faceforensics)
