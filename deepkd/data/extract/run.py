"""Extract: clips to labelled face crops and their index, in worker processes.

    out/index.csv        one row per crop, see `CropRow`; written last, so it is always whole
    out/crops/CLIP/      the crops of one clip, FRAME_TRACK.jpg; a folder is whole or absent
    out/extract.json     the settings, the crop rule, the sources, the version of deepkd
    out/journal.jsonl    one line per finished clip, by content; `--resume` reads it

Every face of a clip gets the clip's label. Where two people are in a forged clip of DFDC, one of
them may be real: the data set does not say who. `people="largest"` keeps only the larger face.
"""

import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO

from deepkd.data.clips import Clip
from deepkd.data.datasets.sources import find_clips
from deepkd.data.extract.folder import (
    JOURNAL_NAME,
    claim,
    drop_inside,
    name_folders,
    save_settings,
)
from deepkd.data.extract.journal import Journal, Record
from deepkd.data.extract.worker import CROPS_DIR, PARTS_DIR, ClipExtractor, Task, make_rows
from deepkd.data.index import INDEX_NAME, CropRow, write_index
from deepkd.data.splits import Splits, make_splits
from deepkd.errors import DataError
from deepkd.journal import content_key
from deepkd.machine import cores
from deepkd.pool import Outcome, run_tasks
from deepkd.settings.data import ExtractConfig

Start = Callable[[], Callable[[Task], Record]]
"""Called in each process; gives the function that extracts a clip."""
Runner = Callable[[Start, Iterator[Task]], Iterator[Outcome[Task, Record]]]
"""Extracts clips; outcomes come in any order."""


@dataclass
class Tally:
    """Counts for the clips of one label."""

    clips: int = 0
    with_faces: int = 0
    crops: int = 0
    no_face: int = 0
    failed: int = 0


@dataclass
class Summary:
    """The result of an extraction."""

    out: Path
    splits: Splits
    tallies: dict[str, Tally] = field(default_factory=dict)
    """Label (REAL, FAKE or empty) -> counts."""
    crops_by_split: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(split, label) -> crops."""
    no_face: list[tuple[str, str]] = field(default_factory=list)
    """(clip, why)."""
    failed: list[tuple[str, str]] = field(default_factory=list)
    """(clip, why)."""
    warnings: list[str] = field(default_factory=list)
    resumed: int = 0
    """Clips that an earlier run finished."""
    seconds: float = 0.0

    @property
    def crops(self) -> int:
        """All crops in the index."""
        return sum(tally.crops for tally in self.tallies.values())

    @property
    def exit_code(self) -> int:
        """0: all clips were read; 1: none; 3: some."""
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
    run_on: Runner | None = None,
) -> Summary:
    """Write the face crops of all clips, and their index.

    Args:
        names: sources as the user names them, see `find_clips`.
        out: folder to write to.
        config: the settings.
        resume: go on with the extraction that is there.
        overwrite: replace the extraction that is there.
        stdin: where the source `-` reads paths from.
        progress: called with (clips done, clips in all) after each clip.
        run_on: runs the clips on other machines; by default worker processes run them.

    Raises:
        UsageError: a URL, or contradicting flags.
        DataError: no clips, or a damaged list of a data set.
        OutputError: an extraction is there already, or the folder cannot be written; finished
            clips are kept.
        ModelError: the detector's networks are missing.
    """
    start = time.monotonic()
    warnings: list[str] = []
    clips = _find_clips(names, out, config, stdin, warnings.append)
    splits = make_splits(
        clips, val_share=config.val_share, test_share=config.test_share, unit=config.split_by
    )
    if overwrite:  # a detector that cannot be loaded must not cost what is there
        ClipExtractor(config, out, decode_threads=1)
    claim(out, resume=resume, overwrite=overwrite)
    summary = Summary(out, splits, warnings=warnings + _describe_splits(splits, config))
    with Journal(out / JOURNAL_NAME) as journal:
        save_settings(out, names, config)
        run = _Run(splits.clips, out, config, journal, summary)
        run.extract(progress or (lambda done, total: None), run_on)
        run.write_index()
    shutil.rmtree(out / PARTS_DIR, ignore_errors=True)
    summary.seconds = time.monotonic() - start
    return summary


def _find_clips(
    names: Sequence[str],
    out: Path,
    config: ExtractConfig,
    stdin: BinaryIO | None,
    warn: Callable[[str], None],
) -> list[Clip]:
    """Find the clips, without those that an earlier run wrote to `out`."""
    clips = drop_inside(out, find_clips(names, dataset=config.dataset, stdin=stdin, warn=warn))
    if all(clip.problem for clip in clips):
        reasons = "; ".join(f"{clip.path}: {clip.problem}" for clip in clips[:3])
        raise DataError(f"nothing to extract: {reasons or 'no clips outside of --out'}")
    return clips


def _describe_splits(splits: Splits, config: ExtractConfig) -> list[str]:
    """Warnings about the splits, a sentence each."""
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


class _Run:
    """The clips of one extraction, and what is done of them."""

    def __init__(
        self,
        clips: list[Clip],
        out: Path,
        config: ExtractConfig,
        journal: Journal,
        summary: Summary,
    ) -> None:
        self.clips, self.out, self.config = clips, out, config
        self.journal, self.summary = journal, summary
        self.keys: dict[str, str] = {}
        self.failed: dict[str, str] = {clip.video: clip.problem for clip in clips if clip.problem}

    def extract(self, progress: Callable[[int, int], None], run_on: Runner | None) -> None:
        """Extract the clips that are not finished."""
        workers = (
            min(cores(), len(self.clips)) if self.config.workers is None else self.config.workers
        )
        threads = 1 if run_on else max(1, cores() // max(workers, 1))
        start = partial(ClipExtractor, self.config, self.out, threads)
        run = run_on or partial(run_tasks, workers=workers)
        for outcome in run(start, self._list_tasks()):
            self._record(outcome)
            progress(len(self.keys) + len(self.failed), len(self.clips))

    def _list_tasks(self) -> Iterator[Task]:
        """The clips to extract. The old index is removed before the first of them."""
        folders = name_folders([clip.video for clip in self.clips])
        for clip, folder in zip(self.clips, folders, strict=True):
            key = "" if clip.problem else content_key(clip.path, clip.video)
            if key in self.journal and self._has_crops(self.journal.read(key)):
                self.keys[clip.video] = key
                self.summary.resumed += 1
            elif not clip.problem:
                (self.out / INDEX_NAME).unlink(missing_ok=True)
                yield Task(clip.video, clip.path, key, folder)

    def _has_crops(self, record: Record) -> bool:
        """Whether the crops of a finished clip are still in their folder."""
        return (
            not record.crops
            or (self.out / CROPS_DIR / record.folder / record.crops[-1].name).is_file()
        )

    def _record(self, outcome: Outcome[Task, Record]) -> None:
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

    def write_index(self) -> None:
        """Write the index; warn of clips in the journal that are not in it."""
        if left_out := self.journal.keys().difference(self.keys.values()):
            self.summary.warnings.append(
                f"{len(left_out)} clips that were extracted before are not in the index: these"
                " sources lack them as they were then; name all sources"
            )
        write_index(self.out / INDEX_NAME, self._make_rows())

    def _make_rows(self) -> Iterator[CropRow]:
        """The rows of the index, in order of the clips; also fills the summary."""
        for clip in self.clips:
            tally = self.summary.tallies.setdefault(clip.label, Tally())
            tally.clips += 1
            if clip.video in self.failed:
                tally.failed += 1
                self.summary.failed.append((clip.video, self.failed[clip.video]))
            else:
                yield from self._make_clip_rows(
                    clip, self.journal.read(self.keys[clip.video]), tally
                )

    def _make_clip_rows(self, clip: Clip, record: Record, tally: Tally) -> Iterator[CropRow]:
        self.summary.warnings += [f"{clip.video}: {warning}" for warning in record.warnings]
        if not record.crops:
            tally.no_face += 1
            self.summary.no_face.append((clip.video, record.reason))
            return
        tally.with_faces += 1
        tally.crops += len(record.crops)
        self.summary.crops_by_split[(clip.split, clip.label)] += len(record.crops)
        yield from make_rows(clip, record)
