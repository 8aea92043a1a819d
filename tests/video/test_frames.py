"""Frames are evenly spaced, exact in time and pixel, upright, and bad files are refused in
words."""

import gc
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from av.video.frame import VideoFrame
from media import Media, declare, scene, write_video

from deepkd.errors import ImageError
from deepkd.video.decoder import Decoder
from deepkd.video.frames import MAX_SAMPLES, Frame, evenly, every_frame, probe, read_frames


def decoded(path: Path) -> dict[float, np.ndarray]:
    """Every frame of a clip by its time, decoded plainly."""
    with av.open(str(path)) as container:
        start = container.streams.video[0].start_time or 0
        frames = list(container.decode(video=0))
        return {float((f.pts - start) * f.time_base): f.to_ndarray(format="rgb24") for f in frames}


def assert_even(frames: list[Frame], count: int, duration_s: float) -> None:
    """`count` frames, each within its own part of the duration."""
    assert [frame.index for frame in frames] == list(range(count))
    middles = (np.arange(count) + 0.5) * duration_s / count
    assert (
        np.abs([frame.t_s for frame in frames] - middles).max() <= 0.5 * duration_s / count + 1e-6
    )


FILES = {
    "h264.mp4": {},
    "b-pyramid.mp4": {"options": {"bf": "3", "x264-params": "b-pyramid=normal:keyint=60"}},
    "open-gop.mkv": {"options": {"x264-params": "open-gop=1:keyint=12:bframes=3"}},
    "intra.mp4": {"options": {"g": "1"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12", "svtav1-params": "lp=1"}},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mjpeg.mov": {"codec": "mjpeg", "options": {"strict": "unofficial"}},
    "transport.ts": {},
    "pictures.gif": {"codec": "gif", "pixel_format": "rgb8"},
    "10-bit.mkv": {"pixel_format": "yuv420p10le"},
    "odd.mp4": {"size": (321, 241)},
}


@pytest.mark.parametrize("name", FILES)
def test_samples_are_even_and_exactly_the_frames_of_the_file(
    name: str, media: Media, capfd: pytest.CaptureFixture
):
    path = media.clip(name, seconds=2, fps=20, **{"size": (160, 120)} | FILES[name])
    capfd.readouterr()
    truth = decoded(path)
    duration_s = probe(path).duration_s
    assert duration_s == pytest.approx(2, abs=0.1)
    for count in (1, 4, 13):
        frames = list(read_frames(path, frames=count))
        assert_even(frames, count, duration_s)
        for frame in frames:
            np.testing.assert_array_equal(frame.image, truth[frame.t_s])
    assert capfd.readouterr() == ("", "")


def test_more_frames_than_there_are_gives_each_once(media: Media):
    frames = list(read_frames(media.clip(seconds=0.7, size=(64, 48)), frames=100))
    assert [frame.t_s for frame in frames] == pytest.approx([i / 10 for i in range(7)])


def test_one_frame(media: Media):
    assert [frame.t_s for frame in read_frames(media.clip(seconds=0.1), frames=16)] == [0]


def test_variable_frame_rate_keeps_exact_times(media: Media):
    times = [0, 0.01, 0.02, 0.03, 0.5, 1.1, 1.15, 3.3, 3.4, 4.0]
    path = media.clip(times=times, size=(64, 48), options={"bf": "0"})
    assert [frame.t_s for frame in read_frames(path, frames=500)] == pytest.approx(times, abs=1e-4)
    assert [frame.t_s for frame in read_frames(path, frames=4)] == pytest.approx(
        [0.5, 1.15, 3.3, 3.4], abs=1e-4
    )


@pytest.mark.parametrize("name", ["long.mp4", "long.mkv", "long.ts", "long.avi"])
@pytest.mark.parametrize("keyint", [20, 1000])
def test_long_clips_are_even_whether_keyframes_are_near_or_far(
    name: str, keyint: int, media: Media
):
    options = {"g": str(keyint), "preset": "ultrafast", "bf": "2", "sc_threshold": "0"}
    path = media.clip(
        name, seconds=300, fps=1, faces=(), moving=False, size=(32, 32), options=options
    )
    truth = decoded(path)
    frames = list(read_frames(path, frames=9))
    assert_even(frames, 9, 300)
    for frame in frames:
        np.testing.assert_array_equal(frame.image, truth[frame.t_s])


def test_a_stream_that_declares_no_length_is_measured(media: Media):
    path = media.clip("raw.h264", seconds=2, fps=25, size=(64, 48))
    assert probe(path).duration_s == pytest.approx(2, abs=0.01)
    assert_even(list(read_frames(path, frames=5)), 5, 2)


@pytest.mark.parametrize("whole", [False, True])
def test_pictures_and_decoders_are_let_go_without_the_garbage_collector(whole: bool, media: Media):
    path = media.clip(seconds=6, mirrored=True)
    gc.collect()
    gc.disable()
    try:
        assert len(list(every_frame(path) if whole else read_frames(path, frames=60))) > 20
        kinds = [type(one) for one in gc.get_objects()]
        assert kinds.count(VideoFrame) < 10
        assert Decoder not in kinds
    finally:
        gc.enable()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_turned_and_mirrored_clips_come_upright(rotation_deg: int, mirrored: bool, media: Media):
    path = media.clip(size=(320, 240), rotation_deg=rotation_deg, mirrored=mirrored, moving=False)
    info = probe(path)
    assert (info.width, info.height, info.rotation_deg) == (320, 240, -rotation_deg % 360)
    for frame in read_frames(path, frames=2):
        error = np.abs(frame.image.astype(int) - scene(size=(320, 240)))
        assert error.mean() < 4


@pytest.mark.parametrize("rotation_deg", [0, 90])
@pytest.mark.parametrize(
    ("aspect", "size"),
    [
        (Fraction(16, 11), (320, 240)),
        (Fraction(8, 15), (320, 240)),
        (Fraction(100, 101), (220, 240)),
        (Fraction(9000, 1), (220, 240)),
    ],
)
def test_pixels_become_square(
    aspect: Fraction, size: tuple[int, int], rotation_deg: int, media: Media
):
    stored = (220, 240) if aspect > Fraction(9, 10) else (320, 128)
    picture = np.rot90(
        cv2.resize(scene(size=(320, 240)), stored, interpolation=cv2.INTER_AREA), rotation_deg // 90
    )
    turned = 1 / aspect if rotation_deg else aspect
    path = write_video(
        media.path("wide.mp4"), [picture] * 3, rotation_deg=rotation_deg, pixel_aspect=turned
    )
    info = probe(path)
    assert (info.width, info.height) == size
    (frame,) = read_frames(path, frames=1)
    assert np.abs(frame.image.astype(int) - cv2.resize(scene(size=(320, 240)), size)).mean() < 6
    assert all(image.shape == frame.image.shape for _, image in every_frame(path))


LIES = {
    "cut.mp4": (
        lambda m, n: m.truncated(n, seconds=6, share=0.3, options={"bf": "0"}),
        11,
        1.1,
        "it ends at 1",
    ),
    "cut.mkv": (
        lambda m, n: m.truncated(n, seconds=9, share=0.2, options={"g": "9"}),
        10,
        1.8,
        "it ends at 1",
    ),
    "long.mkv": (
        lambda m, n: declare(m.clip(n, seconds=4.6), 36_000),
        16,
        4.5,
        ("it ends at 4.6 s of the 36000.0"),
    ),
    "short.mkv": (
        lambda m, n: declare(m.clip(n, seconds=4.6), 0.5),
        16,
        4.5,
        ("it goes on to 4.6 s where 0.5 s"),
    ),
    "short.mp4": (
        lambda m, n: declare(m.clip(n, seconds=4.6), 0.5),
        16,
        4.5,
        ("it goes on to 4.6 s where 0.5 s"),
    ),
}
"""Name -> what makes it, frames of 16 that there must be at least, the last one's time, the
warning."""


@pytest.mark.parametrize("name", LIES)
def test_a_false_length_hides_nothing(name: str, media: Media):
    make, count, last_s, warning = LIES[name]
    path, warnings = make(media, name), []
    frames = list(read_frames(path, frames=16, warn=warnings.append))
    assert len(frames) >= count
    assert frames[-1].t_s >= last_s - 0.3
    assert probe(path).duration_s == pytest.approx(last_s, abs=0.35)
    assert any(text.startswith(warning) for text in warnings)


@pytest.mark.parametrize("asked", [MAX_SAMPLES + 1, 5 * 10**9, 10**400])
def test_no_length_and_no_number_talks_anybody_into_looking_without_end(asked: int):
    moments = evenly(lambda duration_s: asked)(1e9)
    assert (len(moments.times_s), moments.left_out) == (MAX_SAMPLES, asked - MAX_SAMPLES)
    assert moments.times_s[0] == 5000.0 and moments.times_s[-1] == pytest.approx(1e9 - 5000)
    assert evenly(lambda duration_s: MAX_SAMPLES)(1e9).left_out == 0


def test_a_last_frame_that_claims_to_be_far_away_is_told_of(media: Media):
    path, warnings = (
        media.clip("far.mkv", times=[*np.arange(10) / 10, 1e9], size=(64, 48), options={"bf": "0"}),
        [],
    )
    frames = list(read_frames(path, frames=5 * 10**9, warn=warnings.append))
    assert 2 <= len(frames) <= 11 and frames[-1].t_s == pytest.approx(1e9)
    said = (
        "it is looked at 100000 times, every 10000 s, which is the most, instead of the 5000000000"
        " asked for"
    )
    assert said in warnings


@pytest.mark.parametrize(("name", "most"), [("a.mp4", 0), ("a.mkv", 60)])
def test_a_true_length_is_checked_at_the_end_of_the_file_alone(
    name: str, most: int, media: Media, monkeypatch: pytest.MonkeyPatch
):
    path, read = media.clip(name, seconds=60, fps=5, size=(64, 48), options={"g": "10"}), []
    times_s = Decoder._times_s
    monkeypatch.setattr(
        Decoder, "_times_s", lambda self: (read.append(t_s) or t_s for t_s in times_s(self))
    )
    assert len(list(read_frames(path, frames=4))) == 4
    assert len(read) <= most and all(t_s > 45 for t_s in read)
    assert bool(read) == bool(most), "an MP4 has an index"


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp"])
def test_stills_by_content_not_by_name(suffix: str, media: Media):
    path = media.still(f"a.{suffix}").rename(media.path("b.mp4"))
    info = probe(path)
    assert (info.width, info.height, info.is_image, info.duration_s) == (320, 240, True, 0)
    (frame,) = read_frames(path, frames=9)
    assert (frame.t_s, frame.index) == (0, 0)
    assert np.abs(frame.image.astype(int) - scene()).mean() < 4
    with pytest.raises(ImageError, match="320x240 px is more than the limit"):
        probe(path, max_pixels=1000)


@pytest.mark.parametrize("lossless", [True, False])
def test_the_size_of_a_webp_is_known_before_it_is_decoded(lossless: bool, media: Media):
    path = media.path("a.webp")
    cv2.imwrite(
        str(path), scene(size=(333, 77)), [cv2.IMWRITE_WEBP_QUALITY, 101 if lossless else 50]
    )
    with pytest.raises(ImageError, match="333x77 px"):
        probe(path, max_pixels=1000)


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_exif_orientation_is_applied(orientation: int, media: Media):
    (frame,) = read_frames(media.still(exif_orientation=orientation), frames=1)
    assert frame.image.shape == (240, 320, 3)
    assert np.abs(frame.image.astype(int) - scene()).mean() < 4


def test_the_file_is_closed_when_the_reader_stops_early(media: Media):
    path = media.clip(seconds=2)

    def open_files() -> list[str]:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return [link.name for link in links if link.is_symlink() and link.readlink() == path]

    if not Path("/proc/self/fd").exists():
        pytest.skip("open files are listed in /proc only")
    frames = read_frames(path, frames=8)
    next(frames)
    assert len(open_files()) == 1
    frames.close()
    assert open_files() == []
