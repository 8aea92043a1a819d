"""Forging: real faces to labelled forgeries, as crops with an index or as clips with a list.

    out/index.csv, out/crops/               kind "crops": a REAL row for each crop, a FAKE one for
    each forgery of it out/clips.csv, out/real/, out/fake/     kind "clips": real clips, written
    anew like the forged ones, so that the
                                            encoding gives nothing away, and clips with the face
                                            forged in every frame
    out/forge.json                          the settings

Crops are PNG for the same reason: a forgery that alone went through JPEG twice would be told by
that.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from deepkd.data.clips import FAKE, REAL, Clip
from deepkd.data.datasets import find_clips
from deepkd.data.extract import outside
from deepkd.data.extractor import CROPS_DIR, PARTS_DIR
from deepkd.data.forge_clips import LIST_NAME, forge_clips
from deepkd.data.forge_crops import forge_crops
from deepkd.data.forgeries import Forged, Progress
from deepkd.data.index import INDEX_NAME
from deepkd.data.indexed import as_indexed
from deepkd.data.splits import make_splits
from deepkd.errors import DataError, OutputError
from deepkd.outputs import check_folder, remove
from deepkd.settings.data import ForgeConfig
from deepkd.video.faces import load_detector

SETTINGS_NAME = "forge.json"
CLIP_DIRS = ("real", "fake")
OWN_NAMES = (INDEX_NAME, LIST_NAME, CROPS_DIR, PARTS_DIR, *CLIP_DIRS, SETTINGS_NAME)


def forge(
    names: Sequence[str],
    out: Path,
    config: ForgeConfig,
    *,
    overwrite: bool = False,
    stdin: BinaryIO | None = None,
    progress: Progress | None = None,
) -> Forged:
    """Write real faces and forgeries of them, with what tells them apart.

    Args:
        names: sources as the user names them, see `find_clips`; what a data set or an index labels
            FAKE is left out.
        out: folder to write to.
        config: the settings; the same ones make the same forgeries.
        overwrite: replace what an earlier run wrote there.
        stdin: where the source `-` reads paths from.
        progress: told (sources done, sources in all).

    Raises:
        UsageError: a URL.
        DataError: no real source, a damaged index, no face in any, or a face to swap without a
            second person.
        OutputError: the folder is not empty, or cannot be written.
    """
    made = Forged(out)
    clips = _real_clips(names, out, config, stdin, made.warnings)
    clips = make_splits(clips, val_share=config.val_share, test_share=config.test_share).clips
    if overwrite:
        load_detector(
            config.detector, device=config.device
        )  # what cannot be loaded must not cost what is there
    _claim(out, overwrite=overwrite)
    config.save(out / SETTINGS_NAME)
    KINDS[config.kind](clips, config, made, progress or (lambda *_: None))
    return made


def _real_clips(
    names: Sequence[str],
    out: Path,
    config: ForgeConfig,
    stdin: BinaryIO | None,
    warnings: list[str],
) -> list[Clip]:
    clips = outside(
        out, find_clips(names, dataset=config.dataset, stdin=stdin, warn=warnings.append)
    )
    real = [clip for clip in as_indexed(clips) if clip.label != FAKE]
    if len(real) < len(clips):
        warnings.append(f"{len(clips) - len(real)} clips that are labelled FAKE are left out")
    if unlabelled := sum(not clip.label and not clip.problem for clip in real):
        warnings.append(f"{unlabelled} sources have no label and are taken as REAL")
    if all(clip.problem for clip in real):
        reasons = "; ".join(f"{clip.path}: {clip.problem}" for clip in real[:3])
        raise DataError(f"nothing to forge: {reasons or 'no real clips outside of --out'}")
    return [dataclasses.replace(clip, label=REAL) for clip in real]


def _claim(out: Path, *, overwrite: bool) -> None:
    """Make the folder ours, or refuse to; nothing of others is removed."""
    check_folder(out)
    if not any(out.iterdir()):
        return
    if not (out / SETTINGS_NAME).exists():
        raise OutputError(f"{out}: holds other files; choose an empty folder")
    if not overwrite and any((out / name).exists() for name in (INDEX_NAME, LIST_NAME)):
        raise OutputError(
            f"{out}: holds forgeries already; choose another folder, or --overwrite them"
        )
    if not overwrite and (count := _finished_clips(out)):
        raise OutputError(
            f"{out}: holds {count} clips of a run that was broken off; forge cannot go on with"
            " them: move them away or choose another folder to keep them, or --overwrite them"
        )
    remove(out, OWN_NAMES)


def _finished_clips(out: Path) -> int:
    """How many clips were written there; what is hidden was broken off itself."""
    return sum(
        not path.name.startswith(".") for name in CLIP_DIRS for path in (out / name).rglob("*.mp4")
    )


KINDS = {"crops": forge_crops, "clips": forge_clips}
"""Kind -> what writes it."""
