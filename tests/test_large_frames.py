"""In large frames with faces, the reason says from which size smaller ones were sought."""

import cv2
import numpy as np
import pytest
from media import Media
from scorer_factory import write_scorer

from deepkd.pipeline import Detector
from deepkd.scoring.model import Scorer
from deepkd.video.faces import Face

FACE = Face((100, 100, 200, 250), 0.99, np.full((5, 2), 200, np.float32))
NOTE = "; note: beside larger faces, those under {} pixels were not sought"


class Finds:
    """A detector that finds the same faces everywhere."""

    def __init__(self, *faces: Face) -> None:
        self.faces = [*faces]

    def detect(self, image, *, thorough=False):
        return self.faces


@pytest.mark.parametrize(
    ("size", "faces", "limit_px"),
    [
        ((1920, 1080), (FACE,), None),
        ((2560, 1440), (FACE,), 80),
        ((2160, 3840), (FACE,), 120),
        ((3840, 2160), (), None),
    ],
)
def test_the_reason_says_from_which_size(size, faces, limit_px, media: Media):
    path = media.path("a.jpg")
    cv2.imwrite(str(path), np.full((size[1], size[0], 3), 128, np.uint8))
    scorer = Scorer.load(write_scorer(media.path("green.onnx")))
    reason = Detector.from_parts(scorer, Finds(*faces)).detect(path).reason
    if limit_px:
        assert reason.endswith(NOTE.format(limit_px))
    else:
        assert "note" not in reason
