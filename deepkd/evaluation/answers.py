"""Answers: what `detect` says about each clip, kept so that a second run resumes.

out/robustness.jsonl                      the answers of a run on all clips
out/part-0001-of-0004/robustness.jsonl    those of a run on a share of them, see `Shard`
"""

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import deepkd
from deepkd.data.clips import Clip
from deepkd.data.corruptions import SUITE, Step
from deepkd.errors import DataError
from deepkd.evaluation.corruption import corrupt_clip
from deepkd.evaluation.journal import JOURNAL_NAME, Journal
from deepkd.evaluation.robustness import identities
from deepkd.evaluation.scores import Progress
from deepkd.images import Image
from deepkd.journal import content_key
from deepkd.pipeline import Alter, Detector
from deepkd.scoring.model import CalibratedModel
from deepkd.scoring.thresholds import Label
from deepkd.settings.detect import DetectConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.shards import PART, Shard
from deepkd.video.faces import Face, FaceDetector, load_detector
from deepkd.video.sources import Source

CLEAN = "clean"
"""In place of a perturbation's name: the clips as they are."""
KEYS = ("model", "clip", "perturbation", "level")
"""What tells one kept verdict from another."""


class CachingDetector:
    """A face detector that finds the faces of a picture once, for all models that ask."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector
        self._found: dict[tuple[int, tuple[int, ...], bool], list[Face]] = {}

    def detect(self, image: Image, *, thorough: bool = False) -> list[Face]:
        """As the detector's own."""
        key = (zlib.crc32(np.ascontiguousarray(image).data), image.shape, thorough)
        if key not in self._found:
            self._found[key] = self.detector.detect(image, thorough=thorough)
        return self._found[key]

    def forget(self) -> None:
        """Let go of the pictures of one video."""
        self._found.clear()


@dataclass(frozen=True)
class Answer:
    """What `detect` answered for one clip."""

    verdict: Label
    score: float | None
    """Calibrated probability of forgery; None without a judged face."""
    reason: str


@dataclass(frozen=True)
class ClipScorer:
    """Models that judge clips as `detect` does, and keep their answers."""

    models: Sequence[CalibratedModel]
    detector: CachingDetector
    config: EvaluateConfig
    kept: Journal

    def answers(self, clip: Clip, name: str, level: float) -> list[Answer]:
        """Each model's answer on a clip under one corruption, or `CLEAN`."""
        keys = [(model, str(clip.path), name, level) for model in map(_identity, self.models)]
        found = {key: self.kept.found[key] for key in keys if key in self.kept.found}
        if len(found) < len(set(keys)):
            with self._source(clip, name, level) as (source, alter):
                for key, model in zip(keys, self.models, strict=True):
                    found[key] = found.get(key) or self._judge(source, model, alter)
                    if (
                        key not in self.kept.found and found[key][0] != Label.ERROR
                    ):  # which may pass: tried again
                        self.kept.add(*key, result=found[key])
            self.detector.forget()
        return [
            Answer(Label(verdict), score, reason)
            for verdict, score, reason in map(found.__getitem__, keys)
        ]

    @contextmanager
    def _source(self, clip: Clip, name: str, level: float) -> Iterator[tuple[Source, Alter | None]]:
        if name == CLEAN:
            yield Source(clip.path, clip.problem), None
            return
        with corrupt_clip(clip, name, level, seed=self.config.seed) as (source, alter):
            yield source, alter

    def _judge(
        self, source: Source, model: CalibratedModel, alter: Alter | None
    ) -> tuple[str, float | None, str]:
        judge = DetectConfig(frames=self.config.frames, threshold_fake=self.config.threshold)
        verdict = Detector.from_parts(model, self.detector, judge).judge(source, alter=alter)
        return str(verdict.label), verdict.score, verdict.reason


Answers = dict[Step, list[list[Answer]]]
"""Corruption and level -> for each clip the answers of the models, in their order."""


def judge_clips(
    models: Sequence[CalibratedModel],
    clips: Sequence[Clip],
    steps: Sequence[Step],
    config: EvaluateConfig,
    kept: Journal,
    *,
    progress: Progress | None = None,
) -> Answers:
    """Judge every clip with every model under each corruption.

    Args:
        models: each frames the faces as it wants.
        clips: each is known by its path.
        steps: corruptions and their levels, or `CLEAN`.
        config: frames, threshold, seed, device.
        kept: answers that are known already; gets the new ones.
        progress: told after each clip and level.
    """
    detector = CachingDetector(load_detector(DetectConfig().detector, device=config.device))
    scorer = ClipScorer(models, detector, config, kept)
    answers: Answers = {step: [] for step in steps}
    for done, (clip, step) in enumerate(product(clips, steps), 1):
        answers[step].append(scorer.answers(clip, *step))
        if progress:
            progress(done, len(clips) * len(steps))
    return answers


def keep_labelled(clips: Sequence[Clip]) -> list[Clip]:
    """Those with a label.

    Raises:
        DataError: there are none.
    """
    labelled = [clip for clip in clips if clip.label]
    if not labelled:
        raise DataError(
            f"none of the {len(clips)} videos has a label; give a data set's own folder, folders"
            " named real and fake, a list (path,label), or crops with their index.csv"
        )
    return labelled


def open_kept(
    clips: Sequence[Clip],
    config: EvaluateConfig,
    folder: Path | None,
    *,
    shard: Shard | None = None,
    overwrite: bool = False,
) -> Journal:
    """The answers that are kept in a folder; those of a run on all clips with those of all parts.

    An ERROR is not kept: it may have been the machine's.

    Args:
        clips: all that are evaluated.
        config: frames, threshold, seed.
        folder: None keeps nothing beyond this run.
        shard: the share that this run judges; None for all clips.
        overwrite: begin anew what is kept.

    Raises:
        OutputError: the answers are on other clips or were given under other settings, or cannot
            be read or written.
    """
    describe = cache(_describe)  # each clip is read once, though its part asks again

    def subject(some: Iterable[Clip]) -> dict[str, Any]:
        lines = (describe(clip.path, clip.label, clip.video) for clip in some)
        return _subject("\n".join(lines), config)

    if folder and shard:
        mine = shard.take(clips)
        return Journal(folder / shard.part, lambda: subject(mine), KEYS, overwrite=overwrite)
    kept = Journal(folder, lambda: subject(clips), KEYS, overwrite=overwrite)
    for path, part in _find_parts(folder) if folder else ():
        if overwrite:
            path.unlink()
        else:
            kept.join(path, subject(part.take(clips)))
    return kept


def _find_parts(folder: Path) -> Iterator[tuple[Path, Shard]]:
    """The answers of each part in a folder."""
    for path in sorted(folder.glob(f"part-*/{JOURNAL_NAME}")):
        if match := re.fullmatch(PART, path.parent.name):
            yield path, Shard(*map(int, match.groups()))


def _identity(model: CalibratedModel) -> str:
    """A hash of all that a model's verdicts depend on: weights, calibration, thresholds."""
    parts = (*identities([model]), repr(model.calibration), repr(model.thresholds))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _describe(path: Path, label: str, video: str) -> str:
    return f"{path},{label},{content_key(path, video)}"


def _subject(clips: str, config: EvaluateConfig) -> dict[str, Any]:
    """What the kept verdicts belong to."""
    return {
        "deepkd": deepkd.__version__,
        "suite": SUITE,
        "videos": hashlib.sha256(clips.encode("utf-8", "surrogateescape")).hexdigest(),
        "frames": config.frames,
        "threshold": config.threshold,
        "seed": config.seed,
    }
