"""Work in a process of its own, the plan of a run, and engines by name."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

import deepkd
from deepkd.cluster.engine import open_engine
from deepkd.cluster.plan import SHARD_BYTES, Plan
from deepkd.cluster.process import pack, run_in_process
from deepkd.errors import DataError, DeepKDError, UsageError
from deepkd.shards import Shard
from deepkd.video.sources import Source, expand_paths

STARTER = """
import os, sys
from functools import partial
from deepkd.cluster.process import pack, run_in_process
run_in_process(pack(partial(os.system, "echo > started; sleep 60; echo > survived")), sys.argv[1])
"""


def test_work_is_done_in_another_process_in_the_same_folder(tmp_path: Path) -> None:
    assert run_in_process(pack(os.getcwd), str(tmp_path)) == str(tmp_path)
    assert run_in_process(pack(os.getpid), str(tmp_path)) != os.getpid()
    assert run_in_process(pack(partial(print, "no answer")), str(tmp_path)) is None


def test_what_kills_the_process_is_told(tmp_path: Path) -> None:
    with pytest.raises(DeepKDError, match=r"was ended by SIGKILL, for want of memory\?, 2 times"):
        run_in_process(pack(partial(os.kill, 0, signal.SIGKILL)), str(tmp_path))
    with pytest.raises(DeepKDError, match=r"exit code 1 \(ZeroDivisionError: .*\), 2 times$"):
        run_in_process(pack(partial(divmod, 1, 0)), str(tmp_path))


def test_errors_and_other_versions_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeepKDError, match=r"nowhere: cannot be read"):
        run_in_process(pack(partial(raise_error, "nowhere: cannot be read")), str(tmp_path))
    with pytest.raises(DeepKDError, match="this node has no such folder"):
        run_in_process(pack(os.getpid), str(tmp_path / "missing"))
    monkeypatch.setattr(deepkd, "__version__", "0.0.1")
    with pytest.raises(DeepKDError, match=r"and this run is of 0\.0\.1; install the same one"):
        run_in_process(pack(os.getpid), str(tmp_path))


def raise_error(text: str) -> None:
    raise DataError(text)


def test_the_work_ends_with_the_process_that_waits_for_it(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER, str(tmp_path)]) as process:
        while not (tmp_path / "started").exists():
            time.sleep(0.05)
        found = children(process.pid)
        process.kill()
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in found):
        assert time.monotonic() < until, "it goes on"
        time.sleep(0.05)
    assert found and not (tmp_path / "survived").exists()


def children(pid: int) -> list[int]:
    """The processes that a process started, and theirs."""
    own = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return own + [inner for child in own for inner in children(child)]


def make_plan(folder: Path, sizes: list[int]) -> tuple[Plan, list[Path]]:
    paths = [folder / f"{number}.mp4" for number in range(len(sizes))]
    for path, size in zip(paths, sizes, strict=True):
        with path.open("wb") as file:
            file.truncate(size)
    plan = Plan(folder / "plan.sqlite")
    plan.add(expand_paths([*paths, "missing.mp4"]))
    return plan, paths


def test_each_input_is_in_the_share_that_its_path_says(tmp_path: Path) -> None:
    plan, paths = make_plan(tmp_path, [1000 * number for number in range(40)])
    with closing(plan):
        cut = list(plan.cut(7))
    assert sorted(share.shard.number for share in cut) == list(range(1, 8))
    for shard, sources in cut:
        assert [source for source in sources if not shard.holds(source.path)] == []
    assert Counter(source.path for _, sources in cut for source in sources) == Counter(
        [*paths, Path("missing.mp4")]
    )
    sizes = [sum(s.path.stat().st_size for s in each if not s.problem) for _, each in cut]
    assert sizes == sorted(sizes, reverse=True), "the longest work first"
    problems = [s.problem for _, each in cut for s in each if s.path == Path("missing.mp4")]
    assert problems == ["does not exist; check the name"]


@pytest.mark.parametrize(
    ("sizes", "slots", "count"),
    [
        ([], 8, 1),
        ([10], 8, 1),
        ([10] * 79, 2, 8),
        ([10] * 11, 100, 3),
        ([5 * SHARD_BYTES, 7], 1, 6),
    ],
)
def test_shards_are_cut_by_bytes_and_by_what_can_run(
    sizes: list[int], slots: int, count: int, tmp_path: Path
) -> None:
    plan, _ = make_plan(tmp_path, sizes)
    with closing(plan):
        assert plan.shards_for(slots) == count


def test_names_of_odd_bytes_survive_the_plan(tmp_path: Path) -> None:
    with closing(Plan(tmp_path / "plan.sqlite")) as plan:
        odd = [Source(Path("a\nb\udcff.mp4"), "is odd"), Source(Path("ünï.mp4"), "too")]
        plan.add(odd)
        assert [share for share in plan.cut(1)] == [(Shard(1, 1), tuple(odd))]


@pytest.mark.parametrize("text", ["spark", "ray:", "ray://", "://x", "", "ray:// x"])
def test_other_engines_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="takes an engine and where it is, such as ray"):
        open_engine(text, cpus=1)


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(UsageError, match=r"pip install 'deepkd\[cluster\]'"),
        open_engine("ray", cpus=1),
    ):
        pass
