"""More frames are sampled around one that looks forged."""

from pathlib import Path

import pytest
from scorer_factory import tinted_clip, write_scorer

from deepkd.pipeline import Detector, judge_file
from deepkd.scoring.verdict import Label
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


@pytest.fixture(scope="module")
def long(folder: Path) -> Path:
    """30 s of which one second, between two samples of the middle, is forged."""
    return tinted_clip(
        folder / "long.mp4", seconds=30, fps=10, green=lambda t_s: 17.1 <= t_s < 18.1
    )


def test_a_forged_second_in_a_long_clip_is_found(bench: Detector, long: Path):
    answer = bench.judge(Source(long))
    assert answer.label is Label.FAKE
    start, end = answer.tracks[0].forged_s
    assert 17.1 <= start < end <= 18.1
    closer = [frame for frame in answer.tracks[0].frames if frame.is_closer]
    assert 3 <= len(closer) <= 20 and all(16 < frame.t_s < 19.2 for frame in closer)
    assert (
        len(times := [frame.t_s for frame in answer.tracks[0].frames])
        <= answer.frames_sampled
        <= 38 + 30
    )
    assert times == sorted(set(times))


def test_without_a_closer_look_it_is_missed(bench: Detector, long: Path):
    config = bench.config.replace(single_look=True)
    assert judge_file(long, bench.scorer, bench.faces, config).label is Label.REAL


def test_a_closer_look_at_one_odd_frame_is_no_verdict(bench: Detector, folder: Path):
    clip = tinted_clip(folder / "odd.mp4", seconds=12, fps=10, green=lambda t_s: 5.85 <= t_s < 6.15)
    every = bench.config.replace(frames=int(12 / 0.1), single_look=True)
    suspicious = [
        f.t_s
        for f in judge_file(clip, bench.scorer, bench.faces, every).tracks[0].frames
        if f.score > 0.9
    ]
    assert 1 <= len(suspicious) <= 4
    config = bench.config.replace(frames=15 * 2 - 1)
    answer = judge_file(clip, bench.scorer, bench.faces, config)
    assert answer.label is Label.REAL


def test_a_closer_look_follows_the_person(bench: Detector, folder: Path):
    people = ("astronaut", "grace_hopper")
    clip = tinted_clip(
        folder / "pair.mp4",
        faces=people,
        size=(480, 240),
        seconds=12,
        right_only=True,
        green=lambda t_s: 5.5 <= t_s < 6.5,
    )
    left, right = bench.judge(Source(clip)).tracks
    assert (left.label, right.label) == (Label.REAL, Label.FAKE)
    assert not any(frame.is_closer for frame in left.frames)
    assert all(frame.box[0] >= 240 for frame in right.frames)
    assert [frame for frame in right.frames if frame.is_closer]
