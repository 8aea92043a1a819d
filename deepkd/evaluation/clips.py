"""Videos, judged whole: the verdicts of `detect` against the labels of a data set."""

import zlib
from collections.abc import Sequence

import numpy as np

from deepkd.data.clips import Clip
from deepkd.detect import judge_source
from deepkd.errors import DataError
from deepkd.evaluation.evaluation import Evaluation, by_dataset, by_method, figures_of, labels_of, sources_of
from deepkd.evaluation.metrics import Array
from deepkd.evaluation.scores import Progress
from deepkd.scoring.model import CalibratedModel, Image
from deepkd.scoring.verdict import Label, Verdict
from deepkd.settings import DetectConfig, EvaluateConfig
from deepkd.video.crops import CropRow
from deepkd.video.faces import Face, FaceDetector, load_detector
from deepkd.video.sources import Source

ANSWERS = {Label.FAKE: 1.0, Label.REAL: 0.0, Label.INCONCLUSIVE: np.nan}


class Remembering:
    """A face detector that finds the faces of a picture once, for all models that ask."""

    def __init__(self, detector: FaceDetector) -> None:
        self.detector = detector
        self._found: dict[tuple[int, tuple[int, ...]], list[Face]] = {}

    def detect(self, image: Image) -> list[Face]:
        """As the detector's own."""
        key = (zlib.crc32(np.ascontiguousarray(image).data), image.shape)
        if key not in self._found:
            self._found[key] = self.detector.detect(image)
        return self._found[key]

    def forget(self) -> None:
        """Let go of the pictures of one video."""
        self._found.clear()


def evaluate_clips(
    models: Sequence[CalibratedModel],
    clips: Sequence[Clip],
    config: EvaluateConfig,
    *,
    names: Sequence[str],
    progress: Progress | None = None,
) -> list[Evaluation]:
    """Judge every labelled clip with every model as `detect` does, and measure the verdicts.

    A clip without a score (no face, nothing usable, not readable) is in no figure; it is counted as unjudged.

    Args:
        models: each frames the faces as it wants.
        clips: those without a label are left out. Each is known by its path: equal names stay apart.
        config: frames, threshold, resamples, seed.
        names: how to call the models.
        progress: told after each clip.

    Raises:
        DataError: no labelled clip, or none with a score.
    """
    labelled = [clip for clip in clips if clip.label]
    if not labelled:
        raise DataError(
            f"none of the {len(clips)} videos has a label; give a data set's own folder, folders named real and fake, "
            "a list (path,label), or crops with their index.csv"
        )
    judge = DetectConfig(frames=config.frames, threshold_fake=config.threshold)
    detector = Remembering(load_detector(judge.detector, device=config.device))
    verdicts: list[list[Verdict]] = [[] for _ in models]
    for done, clip in enumerate(labelled, 1):
        source = Source(clip.path, clip.problem)
        for model, found in zip(models, verdicts, strict=True):
            found.append(judge_source(source, model, detector, judge))
        detector.forget()
        if progress:
            progress(done, len(labelled))
    left_out = len(clips) - len(labelled)
    return [
        _evaluated(name, model, labelled, found, config, left_out)
        for name, model, found in zip(names, models, verdicts, strict=True)
    ]


def _evaluated(
    name: str,
    model: CalibratedModel,
    clips: Sequence[Clip],
    verdicts: Sequence[Verdict],
    config: EvaluateConfig,
    unlabelled: int,
) -> Evaluation:
    pairs = list(zip(map(_row, clips), verdicts, strict=True))
    judged = [(row, verdict, verdict.score) for row, verdict in pairs if verdict.score is not None]
    if not judged:
        reasons = "; ".join(f"{row.file}: {verdict.reason}" for row, verdict in pairs[:3])
        raise DataError(f"none of the {len(pairs)} videos could be judged: {reasons}")
    rows = tuple(row for row, _, _ in judged)
    probabilities = np.array([score for _, _, score in judged])
    answers = np.array([ANSWERS[verdict.verdict] for _, verdict, _ in judged])
    logits = _logits(model, probabilities)
    figures = figures_of(model, config)
    return Evaluation(
        name=name,
        params=model.params,
        rows=rows,
        unlabelled=unlabelled,
        labels=labels_of(rows),
        logits=logits,
        probabilities=probabilities,
        crops=None,
        methods=by_method(rows, logits, figures, answers),
        datasets=by_dataset(rows, logits, figures, answers),
        videos=figures(labels_of(rows), logits, sources_of(rows), answers=answers),
        unjudged=tuple((row, str(verdict.verdict)) for row, verdict in pairs if verdict.score is None),
    )


def _row(clip: Clip) -> CropRow:
    path = str(clip.path)
    return CropRow(path, clip.label, path, clip.original, clip.dataset, clip.method, clip.split)


def _logits(model: CalibratedModel, probabilities: Array) -> Array:
    """The logits that the model's calibration turns into these probabilities."""
    tiny = np.finfo(float).eps
    p = np.clip(probabilities, tiny, 1 - tiny)
    calibration = model.calibration
    return np.asarray((np.log(p) - np.log1p(-p) - calibration.bias) * calibration.temperature)
