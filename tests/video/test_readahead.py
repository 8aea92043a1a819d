"""Reading ahead gives the same frames, waits with few of them, and leaves neither thread nor open
file behind."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from media import Media

from deepkd.errors import VideoError
from deepkd.video import readahead
from deepkd.video.decoder import Decoder
from deepkd.video.frames import evenly, probe, read_frames
from deepkd.video.readahead import AHEAD, ReadAhead


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decoding")]


def open_files(path: Path) -> int:
    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are listed in /proc only")
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return sum(link.is_symlink() and link.readlink() == path for link in links)


@pytest.mark.parametrize("make", [Media.clip, Media.still])
def test_the_frames_are_those_of_the_file(make, media: Media):
    path = make(media)
    with ReadAhead(path, evenly(lambda duration_s: 6)) as video:
        frames = list(video)
        assert video.info == probe(path)
    expected = list(read_frames(path, frames=6))
    assert [(frame.t_s, frame.index) for frame in frames] == [
        (frame.t_s, frame.index) for frame in expected
    ]
    for frame, other in zip(frames, expected, strict=True):
        np.testing.assert_array_equal(frame.image, other.image)
    assert threads() == []


def test_the_length_decides_how_many(media: Media):
    with ReadAhead(
        media.clip(seconds=2), evenly(lambda duration_s: round(3 * duration_s))
    ) as video:
        assert len(list(video)) == 6


def test_what_is_wrong_is_raised_where_the_frames_are_taken(media: Media):
    with (
        ReadAhead(media.junk(), evenly(lambda duration_s: 6)) as video,
        pytest.raises(VideoError, match="damaged"),
    ):
        list(video)
    with (
        ReadAhead(media.audio(), evenly(lambda duration_s: 6)) as video,
        pytest.raises(VideoError, match="its streams"),
    ):
        _ = video.info
    assert threads() == []


def test_warnings_are_whole_at_the_end(media: Media):
    path, told = media.truncated(seconds=4, share=0.5, options={"g": "4"}), []
    list(read_frames(path, frames=8, warn=told.append))
    with ReadAhead(path, evenly(lambda duration_s: 8)) as video:
        list(video)
        assert video.warnings == told != []


def test_few_frames_wait(media: Media, monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []
    frame = readahead.Frame

    def frames(self, warn=None):
        for index in range(100):
            made.append(index)
            yield frame(np.zeros((240, 320, 3), np.uint8), float(index), index)

    monkeypatch.setattr("deepkd.video.frames._Moving.frames", frames)
    with ReadAhead(media.clip(), evenly(lambda duration_s: 100)) as video:
        next(iter(video))
        time.sleep(0.2)
        assert len(made) <= AHEAD + 3
    assert threads() == []


def test_leaving_early_ends_the_thread_and_closes_the_file(media: Media):
    path = media.clip(seconds=4)
    with pytest.raises(KeyboardInterrupt), ReadAhead(path, evenly(lambda duration_s: 40)) as video:
        next(iter(video))
        raise KeyboardInterrupt
    assert threads() == [] and open_files(path) == 0
    with ReadAhead(path, evenly(lambda duration_s: 40)):
        pass
    assert threads() == [] and open_files(path) == 0


def test_a_decoder_far_from_its_next_sample_stops_too(
    media: Media, monkeypatch: pytest.MonkeyPatch
):
    def endless(self, target_s):
        while True:
            for _ in self._packets():
                time.sleep(0.001)
            self._container.seek(0)

    monkeypatch.setattr(Decoder, "nearest", endless)
    with ReadAhead(media.clip(), evenly(lambda duration_s: 4)) as video:
        assert video.info.codec == "h264"
    assert threads() == []


def test_no_thread_decodes_on_as_python_ends(media: Media):
    clip = media.clip("clip.mp4", seconds=4)
    code = (
        "import atexit, sys, threading; from pathlib import Path\natexit.register(lambda:"
        " print([t.name for t in threading.enumerate() if t.daemon]))\nfrom deepkd.video.frames"
        " import evenly; from deepkd.video.readahead import ReadAhead\nvideo ="
        " ReadAhead(Path(sys.argv[1]), evenly(lambda length: 40)); video.info;"
        " print(video._thread.is_alive())"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(clip)], cwd=root, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "True\n[]\n"), done.stderr


def test_a_decoder_that_hangs_is_left_alone(media: Media, monkeypatch: pytest.MonkeyPatch):
    release = threading.Event()
    monkeypatch.setattr(readahead, "PATIENCE_S", 0.05)
    monkeypatch.setattr(
        "deepkd.video.frames._Moving.frames", lambda self, warn=None: iter(release.wait, True)
    )
    with ReadAhead(media.clip(), evenly(lambda duration_s: 4)) as video:
        assert video.info.codec == "h264"
    assert len(threads()) == 1
    release.set()
    while threads():
        time.sleep(0.01)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"options": {"g": "1"}},
        {"options": {"g": "5", "bf": "0"}},
        {"options": {"g": "9", "sc_threshold": "0"}},
        {"options": {"x264-params": "open-gop=1:keyint=8:bframes=3"}},
        {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=8"}},
        {"codec": "mpeg4"},
    ],
)
@pytest.mark.parametrize("count", [1, 3, 8, 30])
def test_the_index_tells_what_decoding_would(
    options: dict, count: int, media: Media, monkeypatch: pytest.MonkeyPatch
):
    path = media.clip(seconds=6, size=(64, 48), **options)
    with_index = [(frame.t_s, frame.image.tobytes()) for frame in read_frames(path, frames=count)]
    monkeypatch.setattr(Decoder, "begin", lambda self, target_s, within_s: None)
    assert with_index == [
        (frame.t_s, frame.image.tobytes()) for frame in read_frames(path, frames=count)
    ]
