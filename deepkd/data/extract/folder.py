"""The output folder of an extraction: whose it is, its settings, and the names in it."""

import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import deepkd
from deepkd.data.clips import Clip
from deepkd.data.extract.journal import Journal
from deepkd.data.extract.worker import CROPS_DIR, PARTS_DIR, choose_crop_rule
from deepkd.data.index import INDEX_NAME
from deepkd.errors import OutputError, UsageError
from deepkd.outputs import check_folder, remove, write_whole
from deepkd.settings.data import ExtractConfig

SETTINGS_NAME, JOURNAL_NAME = "extract.json", "journal.jsonl"
OWN_NAMES = (INDEX_NAME, JOURNAL_NAME, PARTS_DIR, CROPS_DIR, SETTINGS_NAME)
"""What an extraction writes, in the order of removal: the settings go last, so that a folder whose
removal was interrupted still counts as an extraction."""
CROP_SETTINGS = (
    "frames", "face_px", "rule", "detector", "min_face_px", "max_side_px", "min_probability",
    "sure_probability", "faces_per_frame", "people", "image_format", "jpeg_quality",
)  # fmt: skip
"""Settings that change the crops; they must stay the same when a run goes on."""


def claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Prepare the output folder.

    Args:
        out: the folder; it is made if it is missing.
        resume: go on with the extraction that is there.
        overwrite: remove the extraction that is there.

    Raises:
        UsageError: both at once.
        OutputError: the folder holds other files, or an extraction without either flag.
    """
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict; give one of them")
    check_folder(out)
    if not _is_extraction(out):
        names = sorted(
            path.name for path in out.iterdir() if path.name != JOURNAL_NAME or _is_filled(path)
        )
        # An empty journal alone is left by a run that was interrupted before it wrote its settings.
        if names:
            raise OutputError(
                f"{out}: holds other files ({', '.join(names[:3])}) and no extraction; give another"
                " --out, a new or empty folder"
            )
    elif (out / INDEX_NAME).exists() or _is_filled(out / JOURNAL_NAME):
        if overwrite:
            with Journal(out / JOURNAL_NAME):  # refuses while another run writes it
                pass
            remove(out, OWN_NAMES)
        elif not resume:
            raise OutputError(
                f"{out}: holds an extraction; add --resume to go on with it, or --overwrite to"
                " replace it"
            )


def _is_extraction(out: Path) -> bool:
    """Whether an extraction began there: by its settings, and a journal beside any index."""
    has_journal = (out / JOURNAL_NAME).is_file()
    try:
        before = json.loads((out / SETTINGS_NAME).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError):  # damaged: `--overwrite` replaces it
        return has_journal
    is_extract = isinstance(before, dict) and before.get("command") == "extract"
    return is_extract and (has_journal or not (out / INDEX_NAME).exists())


def _is_filled(journal: Path) -> bool:
    return journal.exists() and journal.stat().st_size > 0


def save_settings(out: Path, names: Sequence[str], config: ExtractConfig) -> None:
    """Write the settings of a run; call it with the journal open.

    Raises:
        OutputError: the crops that are there were made with other settings.
    """
    settings = {**config.as_dict(), "rule": asdict(choose_crop_rule(config))}
    _check_settings(out, settings)
    with write_whole(out / SETTINGS_NAME) as beside:
        about = {"command": "extract", "deepkd": deepkd.__version__, "sources": list(names)}
        beside.write_text(
            json.dumps(about | settings, indent=2, default=str) + "\n", encoding="utf-8"
        )


def _check_settings(out: Path, settings: dict[str, object]) -> None:
    """Refuse to mix crops of different settings in one folder."""
    if not _is_filled(out / JOURNAL_NAME):
        return
    try:
        before = json.loads((out / SETTINGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{out / SETTINGS_NAME}: cannot be read ({error}); start again with --overwrite"
        ) from error
    changed = [
        f"{key} {before.get(key)} -> {settings[key]}"
        for key in CROP_SETTINGS
        if before.get(key) != settings[key]
    ]
    if changed:
        raise OutputError(
            f"{out}: was begun with other settings ({'; '.join(changed)}); give the same ones, or"
            " --overwrite"
        )


def drop_inside(folder: Path, clips: Sequence[Clip]) -> list[Clip]:
    """Drop the clips that lie in a folder or below it, also through links."""
    inside = os.path.realpath(folder)
    places = {
        parent: Path(os.path.realpath(parent))
        for parent in {os.path.dirname(clip.path) for clip in clips}
    }
    return [
        clip
        for clip in clips
        if not (places[os.path.dirname(clip.path)] / clip.path.name).is_relative_to(inside)
    ]


def name_folders(videos: Sequence[str]) -> list[str]:
    """Name a folder for the crops of each clip.

    Args:
        videos: unique names of the clips.

    Returns:
        Names of safe characters, unique also on disks that ignore upper and lower case.
    """
    names = [_make_safe(video) for video in videos]
    counts = Counter(name.lower() for name in names)
    return [
        name if counts[name.lower()] == 1 else f"{name}-{_hash_name(video)}"
        for name, video in zip(names, videos, strict=True)
    ]


def _make_safe(video: str) -> str:
    stem = re.sub(r"\.\w{1,5}$", "", video)
    name = re.sub(r"[^A-Za-z0-9._=+-]", "_", stem).lstrip(".-") or "clip"
    return name if len(name) <= 100 else f"{name[:90]}-{_hash_name(video)}"


def _hash_name(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
