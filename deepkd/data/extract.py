"""Extraction: clips to labelled face crops and their index, in worker processes; what is finished stays, come what may.

    out/index.csv        one row per crop, see `CropRow`; written last, so where it is, it is whole
    out/crops/CLIP/      the crops of one clip, as FRAME_TRACK.jpg; a clip's folder is there as a
    whole or not at all out/extract.json     the settings, the crop rule, the sources, the version
    of deepkd out/journal.jsonl    one line per finished clip, by content: what `--resume` goes by

Every face of a clip gets the clip's label. Where two people are in a forged clip of DFDC, one of
them may be untouched: the data set does not say who; `people="largest"` keeps only the larger one.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

import deepkd
from deepkd.data.clips import Clip
from deepkd.data.datasets import find_clips
from deepkd.data.extractor import CROPS_DIR, PARTS_DIR, ClipExtractor, Task, crop_rule
from deepkd.data.index import INDEX_NAME, CropRow, write_index
from deepkd.data.journal import Journal, Record, content_key
from deepkd.data.splits import Splits, make_splits
from deepkd.data.workers import Outcome, run_tasks
from deepkd.errors import DataError, OutputError, UsageError
from deepkd.machine import cores
from deepkd.outputs import check_folder, remove, writing
from deepkd.settings.data import ExtractConfig

SETTINGS_NAME, JOURNAL_NAME = "extract.json", "journal.jsonl"
OWN_NAMES = (INDEX_NAME, JOURNAL_NAME, PARTS_DIR, CROPS_DIR, SETTINGS_NAME)
"""In the order of their removal: what is left where that is broken off is known as ours, and not
gone on with."""
PIXELS = (
    "frames", "face_px", "rule", "detector", "min_face_px", "max_side_px", "min_probability",
    "sure_probability", "faces_per_frame", "people", "image_format", "jpeg_quality",
)  # fmt: skip
"""What the crops depend on: must be the same when a run goes on."""


@dataclass
class Tally:
    """Clips of one label."""

    clips: int = 0
    with_faces: int = 0
    crops: int = 0
    no_face: int = 0
    failed: int = 0


@dataclass
class Summary:
    """What an extraction found."""

    out: Path
    splits: Splits
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By label: REAL, FAKE, or empty."""
    crops_by_split: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(split, label) -> crops."""
    no_face: list[tuple[str, str]] = field(default_factory=list)
    """(clip, why)."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(clip, why)."""
    warnings: list[str] = field(default_factory=list)
    resumed: int = 0
    """Clips that were finished before."""
    seconds: float = 0.0

    @property
    def crops(self) -> int:
        """All crops in the index."""
        return sum(tally.crops for tally in self.tallies.values())

    @property
    def exit_code(self) -> int:
        """0: all clips read; 1: none; 3: some."""
        clips = sum(tally.clips for tally in self.tallies.values())
        return 0 if not self.failed else 1 if len(self.failed) == clips else 3


def extract(
    names: Sequence[str],
    out: Path,
    config: ExtractConfig,
    *,
    resume: bool = False,
    overwrite: bool = False,
    stdin: BinaryIO | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Write the face crops of all clips, and their index.

    Args:
        names: sources as the user names them, see `find_clips`.
        out: folder to write to.
        config: the settings.
        resume: go on with an extraction that is there.
        overwrite: replace it.
        stdin: where the source `-` reads paths from.
        progress: told (clips done, clips in all) after each clip.

    Raises:
        UsageError: a URL, or contradicting flags.
        DataError: no clips, or a damaged list of a data set.
        OutputError: an extraction is there already, or the folder cannot be written; what is
            finished is kept.
        ModelError: the detector's networks are missing.
    """
    start = time.monotonic()
    warnings: list[str] = []
    clips = _sources(names, out, config, stdin, warnings.append)
    splits = make_splits(
        clips, val_share=config.val_share, test_share=config.test_share, unit=config.split_by
    )
    if overwrite:
        ClipExtractor(
            config, out, decode_threads=1
        )  # what cannot be loaded must not cost what is there
    _claim(out, resume=resume, overwrite=overwrite)
    summary = Summary(out, splits, warnings=warnings + _split_notes(splits, config))
    with Journal(out / JOURNAL_NAME) as journal:
        _settle(out, names, config)
        run = _Run(splits.clips, out, config, journal, summary)
        run.extract(progress or (lambda done, total: None))
        if left_out := journal.keys().difference(run.keys.values()):
            summary.warnings.append(
                f"{len(left_out)} clips that were extracted before are not in the index: these"
                " sources lack them as they were then; name all sources"
            )
        write_index(out / INDEX_NAME, run.rows())
    shutil.rmtree(out / PARTS_DIR, ignore_errors=True)
    summary.seconds = time.monotonic() - start
    return summary


def _sources(
    names: Sequence[str],
    out: Path,
    config: ExtractConfig,
    stdin: BinaryIO | None,
    warn: Callable[[str], None],
) -> list[Clip]:
    """The clips, without what an earlier run wrote to `out`."""
    clips = outside(out, find_clips(names, dataset=config.dataset, stdin=stdin, warn=warn))
    if all(clip.problem for clip in clips):
        reasons = "; ".join(f"{clip.path}: {clip.problem}" for clip in clips[:3])
        raise DataError(f"nothing to extract: {reasons or 'no clips outside of --out'}")
    return clips


def outside(folder: Path, clips: Sequence[Clip]) -> list[Clip]:
    """The clips that lie neither in a folder nor below it, whatever links lead there."""
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


def _split_notes(splits: Splits, config: ExtractConfig) -> list[str]:
    """What a user should know before training on these splits."""
    notes = list(splits.overlaps)
    if splits.left_out:
        notes.append(
            f"{len(splits.left_out)} clips are in no split: official val or test splits hold their"
            " originals"
        )
    filled = {clip.split for clip in splits.clips}
    shares = {"train": 1.0, "val": config.val_share, "test": config.test_share}
    empty = [name for name, share in shares.items() if share and name not in filled]
    if empty and any(clip.label for clip in splits.clips):
        notes.append(
            f"no clip is in {' or '.join(empty)}: {splits.families} originals are few; raise the"
            " shares"
        )
    return notes


def _claim(out: Path, *, resume: bool, overwrite: bool) -> None:
    """Make the folder ours, or refuse to."""
    if resume and overwrite:
        raise UsageError("--resume and --overwrite contradict; give one of them")
    check_folder(out)
    if not _is_ours(out):
        names = sorted(
            path.name for path in out.iterdir() if path.name != JOURNAL_NAME or _is_filled(path)
        )
        if names:  # more than the empty journal of a first run that was broken off before it wrote its settings
            raise OutputError(
                f"{out}: holds other files ({', '.join(names[:3])}) and no extraction; give another"
                " --out, a new or empty folder"
            )
    elif (out / INDEX_NAME).exists() or _is_filled(out / JOURNAL_NAME):
        if overwrite:
            with Journal(out / JOURNAL_NAME):  # not while another run writes it
                pass
            remove(out, OWN_NAMES)
        elif not resume:
            raise OutputError(
                f"{out}: holds an extraction; add --resume to go on with it, or --overwrite to"
                " replace it"
            )


def _is_ours(out: Path) -> bool:
    """Whether an extraction was begun there: its settings say so, and it has a journal wherever it has an index."""
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


def _settle(out: Path, names: Sequence[str], config: ExtractConfig) -> None:
    """Write down the settings, or refuse those that do not fit what is there; not while another run writes there."""
    settings = {**config.as_dict(), "rule": asdict(crop_rule(config))}
    _check_same(out, settings)
    with writing(out / SETTINGS_NAME) as beside:
        about = {"command": "extract", "deepkd": deepkd.__version__, "sources": list(names)}
        beside.write_text(
            json.dumps(about | settings, indent=2, default=str) + "\n", encoding="utf-8"
        )


def _check_same(out: Path, settings: dict[str, object]) -> None:
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
        for key in PIXELS
        if before.get(key) != settings[key]
    ]
    if changed:
        raise OutputError(
            f"{out}: was begun with other settings ({'; '.join(changed)}); give the same ones, or"
            " --overwrite"
        )


class _Run:
    """The work of one call."""

    def __init__(
        self,
        clips: list[Clip],
        out: Path,
        config: ExtractConfig,
        journal: Journal,
        summary: Summary,
    ) -> None:
        self.clips, self.out, self.config, self.journal, self.summary = (
            clips,
            out,
            config,
            journal,
            summary,
        )
        self.keys: dict[str, str] = {}
        self.failed: dict[str, str] = {clip.video: clip.problem for clip in clips if clip.problem}

    def extract(self, progress: Callable[[int, int], None]) -> None:
        """Extract the clips that are not finished."""
        workers = (
            min(cores(), len(self.clips)) if self.config.workers is None else self.config.workers
        )
        start = partial(ClipExtractor, self.config, self.out, max(1, cores() // max(workers, 1)))
        for outcome in run_tasks(start, self._tasks(), workers=workers):
            self._note(outcome)
            progress(len(self.keys) + len(self.failed), len(self.clips))

    def _tasks(self) -> Iterator[Task]:
        """The clips that are to be done; the old index goes when the first of them is."""
        folders = crop_folders([clip.video for clip in self.clips])
        for clip, folder in zip(self.clips, folders, strict=True):
            key = "" if clip.problem else content_key(clip.path, clip.video)
            if key in self.journal and self._is_there(self.journal.read(key)):
                self.keys[clip.video] = key
                self.summary.resumed += 1
            elif not clip.problem:
                (self.out / INDEX_NAME).unlink(missing_ok=True)
                yield Task(clip.video, clip.path, key, folder)

    def _is_there(self, record: Record) -> bool:
        """Whether the crops of a finished clip still lie in their folder."""
        return (
            not record.crops
            or (self.out / CROPS_DIR / record.folder / record.crops[-1].name).is_file()
        )

    def _note(self, outcome: Outcome[Task, Record]) -> None:
        record, task = outcome.result, outcome.task
        error = (
            outcome.error
            if record is None
            else record.error or ("" if record.key else "is no regular file")
        )
        if record is None or error:
            self.failed[task.video] = error.removeprefix(f"{task.path}: ")
        else:
            self.journal.add(record)
            self.keys[task.video] = record.key

    def rows(self) -> Iterator[CropRow]:
        """The rows of the index, in order of the clips; counts them on the way."""
        for clip in self.clips:
            tally = self.summary.tallies.setdefault(clip.label, Tally())
            tally.clips += 1
            if clip.video in self.failed:
                tally.failed += 1
                self.summary.failed.append((clip.video, self.failed[clip.video]))
            else:
                yield from self._clip_rows(clip, self.journal.read(self.keys[clip.video]), tally)

    def _clip_rows(self, clip: Clip, record: Record, tally: Tally) -> Iterator[CropRow]:
        self.summary.warnings += [f"{clip.video}: {warning}" for warning in record.warnings]
        if not record.crops:
            tally.no_face += 1
            self.summary.no_face.append((clip.video, record.reason))
            return
        tally.with_faces += 1
        tally.crops += len(record.crops)
        self.summary.crops_by_split[(clip.split, clip.label)] += len(record.crops)
        yield from crop_rows(clip, record)


def crop_rows(clip: Clip, record: Record) -> Iterator[CropRow]:
    """The rows of the crops that were cut out of one clip."""
    for crop in record.crops:
        yield CropRow(
            file=f"{CROPS_DIR}/{record.folder}/{crop.name}",
            label=clip.label,
            video=clip.video,
            original=clip.original,
            dataset=clip.dataset,
            method=clip.method,
            split=clip.split,
            t_s=crop.t_s,
            face_px=crop.face_px,
            track=crop.track,
            face_probability=crop.probability,
            landmarks=crop.landmarks,
            identities=clip.identities,
        )


def crop_folders(videos: Sequence[str]) -> list[str]:
    """A folder name for each clip: plain, of safe characters, each once even where upper and lower case are one."""
    names = [_plain(video) for video in videos]
    counts = Counter(name.lower() for name in names)
    return [
        name if counts[name.lower()] == 1 else f"{name}-{_short_hash(video)}"
        for name, video in zip(names, videos, strict=True)
    ]


def _plain(video: str) -> str:
    stem = re.sub(r"\.\w{1,5}$", "", video)
    name = re.sub(r"[^A-Za-z0-9._=+-]", "_", stem).lstrip(".-") or "clip"
    return name if len(name) <= 100 else f"{name[:90]}-{_short_hash(video)}"


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
