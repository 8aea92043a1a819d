"""Detect: video -> frames -> faces -> tracks -> crops -> scores -> verdict."""

import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from deepkd.errors import DeepKDError
from deepkd.scoring.evidence import flaw
from deepkd.scoring.model import CalibratedModel, InputFormat, Scorer
from deepkd.scoring.verdict import (
    Criteria,
    FrameScore,
    Label,
    Thresholds,
    Verdict,
    judge,
    odd_frames,
)
from deepkd.settings.detect import DetectConfig
from deepkd.timing import Stopwatch, time_limit, too_slow
from deepkd.video.crops import Crop, crop_face
from deepkd.video.faces import Face, FaceDetector, load_detector
from deepkd.video.frames import Frame, Moments, Plan, VideoInfo, evenly
from deepkd.video.readahead import ReadAhead
from deepkd.video.shots import ALIKE, Look
from deepkd.video.sources import Source
from deepkd.video.tracks import Tracker, same_person

THUMBNAIL_PX, THUMBNAIL_QUALITY = 112, 85
SHOWN = 3
"""Most suspicious and least suspicious faces of a person that keep their thumbnail, each."""
TOGETHER = 8
"""Crops scored in one call."""
AHEAD = 50
"""So many verdicts for each process wait for a slower one before them; then no further input is
begun."""
Alter = Callable[[Frame], Frame]
SPOTS, CLOSER_STEP_S, CLOSER_S = 3, 0.2, 1.0
"""A closer look is taken at so many moments of a clip at most, with a frame every so many seconds,
from the sample before to the sample after, but no farther than so many seconds."""
THOROUGH = 4
"""Every so many frames are searched for small faces beside larger ones, and those that follow one
with such a face: always would cost two and a half times as much more of a detector's time on frames
of 1080 lines."""


def detect(
    path: Path,
    scorer: CalibratedModel,
    detector: FaceDetector,
    config: DetectConfig | None = None,
    *,
    thumbnails: bool = False,
    threads: int = 0,
    video: ReadAhead | None = None,
    alter: Alter | None = None,
) -> Verdict:
    """Judge one video or still image. It is decoded in a thread while faces are found and scored here.

    Args:
        path: the file; it is only read.
        scorer: the model, which also says how faces are framed.
        detector: finds the faces.
        config: frames, rule, thresholds, time limit.
        thumbnails: keep small pictures of each person's most and least suspicious faces.
        threads: decoder threads, 0 for one per core.
        video: `path`, where its decoding has begun already; it is closed in any case.
        alter: what is done to each frame before anybody looks at it, to see what damage does to a
            verdict.

    Raises:
        VideoError, ImageError: it cannot be decoded, or takes longer than `config.timeout_s`.
    """
    config = config or DetectConfig()
    look = _Look(path, scorer, detector, config, thumbnails, threads, alter)
    with (
        video or ReadAhead(path, evenly(config.samples), threads=threads) as video,
        time_limit(path, config.timeout_s),
    ):
        with look.watch.stage("decode"):
            info = video.info
        criteria = _criteria(scorer, config, info)
        people = look.everywhere(video)
        look.closer(people, criteria, info.duration_s)
    judgement = judge(people, criteria, rule=config.rule)
    verdict = Verdict(
        **vars(judgement), path=path, duration_s=info.duration_s, fps=info.fps,
        frames_sampled=look.watch.count["decode"], timing_ms=look.watch.timing_ms(),
        warnings=(*info.warnings, *video.warnings),
    )  # fmt: skip
    return _explained(_with_few_thumbnails(verdict))


@dataclass
class _Look:
    """Looks at one input: frames, faces, scores."""

    path: Path
    scorer: CalibratedModel
    detector: FaceDetector
    config: DetectConfig
    thumbnails: bool
    threads: int
    alter: Alter | None
    watch: Stopwatch = field(default_factory=Stopwatch)

    def everywhere(self, video: ReadAhead) -> dict[int, list[FrameScore]]:
        """Everybody's faces in the sampled frames: number of the person -> in order of time."""
        people: dict[int, list[FrameScore]] = defaultdict(list)
        for person, score in self._scores(
            find_people(self._frames(video), self.detector, self.scorer.format)
        ):
            people[person].append(score)
        return people

    def closer(
        self, people: dict[int, list[FrameScore]], criteria: Criteria, duration_s: float
    ) -> None:
        """Look closer where a single frame looks forged, and add what is seen to the person's frames.

        One odd frame is no verdict, but it may be all that the samples show of a short forgery.
        """
        gap_s = min(CLOSER_S, duration_s / self.config.samples(duration_s))
        if self.config.single_look or self.config.rule == "upstream" or gap_s <= CLOSER_STEP_S:
            return
        for person, spot in _spots(people, criteria, gap_s):
            known = {frame.t_s for frame in people[person]}
            with ReadAhead(self.path, around(spot.t_s, gap_s), threads=self.threads) as video:
                crops = (
                    (person, crop) for crop in self._follow(spot, video) if crop.t_s not in known
                )
                people[person] += [
                    replace(score, is_closer=True) for _, score in self._scores(crops)
                ]
            people[person].sort(key=lambda frame: frame.t_s)

    def _follow(self, spot: FrameScore, video: ReadAhead) -> Iterator[Crop]:
        """The crops of one person near the moment when they were seen, in the same shot."""
        looks: dict[float, Look] = {}
        crops: list[Crop] = []
        for frame in self._frames(video):
            looks[frame.t_s] = Look.of(frame.image)
            for thorough in (False, True):
                faces = self.detector.detect(frame.image, thorough=thorough)
                found = same_person(spot.t_s, spot.box, frame.t_s, [face.box for face in faces])
                if found is not None:
                    format = self.scorer.format
                    crops.append(
                        crop_face(frame, faces[found], face_px=format.size, rule=format.crop)
                    )
                    break
        if looks:
            there = looks[min(looks, key=lambda t_s: abs(t_s - spot.t_s))]
            yield from (crop for crop in crops if looks[crop.t_s].likeness(there) >= ALIKE)

    def _scores(self, crops: Iterable[tuple[int, Crop]]) -> Iterator[tuple[int, FrameScore]]:
        crops = self.watch.each("faces", crops)
        return self.watch.each("score", score_crops(crops, self.scorer, thumbnails=self.thumbnails))

    def _frames(self, video: ReadAhead) -> Iterator[Frame]:
        """The frames, as long as the time limit allows: for where no alarm clock can ring (see `time_limit`)."""
        limit_s = self.config.timeout_s
        for frame in self.watch.each("decode", video):
            if limit_s and self.watch.elapsed_s() > limit_s:
                raise too_slow(self.path, limit_s)
            yield self.alter(frame) if self.alter else frame


def _spots(
    people: dict[int, list[FrameScore]], criteria: Criteria, gap_s: float
) -> Iterator[tuple[int, FrameScore]]:
    """The few most suspicious frames, with their person, no two of a person from one place."""
    odd = [
        (person, frame)
        for person, frames in people.items()
        for frame in odd_frames(frames, criteria)
    ]
    chosen: list[tuple[int, FrameScore]] = []
    for person, frame in sorted(odd, key=lambda one: -one[1].logit):
        if all(person != other or abs(frame.t_s - spot.t_s) > gap_s for other, spot in chosen):
            chosen.append((person, frame))
    yield from chosen[:SPOTS]


def around(t_s: float, gap_s: float) -> Plan:
    """The plan of a closer look: close together, from `gap_s` before a time to as long after it."""

    def plan(duration_s: float) -> Moments:
        start_s, end_s = max(0.0, t_s - gap_s), min(duration_s, t_s + gap_s)
        return Moments(np.arange(start_s, end_s, CLOSER_STEP_S).tolist() or [t_s], CLOSER_STEP_S)

    return plan


def find_people(
    frames: Iterable[Frame], detector: FaceDetector, format: InputFormat
) -> Iterator[tuple[int, Crop]]:
    """Every face as (number of its person, crop framed and sized for the model)."""
    tracker, faces = Tracker(), list[Face]()
    for number, frame in enumerate(frames):
        thorough = number % THOROUGH == 0 or any(face.is_small for face in faces)
        faces = detector.detect(frame.image, thorough=thorough)
        for person, face in zip(tracker.update(frame.t_s, faces, frame.image), faces, strict=True):
            yield person, crop_face(frame, face, face_px=format.size, rule=format.crop)


def score_crops(
    crops: Iterable[tuple[int, Crop]], scorer: CalibratedModel, *, thumbnails: bool = False
) -> Iterator[tuple[int, FrameScore]]:
    """The scores of crops, in the same order; `TOGETHER` at a time, so that memory stays flat."""
    crops = iter(crops)
    while batch := list(islice(crops, TOGETHER)):
        images = [crop.image for _, crop in batch]
        places: Iterable[Any] = repeat(None)
        if thumbnails and isinstance(scorer, Scorer) and scorer.has_evidence:
            logits, places = scorer.evidence(images)
        else:
            logits = scorer.logits(images)
        scores = scorer.calibration.probability(logits)
        for (person, crop), logit, score, place in zip(batch, logits, scores, places, strict=False):
            yield person, FrameScore(
                t_s=crop.t_s, box=crop.face.box, logit=float(logit), score=float(score),
                face_probability=crop.face.probability, flaw=flaw(crop),
                thumbnail=_jpeg(crop) if thumbnails else b"", evidence=place,
            )  # fmt: skip


def _criteria(scorer: CalibratedModel, config: DetectConfig, info: VideoInfo) -> Criteria:
    min_frames = 1 if info.is_image else min(config.min_frames, config.samples(info.duration_s))
    return Criteria(scorer.calibration, _thresholds(scorer, config), min_frames)


def _thresholds(scorer: CalibratedModel, config: DetectConfig) -> Thresholds:
    return scorer.thresholds.replace(real=config.threshold_real, fake=config.threshold_fake)


def _explained(verdict: Verdict) -> Verdict:
    """The verdict with what the rule cannot know in its reason: frames without faces, warnings."""
    count = verdict.frames_sampled
    seen = (
        f" in {count} frame{'' if count == 1 else 's'}" if verdict.verdict is Label.NO_FACE else ""
    )
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
        frames = (
            frame if id(frame) in shown else replace(frame, thumbnail=b"", evidence=None)
            for frame in track.frames
        )
        tracks.append(replace(track, frames=tuple(frames)))
    return replace(verdict, tracks=tuple(tracks))


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
            UsageError: the runtime is not installed.
        """
        scorer = Scorer.load(config.model, threads=threads or None, runtime=config.runtime)
        detector = load_detector(config.detector, device=config.device, threads=threads or None)
        return cls(scorer, detector, config, thumbnails, threads)

    @property
    def thresholds(self) -> Thresholds | None:
        """What decides: the model's thresholds, or those that were asked for; None under a rule that has its own."""
        return None if self.config.rule == "upstream" else _thresholds(self.scorer, self.config)

    def judge(self, source: Source, video: ReadAhead | None = None) -> Verdict:
        """The verdict on one input; whatever goes wrong with it is a verdict too (ERROR).

        Args:
            source: the input.
            video: the same, where its decoding has begun already.
        """
        return judge_source(
            source, self.scorer, self.detector, self.config,
            thumbnails=self.thumbnails, threads=self.threads, video=video,
        )  # fmt: skip


def judge_source(
    source: Source,
    scorer: CalibratedModel,
    detector: FaceDetector,
    config: DetectConfig,
    *,
    thumbnails: bool = False,
    threads: int = 0,
    video: ReadAhead | None = None,
    alter: Alter | None = None,
) -> Verdict:
    """The verdict of `detect`, whose arguments these are, on one input; what goes wrong is a verdict too (ERROR)."""
    if source.problem:
        return Verdict.failed(source.path, source.problem)
    try:
        return detect(
            source.path, scorer, detector, config,
            thumbnails=thumbnails, threads=threads, video=video, alter=alter,
        )  # fmt: skip
    except DeepKDError as error:
        return Verdict.failed(source.path, str(error).removeprefix(f"{source.path}: "))
    except (
        Exception
    ) as error:  # A hostile file may trip any library; it must not take the batch with it.
        where = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(where.filename).name}:{where.lineno}"
        return Verdict.failed(source.path, f"not judged, {type(error).__name__} at {at}: {error}")


def detect_all(
    sources: Iterable[Source],
    config: DetectConfig | None = None,
    *,
    bench: Bench | None = None,
    begun: ReadAhead | None = None,
) -> Iterator[Verdict]:
    """A verdict for every input, in the order of the inputs, each as soon as it is known.

    With `config.workers`, so many processes judge side by side, each with models of its own.

    Args:
        sources: the inputs, see `deepkd.video.sources.find_sources`.
        config: how to judge.
        bench: what is loaded already; made from `config` when left out.
        begun: the first input, where its decoding has begun already; the caller closes it.

    Raises:
        ModelError: a model file is missing, damaged, of another kind, or untrained.
    """
    bench = bench or Bench.load(config or DetectConfig())
    bench = replace(bench, config=config or bench.config)
    if bench.config.workers:
        yield from _in_processes(sources, bench, bench.config.workers)
    else:
        for source in sources:
            yield bench.judge(source, begun)
            begun = None


def _in_processes(sources: Iterable[Source], bench: Bench, workers: int) -> Iterator[Verdict]:
    """Verdicts in the order of the inputs; one that comes early waits for its turn, or for Ctrl-C."""
    from deepkd.data.extract.pool import run_tasks
    from deepkd.machine import cores

    start = partial(_start_worker, bench.config, bench.thumbnails, max(1, cores() // workers))
    early: dict[int, Verdict] = {}
    turn = 0

    def room() -> bool:
        return len(early) < AHEAD * workers

    try:
        for outcome in run_tasks(start, enumerate(sources), workers=workers, room=room):
            number, source = outcome.task
            early[number] = outcome.result or Verdict.failed(source.path, outcome.error)
            while turn in early:
                yield early.pop(turn)
                turn += 1
    except KeyboardInterrupt:
        yield from (early[number] for number in sorted(early))
        raise


def _start_worker(
    config: DetectConfig, thumbnails: bool, threads: int
) -> Callable[[tuple[int, Source]], Verdict]:
    cv2.setNumThreads(threads)
    bench = Bench.load(config, thumbnails=thumbnails, threads=threads)
    return lambda numbered: bench.judge(numbered[1])
