"""Scores: from the crops of faces to one forgery score for each face."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any

import numpy as np
import numpy.typing as npt

from deepkd.scoring.evidence import flaw
from deepkd.scoring.fragility import VARIANTS, Change
from deepkd.scoring.model import CalibratedModel, Scorer
from deepkd.scoring.thumbnails import SMALL_PX, SMALL_QUALITY, thumbnail
from deepkd.video.crops import Crop

TOGETHER = 8
"""Crops scored in one call."""

Box = tuple[float, float, float, float]
"""x, y, width, height, pixels of the upright frame."""


@dataclass(frozen=True)
class FrameScore:
    """One face in one frame."""

    t_s: float
    box: Box
    logit: float
    score: float
    """Calibrated probability of forgery."""
    face_probability: float
    flaw: str | None = None
    """Why this face does not count as evidence ("too small"); None when it does."""
    thumbnail: bytes = dataclasses.field(default=b"", repr=False)
    """The face as a small JPEG; empty where no report wants it."""
    evidence: npt.NDArray[np.float32] | None = dataclasses.field(
        default=None, repr=False, compare=False
    )
    """The logit of each place of the face, (h, w), whose mean is `logit`; None where the model has
    no such output."""
    variants: tuple[float, ...] = dataclasses.field(default=(), repr=False, compare=False)
    """The logits of the face after each harmless change; empty where they were not computed."""
    is_closer: bool = False
    """From a closer look at one suspicious moment, so it does not count in the mean of a track."""
    track: int = 0
    """The number that the tracker gave the face."""
    small_thumbnail: bytes = dataclasses.field(default=b"", repr=False, compare=False)
    """The face as a smaller JPEG, for the list of all frames."""

    def to_dict(self) -> dict[str, object]:
        """The frame of schema deepkd.detect/1."""
        return {
            "t_s": round(self.t_s, 3),
            "box": [round(float(value), 1) for value in self.box],
            "score": round(self.score, 4),
            "face_probability": round(self.face_probability, 4),
        }


def score_crops(
    crops: Iterable[tuple[int, Crop]],
    scorer: CalibratedModel,
    *,
    thumbnails: bool = False,
    variants: Sequence[Change] = VARIANTS,
    all_variants: bool = False,
) -> Iterator[tuple[int, FrameScore]]:
    """The scores of crops, in the same order.

    Args:
        crops: (number of the person, crop). `TOGETHER` of them are held in memory at a time.
        scorer: the model.
        thumbnails: keep a small picture of each face, and the model's evidence where it has some.
        variants: harmless changes, which a verdict is to outlast.
        all_variants: score the variants of every crop; else those of one crop of a person in each
            `TOGETHER`, which costs little.

    Yields:
        (number of the person, score).
    """
    crops = iter(crops)
    while batch := list(islice(crops, TOGETHER)):
        images = [crop.image for _, crop in batch]
        maps: Iterable[Any] = repeat(None)
        if thumbnails and isinstance(scorer, Scorer) and scorer.has_evidence:
            logits, maps = scorer.evidence(images)
        else:
            logits = scorer.logits(images)
        scores = scorer.calibration.probability(logits)
        changed = _variant_logits(batch, scorer, variants, is_all=all_variants)
        for place, ((person, crop), logit, score, evidence) in enumerate(
            zip(batch, logits, scores, maps, strict=False)
        ):
            yield person, FrameScore(
                t_s=crop.t_s, box=crop.face.box, logit=float(logit), score=float(score),
                face_probability=crop.face.probability, flaw=flaw(crop),
                thumbnail=thumbnail(crop.image) if thumbnails else b"", evidence=evidence,
                small_thumbnail=(
                    thumbnail(crop.image, SMALL_PX, SMALL_QUALITY) if thumbnails else b""
                ),
                variants=changed.get(place, ()),
                track=person,
            )  # fmt: skip


def _variant_logits(
    batch: Sequence[tuple[int, Crop]],
    scorer: CalibratedModel,
    variants: Sequence[Change],
    *,
    is_all: bool,
) -> dict[int, tuple[float, ...]]:
    """Place in the batch -> the logits of the variants of its crop."""
    first = {person: place for place, (person, _) in reversed([*enumerate(batch)])}
    places = range(len(batch)) if is_all else sorted(first.values())
    images = [scorer.format.resize_crop(batch[place][1].image) for place in places]
    logits = scorer.logits([change(image) for image in images for change in variants])
    rows = logits.reshape(-1, len(variants)).tolist()
    return {place: tuple(row) for place, row in zip(places, rows, strict=True)}
