"""Shards: disjoint, complete and stable shares of the inputs."""

import io
import os
import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from deepkd.errors import UsageError
from deepkd.shards import Shard
from deepkd.video.sources import Source, find_sources

PATHS = [Path(f"clips/{number}.mp4") for number in range(500)]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_each_input_is_in_one_shard(count: int) -> None:
    held = Counter(
        path for n in range(1, count + 1) for path in PATHS if Shard(n, count).holds(path)
    )
    assert held == Counter(PATHS)


def test_shares_are_about_equal() -> None:
    sizes = [sum(map(Shard(n, 5).holds, PATHS)) for n in range(1, 6)]
    assert min(sizes) > 70 and max(sizes) < 130


def test_a_share_stays_when_files_are_added() -> None:
    shard = Shard(3, 7)
    before = [source.path for source in shard.take(map(Source, PATHS))]
    more = [*PATHS, *(Path(f"other/{number}.mp4") for number in range(100))]
    after = [source.path for source in shard.take(map(Source, sorted(more)))]
    assert [path for path in after if path in PATHS] == sorted(before)


def test_shares_are_the_same_in_every_version() -> None:
    names = [Path("a.mp4"), Path("clips/b.mp4"), Path("\udcff.mp4")]
    assert [[n for n in range(1, 5) if Shard(n, 4).holds(name)] for name in names] == [
        [1],
        [3],
        [4],
    ]


def test_a_share_is_taken_from_an_endless_list_in_flat_memory() -> None:
    def endless():
        number = 0
        while True:
            number += 1
            yield Source(Path(f"{number}.mp4"))

    taken = Shard(17, 1000).take(endless())
    tracemalloc.start()
    assert sum(1 for _ in islice(taken, 20)) == 20
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3e6, "20,000 paths take more"


@pytest.mark.parametrize(
    ("text", "shard"), [("1/1", Shard(1, 1)), ("17/1000", Shard(17, 1000)), ("04/04", Shard(4, 4))]
)
def test_names_of_shards(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1", "1/", "a/b", "-1/4", "1/0", "1/4/4", "¹/4", ""]
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match=r"takes I/N with I from 1 to N, for example 17/1000"):
        Shard.parse(text)


@pytest.mark.parametrize("kind", ["folder", "pattern", "list"])
def test_only_the_inputs_of_a_shard_are_looked_at(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [tmp_path / f"{number}.mp4" for number in range(50)]
    for path in paths:
        path.touch()
    looked: list[str] = []
    monkeypatch.setattr(os, "stat", lambda path, *a, stat=os.stat, **k: (
        looked.append(os.fspath(path)), stat(path, *a, **k))[1])  # fmt: skip
    names = {"folder": [tmp_path], "pattern": [tmp_path / "*.mp4"], "list": ["-"]}[kind]
    listed = io.BytesIO("\n".join(map(str, paths)).encode())
    shard = Shard(1, 10)
    kept = [(str(s.path), s.problem) for s in shard.take(find_sources(names, stdin=listed))]
    assert sorted(kept) == [(str(path), "") for path in sorted(paths) if shard.holds(path)]
    assert set(looked).intersection(map(str, paths)) == {path for path, _ in kept}
