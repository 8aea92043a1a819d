"""Videos judged whole: verdicts against labels, each video by its own path."""

import numpy as np
import pytest
from media import Media
from scorer_factory import tinted_clip, write_scorer

from deepkd.data.datasets import find_clips
from deepkd.detect import Bench
from deepkd.errors import DataError, UsageError
from deepkd.evaluation.clips import Remembering
from deepkd.evaluation.evaluate import evaluate_files, to_document
from deepkd.models.checkpoints import save_model
from deepkd.models.registry import build_model
from deepkd.settings import DetectConfig, EvaluateConfig
from deepkd.video.sources import Source


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    calibration = {"temperature": 2.0, "bias": 0.5}
    return write_scorer(tmp_path_factory.mktemp("model") / "green.onnx", calibration=calibration)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Two real and two forged clips, two of one name; one without a face, one broken."""
    folder = tmp_path_factory.mktemp("videos")
    media = Media(folder)
    for name in ("real/a/1.mp4", "real/b/2.mp4"):
        tinted_clip(media.path(name), green=lambda t_s: False, seconds=0.8)
    for name in ("fake/a/1.mp4", "fake/b/1.mp4"):
        tinted_clip(media.path(name), seconds=0.8)
    media.clip("real/noise.mp4", faces=())
    media.junk("fake/junk.mp4")
    return folder


def config(videos, **changes):
    return EvaluateConfig(**{"data": videos, "split": "all", "frames": 4, "resamples": 0} | changes)


def test_verdicts_are_measured_and_equal_names_stay_apart(model, videos):
    (found,) = evaluate_files([str(model)], config(videos))
    names = [row.file.removeprefix(f"{videos}/") for row in found.rows]
    assert sorted(names) == ["fake/a/1.mp4", "fake/b/1.mp4", "real/a/1.mp4", "real/b/2.mp4"]
    assert found.crops is None
    assert (found.videos.real, found.videos.fake, found.videos.auc.value) == (2, 2, 1.0)
    assert (found.videos.false_alarms.value, found.videos.detected.value) == (0.0, 1.0)
    assert sorted(answer for _, answer in found.unjudged) == ["ERROR", "NO_FACE"]
    document = to_document([found], config(videos))["models"][0]
    assert (document["crops"], document["unjudged"]) == (None, {"ERROR": 1, "NO_FACE": 1})


def test_scores_are_those_of_detect(model, videos):
    (found,) = evaluate_files([str(model)], config(videos))
    bench = Bench.load(DetectConfig(model=str(model), frames=4))
    for row, score, logit in zip(found.rows, found.probabilities, found.logits, strict=True):
        verdict = bench.judge(Source(videos / row.file))
        assert verdict.score == pytest.approx(score)
        assert bench.scorer.calibration.probability(logit) == pytest.approx(score)


def test_a_list_with_splits_is_taken(model, videos):
    listing = videos / "list.csv"
    listing.write_text("path,label,split\nreal/a/1.mp4,REAL,test\nfake/a/1.mp4,FAKE,test\nreal/b/2.mp4,REAL,train\n")
    (found,) = evaluate_files([str(model)], config(listing, split="test"))
    assert found.videos.rows == 2
    listing.unlink()


def test_faces_are_looked_for_once_for_all_models():
    class Counting:
        calls = 0

        def detect(self, image):
            self.calls += 1
            return []

    counting = Counting()
    detector = Remembering(counting)
    image, other = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)
    assert detector.detect(image) == detector.detect(image.copy()) == detector.detect(other) == []
    assert counting.calls == 2
    detector.forget()
    detector.detect(image)
    assert counting.calls == 3


def test_refusals(model, videos, tmp_path):
    with pytest.raises(DataError, match="split 'test' has no videos; its splits are"):
        evaluate_files([str(model)], config(videos, split="test"))
    with pytest.raises(UsageError, match="--perturb damages crops"):
        evaluate_files([str(model)], config(videos, perturb="jpeg"))
    Media(tmp_path).clip("plain/1.mp4")
    with pytest.raises(DataError, match="none of the 1 videos has a label"):
        evaluate_files([str(model)], config(tmp_path / "plain"))
    Media(tmp_path).clip("dull/real/1.mp4", faces=())
    with pytest.raises(DataError, match="none of the 1 videos could be judged"):
        evaluate_files([str(model)], config(tmp_path / "dull"))


def test_features_need_crops(videos, tmp_path):
    model = build_model("pico", image_size=32)
    model.trained = True
    save_model(model, tmp_path / "pico.safetensors")
    with pytest.raises(UsageError, match="--features looks at crops"):
        evaluate_files([str(tmp_path / "pico.safetensors")], config(videos), features=True)


def test_folders_of_splits_hold_pictures_or_clips(model, tmp_path):
    media = Media(tmp_path)
    for label in ("real", "fake"):
        media.still(f"test/{label}/1.png")
    (found,) = evaluate_files([str(model)], config(tmp_path, split="test"))
    assert found.crops.rows == 2 and found.unjudged == ()
    (found,) = evaluate_files([str(model)], config(tmp_path, split="test", dataset="folder"))
    assert found.crops is None and len(found.rows) + len(found.unjudged) == 2
    tinted_clip(media.path("test/fake/2.mp4"), seconds=0.8)
    (found,) = evaluate_files([str(model)], config(tmp_path, split="test"))
    assert found.crops is None and len(found.rows) + len(found.unjudged) == 3


def test_limits_keep_whole_families(model, videos):
    clips = find_clips([str(videos)])
    (found,) = evaluate_files([str(model)], config(videos, limit=1))
    kept = {row.original for row in found.rows}
    assert len(kept) == 1 and len(found.rows) + len(found.unjudged) < len(clips)
