"""The variants of crops look as the crops do, and are scored for some crops of everybody."""

import numpy as np
import pytest
from media import portraits
from scorer_factory import write_scorer

from deepkd.scoring.fragility import VARIANTS
from deepkd.scoring.model import Scorer
from deepkd.scoring.scores import TOGETHER, score_crops
from deepkd.video.crops import CROP_RULES, crop_face
from deepkd.video.faces import Face
from deepkd.video.frames import Frame


def crop():
    portrait = portraits()["astronaut"]
    face = Face(portrait.box, 0.99, portrait.landmarks)
    return crop_face(Frame(portrait.image, 0.0, 0), face, face_px=160, rule=CROP_RULES["dfdc"])


@pytest.mark.parametrize("change", VARIANTS)
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
