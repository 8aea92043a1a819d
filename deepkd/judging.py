"""Judging: one video or image, from its frames to a verdict."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from deepkd.scoring.closer_look import (
    MAX_REACH_S,
    STEP_S,
    around,
    follow_person,
    suspicious_moments,
)
from deepkd.scoring.footage import Seen, find_people
from deepkd.scoring.fragility import VARIANTS, Change, choose_variants
from deepkd.scoring.model import CalibratedModel
from deepkd.scoring.rules import Criteria
from deepkd.scoring.scores import FrameScore, score_crops
from deepkd.scoring.thresholds import Thresholds
from deepkd.scoring.verdict import Verdict, judge
from deepkd.settings.choices import RULES
from deepkd.settings.detect import DetectConfig
from deepkd.timing import Stopwatch, time_limit, too_slow
from deepkd.video.crops import Crop
from deepkd.video.faces import FaceDetector, unsought
from deepkd.video.frames import Frame, VideoInfo, evenly
from deepkd.video.readahead import ReadAhead
from deepkd.video.shots import find_spans

Alter = Callable[[Frame], Frame]


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
        clip.is_image, clip.variants = info.is_image, choose_variants(has_palette=info.has_palette)
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
    variants: Sequence[Change] = VARIANTS
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
            crops, self.scorer, thumbnails=self.thumbnails, variants=self.variants,
            all_variants=self.is_image,
        )  # fmt: skip
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
    return Criteria(scorer.calibration, choose_thresholds(scorer, config), min_frames)


def choose_thresholds(scorer: CalibratedModel, config: DetectConfig) -> Thresholds:
    """The probabilities that decide: those of the settings, else the model's own."""
    return scorer.thresholds.replace(real=config.threshold_real, fake=config.threshold_fake)
