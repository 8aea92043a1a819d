"""Detect: video -> frames -> faces -> tracks -> crops -> scores -> verdict."""

import math
import signal
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np

from deepkd.errors import DeepKDError, VideoError
from deepkd.scoring.evidence import flaw
from deepkd.scoring.model import BATCH, CalibratedModel, InputFormat, Scorer
from deepkd.scoring.verdict import Criteria, FrameScore, Label, Thresholds, Verdict, judge
from deepkd.settings import DetectConfig
from deepkd.video.crops import Crop, crop_face
from deepkd.video.faces import FaceDetector, load_detector
from deepkd.video.frames import Frame, VideoInfo, probe, read_frames
from deepkd.video.sources import Source
from deepkd.video.tracks import Tracker

THUMBNAIL_PX, THUMBNAIL_QUALITY = 112, 85
SHOWN = 3
"""Most suspicious and least suspicious faces of a person that keep their thumbnail, each."""

T = TypeVar("T")


def detect(
    path: Path,
    scorer: CalibratedModel,
    detector: FaceDetector,
    config: DetectConfig | None = None,
    *,
    thumbnails: bool = False,
    threads: int = 0,
) -> Verdict:
    """Judge one video or still image.

    Args:
        path: the file; it is only read.
        scorer: the model, which also says how faces are framed.
        detector: finds the faces.
        config: frames, rule, thresholds, time limit.
        thumbnails: keep small pictures of each person's most and least suspicious faces.
        threads: decoder threads, 0 for one per core.

    Raises:
        VideoError, ImageError: it cannot be decoded, or takes longer than `config.timeout_s`.
    """
    config = config or DetectConfig()
    watch, warnings = Stopwatch(), list[str]()
    with time_limit(path, config.timeout_s), watch.stage("decode"):
        info = probe(path)
        video = read_frames(path, frames=_frame_count(info, config), info=info, threads=threads, warn=warnings.append)
        frames = watch.each("decode", _in_time(video, path, config.timeout_s, watch))
        crops = watch.each("faces", find_people(frames, detector, scorer.format))
        scores = watch.each("score", score_crops(crops, scorer, thumbnails=thumbnails))
        people: dict[int, list[FrameScore]] = defaultdict(list)
        for person, score in scores:
            people[person].append(score)
    judgement = judge(people, _criteria(scorer, config, info), rule=config.rule)
    verdict = Verdict(
        **vars(judgement), path=path, duration_s=info.duration_s, fps=info.fps,
        frames_sampled=watch.count["decode"], timing_ms=watch.timing_ms(), warnings=(*info.warnings, *warnings),
    )  # fmt: skip
    return _explained(_with_few_thumbnails(verdict))


def find_people(frames: Iterable[Frame], detector: FaceDetector, format: InputFormat) -> Iterator[tuple[int, Crop]]:
    """Every face as (number of its person, crop framed and sized for the model)."""
    tracker = Tracker()
    for frame in frames:
        faces = detector.detect(frame.image)
        for person, face in zip(tracker.update(frame.t_s, faces), faces, strict=True):
            yield person, crop_face(frame, face, face_px=format.size, rule=format.crop)


def score_crops(
    crops: Iterable[tuple[int, Crop]], scorer: CalibratedModel, *, thumbnails: bool = False
) -> Iterator[tuple[int, FrameScore]]:
    """The scores of crops, in the same order; `BATCH` crops at a time, so that memory stays flat."""
    crops = iter(crops)
    while batch := list(islice(crops, BATCH)):
        logits = scorer.logits([crop.image for _, crop in batch])
        scores = scorer.calibration.probability(logits)
        for (person, crop), logit, score in zip(batch, logits, scores, strict=True):
            yield person, FrameScore(
                t_s=crop.t_s, box=crop.face.box, logit=float(logit), score=float(score),
                face_probability=crop.face.probability, flaw=flaw(crop), thumbnail=_jpeg(crop) if thumbnails else b"",
            )  # fmt: skip


def _frame_count(info: VideoInfo, config: DetectConfig) -> int:
    return max(config.frames, math.ceil(info.duration_s / config.every_s) if config.every_s else 0)


def _criteria(scorer: CalibratedModel, config: DetectConfig, info: VideoInfo) -> Criteria:
    min_frames = 1 if info.is_image else min(config.min_frames, config.frames)
    return Criteria(scorer.calibration, _thresholds(scorer, config), min_frames)


def _thresholds(scorer: CalibratedModel, config: DetectConfig) -> Thresholds:
    return scorer.thresholds.replace(real=config.threshold_real, fake=config.threshold_fake)


def _in_time(frames: Iterable[Frame], path: Path, limit_s: float, watch: "Stopwatch") -> Iterator[Frame]:
    """The frames, as long as the time limit allows: for where no alarm clock can ring (see `time_limit`)."""
    for frame in frames:
        if limit_s and watch.elapsed_s() > limit_s:
            raise _too_slow(path, limit_s)
        yield frame


def _too_slow(path: Path, limit_s: float) -> VideoError:
    return VideoError(f"{path}: took longer than {limit_s:g} s; raise --timeout, or lower --frames")


def _explained(verdict: Verdict) -> Verdict:
    """The verdict with what the rule cannot know in its reason: frames without faces, warnings."""
    count = verdict.frames_sampled
    seen = f" in {count} frame{'' if count == 1 else 's'}" if verdict.verdict is Label.NO_FACE else ""
    notes = "".join(f"; note: {warning}" for warning in verdict.warnings)
    return replace(verdict, reason=verdict.reason + seen + notes)


def _jpeg(crop: Crop) -> bytes:
    small = cv2.resize(crop.image, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    bgr = np.ascontiguousarray(small[..., ::-1])
    return bytes(cv2.imencode(".jpg", bgr, (cv2.IMWRITE_JPEG_QUALITY, THUMBNAIL_QUALITY))[1])


def _with_few_thumbnails(verdict: Verdict) -> Verdict:
    """Only the `SHOWN` most and least suspicious faces of each person keep their thumbnail."""
    tracks = []
    for track in verdict.tracks:
        ranked = sorted(track.frames, key=lambda frame: (frame.flaw is not None, frame.logit))
        usable = [frame for frame in ranked if frame.flaw is None] or ranked
        shown = {id(frame) for frame in (*usable[:SHOWN], *usable[-SHOWN:])}
        frames = (frame if id(frame) in shown else replace(frame, thumbnail=b"") for frame in track.frames)
        tracks.append(replace(track, frames=tuple(frames)))
    return replace(verdict, tracks=tuple(tracks))


class Stopwatch:
    """How long each stage of nested generators takes, without what the stages inside it take."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        """Items that each stage gave."""
        self._ms: Counter[str] = Counter()
        self._stack: list[str] = []
        self._start = self._mark = time.perf_counter()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time spent inside belongs to the stage `name`, unless an inner stage takes it."""
        self._lap()
        self._stack.append(name)
        try:
            yield
        finally:
            self._lap()
            self._stack.pop()

    def each(self, name: str, items: Iterable[T]) -> Iterator[T]:
        """The items; the time to make them belongs to the stage `name`."""
        iterator = iter(items)
        while True:
            with self.stage(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            self.count[name] += 1
            yield item

    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._start

    def timing_ms(self) -> dict[str, float]:
        """Milliseconds per stage, and `total` since the start."""
        return {**dict(sorted(self._ms.items())), "total": self.elapsed_s() * 1000}

    def _lap(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self._ms[self._stack[-1]] += (now - self._mark) * 1000  # type: ignore[assignment]
        self._mark = now


@contextmanager
def time_limit(path: Path, seconds: float) -> Iterator[None]:
    """Raise a `VideoError` once the body has taken so long; 0 is no limit.

    An alarm clock rings even between two sampled frames that lie far apart. It exists in the main thread of a Unix
    process only; elsewhere the body has to look at the time itself.
    """
    main = threading.current_thread() is threading.main_thread()
    if not seconds or not main or not hasattr(signal, "setitimer"):
        yield
        return

    def ring(*_: object) -> None:
        raise _too_slow(path, seconds)

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Bench:
    """A scorer and a detector, loaded once, and what judges inputs with them one after the other."""

    scorer: Scorer
    detector: FaceDetector
    config: DetectConfig = field(default_factory=DetectConfig)
    thumbnails: bool = False
    threads: int = 0
    """Of each library; 0 for one per core."""

    @classmethod
    def load(cls, config: DetectConfig, *, thumbnails: bool = False, threads: int = 0) -> "Bench":
        """The model and the detector that `config` names.

        Raises:
            ModelError: a model file is missing, damaged, of another kind, or untrained.
        """
        scorer = Scorer.load(config.model, threads=threads or None)
        detector = load_detector(config.detector, device=config.device, threads=threads or None)
        return cls(scorer, detector, config, thumbnails, threads)

    @property
    def thresholds(self) -> Thresholds:
        """What decides: the model's thresholds, or those that were asked for."""
        return _thresholds(self.scorer, self.config)

    def judge(self, source: Source) -> Verdict:
        """The verdict on one input; whatever goes wrong with it is a verdict too (ERROR)."""
        return judge_source(
            source, self.scorer, self.detector, self.config, thumbnails=self.thumbnails, threads=self.threads
        )


def judge_source(
    source: Source,
    scorer: CalibratedModel,
    detector: FaceDetector,
    config: DetectConfig,
    *,
    thumbnails: bool = False,
    threads: int = 0,
) -> Verdict:
    """The verdict of `detect` on one input; whatever goes wrong with it is a verdict too (ERROR)."""
    if source.problem:
        return Verdict.failed(source.path, source.problem)
    try:
        return detect(source.path, scorer, detector, config, thumbnails=thumbnails, threads=threads)
    except DeepKDError as error:
        return Verdict.failed(source.path, str(error).removeprefix(f"{source.path}: "))
    except Exception as error:  # A hostile file may trip any library; it must not take the batch with it.
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        return Verdict.failed(source.path, f"not judged, {type(error).__name__} at {at}: {error}")


def detect_all(
    sources: Iterable[Source], config: DetectConfig | None = None, *, bench: Bench | None = None
) -> Iterator[Verdict]:
    """A verdict for every input, in the order of the inputs, each as soon as it is known.

    With `config.workers`, so many processes judge side by side, each with models of its own.

    Args:
        sources: the inputs, see `deepkd.video.sources.find_sources`.
        config: how to judge.
        bench: what is loaded already; made from `config` when left out.

    Raises:
        ModelError: a model file is missing, damaged, of another kind, or untrained.
    """
    bench = bench or Bench.load(config or DetectConfig())
    bench = replace(bench, config=config or bench.config)
    if bench.config.workers:
        yield from _in_processes(sources, bench, bench.config.workers)
    else:
        yield from map(bench.judge, sources)


def _in_processes(sources: Iterable[Source], bench: Bench, workers: int) -> Iterator[Verdict]:
    """Verdicts in the order of the inputs; one that comes early waits for its turn."""
    from deepkd.data.workers import cores, run_tasks

    start = partial(_start_worker, bench.config, bench.thumbnails, max(1, cores() // workers))
    early: dict[int, Verdict] = {}
    turn = 0
    for outcome in run_tasks(start, enumerate(sources), workers=workers):
        number, source = outcome.task
        early[number] = outcome.result or Verdict.failed(source.path, outcome.error)
        while turn in early:
            yield early.pop(turn)
            turn += 1


def _start_worker(config: DetectConfig, thumbnails: bool, threads: int) -> Callable[[tuple[int, Source]], Verdict]:
    cv2.setNumThreads(threads)
    bench = Bench.load(config, thumbnails=thumbnails, threads=threads)
    return lambda numbered: bench.judge(numbered[1])
