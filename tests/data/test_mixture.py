"""Several data sets in one training: weights, partners, forgeries made while loading."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crop_factory import write_crops

from deepkd.config import load_config
from deepkd.data.crops import CropSet, load_crops
from deepkd.data.index import CropRow, read_index, write_index
from deepkd.data.leakage import check_held_out
from deepkd.data.mixture import MixedCrops, load_data, mix
from deepkd.data.sampling import PairShares, draw_paired, epoch_batches
from deepkd.data.transforms import Augment
from deepkd.data.views import (
    FACE_SWAP,
    NO_ROW,
    SELF_BLEND,
    CropDataset,
    SampleKey,
    enlarge,
    match_detail,
)
from deepkd.errors import ConfigError, DataError
from deepkd.settings.choices import SAMPLINGS
from deepkd.settings.training import DataSource, TrainConfig

POINTS = tuple(float(number) for number in range(10))


def rows_of(dataset: str, count: int, *, fakes: int = 0, t_s: float | None = 0.0) -> list[CropRow]:
    """`count` originals with `fakes` forgeries each."""
    rows = []
    for number in range(count):
        name = f"{dataset}-{number}"
        real = CropRow(f"{name}.jpg", "REAL", name, name, dataset, t_s=t_s, landmarks=POINTS)
        rows.append(real)
        for fake in range(fakes):
            file = f"{name}-f{fake}.jpg"
            rows.append(CropRow(file, "FAKE", f"{name}-f{fake}", name, dataset, t_s=t_s))
    return rows


def count_data_sets(crops: CropSet, sampling: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for batch in epoch_batches(crops, sampling, batch=2, seed=0, epoch=0):
        for key in batch:
            name = crops.rows[key.rows[0]].dataset
            counts[name] = counts.get(name, 0) + 1
    return counts


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_data_sets_are_drawn_by_the_square_root_of_their_size(sampling: str) -> None:
    rows = rows_of("photos", 400, fakes=1) + rows_of("clips", 4, fakes=1)
    counts = count_data_sets(CropSet(Path(), rows), sampling)
    assert counts["photos"] / counts["clips"] == pytest.approx(10, rel=0.15)


def test_given_weights_replace_the_square_roots() -> None:
    rows = rows_of("photos", 400) + rows_of("clips", 4)
    crops = CropSet(Path(), rows, {"photos": 1.0, "clips": 3.0})
    counts = count_data_sets(crops, "paired")
    assert counts["clips"] == 303 and counts["photos"] == 101


def test_a_small_data_set_gives_each_of_its_originals_as_often() -> None:
    crops = CropSet(Path(), rows_of("photos", 90) + rows_of("clips", 3), {"photos": 1, "clips": 1})
    drawn = [real for real, _ in draw_paired(crops, np.random.default_rng(0)) if real >= 90]
    counts = np.bincount(drawn)[90:]
    assert counts.sum() in (46, 47) and counts.max() - counts.min() <= 1


def test_folders_are_joined_and_keep_their_pictures(tmp_path: Path) -> None:
    one, other = write_crops(tmp_path / "one"), write_crops(tmp_path / "two/one", shards=2)
    rows = [row for row in read_index(other) if row.split != "test"]
    write_index(other, rows)
    crops = load_data([one, str(other)], "train")
    parts = [load_crops(one, "train"), load_crops(other, "train")]
    assert isinstance(crops, MixedCrops) and len(crops) == sum(map(len, parts))
    assert {row.dataset for row in crops.rows} == {"one", "one-2"}
    last = len(crops) - 1
    for index, row in enumerate(crops.rows):
        part = parts[row.dataset == "one-2"]
        place = [known.file for known in part.rows].index(row.file)
        assert np.array_equal(crops.image(index), part.image(place))
    few = crops.subset([last, 0])
    assert np.array_equal(few.image(0), crops.image(last)) and few.source(1) == "one"
    assert few.labels.tolist() == [crops.labels[last], crops.labels[0]]
    assert len(load_data([one, other], "train", limit=8)) <= 10
    assert type(load_data(one, "train")) is CropSet


def test_the_hash_of_a_mixture_knows_its_weights(tmp_path: Path) -> None:
    one, two = write_crops(tmp_path / "one"), write_crops(tmp_path / "two")
    plain = load_data([one, two]).index_sha256()
    assert plain == load_data([one, two]).index_sha256()
    weighted = load_data([DataSource(one, 3.0), DataSource(two)])
    assert weighted.index_sha256() != plain


def write_data_sets(folder: Path, names: dict[str, str], families: int = 10) -> Path:
    """Crops whose families belong to data sets in turn: name -> split of its rows, "" for all."""
    write_crops(folder, families=families)
    known = list(names)
    rows = []
    for row in read_index(folder):
        name = known[int(row.original.split("-")[1].split(".")[0]) % len(known)]
        rows.append(replace(row, dataset=name, split=names[name] or row.split))
    write_index(folder, rows)
    return folder


def test_weights_within_a_folder_leave_out_what_weighs_nothing(tmp_path: Path) -> None:
    crops = write_data_sets(tmp_path / "crops", {"a": "", "b": "", "c": ""}, families=30)
    mixed = load_data(DataSource(crops, None, {"a": 0.0, "b": 5.0, "c": 1.0}), "train")
    assert {row.dataset for row in mixed.rows} == {"crops/b", "crops/c"}
    assert mixed.weights["crops/b"] / mixed.weights["crops/c"] == pytest.approx(5.0)
    assert sum(mixed.weights.values()) == pytest.approx(len(mixed) ** 0.5)
    few = load_data(DataSource(crops, None, {"a": 0.0}), "train", limit=6)
    assert 6 <= len(few) <= 10
    with pytest.raises(DataError, match="all of its data sets have the weight 0"):
        load_data(DataSource(crops, None, {"a": 0, "b": 0, "c": 0}))


def test_the_order_of_folders_does_not_matter(tmp_path: Path) -> None:
    one, two = write_crops(tmp_path / "one"), write_crops(tmp_path / "two", families=4)
    there, back = load_data([one, two], "train"), load_data([two, one], "train")
    assert [row.file for row in there.rows] == [row.file for row in back.rows]
    assert all(np.array_equal(there.image(n), back.image(n)) for n in range(len(there)))


def test_an_original_in_train_of_one_folder_and_val_of_another_is_refused(tmp_path: Path) -> None:
    here = write_data_sets(tmp_path / "here", {"dfdc": "train"}, families=2)
    there = write_data_sets(tmp_path / "there", {"dfdc": "val"}, families=2)
    rows = [*read_index(here), *[replace(r, split="val") for r in read_index(there)]]
    for folder, split in ((here, "train"), (there, "val")):
        write_index(folder, [r for r in rows if r.split == split])
    parts = {s: mix([load_crops(f)], [DataSource(f)]) for f, s in ((here, "train"), (there, "val"))}
    with pytest.raises(DataError, match="2 originals of dfdc in both train and val"):
        check_held_out(parts["train"], parts["val"], [], warn=print)


def test_what_cannot_be_mixed_is_refused_by_name(tmp_path: Path) -> None:
    one = write_crops(tmp_path / "one")
    with pytest.raises(DataError, match="given twice as --data"):
        load_data([one, tmp_path / "two" / ".." / "one"])
    with pytest.raises(DataError, match="given twice as --data"):
        load_data([one, one / "index.csv"])
    with pytest.raises(DataError, match=r"no data set 'lfw' to weigh; it has \(none\)"):
        load_data(DataSource(one, None, {"lfw": 1.0}))
    with pytest.raises(DataError, match="no crops are given"):
        load_data([])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("weight = 2", "takes path, weight and datasets"),
        ('path = "x"\nwieght = 2', "takes path, weight and datasets"),
        ('path = "x"\nweight = 0', "takes a number above 0"),
        ('path = "x"\nweight = true', "takes a number above 0"),
        ('path = "x"\ndatasets = { lfw = -1 }', "takes NAME = weight"),
    ],
)
def test_data_tables_are_checked(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "run.toml").write_text(f"[[data]]\n{table}\n")
    with pytest.raises(ConfigError, match=message):
        load_config(TrainConfig, tmp_path / "run.toml")


def test_data_tables_of_a_config_file(tmp_path: Path) -> None:
    text = '[[data]]\npath = "a/b"\nweight = 2\ndatasets = { lfw = 0 }\n[[data]]\npath = "c"\n'
    (tmp_path / "run.toml").write_text(text)
    config = load_config(TrainConfig, tmp_path / "run.toml")
    assert config.list_sources() == [DataSource(Path("a/b"), 2, {"lfw": 0}), DataSource(Path("c"))]
    assert [table["path"] for table in config.to_metadata()["data"]] == ["b", "c"]
    names = TrainConfig(data=("x/y/index.csv", "z")).to_metadata()["data"]
    assert [table["path"] for table in names] == ["y", "z"]


def test_a_forgery_without_its_original_gets_a_real_crop_of_a_like_source() -> None:
    stills = rows_of("photos", 20)
    clips = [
        CropRow(f"c{n}.jpg", "REAL", f"c{n // 4}", f"c{n // 4}", "talks", t_s=n % 4 * 1.0)
        for n in range(20)
    ]
    generated = [CropRow("g.jpg", "FAKE", "g", "g", "stylegan", t_s=0.0)]
    talking = [CropRow(f"t{n}.jpg", "FAKE", "t", "t", "avatar", t_s=n * 1.0) for n in range(3)]
    crops = CropSet(Path(), stills + clips + generated + talking)
    partners: dict[str, set[str]] = {"stylegan": set(), "avatar": set()}
    for seed in range(20):
        for real, fake in draw_paired(crops, np.random.default_rng(seed)):
            if fake != NO_ROW:
                partners[crops.rows[fake].dataset].add(crops.rows[real].dataset)
    assert partners == {"stylegan": {"photos"}, "avatar": {"talks"}}


def test_forgeries_of_a_data_set_with_reals_stay_within_it() -> None:
    own = [*rows_of("own", 6), CropRow("f.jpg", "FAKE", "f", "f", "own", t_s=0.0)]
    crops = CropSet(Path(), [*rows_of("others", 50), *own])
    for seed in range(10):
        for real, fake in draw_paired(crops, np.random.default_rng(seed)):
            assert fake == NO_ROW or crops.rows[real].dataset == "own"


def keys_of(crops: CropSet, shares: PairShares) -> list[SampleKey]:
    batches = epoch_batches(crops, "paired", batch=2, seed=0, epoch=0, pairs=shares)
    return [key for batch in batches for key in batch]


def test_originals_without_a_forgery_get_one_in_the_given_proportion() -> None:
    crops = CropSet(Path(), rows_of("a", 400))
    keys = keys_of(crops, PairShares(self_blend=0.1, face_swap=0.3))
    assert len(keys) == 400 and {key.rows[1] for key in keys} == {NO_ROW}
    swaps = [key for key in keys if key.forge == FACE_SWAP]
    assert 0.65 < len(swaps) / len(keys) < 0.85
    assert all(key.donor not in (NO_ROW, key.rows[0]) for key in swaps)
    assert {key.forge for key in keys_of(crops, PairShares())} == {SELF_BLEND}


def test_shares_of_pairs_with_forgeries_of_their_own() -> None:
    crops = CropSet(Path(), rows_of("a", 600, fakes=1))
    keys = keys_of(crops, PairShares(0.2, 0.3, 0.5))
    share = {kind: sum(key.forge == kind for key in keys) / 600 for kind in (SELF_BLEND, FACE_SWAP)}
    assert share[SELF_BLEND] == pytest.approx(0.2, abs=0.06)
    assert share[FACE_SWAP] == pytest.approx(0.3, abs=0.06)
    assert sum(key.same_encoding for key in keys) / 600 == pytest.approx(0.5, abs=0.07)


def test_donors_are_other_people_of_the_same_data_set() -> None:
    rows = [
        CropRow(
            f"{n}.jpg",
            "REAL",
            f"{n}",
            f"{n}",
            "ab"[n % 2],
            landmarks=POINTS,
            identities=(f"p{n // 4}",),
        )
        for n in range(40)
    ]
    keys = keys_of(CropSet(Path(), rows), PairShares(face_swap=1.0))
    assert {key.forge for key in keys} == {FACE_SWAP}
    for key in keys:
        target, donor = rows[key.rows[0]], rows[key.donor]
        assert target.dataset == donor.dataset and target.identities != donor.identities
    paired_rows = [
        CropRow(
            f"{n}.jpg", "FAKE" if n % 2 else "REAL", f"{n}", f"o{n // 2}", "a", identities=("p",)
        )
        for n in range(8)
    ]
    assert {
        key.forge for key in keys_of(CropSet(Path(), paired_rows), PairShares(face_swap=1.0))
    } == {""}
    alone = [CropRow(f"{n}.jpg", "REAL", "o", "o", "a", landmarks=POINTS) for n in range(4)]
    assert {key.forge for key in keys_of(CropSet(Path(), alone), PairShares(face_swap=1.0))} == {
        SELF_BLEND
    }


@pytest.mark.parametrize("forge", [SELF_BLEND, FACE_SWAP])
def test_small_crops_are_enlarged_before_a_forgery_is_made(tmp_path: Path, forge: str) -> None:
    crops = load_crops(write_crops(tmp_path / "crops", px=80), "train")
    dataset = CropDataset(crops, Augment("none", 160))
    other = next(
        n for n, r in enumerate(crops.rows) if n and r.label == "REAL" and crops.labels[n] == 0
    )
    batch = dataset[SampleKey((0, NO_ROW), 3, forge, donor=other)]
    assert batch.views.shape == (2, 3, 160, 160)
    assert batch.labels.tolist() == [0.0, 1.0] and batch.rows.tolist() == [0, NO_ROW]
    real = enlarge(crops.image(0), 160)
    assert np.array_equal(batch.views[0].permute(1, 2, 0).numpy(), real)
    change = (batch.views[1].int() - batch.views[0].int()).abs().sum(0)
    assert change.max() > 8, "a forgery"
    assert change[:4].max() == 0 or forge == SELF_BLEND, "a swap keeps what is around the face"


def test_a_crop_without_landmarks_is_blended_where_faces_usually_are(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops"), "train")
    dataset = CropDataset(crops, Augment("none", 64))
    dataset.landmarks.find = lambda row, image: None  # type: ignore[method-assign]
    batch = dataset[SampleKey((0, NO_ROW), 1, SELF_BLEND)]
    assert batch.rows.tolist() == [0, NO_ROW]
    assert not torch.equal(batch.views[0], batch.views[1])


def test_pairs_of_the_same_encoding_differ_by_the_forgery_alone(tmp_path: Path) -> None:
    crops = load_crops(write_crops(tmp_path / "crops", px=96), "train")
    same = CropSet(crops.root, [crops.rows[0], crops.rows[0]])
    dataset = CropDataset(same, Augment("footage", 96))
    alike = [dataset[SampleKey((0, 1), seed, same_encoding=True)].views for seed in range(12)]
    assert all(torch.equal(pair[0], pair[1]) for pair in alike)
    apart = [dataset[SampleKey((0, 1), seed)].views for seed in range(12)]
    assert sum(not torch.equal(pair[0], pair[1]) for pair in apart) > 8


def test_detail_is_matched_to_the_coarser_picture() -> None:
    rng = np.random.default_rng(0)
    sharp = rng.integers(0, 256, (160, 160, 3)).astype(np.uint8)
    coarse = cv2.resize(sharp[:60, :60], (160, 160), interpolation=cv2.INTER_LINEAR)
    same = match_detail([sharp, coarse], [np.inf, np.inf])
    assert np.array_equal(same[0], sharp) and np.array_equal(same[1], coarse)
    matched = match_detail([sharp, coarse], [160.0, 60.0])
    assert np.array_equal(matched[1], coarse)
    assert matched[0].astype(int).std() < 0.6 * sharp.astype(int).std()
    assert matched[0].shape == sharp.shape
