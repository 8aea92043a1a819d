"""Forge: real faces to labelled forgeries, as crops with an index or as clips with a list.

    kind "crops":    out/index.csv    a REAL row for each crop, a FAKE row for each forgery of it
                     out/crops/
    kind "clips":    out/clips.csv    a line for each clip
                     out/real/        the real clips, encoded again
                     out/fake/        clips with the face forged in every frame
    both:            out/forge.json   the settings

Real clips are encoded again, and crops are PNG, so that real and forged pictures have the same
compression: a model must not learn to tell them apart by it.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from deepkd.data.clips import FAKE, REAL, Clip
from deepkd.data.datasets.sources import find_clips
from deepkd.data.extract.folder import drop_inside
from deepkd.data.extract.worker import CROPS_DIR, PARTS_DIR
from deepkd.data.forge.clips import LIST_NAME, forge_clips
from deepkd.data.forge.crops import forge_crops
from deepkd.data.forge.methods import Progress, Summary
from deepkd.data.index import INDEX_NAME, label_clips
from deepkd.data.splits import make_splits
from deepkd.errors import DataError, OutputError
from deepkd.outputs import alone_in, remove
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
) -> Summary:
    """Write real faces and forgeries of them, with their labels.

    Args:
        names: sources as the user names them, see `find_clips`; what a data set or an index labels
            FAKE is left out.
        out: folder to write to.
        config: the settings; the same ones make the same forgeries.
        overwrite: replace what an earlier run wrote there.
        stdin: where the source `-` reads paths from.
        progress: called with (sources done, sources in all).

    Raises:
        UsageError: a URL.
        DataError: no real source, a damaged index, no face in any source, or too few people to
            swap faces.
        OutputError: the folder is not empty, or cannot be written.
    """
    summary = Summary(out)
    clips = _find_real_clips(names, out, config, stdin, summary.warnings)
    clips = make_splits(clips, val_share=config.val_share, test_share=config.test_share).clips
    if overwrite:
        # A detector that cannot be loaded must not cost what is there.
        load_detector(config.detector, device=config.device)
    with alone_in(out):
        _claim(out, overwrite=overwrite)
        config.save(out / SETTINGS_NAME)
        KINDS[config.kind](clips, config, summary, progress or (lambda *_: None))
    return summary


def _find_real_clips(
    names: Sequence[str],
    out: Path,
    config: ForgeConfig,
    stdin: BinaryIO | None,
    warnings: list[str],
) -> list[Clip]:
    clips = drop_inside(
        out, find_clips(names, dataset=config.dataset, stdin=stdin, warn=warnings.append)
    )
    real = [clip for clip in label_clips(clips) if clip.label != FAKE]
    if len(real) < len(clips):
        warnings.append(f"{len(clips) - len(real)} clips that are labelled FAKE are left out")
    if unlabelled := sum(not clip.label and not clip.problem for clip in real):
        warnings.append(f"{unlabelled} sources have no label and are taken as REAL")
    if all(clip.problem for clip in real):
        reasons = "; ".join(f"{clip.path}: {clip.problem}" for clip in real[:3])
        raise DataError(f"nothing to forge: {reasons or 'no real clips outside of --out'}")
    return [dataclasses.replace(clip, label=REAL) for clip in real]


def _claim(out: Path, *, overwrite: bool) -> None:
    """Prepare the output folder, or refuse it; only what `forge` writes is removed."""
    if not any(out.iterdir()):
        return
    if not (out / SETTINGS_NAME).exists():
        raise OutputError(f"{out}: holds other files; choose an empty folder")
    if not overwrite and any((out / name).exists() for name in (INDEX_NAME, LIST_NAME)):
        raise OutputError(
            f"{out}: holds forgeries already; choose another folder, or --overwrite them"
        )
    if not overwrite and (count := _count_clips(out)):
        raise OutputError(
            f"{out}: holds {count} clips of a run that was broken off; forge cannot go on with"
            " them: move them away or choose another folder to keep them, or --overwrite them"
        )
    remove(out, OWN_NAMES)


def _count_clips(out: Path) -> int:
    """Count the whole clips in a folder; a hidden file is one that was not finished."""
    return sum(
        not path.name.startswith(".") for name in CLIP_DIRS for path in (out / name).rglob("*.mp4")
    )


KINDS = {"crops": forge_crops, "clips": forge_clips}
"""Kind -> the function that writes it."""
