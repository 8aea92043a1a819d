"""An input that takes too long is an error, and steps are timed."""

import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from media import Media
from scorer_factory import write_scorer

from deepkd.errors import VideoError
from deepkd.pipeline import Detector
from deepkd.scoring.verdict import Label, Verdict
from deepkd.settings.detect import DetectConfig
from deepkd.timing import Stopwatch, time_limit
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


def with_config(detector: Detector, **settings) -> Detector:
    """The same model and face detector with some settings changed."""
    config = detector.config.replace(**settings)
    return Detector.from_parts(detector.scorer, detector.faces, config)


def test_too_slow_is_an_error_and_the_next_input_is_judged(
    model: str, bench: Detector, media: Media
):
    hasty = with_config(bench, timeout_s=1e-4)
    slow = hasty.judge(Source(media.clip()))
    assert slow.label is Label.ERROR
    assert slow.reason == "took longer than 0.0001 s; raise --timeout, or lower --frames"
    assert bench.judge(Source(media.still())).label is Label.REAL
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_time_limit_rings_inside_a_long_step():
    with (
        pytest.raises(VideoError, match=r"clip\.mp4: took longer than 0\.01 s"),
        time_limit(Path("clip.mp4"), 0.01),
    ):
        for _ in range(10**9):
            pass


def test_time_limit_holds_where_its_ringing_comes_to_nothing():
    late = pytest.raises(VideoError, match=r"took longer than 0\.01 s")
    with late, time_limit(Path("clip.mp4"), 0.01), suppress(VideoError):
        time.sleep(0.2)


def test_time_limit_holds_in_a_thread_too(bench: Detector, media: Media):
    answers: list[Verdict] = []
    hasty = with_config(bench, timeout_s=1e-4)
    source = Source(media.clip())
    thread = threading.Thread(target=lambda: answers.append(hasty.judge(source)))
    thread.start()
    thread.join()
    assert "took longer" in answers[0].reason


def test_stopwatch_gives_nested_time_to_the_innermost(monkeypatch: pytest.MonkeyPatch):
    clock = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    watch = Stopwatch()
    inner = watch.each("inner", [1, 2])
    assert list(watch.each("outer", inner)) == [1, 2]
    assert watch.count == {"inner": 2, "outer": 2}
    timing = watch.timing_ms()
    assert timing["inner"] == 3000
    assert timing["inner"] + timing["outer"] <= timing["total"]
