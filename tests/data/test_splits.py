"""Splits: no original in two of them, the official ones kept, the same on every machine."""

import dataclasses
from collections import Counter
from pathlib import Path

import pytest

from deepkd.data.clips import Clip
from deepkd.data.datasets.lists import read_list
from deepkd.data.index import CropRow
from deepkd.data.splits import find_overlaps, make_splits
from deepkd.errors import ConfigError, DataError


def real(name: str, split: str = "", people: tuple[str, ...] = (), dataset: str = "set") -> Clip:
    return Clip(Path(name), "REAL", name, name, dataset, split=split, identities=people)


def fake(
    name: str,
    original: str,
    split: str = "",
    donors: tuple[str, ...] = (),
    people: tuple[str, ...] = (),
) -> Clip:
    return Clip(Path(name), "FAKE", name, original, "set", "swap", split, donors, people)


def families(count: int, forgeries: int = 3) -> list[Clip]:
    clips = [real(f"r{i}") for i in range(count)]
    return clips + [fake(f"f{i}-{j}", f"r{i}") for i in range(count) for j in range(forgeries)]


def split_of(clips: list[Clip], **options: object) -> dict[str, str]:
    return {clip.video: clip.split for clip in make_splits(clips, **options).clips}  # type: ignore[arg-type]


def test_families_stay_together_and_shares_hold() -> None:
    splits = make_splits(families(1000), val_share=0.1, test_share=0.2)
    assert splits.families == 1000 and splits.overlaps == () and splits.left_out == ()
    assert not find_overlaps(splits.clips)
    shares = Counter(clip.split for clip in splits.clips)
    assert shares["val"] / 4000 == pytest.approx(0.1, abs=0.03)
    assert shares["test"] / 4000 == pytest.approx(0.2, abs=0.04)
    counts = Counter((clip.split, clip.label) for clip in splits.clips)
    assert counts[("train", "FAKE")] == 3 * counts[("train", "REAL")]


def test_splits_do_not_depend_on_order_or_on_clips_added() -> None:
    clips = families(60)
    before = split_of(clips)
    assert split_of(clips[::-1]) == before
    after = split_of(families(120))
    assert {name: after[name] for name in before} == before


def test_more_clips_of_the_same_people_move_none() -> None:
    clips = [real(f"id{i}_{j}", people=(f"id{i}",)) for i in range(60) for j in range(5, 7)]
    before, after = (
        split_of(clips),
        split_of(clips + [real(f"id{i}_0", people=(f"id{i}",)) for i in range(60)]),
    )
    assert set(before.values()) == {"train", "val", "test"}
    assert {name: after[name] for name in before} == before


def test_splits_are_the_same_on_every_machine() -> None:
    # sha256("set/NAME") begins with be00 (0.74), 7e60 (0.494), 3ebf (0.245)
    clips = [real(name) for name in ("0.mp4", "3.mp4", "7.mp4")]
    assert split_of(clips, val_share=0.25, test_share=0.25) == {
        "0.mp4": "train",
        "3.mp4": "val",
        "7.mp4": "test",
    }


def test_forgeries_that_name_two_sources_join_their_families() -> None:
    chain = [fake(f"{i}_{i + 1}", f"r{i}", donors=(f"r{i + 1}",)) for i in range(40)]
    clips = [real(f"r{i}") for i in range(41)] + chain
    assert len(set(split_of(clips, val_share=0.4, test_share=0.4).values())) == 1
    assert make_splits(clips).families == 1


def test_a_forgery_of_a_forgery_stays_with_its_family() -> None:
    clips = [
        clip
        for i in range(40)
        for clip in (real(f"r{i}"), fake(f"f{i}", f"r{i}"), fake(f"g{i}", f"f{i}"))
    ]
    splits = make_splits(clips, val_share=0.3, test_share=0.3)
    assert splits.families == 40
    assert all(
        len({clip.split for clip in splits.clips if clip.video[1:] == str(i)}) == 1
        for i in range(40)
    )


def test_a_family_of_two_data_sets_stays_together_and_is_told_where_it_does_not() -> None:
    swaps = [dataclasses.replace(fake(f"f{i}", f"r{i}"), dataset="swaps") for i in range(40)]
    splits = make_splits([real(f"r{i}") for i in range(40)] + swaps, val_share=0.3, test_share=0.3)
    assert splits.families == 40
    assert all(
        len({clip.split for clip in splits.clips if clip.video[1:] == str(i)}) == 1
        for i in range(40)
    )
    official = [real("r0", "train"), dataclasses.replace(swaps[0], split="test")]
    assert make_splits(official).overlaps == ("1 originals of set in both train and test, e.g. r0",)


def test_equal_names_of_two_data_sets_are_two_families() -> None:
    rows = [
        CropRow("a", "REAL", "1", "1", "one", split="train"),
        CropRow("b", "REAL", "1", "1", "two", split="test"),
    ]
    assert find_overlaps(rows) == []
    numbered = dataclasses.replace(real("original/1", dataset="ff"), original="1")
    forged = dataclasses.replace(fake("swap/1", "1"), dataset="ff")
    assert make_splits([numbered, forged, real("1")]).families == 2


def test_people_are_kept_together_where_that_is_possible() -> None:
    people = [real(f"p{p}-{i}", people=(f"p{p}",)) for p in range(100) for i in range(3)]
    splits = make_splits(people, val_share=0.3, test_share=0.3)
    assert splits.unit == "identity" and splits.families == 100 and not splits.overlaps


def test_people_that_all_hang_together_fall_back_to_originals_and_are_reported() -> None:
    clips = [real(f"r{i}", people=("a", f"p{i}")) for i in range(100)]
    splits = make_splits(clips, val_share=0.3, test_share=0.3)
    assert splits.unit == "original" and splits.families == 100
    assert splits.overlaps == ("1 people of set in both train and val and test, e.g. a",)
    assert make_splits(clips, unit="identity").families == 1


OFFICIAL = [
    # (clips, video -> split)
    (
        "kept",
        [real("a", "train"), real("b", "val"), real("c", "test")],
        {"a": "train", "b": "val", "c": "test"},
    ),
    ("relatives of test are left out", [real("a", "test"), fake("x", "a")], {"a": "test", "x": ""}),
    (
        "all of an official test stay",
        [real("a", "test"), fake("y", "a", "test")],
        {"a": "test", "y": "test"},
    ),
    (
        "official train stays, is told",
        [real("a", "test"), fake("x", "a", "train")],
        {"a": "test", "x": "train"},
    ),
    (
        "unlabelled clips have no split",
        [real("a"), Clip(Path("u"), "", "u", "u", "set")],
        {"a": "train", "u": ""},
    ),
]


@pytest.mark.parametrize(
    ("clips", "expected"), [case[1:] for case in OFFICIAL], ids=[case[0] for case in OFFICIAL]
)
def test_official_splits(clips: list[Clip], expected: dict[str, str]) -> None:
    splits = make_splits(clips, val_share=0, test_share=0)
    assert {clip.video: clip.split for clip in splits.clips} == expected
    assert splits.left_out == tuple(
        name for name, split in expected.items() if not split and name != "u"
    )
    assert bool(splits.overlaps) == ("train" in expected.values() and expected.get("x") == "train")


def test_only_the_splits_that_a_data_set_lacks_are_drawn() -> None:
    shipped = [real(f"t{i}", "test") for i in range(20)] + [
        real(f"r{i}", "train") for i in range(200)
    ]
    other = [real(f"o{i}", dataset="other") for i in range(200)]
    splits = make_splits(shipped + other, val_share=0.2, test_share=0.2)
    counts = Counter((clip.dataset, clip.split) for clip in splits.clips)
    assert counts[("set", "test")] == 20
    assert (
        20 < counts[("set", "val")] < 60
        and counts[("set", "train")] == 200 - counts[("set", "val")]
    )
    assert 20 < counts[("other", "test")] < 60


def test_overlaps_of_an_index_are_found() -> None:
    rows = [
        CropRow("a", "REAL", "a", "o", split="train"),
        CropRow("b", "FAKE", "b", "o", split="test"),
    ]
    assert find_overlaps(rows) == ["1 originals of the index in both train and test, e.g. o"]
    assert find_overlaps(rows[:1]) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit": "video"}, "choose from auto, identity, original"),
        ({"val_share": 0.6, "test_share": 0.4}, "must leave"),
    ],
)
def test_wrong_settings_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_splits([real("a")], **options)  # type: ignore[arg-type]


DONORS = ["real/b.mp4", "real/../real/b.mp4", "b.mp4", "b"]


@pytest.mark.parametrize("donor", DONORS)
def test_a_donor_that_a_list_names_is_of_the_same_family(donor: str, tmp_path: Path) -> None:
    rows = [
        "real/a.mp4,REAL,,",
        "real/b.mp4,REAL,,",
        f"fake/a.mp4,FAKE,a,{donor}",
        "fake/c.mp4,FAKE,gone,elsewhere",
    ]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,original,donor", *rows]))
    clips = read_list(tmp_path / "list.csv")
    assert [clip.donors for clip in clips] == [(), (), ("real/b.mp4",), ("elsewhere",)]
    assert [clip.original for clip in clips] == ["real/a.mp4", "real/b.mp4", "real/a.mp4", "gone"]
    assert make_splits(clips).families == 2


def test_a_donor_that_may_be_several_clips_is_refused(tmp_path: Path) -> None:
    rows = ["a/b.mp4,REAL,", "c/b.mp4,REAL,", "fake/a.mp4,FAKE,b.mp4"]
    (tmp_path / "list.csv").write_text("\n".join(["path,label,donor", *rows]))
    with pytest.raises(
        DataError, match=r"list\.csv:4: donor 'b\.mp4' may be a/b\.mp4 or c/b\.mp4; give the path"
    ):
        read_list(tmp_path / "list.csv")
