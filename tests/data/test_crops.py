"""Crop sets read folders and shards alike, and refuse an index that does not fit its files."""

import dataclasses
import pickle
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crop_factory import write_crops

from deepkd.data.corruptions import CORRUPTIONS
from deepkd.data.crops import CropSet, Shards, load_crops, whole_families
from deepkd.data.index import CropRow, read_index, write_index
from deepkd.data.landmarks import LandmarkFinder
from deepkd.data.sampling import PairShares, draw_paired, epoch_batches
from deepkd.data.transforms import Augment, Corrupt, Move, seed_rng
from deepkd.data.views import NO_ROW, SELF_BLEND, CropDataset, SampleKey, collate
from deepkd.errors import DataError
from deepkd.scoring.model import InputFormat
from deepkd.settings.choices import AUGMENTATIONS, SAMPLINGS


def test_folder_and_shards_hold_the_same_images(tmp_path: Path) -> None:
    folder = load_crops(write_crops(tmp_path / "folder"))
    shards = load_crops(write_crops(tmp_path / "shards", shards=3))
    assert [row.file for row in folder.rows] == [row.file for row in shards.rows]
    assert all(np.array_equal(folder.image(i), shards.image(i)) for i in range(len(folder)))
    again = pickle.loads(pickle.dumps(shards))
    assert np.array_equal(again.image(3), folder.image(3))


def test_shards_are_read_without_what_windows_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("os.pread", raising=False)
    crops = load_crops(write_crops(tmp_path, shards=2))
    assert crops.image(0).shape[2] == 3
    shard = tmp_path / crops.rows[0].shard
    offset, size = crops.shards.members(crops.rows[0].shard)[crops.rows[0].file]
    shard.write_bytes(shard.read_bytes()[: offset + size // 8])  # while it is in use
    with pytest.raises(DataError, match=rf"{crops.rows[0].file}: not an image; extract it again"):
        crops.image(0)


def test_splits_labels_and_limits(tmp_path: Path) -> None:
    data = write_crops(tmp_path, unlabelled=1)
    train = load_crops(data, "train")
    assert {row.split for row in train.rows} == {"train"}
    assert np.isnan(load_crops(data).labels).sum() == 1
    few = load_crops(data, "train", limit=4)
    assert len(few) == 4 and {row.original for row in few.rows} < {
        row.original for row in train.rows
    }
    assert len({row.original for row in few.rows}) == 2, "whole families"
    with pytest.raises(
        DataError, match=r"split 'dev' has no rows; its splits are test, train, val"
    ):
        load_crops(data, "dev")


def test_what_does_not_fit_is_refused_with_its_line(tmp_path: Path) -> None:
    data = write_crops(tmp_path / "a")
    (data / "1-real.jpg").unlink()
    with pytest.raises(DataError, match=r"index\.csv:4: 1-real\.jpg is not in"):
        load_crops(data)
    text = (data / "index.csv").read_text().splitlines(keepends=True)
    text.insert(1, '"a\nb.jpg"' + text[1][text[1].index(",") :])
    (data / "a\nb.jpg").write_bytes((data / "0-real.jpg").read_bytes())
    (data / "other.csv").write_text("".join(text))
    with pytest.raises(DataError, match=r"other\.csv:6: 1-real\.jpg is not in"):
        load_crops(data / "other.csv")
    shards = write_crops(tmp_path / "b", shards=2)
    (shards / "crops-1.tar").write_bytes(b"not a tar")
    with pytest.raises(DataError, match=r"crops-1\.tar: not a readable tar shard"):
        load_crops(shards)
    broken = write_crops(tmp_path / "c")
    (broken / "0-fake.jpg").write_bytes(b"\xff\xd8 not a jpeg")
    with pytest.raises(DataError, match=r"0-fake\.jpg: not an image"):
        load_crops(broken).image(1)
    png = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()
    header = png[12:16] + struct.pack(">II", 40_000, 40_000) + png[24:29]
    (broken / "0-fake.jpg").write_bytes(
        png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    )
    with pytest.raises(DataError, match=r"0-fake\.jpg: not an image"):
        load_crops(broken).image(1)
    gone = load_crops(broken)
    (broken / "0-fake.jpg").unlink()
    with pytest.raises(
        DataError, match=r"0-fake\.jpg: cannot be read \(No such file or directory\)"
    ):
        gone.image(1)


def test_an_index_without_splits_is_told_how_to_take_every_row(tmp_path: Path) -> None:
    data = write_crops(tmp_path)
    write_index(data, [dataclasses.replace(row, split="") for row in read_index(data)])
    with pytest.raises(
        DataError, match=r"'test' has no rows; its splits are \(none\); --split all takes every row"
    ):
        load_crops(data, "test")


def test_a_shard_that_no_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a readable tar shard"):
        Shards(tmp_path).members("crops\0.tar")


def test_index_hash_depends_on_content_not_on_order(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path))
    turned = crops.subset(range(len(crops) - 1, -1, -1))
    assert turned.index_sha256() == crops.index_sha256() != crops.subset([0, 1]).index_sha256()


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_sampling_is_seeded_and_balanced(tmp_path: Path, sampling: str) -> None:
    crops = load_crops(write_crops(tmp_path), "train")
    draw = epoch_batches(crops, sampling, batch=4, seed=1, epoch=2)
    assert draw == epoch_batches(crops, sampling, batch=4, seed=1, epoch=2)
    assert draw != epoch_batches(crops, sampling, batch=4, seed=1, epoch=3)
    rows = [[row for key in batch for row in key.rows] for batch in draw]
    assert {len(batch) for batch in rows} == {4}
    if sampling != "shuffled":
        assert all(crops.labels[batch].sum() == 2 for batch in rows)
    if sampling == "paired":
        pairs = [key.rows for batch in draw for key in batch]
        assert all(crops.rows[a].original == crops.rows[b].original for a, b in pairs)
        assert all((crops.labels[a], crops.labels[b]) == (0, 1) for a, b in pairs)


def test_sampling_names_the_label_that_is_missing(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path), "train")
    only_real = crops.subset([i for i, row in enumerate(crops.rows) if row.label == "REAL"])
    with pytest.raises(DataError, match="all REAL"):
        epoch_batches(only_real, "balanced", batch=4, seed=0, epoch=0)
    with pytest.raises(DataError, match="use --sampling balanced"):
        epoch_batches(only_real, "paired", batch=4, seed=0, epoch=0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_seed_fixes_a_view(tmp_path: Path, name: str) -> None:
    crops = load_crops(write_crops(tmp_path), "train")
    dataset = CropDataset(crops, Augment(name, 48))
    key = SampleKey((0, 1), seed=7)
    before = torch.get_rng_state()
    first, second = dataset[key], dataset[key]
    assert torch.equal(torch.get_rng_state(), before), "the generator outside is left alone"
    assert first.views.shape == (2, 3, 48, 48) and first.views.dtype == torch.uint8
    assert torch.equal(first.views, second.views)
    assert torch.equal(first.labels, torch.tensor([0.0, 1.0]))
    other = dataset[SampleKey((0, 1), seed=8)]
    assert torch.equal(first.views, other.views) == (name == "none")
    assert first.clean is None
    both = CropDataset(crops, Augment(name, 48), with_clean=True)[key]
    assert both.clean is not None and torch.equal(both.views, first.views)
    pure = Augment(name, 48)
    pure.photometric = None
    assert torch.equal(both.clean, CropDataset(crops, pure)[key].views), (
        "the same geometry, and nothing else"
    )
    joined = collate([first, other])
    assert joined.clean is None and collate([both, both]).clean.shape == (4, 3, 48, 48)
    assert joined.views.shape[0] == joined.labels.shape[0] == joined.rows.shape[0] == 4


def test_a_pair_is_moved_alike() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[10:30, 20:50] = 200
    augment = Augment("standard", 64)
    augment.photometric = None
    torch.manual_seed(3)
    first, second = augment([image, image])
    assert torch.equal(first, second) and not torch.equal(
        first, torch.from_numpy(image).permute(2, 0, 1)
    )


@pytest.mark.parametrize("view_px", [128, 160, 224])
def test_views_are_nearly_as_sharp_as_what_is_judged(view_px: int, astronaut: np.ndarray) -> None:
    def detail(picture: np.ndarray) -> float:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)[
            view_px // 4 : -view_px // 4, view_px // 4 : -view_px // 4
        ]
        return float(np.abs(cv2.Laplacian(grey, cv2.CV_32F)).mean())

    crop = np.ascontiguousarray(astronaut[:224, 110:334])
    augment = Augment("standard", view_px)
    augment.photometric = None
    views = []
    for seed in range(20):
        with seed_rng(seed):
            views.append(augment([crop])[0].permute(1, 2, 0).numpy())
    judged = detail(InputFormat(size=view_px).resize_crop(crop))
    assert np.mean([detail(view) for view in views]) > 0.88 * judged


def test_a_move_goes_as_far_as_it_says() -> None:
    picture = np.zeros((60, 100, 3), np.uint8)
    picture[28:33, 48:53] = 255

    def middle(move: Move) -> tuple[float, float]:
        rows, columns = np.nonzero(move(picture)[..., 0] > 127)
        return columns.mean(), rows.mean()

    assert middle(Move(0, 0, 0, 1, mirrored=False)) == (50, 30)
    assert middle(Move(0, 0, 0, 1, mirrored=True)) == (49, 30)
    assert middle(Move(0, 0.2, -0.1, 1, mirrored=False)) == (70, 24)
    moved = Move(0, 0.2, 0, 1, mirrored=True)(picture)
    assert moved.shape == picture.shape and not moved[:, :20].any(), "black comes in from the left"
    wide, high = middle(Move(90, 0, 0, 1, mirrored=False))
    assert abs(wide - 50) < 2 and abs(high - 29.5) < 2
    assert (Move(0, 0, 0, 2, mirrored=False)(picture)[..., 0] > 127).sum() == 100


def test_blended_pairs_hold_a_forgery_of_the_real_crop_itself(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops", px=160), "train")
    dataset = CropDataset(crops, Augment("none", 160))
    real, fake = draw_paired(crops, np.random.default_rng(0))[0]
    plain = dataset[SampleKey((real, fake), 5)]
    blended, again = (
        dataset[SampleKey((real, fake), 5, forge=SELF_BLEND)],
        dataset[SampleKey((real, fake), 5, forge=SELF_BLEND)],
    )
    assert torch.equal(blended.views, again.views)
    assert torch.equal(blended.views[0], plain.views[0])
    assert blended.labels.tolist() == [0.0, 1.0]
    assert (blended.rows.tolist(), plain.rows.tolist()) == ([real, NO_ROW], [real, fake])
    change = (blended.views[1].int() - plain.views[0].int()).abs()
    assert change.max() > 0
    assert not torch.equal(blended.views[1], plain.views[1])


@pytest.mark.parametrize(
    ("reals", "fake", "drawn"),
    [
        ([(0.0, 0), (1.0, 0), (1.0, 1)], (1.0, 1), {2}),
        ([(0.0, 0), (1.0, 0), (1.4, 1), (3.0, 1)], (1.0, 1), {2}),
        ([(0.0, 0), (1.2, 0), (2.0, 2)], (1.0, 1), {1}),
        ([(0.0, None), (1.2, None), (2.0, None)], (1.0, 1), {1}),
        ([(None, 0), (None, 1), (None, 1)], (1.0, 1), {1, 2}),
        ([(None, None), (None, None)], (None, None), {0, 1}),
    ],
    ids=["same track and time", "same track", "other track", "no tracks", "no times", "neither"],
)
def test_a_pair_is_of_one_moment(
    reals: list[tuple[float | None, int | None]],
    fake: tuple[float | None, int | None],
    drawn: set[int],
) -> None:
    places = [*(("REAL", place) for place in reals), ("FAKE", fake)]
    rows = [
        CropRow(f"{number}.jpg", label, label, "o", t_s=t_s, track=track)
        for number, (label, (t_s, track)) in enumerate(places)
    ]
    rng = np.random.default_rng(0)
    pairs = [draw_paired(CropSet(Path(), rows), rng)[0] for _ in range(40)]
    assert {real for real, _ in pairs} == drawn and {fake for _, fake in pairs} == {len(reals)}


def test_pairs_of_one_real_crop_each_are_drawn_as_ever() -> None:
    rows = [
        CropRow(f"{row}.jpg", "FAKE" if row % 4 else "REAL", str(row), f"o{row // 4}")
        for row in range(24)
    ]
    pairs = draw_paired(CropSet(Path(), rows), np.random.default_rng(5))
    assert pairs == [(4, 7), (16, 17), (8, 9), (12, 14), (20, 22), (0, 2)]


def test_originals_of_one_name_in_two_data_sets_are_two_families() -> None:
    rows = [CropRow(f"a{name}.jpg", "REAL", f"{name}.mp4", f"{name}.mp4", "A") for name in range(6)]
    for name in range(6):
        rows.append(CropRow(f"b{name}.jpg", "REAL", f"{name}.mp4", f"{name}.mp4", "B"))
        rows.append(CropRow(f"f{name}.jpg", "FAKE", f"f{name}.mp4", f"{name}.mp4", "B"))
    for seed in range(8):
        pairs = draw_paired(CropSet(Path(), rows), np.random.default_rng(seed))
        known = sorted((rows[a].file, rows[b].file) for a, b in pairs if b != NO_ROW)
        assert set(known) <= {(f"b{n}.jpg", f"f{n}.jpg") for n in range(6)} and len(known) > 6
        assert {rows[a].dataset for a, b in pairs if b == NO_ROW} == {"A"}
    few = list(whole_families(rows, 1))
    assert {row.dataset for row in few} == {"A"} and len(few) == 1
    assert {row.file for row in whole_families(rows[::-1], 4)} == {
        row.file for row in whole_families(rows, 4)
    }


def test_a_forgery_of_another_data_set_is_paired_with_its_original() -> None:
    rows = [CropRow("a.jpg", "REAL", "a", "a", "A"), CropRow("b.jpg", "REAL", "b", "b", "A")]
    rows.append(CropRow("f.jpg", "FAKE", "f", "b", "B"))
    assert sorted(draw_paired(CropSet(Path(), rows), np.random.default_rng(0))) == [
        (0, NO_ROW),
        (1, 2),
    ]
    others = [CropRow("c.jpg", "REAL", "c", "c", "B"), CropRow("g.jpg", "FAKE", "g", "c", "B")]
    drawn = draw_paired(CropSet(Path(), [*rows, *others]), np.random.default_rng(0))
    assert (3, 4) in drawn and (1, 2) not in drawn  # b may be one of B, too


def test_landmarks_come_from_the_index_or_from_the_picture(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops", px=160), "train")
    row, image = crops.rows[0], crops.image(0)
    found = LandmarkFinder().find(row, image)
    assert found is not None
    left_eye, right_eye, nose, left_mouth, right_mouth = found
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_eye[1] < nose[1] < left_mouth[1]
    assert left_mouth[0] < right_mouth[0]
    known = dataclasses.replace(row, landmarks=tuple(float(value) for value in range(10)))
    assert np.array_equal(LandmarkFinder().find(known, image), np.arange(10).reshape(5, 2))
    assert LandmarkFinder().find(row, np.zeros_like(image)) is None


def test_a_crop_without_a_face_keeps_the_data_sets_forgery(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops"), "train")
    dataset = CropDataset(crops, Augment("none", 64))
    dataset.landmarks.find = lambda row, image: None  # type: ignore[method-assign]
    pair = draw_paired(crops, np.random.default_rng(0))[0]
    tried, plain = dataset[SampleKey(pair, 5, forge=SELF_BLEND)], dataset[SampleKey(pair, 5)]
    assert torch.equal(tried.views, plain.views) and torch.equal(tried.rows, plain.rows)


def test_the_share_of_blended_pairs(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops", families=100), "train")
    keys = [
        key
        for part in epoch_batches(
            crops, "paired", batch=2, seed=0, epoch=0, pairs=PairShares(self_blend=0.4)
        )
        for key in part
    ]
    assert 0.2 < sum(key.forge == SELF_BLEND for key in keys) / len(keys) < 0.6
    assert not any(
        key.forge
        for part in epoch_batches(crops, "paired", batch=2, seed=0, epoch=0)
        for key in part
    )


def test_landmarks_survive_the_index(tmp_path: Path) -> None:
    points = tuple(float(value) for value in range(10))
    write_index(
        tmp_path,
        [CropRow("a.jpg", "REAL", "a", "a", landmarks=points), CropRow("b.jpg", "FAKE", "b", "a")],
    )
    assert [row.landmarks for row in read_index(tmp_path)] == [points, None]
    (tmp_path / "index.csv").write_text("file,label,landmarks\na.jpg,REAL,1 2 3\n")
    with pytest.raises(DataError, match=r"index.csv:2: landmarks='1 2 3' are not ten numbers"):
        read_index(tmp_path)


def test_robust_views_are_damaged_more_than_standard_ones(astronaut: np.ndarray) -> None:
    image = torch.from_numpy(np.ascontiguousarray(astronaut[40:200, 130:290])).permute(2, 0, 1)
    lost = {}
    for name in ("standard", "robust"):
        augment = Augment(name, 160)
        with seed_rng(0):
            views = [augment.photometric(image) for _ in range(40)]
        lost[name] = np.mean([(view.int() - image.int()).abs().float().mean() for view in views])
    assert lost["robust"] > 1.2 * lost["standard"]


@pytest.mark.parametrize(
    ("name", "mild", "harsh"), [("h264", 23, 40), ("noise", 0.0005, 0.05), ("saturation", 0.8, 0.0)]
)
def test_damage_is_a_perturbation_between_two_levels(
    name: str, mild: float, harsh: float, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = torch.from_numpy(np.ascontiguousarray(astronaut[40:140, 130:230])).permute(2, 0, 1)
    levels, apply = [], CORRUPTIONS[name].apply
    noted = dataclasses.replace(
        CORRUPTIONS[name],
        apply=lambda picture, level, rng: levels.append(level) or apply(picture, level, rng),
    )
    monkeypatch.setitem(CORRUPTIONS, name, noted)
    with seed_rng(1):
        views = [Corrupt(name, mild, harsh)(image) for _ in range(20)]
    low, high = sorted((mild, harsh))
    assert (
        all(low <= level <= high for level in levels)
        and max(levels) - min(levels) > (high - low) / 3
    )
    assert all(view.shape == image.shape and view.dtype == torch.uint8 for view in views)
    assert len({view.numpy().tobytes() for view in views}) == 20
