"""Which videos are evaluated: drawn splits, official lists, folders."""

import pytest
from media import Media
from scorer_factory import tinted_clip, write_scorer
from typer.testing import CliRunner

from deepkd.cli.app import app
from deepkd.data.datasets.sources import find_clips
from deepkd.data.splits import make_splits
from deepkd.evaluation.answers import ClipScorer
from deepkd.evaluation.evaluate import evaluate_files
from deepkd.settings.evaluation import EvaluateConfig


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    calibration = {"temperature": 2.0, "bias": 0.5}
    return write_scorer(tmp_path_factory.mktemp("model") / "green.onnx", calibration=calibration)


def config(videos, **changes):
    return EvaluateConfig(**{"data": videos, "split": "all", "frames": 4, "resamples": 0} | changes)


def test_a_split_that_no_list_ships_is_the_one_that_extract_draws(model, tmp_path, monkeypatch):
    for number in range(30):
        for label in ("real", "fake"):
            tinted_clip(Media(tmp_path).path(f"{label}/{number}.mp4"), seconds=0.2)
    monkeypatch.setattr(ClipScorer, "_judge", lambda *args: ("FAKE", 0.9, ""))
    expected = {clip.video: clip.split for clip in make_splits(find_clips([str(tmp_path)])).clips}
    drawn = {}
    for split in ("train", "val", "test"):
        told = []
        (found,) = evaluate_files([str(model)], config(tmp_path, split=split), warn=told.append)
        assert f"ships no split '{split}'" in told[0]
        assert {
            one.shared
            for one in found.overlaps
            if one.kind == "originals" and one.place != "training"
        } == {0}
        drawn |= {row.file.removeprefix(f"{tmp_path}/"): split for row in found.rows}
    assert drawn == expected and set(drawn.values()) == {"train", "val", "test"}


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


FF_REAL, FF_FAKE = (
    "original_sequences/youtube/c23/videos/",
    "manipulated_sequences/Deepfakes/c23/videos/",
)
OFFICIAL = {
    "dfdc": (
        {"labels.csv": "filename,label\nr.mp4,0\nf.mp4,1\n"},
        ["r.mp4"],
        ["f.mp4"],
        ["unlisted.mp4"],
    ),
    "faceforensics": (
        {"test.json": '[["001", "002"]]', "train.json": '[["003", "004"]]'},
        [f"{FF_REAL}001.mp4"],
        [f"{FF_FAKE}001_002.mp4"],
        [f"{FF_REAL}003.mp4", f"{FF_FAKE}003_004.mp4"],
    ),
    "celeb-df": (
        {
            "List_of_testing_videos.txt": (
                "1 Celeb-real/id0_0000.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n"
            )
        },
        ["Celeb-real/id0_0000.mp4"],
        ["Celeb-synthesis/id0_id1_0000.mp4"],
        ["Celeb-real/id2_0000.mp4"],
    ),
}
"""Data set -> its official list, the real and the forged clips that it names for testing, and
others."""


@pytest.mark.parametrize("dataset", ["dfdc", "celeb-df"])
def test_what_an_official_list_names_and_the_disk_lacks_is_told(dataset, model, tmp_path):
    lists, real, fake, _ = OFFICIAL[dataset]
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    for name in real:
        tinted_clip(Media(tmp_path).path(name), green=lambda t_s: False, seconds=0.4)
    command = ["evaluate", str(model), "--data", str(tmp_path), "--frames", "4", "--resamples", "0"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.stderr
    message = "1 of 2 clips are not on disk, e.g. " + fake[0].lower()
    assert f"warning: {tmp_path}" in result.stderr and message in result.stderr


@pytest.mark.parametrize("dataset", OFFICIAL)
def test_official_test_lists_are_what_is_evaluated(dataset, model, tmp_path):
    lists, real, fake, others = OFFICIAL[dataset]
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
    for name in (*real, *fake, *others):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        tinted_clip(tmp_path / name, green=lambda t_s, forged=name in fake: forged, seconds=0.4)
    (found,) = evaluate_files([str(model)], config(tmp_path, split="test"))
    names = {row.file.removeprefix(f"{tmp_path}/"): row.label for row in found.rows}
    assert names == {**dict.fromkeys(real, "REAL"), **dict.fromkeys(fake, "FAKE")}
    assert {row.dataset for row in found.rows} == {dataset} and found.videos.auc.value == 1.0
