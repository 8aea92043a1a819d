"""The pipeline: video -> frames -> faces -> tracks -> crops -> scores -> verdict."""

import os
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2

from deepkd.errors import DeepKDError, VideoError
from deepkd.judging import Alter, choose_thresholds, judge_file
from deepkd.machine import cores
from deepkd.origin.arrival import fetch_input
from deepkd.origin.credentials import examine, read_anchors
from deepkd.parallel import judge_in_processes
from deepkd.scoring.model import CalibratedModel, Scorer
from deepkd.scoring.thresholds import Thresholds
from deepkd.scoring.verdict import Verdict
from deepkd.settings.choices import RULES
from deepkd.settings.detect import DetectConfig
from deepkd.video.copies import fetch_copy
from deepkd.video.faces import USUAL, FaceDetector, load_detector
from deepkd.video.readahead import ReadAhead
from deepkd.video.sources import Source, as_source, expand_paths

AnyPath = str | os.PathLike[str]


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
        return choose_thresholds(self.scorer, self.config)

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


def _start_worker(
    config: DetectConfig, thumbnails: bool, threads: int
) -> Callable[[Source], Verdict]:
    cv2.setNumThreads(threads)
    return Detector.load(config, thumbnails=thumbnails, threads=threads).judge
