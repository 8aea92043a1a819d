"""The pipeline: video -> frames -> faces -> tracks -> crops -> scores -> verdict."""

import os
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import cv2

from deepkd.errors import DeepKDError, VideoError
from deepkd.machine import cores
from deepkd.origin.arrival import fetch_input
from deepkd.origin.credentials import examine, read_anchors
from deepkd.parallel import judge_in_processes
from deepkd.scoring.closer_look import (
    MAX_REACH_S,
    STEP_S,
    around,
    follow_person,
    suspicious_moments,
)
from deepkd.scoring.footage import Seen, find_people
from deepkd.scoring.model import CalibratedModel, Scorer
from deepkd.scoring.rules import Criteria
from deepkd.scoring.scores import FrameScore, score_crops
from deepkd.scoring.thresholds import Thresholds
from deepkd.scoring.verdict import Verdict, judge
from deepkd.settings.choices import RULES
from deepkd.settings.detect import DetectConfig
from deepkd.timing import Stopwatch, time_limit, too_slow
from deepkd.video.copies import fetch_copy
from deepkd.video.crops import Crop
from deepkd.video.faces import USUAL, FaceDetector, load_detector, unsought
from deepkd.video.frames import Frame, VideoInfo, evenly
from deepkd.video.readahead import ReadAhead
from deepkd.video.shots import find_spans
from deepkd.video.sources import Source, as_source, expand_paths

AnyPath = str | os.PathLike[str]
Alter = Callable[[Frame], Frame]


def detect(
    path: AnyPath,
    *,
    model: AnyPath = "deepkd-nano",
    runtime: str = "onnxruntime",
    frames: int = 16,
    every_s: float | None = None,
    single_look: bool = False,
    min_frames: int = 3,
    rule: str = "mean-logit",
    threshold_fake: float | None = None,
    threshold_real: float | None = None,
    detector: str = "mtcnn",
    device: str = "auto",
    timeout_s: float = 600.0,
    trust_anchors: str | None = None,
) -> Verdict:
    """Judge whether the faces in one video or image are forged; `Detector` judges several.

    Args:
        path: a video or an image, which is only read, or a link to one (extra `url`).
        model: a shipped model by its name, or an ONNX file by its path.
        runtime: library that runs the model.
        frames: least number of frames sampled.
        every_s: most seconds between two sampled frames; 0 for no limit.
        single_look: do not sample more frames around frames that look forged.
        min_frames: frames in which a person must be clearly visible.
        rule: how frame scores become a verdict.
        threshold_fake: probability from which a person is FAKE; None takes the model's own.
        threshold_real: probability up to which a person is REAL; None takes the model's own.
        detector: the face detector.
        device: `cuda` for the model, in ONNX Runtime, and for a PyTorch face detector.
        timeout_s: most seconds that the file may take; 0 for no limit.
        trust_anchors: a PEM file of those who may vouch for signers of content credentials.

    Raises:
        VideoError, ImageError: the file is missing, cannot be decoded, or takes too long.
        ModelError: the model is missing, damaged, of another kind, or untrained.
        ConfigError: an option has a value that it does not take.

    Example:
        >>> print(deepkd.detect("clip.mp4", frames=8).reason)  # doctest: +ELLIPSIS
        1 person, who ...
    """
    return Detector(
        model, runtime=runtime, frames=frames, every_s=every_s, single_look=single_look,
        min_frames=min_frames, rule=rule, threshold_fake=threshold_fake,
        threshold_real=threshold_real, detector=detector, device=device, timeout_s=timeout_s,
        trust_anchors=trust_anchors,
    ).detect(path)  # fmt: skip


class Detector:
    """A model and a face detector, loaded once to judge many files.

    The options are those of `detect`. One detector may be used from several threads.

    Example:
        >>> detector = deepkd.Detector(model="deepkd-nano", frames=8)
        >>> print(detector.detect("clip.mp4").reason)  # doctest: +ELLIPSIS
        1 person, who ...
        >>> verdicts = detector.detect_many(["clip.mp4", "missing.mp4"])
        >>> [verdict.label == "ERROR" for verdict in verdicts]
        [False, True]
    """

    config: DetectConfig
    scorer: CalibratedModel
    faces: FaceDetector
    thumbnails: bool
    threads: int
    anchors: str

    def __init__(
        self,
        model: AnyPath = "deepkd-nano",
        *,
        runtime: str = "onnxruntime",
        frames: int = 16,
        every_s: float | None = None,
        single_look: bool = False,
        min_frames: int = 3,
        rule: str = "mean-logit",
        threshold_fake: float | None = None,
        threshold_real: float | None = None,
        detector: str = "mtcnn",
        device: str = "auto",
        timeout_s: float = 600.0,
        trust_anchors: str | None = None,
    ) -> None:
        config = DetectConfig(
            model=os.fspath(model), runtime=runtime, frames=frames, every_s=every_s,
            single_look=single_look, min_frames=min_frames, rule=rule,
            threshold_fake=threshold_fake, threshold_real=threshold_real, detector=detector,
            device=device, timeout_s=timeout_s, trust_anchors=trust_anchors,
        )  # fmt: skip
        vars(self).update(vars(Detector.load(config)))

    @classmethod
    def load(
        cls, config: DetectConfig, *, thumbnails: bool = False, threads: int = 0
    ) -> "Detector":
        """The detector with the model and the face detector that `config` names.

        Args:
            config: how to judge.
            thumbnails: keep small pictures of each person's most and least suspicious faces.
            threads: CPU threads of each library; 0 for one per core.

        Raises:
            ModelError: a model file is missing, damaged, of another kind, or untrained.
            UsageError: the runtime is not installed.
        """
        count, on = threads or None, "cuda" if config.device == "cuda" else "cpu"
        scorer = Scorer.load(config.model, threads=count, runtime=config.runtime, device=on)
        on = "cpu" if config.detector == USUAL else config.device
        faces = load_detector(config.detector, device=on, threads=count)
        return cls.from_parts(scorer, faces, config, thumbnails=thumbnails, threads=threads)

    @classmethod
    def from_parts(
        cls,
        scorer: CalibratedModel,
        faces: FaceDetector,
        config: DetectConfig | None = None,
        *,
        thumbnails: bool = False,
        threads: int = 0,
    ) -> "Detector":
        """The detector with a model and a face detector that are loaded already."""
        self = cls.__new__(cls)
        self.scorer, self.faces, self.config = scorer, faces, config or DetectConfig()
        self.thumbnails, self.threads = thumbnails, threads
        self.anchors = read_anchors(self.config.trust_anchors)
        return self

    @property
    def thresholds(self) -> Thresholds | None:
        """The probabilities that decide; None under a rule that has its own."""
        if RULES.load(self.config.rule).has_own_thresholds:
            return None
        return _thresholds(self.scorer, self.config)

    def detect(self, path: AnyPath) -> Verdict:
        """The verdict on one video or image.

        Raises:
            VideoError, ImageError: it is missing, cannot be decoded, or takes too long.
            ModelError: the model gives a score that is not a finite number.
        """
        return self._judge_or_raise(as_source(path, takes_links=True))

    def detect_many(
        self, paths: AnyPath | Iterable[AnyPath], workers: int = 0
    ) -> Iterator[Verdict]:
        """A verdict for each file, in order, each as soon as it is known.

        A file that cannot be judged has a verdict with the label ERROR and the reason.

        Args:
            paths: files, links, folders or patterns; these stand for the files in them.
            workers: processes that judge in parallel, each with its own models; 0 uses this process
                only. A script that uses them starts under `if __name__ == "__main__":`.
        """
        return self.judge_all(expand_paths(paths), workers=workers)

    def judge(
        self, source: Source, *, video: ReadAhead | None = None, alter: Alter | None = None
    ) -> Verdict:
        """The verdict on one input; an input that cannot be judged is an ERROR.

        Args:
            source: the input.
            video: the same input, if its decoding has started.
            alter: see `judge_file`.
        """
        try:
            return self._judge_or_raise(source, video, alter)
        except DeepKDError as error:
            return Verdict.from_failure(source.path, str(error).removeprefix(f"{source.path}: "))

    def _judge_or_raise(
        self, source: Source, video: ReadAhead | None = None, alter: Alter | None = None
    ) -> Verdict:
        if source.problem:
            raise VideoError(f"{source.path}: {source.problem}")
        try:
            with (
                fetch_input(source.path, source.link, self.config) as (file, origin),
                fetch_copy(file, self.config.timeout_s) as path,
            ):
                verdict = judge_file(
                    path, self.scorer, self.faces, self.config,
                    thumbnails=self.thumbnails, threads=self.threads, video=video, alter=alter,
                )  # fmt: skip
                known = examine(path, self.anchors)
            return replace(verdict, path=source.path, provenance=known, origin=origin)
        except DeepKDError:
            raise
        except Exception as error:  # a hostile file may make any library fail
            where = traceback.extract_tb(error.__traceback__)[-1]
            at = f"{Path(where.filename).name}:{where.lineno}"
            reason = f"not judged, {type(error).__name__} at {at}: {error}"
            raise VideoError(f"{source.path}: {reason}") from error

    def judge_all(
        self, sources: Iterable[Source], *, workers: int = 0, first: ReadAhead | None = None
    ) -> Iterator[Verdict]:
        """A verdict for each input, in the order of the inputs, each as soon as it is known.

        Args:
            sources: the inputs, see `deepkd.video.sources.find_sources`.
            workers: processes that judge in parallel; 0 uses this process only.
            first: the first input, if its decoding has started; the caller closes it.
        """
        if workers:
            threads = self.threads or max(1, cores() // workers)
            start = partial(_start_worker, self.config, self.thumbnails, threads)
            yield from judge_in_processes(start, sources, workers=workers)
            return
        for source in sources:
            yield self.judge(source, video=first)
            first = None


def judge_file(
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
    """Judge one video or image. It is decoded in a thread while faces are found and scored here.

    Args:
        path: the file; it is only read.
        scorer: the model, which also says how faces are framed.
        detector: finds the faces.
        config: frames, rule, thresholds, time limit.
        thumbnails: keep small pictures of each person's most and least suspicious faces.
        threads: decoder threads, 0 for one per core.
        video: `path`, if its decoding has started; it is always closed.
        alter: changes each frame first, to measure how a corruption changes the verdict.

    Raises:
        VideoError, ImageError: it cannot be decoded, or takes longer than `config.timeout_s`.
    """
    config = config or DetectConfig()
    clip = _Clip(path, scorer, detector, config, thumbnails, threads, alter)
    with (
        video or ReadAhead(path, evenly(config.samples), threads=threads) as video,
        time_limit(path, config.timeout_s),
    ):
        with clip.watch.stage("decode"):
            info = video.info
        clip.is_image = info.is_image
        criteria = _criteria(scorer, config, info)
        people = clip.score_people(video)
        clip.look_closer(people, criteria, info.duration_s)
    seen, longer_px = clip.seen, max(info.width, info.height)
    spans, same = find_spans(seen.samples, info.duration_s), seen.people.numbers()
    verdict = Verdict(
        **vars(judge(people, criteria, rule=config.rule, same=same, spans=spans)),
        path=path, duration_s=info.duration_s, fps=info.fps,
        frames_sampled=clip.watch.count["decode"], timing_ms=clip.watch.timing_ms(),
        warnings=(*info.warnings, *video.warnings, *(unsought(longer_px) if people else ())),
        has_sound=info.has_sound,
        sampled_s=tuple(t_s for t_s, _ in seen.samples),
    )  # fmt: skip
    return verdict.with_few_thumbnails().with_notes()


@dataclass
class _Clip:
    """One file while it is judged."""

    path: Path
    scorer: CalibratedModel
    detector: FaceDetector
    config: DetectConfig
    thumbnails: bool
    threads: int
    alter: Alter | None
    is_image: bool = False
    watch: Stopwatch = field(default_factory=Stopwatch)
    seen: Seen = field(default_factory=Seen)

    def score_people(self, video: ReadAhead) -> dict[int, list[FrameScore]]:
        """Number of the person -> scores in the sampled frames, in order of time."""
        people: dict[int, list[FrameScore]] = defaultdict(list)
        crops = find_people(self._frames(video), self.detector, self.scorer.format, seen=self.seen)
        for person, score in self._scores(crops):
            people[person].append(score)
        return people

    def look_closer(
        self, people: dict[int, list[FrameScore]], criteria: Criteria, duration_s: float
    ) -> None:
        """Sample more frames where a single frame looks forged, and add their scores to `people`.

        One frame alone decides nothing, but it may be the only sampled frame of a short forgery.
        """
        reach_s = min(MAX_REACH_S, duration_s / self.config.samples(duration_s))
        own_thresholds = RULES.load(self.config.rule).has_own_thresholds
        if self.config.single_look or own_thresholds or reach_s <= STEP_S:
            return
        for person, moment in suspicious_moments(people, criteria, reach_s):
            known = {frame.t_s for frame in people[person]}
            plan = around(moment.t_s, reach_s)
            with ReadAhead(self.path, plan, threads=self.threads) as video:
                crops = follow_person(
                    moment, self._frames(video), self.detector, self.scorer.format
                )
                fresh = ((person, crop) for crop in crops if crop.t_s not in known)
                people[person] += [
                    replace(score, is_closer=True) for _, score in self._scores(fresh)
                ]
            people[person].sort(key=lambda frame: frame.t_s)

    def _scores(self, crops: Iterable[tuple[int, Crop]]) -> Iterator[tuple[int, FrameScore]]:
        crops = self.watch.each("faces", crops)
        scores = score_crops(
            crops, self.scorer, thumbnails=self.thumbnails, all_variants=self.is_image
        )
        return self.watch.each("score", scores)

    def _frames(self, video: ReadAhead) -> Iterator[Frame]:
        """Frames until the time limit, which `time_limit` checks in the main thread only."""
        limit_s = self.config.timeout_s
        for frame in self.watch.each("decode", video):
            if limit_s and self.watch.elapsed_s() > limit_s:
                raise too_slow(self.path, limit_s)
            yield self.alter(frame) if self.alter else frame


def _criteria(scorer: CalibratedModel, config: DetectConfig, info: VideoInfo) -> Criteria:
    min_frames = 1 if info.is_image else min(config.min_frames, config.samples(info.duration_s))
    return Criteria(scorer.calibration, _thresholds(scorer, config), min_frames)


def _thresholds(scorer: CalibratedModel, config: DetectConfig) -> Thresholds:
    return scorer.thresholds.replace(real=config.threshold_real, fake=config.threshold_fake)


def _start_worker(
    config: DetectConfig, thumbnails: bool, threads: int
) -> Callable[[Source], Verdict]:
    cv2.setNumThreads(threads)
    return Detector.load(config, thumbnails=thumbnails, threads=threads).judge
