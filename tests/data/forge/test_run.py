"""Forging: labelled crops and clips that later stages read, and what is refused."""

import csv
import dataclasses
from pathlib import Path

import cv2
import numpy as np
import pytest
from media import Media

from deepkd.data.crops import load_crops
from deepkd.data.datasets.sources import find_clips
from deepkd.data.extract.run import extract
from deepkd.data.forge.clips import smooth_landmarks
from deepkd.data.forge.methods import METHODS, Summary, check_people, choose_donor
from deepkd.data.forge.run import KINDS, forge
from deepkd.data.index import read_index
from deepkd.data.splits import make_splits
from deepkd.errors import ConfigError, DataError, OutputError, UsageError
from deepkd.settings.data import ExtractConfig, ForgeConfig
from deepkd.settings.training import TrainConfig
from deepkd.training.supervised import train
from deepkd.video.frames import every_frame, probe

CONFIG = ForgeConfig(frames=2, face_px=64, seconds=0.5)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """Two clips of two people and a still."""
    media = Media(tmp_path_factory.mktemp("sources"))
    media.clip("a/one.mp4", faces=("astronaut",), seconds=0.6)
    media.clip("b/two.mp4", faces=("grace_hopper",), seconds=0.6)
    media.still("still.png")
    return media.folder


def config(**changes):
    return dataclasses.replace(CONFIG, **changes)


def read(path):
    return cv2.imread(str(path)).astype(int)


@pytest.mark.parametrize("method", METHODS)
def test_crops_have_an_index_of_real_rows_and_their_forgeries(method, sources, tmp_path):
    made = forge([str(sources)], tmp_path, config(method=method, count=2))
    crops = load_crops(tmp_path)
    real = {row.file: row for row in crops.rows if row.label == "REAL"}
    fake = [row for row in crops.rows if row.label == "FAKE"]
    assert (made.real, made.fake, made.exit_code) == (len(real), len(fake), 0) == (5, 10, 0)
    for row in fake:
        source = real[row.file[: row.file.rindex("_" + method)] + ".png"]
        assert (row.original, row.split, row.landmarks) == (
            source.original,
            source.split,
            source.landmarks,
        )
        assert (row.method, source.method) == (method, "") and row.video != source.video
        change = np.abs(read(tmp_path / row.file) - read(tmp_path / source.file)).mean()
        assert 0 < change < 60
    assert len({(tmp_path / row.file).read_bytes() for row in fake}) == 10
    assert all(crops.image(index).shape == (64, 64, 3) for index in range(len(crops)))


def test_the_same_seed_makes_the_same_crops(sources, tmp_path):
    for name, seed in (("one", 0), ("again", 0), ("other", 1)):
        forge([str(sources)], tmp_path / name, config(seed=seed))
    files = [row.file for row in read_index(tmp_path / "one") if row.label == "FAKE"]
    one, again, other = (
        [(tmp_path / name / file).read_bytes() for file in files]
        for name in ("one", "again", "other")
    )
    assert one == again and one != other


@pytest.mark.parametrize("method", METHODS)
def test_clips_are_real_and_forged_throughout(method, sources, tmp_path):
    made = forge([str(sources)], tmp_path, config(kind="clips", method=method))
    assert (made.real, made.fake, made.exit_code) == (3, 3, 0)
    with (tmp_path / "clips.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    for line in lines:
        assert line["original"] == next(
            x["path"] for x in lines if x["label"] == "REAL" and x["original"] == line["original"]
        )
        if line["label"] == "FAKE":
            real, fake = (
                [frame for _, frame in every_frame(tmp_path / line[key])]
                for key in ("original", "path")
            )
            assert len(real) == len(fake) > 3
            changes = [np.abs(a.astype(int) - b).mean() for a, b in zip(real, fake, strict=True)]
            assert min(changes) > 0.2 * max(changes) > 0, "every frame is forged"
            corner = [
                np.abs(a[:24, :24].astype(int) - b[:24, :24]).mean()
                for a, b in zip(real, fake, strict=True)
            ]
            assert max(corner) < 6, "the surroundings stay"
    assert probe(tmp_path / "real" / "still.mp4").duration_s == pytest.approx(0.5, abs=0.1)


def test_lists_and_folders_of_forged_clips_are_read_as_labelled(sources, tmp_path):
    forge([str(sources)], tmp_path, config(kind="clips"))
    listed = {
        clip.path.relative_to(tmp_path).as_posix(): clip
        for clip in find_clips([str(tmp_path / "clips.csv")])
    }
    assert sorted(clip.label for clip in listed.values()) == ["FAKE"] * 3 + ["REAL"] * 3
    fake = next(clip for clip in listed.values() if clip.label == "FAKE")
    assert fake.method == "self-blend" and listed[fake.original].label == "REAL"
    assert sum(clip.label == "FAKE" for clip in find_clips([str(tmp_path)], dataset="folder")) == 3


def test_landmarks_are_interpolated_and_smoothed():
    rng = np.random.default_rng(0)
    path = np.arange(60, dtype=np.float32)[:, None, None] + np.zeros((60, 5, 2), np.float32)
    found = {
        n: path[n] + rng.normal(0, 1, (5, 2)).astype(np.float32)
        for n in range(60)
        if n not in (20, 21, 22)
    }
    smooth = smooth_landmarks(found, 60)
    rough = np.abs(np.diff([found[n] for n in range(20)], axis=0) - 1).mean()
    assert smooth.shape == (60, 5, 2)
    assert np.abs(np.diff(smooth, axis=0) - 1)[10:-10].mean() < 0.3 * rough
    assert np.abs(smooth - path)[10:-10].mean() < 0.6
    assert smooth_landmarks({0: path[7]}, 1)[0] == pytest.approx(path[7])


@pytest.mark.parametrize("kind", KINDS)
def test_what_cannot_be_read_is_named_and_the_rest_is_made(kind, sources, tmp_path):
    media = Media(tmp_path / "in")
    media.junk("junk.mp4")
    media.clip("noise.mp4", faces=(), seconds=0.3)
    names = [str(sources / "still.png"), str(tmp_path / "in"), str(tmp_path / "none.mp4")]
    made = forge(names, tmp_path / "out", config(kind=kind))
    assert (made.real, made.fake, made.exit_code) == (1, 1, 3)
    assert sorted(name for name, _ in made.failed) == ["junk.mp4", "none.mp4"]
    assert [name for name, _ in made.no_face] == ["noise.mp4"]


@pytest.mark.parametrize("kind", KINDS)
def test_refusals(kind, sources, tmp_path):
    out, swap = tmp_path / "out", config(kind=kind, method="face-swap")
    with pytest.raises(DataError, match="needs the faces of 2 sources, and 1 show"):
        forge([str(sources / "still.png")], tmp_path / "alone", swap)
    with pytest.raises(DataError, match="--count 3 needs the faces of 4 sources, and 3 show one"):
        forge([str(sources)], tmp_path / "three", dataclasses.replace(swap, count=3))
    forge(
        [str(sources / "still.png")], tmp_path / "alone", config(kind=kind)
    )  # a run that failed is in nobody's way
    Media(tmp_path).clip("noise.mp4", faces=(), seconds=0.3)
    with pytest.raises(DataError, match=r"no face to forge: noise\.mp4"):
        forge([str(tmp_path / "noise.mp4")], tmp_path / "empty", config(kind=kind))
    with pytest.raises(UsageError, match="is a URL"):
        forge(["https://example.com/x.mp4"], out, config(kind=kind))
    with pytest.raises(DataError, match="nothing to forge"):
        forge([str(tmp_path / "none.mp4")], out, config(kind=kind))
    forge([str(sources / "still.png")], out, config(kind=kind))
    with pytest.raises(OutputError, match="holds forgeries already"):
        forge([str(sources / "still.png")], out, config(kind=kind))
    forge([str(sources / "still.png")], out, config(kind=kind), overwrite=True)
    with pytest.raises(OutputError, match="holds other files"):
        forge([str(sources / "still.png")], tmp_path, config(kind=kind), overwrite=True)


def test_forgeries_outlive_an_overwrite_that_cannot_begin(sources, tmp_path):
    forge([str(sources / "still.png")], tmp_path, config())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="runs on the CPU"):
        forge([str(sources / "still.png")], tmp_path, config(device="cuda"), overwrite=True)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_faces_stay_in_their_split():
    splits = {name: "test" if name in "xyz" else "train" for name in "abcdxyz"}
    for name, split in splits.items():
        donors = {
            choose_donor(name, splits, number, config(method="face-swap")) for number in range(8)
        }
        assert donors == {other for other, its in splits.items() if its == split} - {name}
    check_people(splits, config(method="face-swap", count=2), Summary(Path()))
    with pytest.raises(
        DataError, match=r"needs the faces of 2 sources in the split val.*1 shows one; give --val-s"
    ):
        check_people({**splits, "v": "val"}, config(method="face-swap"), Summary(Path()))
    check_people({**splits, "v": "val"}, config(), Summary(Path()))


def test_a_model_trains_on_nothing_but_forged_faces(tmp_path):
    media = Media(tmp_path / "in")
    media.clip("one.mp4", faces=("astronaut",), seconds=0.6)
    media.clip("two.mp4", faces=("grace_hopper",), seconds=0.6)
    listing = tmp_path / "in" / "list.csv"
    listing.write_text("path,label,original,split\none.mp4,REAL,one,train\ntwo.mp4,REAL,two,val\n")
    forge([str(listing)], tmp_path / "crops", config(frames=4))
    settings = TrainConfig(model="pico", image_size=32, batch=4, epochs=1, workers=0, ema=0.5)
    model = train(tmp_path / "crops", tmp_path / "run", settings)
    assert model.trained
    assert np.isfinite(model.logits([np.zeros((64, 64, 3), np.uint8)])).all()


def test_a_forged_crop_shows_who_gave_the_face(tmp_path):
    media = Media(tmp_path / "in")
    for name, person in (("id3_0000", "astronaut"), ("id7_0000", "grace_hopper")):
        media.clip(f"Celeb-real/{name}.mp4", faces=(person,), seconds=0.3)
    shares = {"val_share": 0.0, "test_share": 0.0}
    forge(
        [str(tmp_path / "in")],
        tmp_path / "out",
        config(method="face-swap", dataset="celeb-df", **shares),
    )
    people = {(row.label, row.identities) for row in read_index(tmp_path / "out")}
    own = {("REAL", (name,)) for name in ("id3", "id7")}
    assert people == own | {("FAKE", ("id3", "id7"))}


def test_forged_sources_are_left_out(tmp_path):
    media = Media(tmp_path / "in")
    media.still("real/a.png")
    media.still("fake/a.png", forged=True)
    made = forge([str(tmp_path / "in")], tmp_path / "out", CONFIG)
    assert (made.real, made.fake) == (1, 1)
    assert made.warnings == ["1 clips that are labelled FAKE are left out"]


def test_crops_are_forged_as_their_index_labels_them(tmp_path):
    media = Media(tmp_path / "in")
    for name, forged in (
        ("real/a.png", False),
        ("real/b.png", False),
        ("fake/a.png", True),
        ("none/c.png", False),
    ):
        media.still(name, forged=forged)
    shares = {"val_share": 0.0, "test_share": 0.0}
    extract(
        [str(tmp_path / "in")],
        tmp_path / "crops",
        ExtractConfig(frames=1, face_px=200, workers=0, **shares),
    )
    assert sorted(row.label for row in read_index(tmp_path / "crops")) == [
        "",
        "FAKE",
        "REAL",
        "REAL",
    ]
    for number, source in enumerate(("crops", "crops/crops", "crops/crops/*/*.jpg")):
        made = forge([str(tmp_path / source)], tmp_path / f"out{number}", CONFIG)
        rows = [row for row in read_index(made.out) if row.label == "REAL"]
        assert {(row.original, row.split) for row in rows} >= {
            ("real/a.png", "train"),
            ("real/b.png", "train"),
        }
        assert len(rows) == 3 and not any("fake" in row.video for row in rows)
        assert made.warnings == [
            "1 clips that are labelled FAKE are left out",
            "1 sources have no label and are taken as REAL",
        ]
    index = tmp_path / "crops" / "index.csv"
    index.write_text(index.read_text()[:-20])
    with pytest.raises(DataError, match="the index was cut off"):
        forge([str(tmp_path / "crops")], tmp_path / "out", CONFIG)


def test_an_index_of_something_else_says_nothing(tmp_path):
    source = Media(tmp_path).still("a.png")
    (tmp_path / "index.csv").write_text("name,price\na.png,1\n")
    made = forge([str(source)], tmp_path / "out", CONFIG)
    assert made.real == 1 and made.warnings == ["1 sources have no label and are taken as REAL"]


def test_who_gave_the_face_of_a_clip_is_in_its_family(sources, tmp_path):
    shares = {"val_share": 0.0, "test_share": 0.0}
    forge([str(sources)], tmp_path, config(kind="clips", method="face-swap", **shares))
    with (tmp_path / "clips.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    reals = {line["path"] for line in lines if line["label"] == "REAL"}
    for line in lines:
        assert (
            not line["donor"]
            if line["label"] == "REAL"
            else line["donor"] in reals - {line["original"]}
        )
    clips = find_clips([str(tmp_path / "clips.csv")])
    assert {clip.video: clip.donors for clip in clips} == {
        line["path"]: (line["donor"],) if line["donor"] else () for line in lines
    }
    splits = make_splits(clips, val_share=0.4, test_share=0.4)
    assert splits.families == 1 and not splits.overlaps
