"""A tiny labelled set of crops from the public-domain portraits: each original with one forgery of
it."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from media import Image, forged_portrait, portraits

from deepkd.data.index import CropRow, write_index

SPLITS = ("train", "train", "train", "val", "test")


def write_crops(
    folder: Path,
    *,
    families: int = 10,
    px: int = 64,
    shards: int = 0,
    unlabelled: int = 0,
    tint: int = 0,
    methods: tuple[str, ...] = ("",),
) -> Path:
    """Write `families` x (REAL, FAKE) crops as JPEG files, or into tar shards, with their index.

    Families alternate between the two faces and are moved and lit differently; the last
    `unlabelled` rows lose their label. A `tint` makes the forgeries greener, so that the smallest
    model learns them in seconds; those of every second one of the `methods`, which families take in
    turn, bluer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rows, files = [], {}
    for family in range(families):
        split = SPLITS[family % len(SPLITS)]
        original = f"family-{family}.mp4"
        turn = family // len(SPLITS) % len(methods)
        for label, crop, light in _cut_pair(family, px, rng):
            crop = crop + np.roll([0, tint if label == "FAKE" else 0, 0], turn % 2)
            crop = np.clip(crop * light, 0, 255).astype(np.uint8)
            file = f"{family}-{label.lower()}.jpg"
            files[file] = cv2.imencode(".jpg", cv2.cvtColor(crop, cv2.COLOR_RGB2BGR))[1].tobytes()
            shard = f"crops-{family % shards}.tar" if shards else ""
            video, method = (original, "") if label == "REAL" else (file, methods[turn])
            rows.append(
                CropRow(file, label, video, original, method=method, split=split, shard=shard)
            )
    for index in range(len(rows) - unlabelled, len(rows)):
        rows[index] = CropRow(
            rows[index].file, "", rows[index].video, rows[index].original, split="train"
        )
    _write_files(folder, rows, files)
    write_index(folder, rows)
    return folder


def _cut_pair(family: int, px: int, rng: np.random.Generator) -> Iterator[tuple[str, Image, float]]:
    """The label, the crop and the light of a family's original and of its forgery."""
    name = ("astronaut", "grace_hopper")[family % 2]
    person = portraits()[name]
    x, y, w, h = person.box
    shift = rng.uniform(-0.08, 0.08, 2) * h
    side, light = round(1.1 * h * rng.uniform(0.9, 1.1)), rng.uniform(0.8, 1.1)
    left, top = (
        max(0, round(x + w / 2 - side / 2 + shift[0])),
        max(0, round(y + h / 2 - side / 2 + shift[1])),
    )
    for label, image in (("REAL", person.image), ("FAKE", forged_portrait(name))):
        cut = image[top : top + side, left : left + side]
        yield label, cv2.resize(cut, (px, px), interpolation=cv2.INTER_AREA), light


def _write_files(folder: Path, rows: list[CropRow], files: dict[str, bytes]) -> None:
    for shard in {row.shard for row in rows if row.shard}:
        with tarfile.open(folder / shard, "w") as archive:
            for row in rows:
                if row.shard == shard:
                    member = tarfile.TarInfo(row.file)
                    member.size = len(files[row.file])
                    archive.addfile(member, io.BytesIO(files[row.file]))
    for row in rows:
        if not row.shard:
            (folder / row.file).write_bytes(files[row.file])
