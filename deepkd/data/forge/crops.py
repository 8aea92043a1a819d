"""Forged crops: the faces of the largest person of each clip and their forgeries, in one index."""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from deepkd.data.chance import chance
from deepkd.data.clips import FAKE, Clip
from deepkd.data.extract.folder import name_folders
from deepkd.data.extract.worker import PARTS_DIR, ClipExtractor, Task, make_rows
from deepkd.data.forge.methods import (
    METHODS,
    Portrait,
    Progress,
    Summary,
    check_people,
    choose_donor,
    name_variant,
)
from deepkd.data.index import INDEX_NAME, CropRow, write_index
from deepkd.errors import OutputError
from deepkd.settings.data import ExtractConfig, ForgeConfig


def forge_crops(
    clips: Sequence[Clip], config: ForgeConfig, summary: Summary, progress: Progress
) -> None:
    """Cut out the faces of the largest person of each clip, and forge each of them."""
    rows = list(_extract_reals(clips, config, summary, progress))
    by_original: dict[str, list[CropRow]] = {}
    for row in rows:
        by_original.setdefault(row.original, []).append(row)
    splits = {row.original: row.split for row in rows}
    check_people(splits, config, summary)
    fakes = [
        _forge_crop(row, number, by_original, splits, config, summary)
        for row in rows
        for number in range(config.count)
    ]
    shutil.rmtree(summary.out / PARTS_DIR, ignore_errors=True)
    write_index(summary.out / INDEX_NAME, [*rows, *fakes])
    summary.real, summary.fake = len(rows), len(fakes)


def _extract_reals(
    clips: Sequence[Clip], config: ForgeConfig, summary: Summary, progress: Progress
) -> Iterator[CropRow]:
    settings = ExtractConfig(
        frames=config.frames,
        face_px=config.face_px,
        crop_rule=config.crop_rule,
        people="largest",
        image_format="png",
        detector=config.detector,
        device=config.device,
    )
    extractor = ClipExtractor(settings, summary.out, 0)
    folders = name_folders([clip.video for clip in clips])
    for done, (clip, folder) in enumerate(zip(clips, folders, strict=True), 1):
        if clip.problem:
            summary.failed.append((clip.video, clip.problem))
        else:
            record = extractor(Task(clip.video, clip.path, "", folder))
            summary.warnings += [f"{clip.video}: {warning}" for warning in record.warnings]
            if record.error:
                summary.failed.append((clip.video, record.error.removeprefix(f"{clip.path}: ")))
            elif not record.crops:
                summary.no_face.append((clip.video, record.reason))
            yield from make_rows(clip, record)
        progress(done, len(clips))


def _forge_crop(
    row: CropRow,
    number: int,
    people: dict[str, list[CropRow]],
    splits: dict[str, str],
    config: ForgeConfig,
    summary: Summary,
) -> CropRow:
    method = METHODS[config.method]
    donor, identities = None, row.identities
    if method.needs_donor:
        others = people[choose_donor(row.original, splits, number, config)]
        place = chance(config.seed, "face", row.file, number).integers(len(others))
        donor = _read_portrait(summary.out, others[place])
        identities = tuple(sorted({*identities, *others[place].identities}))
    rng = chance(config.seed, "crop", row.file, number)
    image = method.apply(_read_portrait(summary.out, row), donor, rng, False)
    name = name_variant(config, number)
    file = f"{row.file.removesuffix('.png')}_{name}.png"
    data = cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()
    try:
        (summary.out / file).write_bytes(data)
    except OSError as error:
        raise OutputError(
            f"{summary.out / file}: cannot be written ({error.strerror}); make room there"
        ) from error
    return dataclasses.replace(
        row,
        file=file,
        label=FAKE,
        video=f"{name}/{row.video}",
        method=config.method,
        identities=identities,
    )


def _read_portrait(out: Path, row: CropRow) -> Portrait:
    picture = cv2.imdecode(np.frombuffer((out / row.file).read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    image = np.ascontiguousarray(np.asarray(picture, np.uint8)[..., ::-1])
    return Portrait(image, np.array(row.landmarks, np.float32).reshape(5, 2))
