"""The variants of crops look as the crops do, and are scored for some crops of everybody."""

from pathlib import Path

import numpy as np
import pytest
from media import Image, portraits
from PIL import Image as Pillow
from scorer_factory import write_scorer

from deepkd.judging import judge_file
from deepkd.scoring.fragility import VARIANTS, choose_variants
from deepkd.scoring.model import Scorer
from deepkd.scoring.scores import TOGETHER, score_crops
from deepkd.video.crops import CROP_RULES, crop_face
from deepkd.video.faces import Face, load_detector
from deepkd.video.frames import PALETTE, Frame


def crop():
    portrait = portraits()["astronaut"]
    face = Face(portrait.box, 0.99, portrait.landmarks)
    return crop_face(Frame(portrait.image, 0.0, 0), face, face_px=160, rule=CROP_RULES["dfdc"])


@pytest.mark.parametrize("change", choose_variants(has_palette=True))
def test_a_variant_differs_little_and_is_the_same_each_time(change) -> None:
    image = crop().image
    changed = change(image)
    assert changed.dtype == np.uint8
    assert (changed == change(image)).all()
    assert 0 < np.abs(changed.astype(int) - image).mean() < 4


@pytest.mark.parametrize(
    ("all_variants", "expected"),
    [(True, set(range(2 * TOGETHER))), (False, {0, 1, TOGETHER, TOGETHER + 1})],
)
def test_variants_are_scored_of_each_person_in_each_batch(all_variants, expected, tmp_path) -> None:
    scorer = Scorer.load(write_scorer(tmp_path / "green.onnx"))
    crops = [(number % 2, crop()) for number in range(2 * TOGETHER)]
    scores = [score for _, score in score_crops(crops, scorer, all_variants=all_variants)]
    assert {place for place, score in enumerate(scores) if score.variants} == expected
    for score in scores:
        assert score.variants == pytest.approx(
            [score.logit] * len(VARIANTS) if score.variants else [], abs=0.5
        )


@pytest.mark.parametrize(
    ("file", "mode", "has_palette"),
    [
        ("a.png", "P", True),
        ("a.gif", "P", True),
        ("a.bmp", "P", True),
        ("a.png", "RGB", False),
        ("a.bmp", "RGB", False),
        ("a.jpg", "L", False),
    ],
)
def test_a_picture_with_a_palette_is_checked_once_more_and_says_so(
    file: str, mode: str, has_palette: bool, tmp_path: Path, astronaut: Image
) -> None:
    Pillow.fromarray(astronaut).convert(mode).save(tmp_path / file)
    scorer = Scorer.load(write_scorer(tmp_path / "green.onnx"))
    verdict = judge_file(tmp_path / file, scorer, load_detector("mtcnn"))
    ((frame,),) = (track.frames for track in verdict.tracks)
    assert len(frame.variants) == len(VARIANTS) + has_palette
    assert (PALETTE in verdict.warnings) == has_palette
    assert (PALETTE in verdict.reason) == has_palette
