"""Processes judge at the same time: the same verdicts in the same order, whatever ends early."""

import multiprocessing
from itertools import islice
from pathlib import Path

import pytest
from media import Media
from scorer_factory import write_scorer

from deepkd.parallel import AHEAD
from deepkd.pipeline import Detector
from deepkd.pool import Outcome
from deepkd.scoring.verdict import Label, Verdict
from deepkd.settings.detect import DetectConfig
from deepkd.video.sources import Source


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("detect")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    return str(write_scorer(folder / "green.onnx"))


@pytest.fixture(scope="module")
def bench(model: str) -> Detector:
    return Detector.load(DetectConfig(model=model), thumbnails=True, threads=2)


def said(verdicts) -> list[tuple]:
    return [(v.path.name, v.label, v.score, v.reason, len(v.tracks)) for v in verdicts]


def test_processes_say_the_same_in_the_same_order_and_outlive_a_killed_one(
    bench: Detector, media: Media
):
    inputs = [
        Source(media.still("a.jpg")),
        Source(media.junk("b.mp4")),
        Source(media.path("c.mp4"), "does not exist"),
        Source(media.clip("d.mp4", faces=())),
        Source(media.still("e.jpg", forged=True)),
        Source(media.audio("f.mp4")),
    ]

    def with_a_murder():
        for number, source in enumerate(inputs):
            if number == 4:
                [child.kill() for child in multiprocessing.active_children()]
            yield source

    assert said(bench.judge_all(with_a_murder(), workers=2)) == said(bench.judge_all(inputs))
    assert not multiprocessing.active_children()


def test_interrupted_the_verdicts_that_came_early_are_handed_out(
    bench: Detector, monkeypatch: pytest.MonkeyPatch
):
    inputs = [Source(Path(f"{number}.mp4")) for number in range(9)]

    def interrupted(start, tasks, *, workers, room):
        tasks = list(tasks)
        for number in (1, 0, 6, 3):
            yield Outcome(tasks[number], Verdict.from_failure(tasks[number][1].path, "done"))
        raise KeyboardInterrupt

    monkeypatch.setattr("deepkd.pool.run_tasks", interrupted)
    verdicts = bench.judge_all(inputs, workers=2)
    assert [next(verdicts).path.stem for _ in range(4)] == ["0", "1", "3", "6"]
    with pytest.raises(KeyboardInterrupt):
        next(verdicts)


def test_few_verdicts_wait_for_a_slow_one(bench: Detector, monkeypatch: pytest.MonkeyPatch):
    begun = 0

    def first_comes_last(start, tasks, *, workers, room):
        nonlocal begun
        done = [
            Outcome(task, Verdict.from_failure(task[1].path, "done")) for task in islice(tasks, 1)
        ]
        while room():
            begun += 1
            yield Outcome(task := next(tasks), Verdict.from_failure(task[1].path, "done"))
        yield from done
        assert room()

    monkeypatch.setattr("deepkd.pool.run_tasks", first_comes_last)
    verdicts = bench.judge_all((Source(Path("x")) for _ in range(10**6)), workers=2)
    next(verdicts)
    assert begun == 2 * AHEAD
    assert len(list(verdicts)) == begun


def test_leaving_early_ends_the_processes(bench: Detector, media: Media):
    still = media.still()
    verdicts = bench.judge_all((Source(still) for _ in range(10**6)), workers=2)
    assert next(verdicts).label is Label.REAL
    children = multiprocessing.active_children()
    verdicts.close()
    for child in children:
        child.join()
    assert children
    assert not any(child.is_alive() for child in children)
