"""Videos judged whole: verdicts against labels, each video by its own path."""

import csv
import io
import itertools
from contextlib import contextmanager

import numpy as np
import pytest
from media import Media
from rich.console import Console
from scorer_factory import tinted_clip, write_scorer

from deepkd.data.datasets.sources import find_clips
from deepkd.errors import ConfigError, DataError, OutputError, UsageError
from deepkd.evaluation.answers import CachingDetector, ClipScorer
from deepkd.evaluation.corruption import corrupt_clip
from deepkd.evaluation.evaluate import evaluate_files, to_document
from deepkd.evaluation.journal import JOURNAL_NAME
from deepkd.evaluation.results import write_scores
from deepkd.models.checkpoints import save_model
from deepkd.models.registry import build_model
from deepkd.pipeline import Detector
from deepkd.settings.detect import DetectConfig
from deepkd.settings.evaluation import EvaluateConfig
from deepkd.tables.evaluation import evaluation_table, evaluation_tables
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


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A real clip, a forged one, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("pair")
    tinted_clip(folder / "real.mp4", green=lambda t_s: False, seconds=0.6)
    tinted_clip(folder / "fake.mp4", seconds=0.6)
    Media(folder).junk("junk.mp4")
    (folder / "list.csv").write_text("path,label\nreal.mp4,REAL\nfake.mp4,FAKE\njunk.mp4,FAKE\n")
    return folder / "list.csv"


def config(videos, **changes):
    return EvaluateConfig(**{"data": videos, "split": "all", "frames": 4, "resamples": 0} | changes)


def test_verdicts_are_measured_and_equal_names_stay_apart(model, videos):
    (found,) = evaluate_files([str(model)], config(videos))
    names = [row.file.removeprefix(f"{videos}/") for row in found.rows]
    assert sorted(names) == ["fake/a/1.mp4", "fake/b/1.mp4", "real/a/1.mp4", "real/b/2.mp4"]
    assert found.crops is None
    assert (found.videos.real, found.videos.fake, found.videos.scored) == (
        3,
        2,
        4,
    ), "the noise counts, the junk does not"
    assert (found.videos.auc.value, found.videos.inconclusive.value) == (1.0, pytest.approx(1 / 5))
    assert (found.videos.false_alarms.value, found.videos.detected.value) == (0.0, 1.0)
    assert sorted(one.answer for one in found.unjudged) == ["ERROR", "NO_FACE"]
    document = to_document([found], config(videos)).to_dict()["models"][0]
    assert (document["crops"], document["unjudged"]) == (None, {"ERROR": 1, "NO_FACE": 1})


def test_each_data_set_of_a_list_has_its_figures(model, tmp_path):
    lines = ["path,label,dataset"]
    for dataset, label in itertools.product("ab", ("REAL", "FAKE")):
        tinted_clip(
            tmp_path / f"{dataset}{label}.mp4",
            green=lambda t_s, label=label: label == "FAKE",
            seconds=0.4,
        )
        lines.append(f"{dataset}{label}.mp4,{label},{dataset}")
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    (found,) = evaluate_files([str(model)], config(tmp_path / "list.csv"))
    assert {
        name: (part.real, part.fake, part.auc.value) for name, part in found.datasets.items()
    } == {"a": (1, 1, 1.0), "b": (1, 1, 1.0)}


def test_what_damage_hides_counts_as_undecided(model, videos, monkeypatch):
    """Half of the forged clips lose their faces: half of the forged are found, not all."""
    judged = ClipScorer._judge

    def hiding(self, source, model, alter):
        hidden = alter is not None and source.path.parent.name == "b"
        return ("INCONCLUSIVE", None, "too dark") if hidden else judged(self, source, model, alter)

    monkeypatch.setattr(ClipScorer, "_judge", hiding)
    (found,) = evaluate_files([str(model)], config(videos, perturb="contrast:0.85", resamples=20))
    (dark,) = found.perturbed
    assert (dark.unjudged, dark.failed, dark.videos.rows, dark.videos.scored) == (4, 1, 5, 2)
    assert (dark.videos.detected.value, dark.videos.inconclusive.value) == (
        0.5,
        pytest.approx(3 / 5),
    )
    assert dark.videos.auc.value == 1.0 and dark.videos.detected.low is not None

    def nobody_there(self, source, model, alter):
        return ("NO_FACE", None, "no face") if alter else judged(self, source, model, alter)

    monkeypatch.setattr(ClipScorer, "_judge", nobody_there)
    (found,) = evaluate_files([str(model)], config(videos, perturb="contrast:0.85", resamples=20))
    nobody = found.perturbed[0].videos
    assert (nobody.scored, nobody.auc.value, nobody.detected.value, nobody.inconclusive.value) == (
        0,
        None,
        0.0,
        1.0,
    )
    text = Console(width=200, record=True, file=io.StringIO())
    text.print(evaluation_tables(to_document([found], config(videos))))
    shown = " ".join(text.export_text().split())
    assert "is of 5 videos (all but ERROR), every other figure of the 4 with a score" in shown
    assert "with a score │ 4" in shown or "with a score 4" in shown


def test_scores_are_those_of_detect(model, videos):
    (found,) = evaluate_files([str(model)], config(videos))
    bench = Detector.load(DetectConfig(model=str(model), frames=4))
    for row, score, logit in zip(found.rows, found.probabilities, found.logits, strict=True):
        verdict = bench.judge(Source(videos / row.file))
        assert verdict.score == pytest.approx(score)
        assert bench.scorer.calibration.probability(logit) == pytest.approx(score)


def test_a_list_with_splits_is_taken(model, videos):
    listing = videos / "list.csv"
    listing.write_text(
        "path,label,split\nreal/a/1.mp4,REAL,test\nfake/a/1.mp4,FAKE,test\nreal/b/2.mp4,REAL,train\n"
    )
    (found,) = evaluate_files([str(model)], config(listing, split="test"))
    assert found.videos.rows == 2
    listing.unlink()


def test_limits_keep_whole_families(model, videos):
    clips = find_clips([str(videos)])
    (found,) = evaluate_files([str(model)], config(videos, limit=1))
    kept = {row.original for row in found.rows}
    assert len(kept) == 1 and len(found.rows) + len(found.unjudged) < len(clips)


def test_faces_are_looked_for_once_for_all_models():
    class Counting:
        calls = 0

        def detect(self, image, *, thorough=False):
            self.calls += 1
            return []

    counting = Counting()
    detector = CachingDetector(counting)
    image, other = np.zeros((8, 8, 3), np.uint8), np.ones((8, 8, 3), np.uint8)
    assert detector.detect(image) == detector.detect(image.copy()) == detector.detect(other) == []
    assert counting.calls == 2
    detector.detect(image, thorough=True)
    assert counting.calls == 3
    detector.forget()
    detector.detect(image)
    assert counting.calls == 4


def test_refusals(model, videos, tmp_path):
    with pytest.raises(DataError, match="split 'tset' has no videos; its splits are"):
        evaluate_files([str(model)], config(videos, split="tset"))
    with pytest.raises(ConfigError, match="unknown perturbation 'jpg'"):
        evaluate_files([str(model)], config(videos, perturb="jpg"))
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


def noted(monkeypatch):
    """(Corruption and level, clip) of each source that `corrupt_clip` makes from now on."""
    made = []

    @contextmanager
    def note(clip, name, level, *, seed):
        made.append((name, level, clip.path.name))
        with corrupt_clip(clip, name, level, seed=seed) as found:
            yield found

    monkeypatch.setattr("deepkd.evaluation.answers.corrupt_clip", note)
    return made


def test_damage_falls_on_whole_clips_before_faces_are_looked_for(model, pair):
    steps = []
    (found,) = evaluate_files(
        [str(model)],
        config(pair, perturb="saturation,frame-rate"),
        progress=lambda done, total: steps.append((done, total)),
    )
    grey, fewer = found.perturbed[4], found.perturbed[5]
    assert (grey.perturbation, grey.level, fewer.perturbation, fewer.level) == (
        "saturation",
        0.0,
        "frame-rate",
        15.0,
    )
    assert (fewer.videos.auc.value, fewer.videos.false_alarms.value) == (1.0, 0.0)
    assert found.videos.detected.value == 1.0 and grey.videos.detected.value < 1.0, (
        "without colour nothing is green"
    )
    assert (grey.crops, grey.unjudged, fewer.unjudged) == (None, 1, 1)
    assert steps[-1] == (3 * 7, 3 * 7)
    document = to_document([found], config(pair))
    text = Console(width=200, record=True, file=io.StringIO())
    text.print(evaluation_tables(document))
    shown = text.export_text()
    assert (
        "green on damaged videos" in shown
        and "At most 15 frames/s" in shown
        and "videos that got no score" in shown
    )
    assert "perturbed:frame-rate:15:videos" in evaluation_table(document).csv()


def test_damaged_clips_are_kept_one_by_one(model, pair, tmp_path, monkeypatch):
    whole = evaluate_files([str(model)], config(pair, perturb="downscale"), out=tmp_path)
    lines = (tmp_path / JOURNAL_NAME).read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 2 * 3, "an ERROR is not kept"
    (tmp_path / JOURNAL_NAME).write_text("".join(lines[:-2]) + lines[-2][:30])
    made = noted(monkeypatch)
    again = evaluate_files([str(model)], config(pair, perturb="downscale"), out=tmp_path)
    assert [name for _, _, name in made] == ["fake.mp4", "fake.mp4", "junk.mp4", "junk.mp4"]
    assert again[0].perturbed == whole[0].perturbed
    assert again[0].probabilities.tolist() == whole[0].probabilities.tolist()
    with pytest.raises(OutputError, match="other data or settings"):
        evaluate_files([str(model)], config(pair, perturb="downscale", frames=5), out=tmp_path)


def test_what_failed_once_is_tried_again(model, pair, tmp_path, monkeypatch):
    judged = ClipScorer._judge
    monkeypatch.setattr(
        ClipScorer,
        "_judge",
        lambda self, source, model, alter: (
            ("ERROR", None, "took too long")
            if source.path.name == "fake.mp4"
            else judged(self, source, model, alter)
        ),
    )
    (busy,) = evaluate_files([str(model)], config(pair), out=tmp_path)
    assert busy.videos.rows == 1 and busy.unjudged[0].reason == "took too long"
    write_scores(tmp_path / "scores.csv", [busy])
    rows = list(csv.DictReader(io.StringIO((tmp_path / "scores.csv").read_text())))
    assert [row["answer"] for row in rows] == ["", "ERROR", "ERROR"] and rows[1][
        "reason"
    ] == "took too long"
    monkeypatch.setattr(ClipScorer, "_judge", judged)
    (found,) = evaluate_files([str(model)], config(pair), out=tmp_path)
    assert found.videos.auc.value == 1.0 and [one.row.file for one in found.unjudged] == [
        str(pair.parent / "junk.mp4")
    ]


def test_verdicts_on_another_clip_of_the_name_are_not_taken(model, tmp_path, monkeypatch):
    monkeypatch.setattr(ClipScorer, "_judge", lambda *args: ("FAKE", 0.9, ""))
    clip = tinted_clip(Media(tmp_path).path("real/a.mp4"), seconds=0.2)
    evaluate_files([str(model)], config(tmp_path), out=tmp_path / "out")
    evaluate_files([str(model)], config(tmp_path), out=tmp_path / "out")
    tinted_clip(clip, seconds=0.4)
    with pytest.raises(OutputError, match="other data or settings"):
        evaluate_files([str(model)], config(tmp_path), out=tmp_path / "out")
