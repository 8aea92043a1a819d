import dataclasses
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from media import Media

from deepkd.errors import OutputError
from deepkd.report.video import COLORS, MAX_SIDE_PX, PLAIN, annotate, draw_verdict, write_video
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.verdict import Label, TrackVerdict, Verdict
from deepkd.video.frames import probe


def verdict(path: Path = Path("x.mp4"), *, zoom: int = 1, **changes) -> Verdict:
    """A box that moves from x=40 at 0 s to x=140 at 1 s, forged from 0.5 s on; times `zoom`."""
    frames = tuple(
        FrameScore(t_s, (zoom * (40 + 100 * t_s), zoom * 60, zoom * 80, zoom * 100), 3.0, 0.9, 0.99)
        for t_s in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    track = TrackVerdict(0, frames, Label.FAKE, 0.9, "looks forged", forged_s=(0.5, 1.0))
    plain = Verdict(
        Label.FAKE, 0.9, "why", (track,), path=path, duration_s=1.0, fps=10.0, frames_sampled=5
    )
    return dataclasses.replace(plain, **changes)


def decoded(path: Path) -> tuple[list[float], list[np.ndarray], str]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [
            (float(frame.pts * stream.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(stream)
        ]
        return [t_s for t_s, _ in frames], [image for _, image in frames], stream.codec_context.name


@pytest.mark.parametrize(
    "options",
    [
        {"times": (0.0, 0.04, 0.5, 0.52, 1.2)},
        {"rotation_deg": 90, "size": (242, 322), "seconds": 0.5},
        {"size": (321, 241), "codec": "ffv1", "name": "odd.mkv", "seconds": 0.4},
    ],
)
def test_every_frame_keeps_its_time(options: dict, media: Media):
    clip = media.clip(faces=(), **options)
    out = media.path("out.webm")
    annotate(verdict(clip), out)
    times, images, codec = decoded(out)
    expected = options.get("times") or [i / 10 for i in range(round(options["seconds"] * 10))]
    assert codec == "vp9"
    assert times == pytest.approx(expected, abs=0.001)
    width, height = options.get("size", (320, 240))
    assert images[0].shape == (height // 2 * 2, width // 2 * 2, 3)


def has(image: np.ndarray, color: tuple[int, int, int]) -> bool:
    """Whether the colour is on the left edge of the box at x=90, y=110."""
    return bool((np.abs(image[100:120, 88:93].astype(int) - color).max(-1) < 30).any())


def test_the_box_moves_with_the_face_and_takes_the_color_of_what_is_said():
    black = np.zeros((240, 320, 3), np.uint8)
    assert has(draw_verdict(black, 0.5, verdict()), COLORS[Label.FAKE])
    assert not has(draw_verdict(black, 0.0, verdict()), PLAIN)
    early = np.flatnonzero(draw_verdict(black, 0.2, verdict())[110, :, 0] > 150)
    assert early.min() == pytest.approx(60, abs=2)
    assert early.max() == pytest.approx(140, abs=2)
    assert draw_verdict(black, 0.2, verdict())[110, early[0]] == pytest.approx(PLAIN, abs=40)
    assert not black.any(), "the picture handed in stays as it is"


def test_a_closer_look_leaves_no_gaps_between_the_other_samples():
    plain = verdict().tracks[0]
    closer = tuple(
        dataclasses.replace(plain.frames[0], t_s=t_s, is_closer=True)
        for t_s in np.arange(0.01, 0.09, 0.01)
    )
    track = dataclasses.replace(plain, frames=(plain.frames[0], *closer, *plain.frames[1:]))
    assert has(
        draw_verdict(np.zeros((240, 320, 3), np.uint8), 0.5, verdict(tracks=(track,))),
        COLORS[Label.FAKE],
    )
    early = draw_verdict(np.zeros((240, 320, 3), np.uint8), 0.2, verdict(tracks=(track,)))
    assert early[110].any(), "between two samples"


@pytest.mark.parametrize("t_s", [1.2, 2.0, 50.0])
def test_nobody_is_drawn_long_after_they_left(t_s: float):
    image = draw_verdict(np.zeros((240, 320, 3), np.uint8), t_s, verdict())
    assert not image[100:130].any()


def test_large_pictures_are_shrunk_with_their_boxes():
    image = draw_verdict(np.zeros((2400, 3840, 3), np.uint8), 0.5, verdict(zoom=10))
    assert image.shape == (1200, MAX_SIDE_PX, 3)
    assert np.flatnonzero(image[600, :, 0] > 150).min() == pytest.approx(450, abs=4)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Verdict.from_failure(Path("a.mp4"), "is empty"), "is empty; so no video"),
        (verdict(duration_s=0.0), "is a still image"),
    ],
)
def test_without_a_clip_nothing_is_drawn(answer: Verdict, message: str, tmp_path: Path):
    with pytest.raises(OutputError, match=message):
        write_video(answer, tmp_path / "out.webm")


TOO_SLOW = (
    r"clip\.mp4: drawing into a copy took longer than 0\.01 s, so no video was written; raise"
    r" --timeout"
)


def test_drawing_ends_with_its_time_even_within_a_long_step(
    media: Media, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("deepkd.report.video.every_frame", lambda path: time.sleep(20) or [])
    with pytest.raises(OutputError, match=TOO_SLOW):
        write_video(verdict(media.path("clip.mp4")), media.path("out.webm"), limit_s=0.01)


def test_drawing_ends_with_its_time_where_no_alarm_rings(media: Media):
    clip = media.clip(faces=(), seconds=2)
    with pytest.raises(OutputError, match=TOO_SLOW.replace("0\\.01", "1e-06")):
        annotate(verdict(clip), media.path("out.webm"), limit_s=1e-6)


def sounding(media: Media, *, delay_s: float = 0.0, seconds: float = 2.0) -> Path:
    """A clip of 2 s with a tone that begins with it, or later, and a click of silence at 1 s."""
    rate, path = 16_000, media.path("sounding.mp4")
    clip = media.clip("silent.mp4", faces=(), seconds=2, size=(64, 48))
    with av.open(str(clip)) as source, av.open(str(path), "w") as target:
        pictures = target.add_stream_from_template(source.streams.video[0])
        sound = target.add_stream("aac", rate=rate, layout="mono")
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                target.mux(packet)
        moments = np.arange(int(seconds * rate)) / rate
        wave = 0.5 * np.sin(2 * np.pi * 440 * moments) * (np.abs(moments + delay_s - 1.0) > 0.1)
        frame = av.AudioFrame.from_ndarray(
            wave.astype(np.float32)[None], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = rate, int(delay_s * rate)
        target.mux(sound.encode(frame))
        target.mux(sound.encode())
    return path


def loudness(path: Path, step_s: float = 0.05) -> np.ndarray:
    """How loud each twentieth of a second is, by the times in the file."""
    with av.open(str(path)) as container:
        found = np.zeros(100)
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(float).mean(0)
            at = ((frame.time + np.arange(frame.samples) / frame.sample_rate) / step_s).astype(int)
            np.add.at(found, at[(at >= 0) & (at < 100)], np.abs(samples[(at >= 0) & (at < 100)]))
    return found > 0.1 * found.max()


@pytest.mark.parametrize("delay_s", [0.0, 0.5])
def test_sound_is_carried_over_at_its_time(delay_s: float, media: Media):
    clip, out = sounding(media, delay_s=delay_s, seconds=2 - delay_s), media.path("out.webm")
    annotate(verdict(clip, duration_s=2.0), out)
    times, _, _ = decoded(out)
    assert times == pytest.approx([i / 10 for i in range(20)], abs=0.001)
    heard, expected = loudness(out)[:39], loudness(clip)[:39]
    assert expected[int(delay_s / 0.05) + 2 : 17].all() and not expected[19:21].any()
    assert (heard == expected).mean() > 0.9


def test_sound_ends_with_the_pictures(media: Media):
    clip, out = sounding(media, seconds=5.0), media.path("out.webm")
    assert probe(clip).has_sound and not probe(media.clip("silent.mp4")).has_sound
    annotate(verdict(clip, duration_s=2.0), out)
    with av.open(str(out)) as container:
        assert 1.9 < max(frame.time for frame in container.decode(audio=0)) < 2.2


def test_damaged_sound_does_not_spoil_the_pictures(media: Media):
    clip, out = sounding(media), media.path("out.webm")
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat")
    data[start + len(data[start:]) // 2 : start + len(data[start:]) * 3 // 4] = bytes(
        len(data[start:]) // 4
    )
    clip.write_bytes(data)
    annotate(verdict(clip, duration_s=2.0), out)
    assert len(decoded(out)[0]) >= 1


def with_sound(media: Media, name: str, *, rate: int, layout: str, at_s: float) -> bytes:
    """A transport stream of a second from a time on, with a tone."""
    path, tick = media.path(name), Fraction(1, 10)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("libx264", rate=10, options={"bf": "0"})
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=rate, layout=layout)
        for index in range(10):
            picture = av.VideoFrame.from_ndarray(
                np.full((48, 64, 3), 20 * index, np.uint8), format="rgb24"
            )
            picture.pts, picture.time_base = round(at_s / tick) + index, tick
            container.mux(pictures.encode(picture))
        wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
        piece = av.AudioFrame.from_ndarray(
            np.stack([wave] * (1 + (layout == "stereo"))), "fltp", layout
        )
        piece.sample_rate, piece.pts, piece.time_base = rate, round(at_s * rate), Fraction(1, rate)
        for packet in (*pictures.encode(), *sound.encode(piece), *sound.encode()):
            container.mux(packet)
    return path.read_bytes()


def joined(media: Media, rate: int, layout: str, at_s: float, *, first: str = "stereo") -> Path:
    """A second of 48 kHz, then a second as asked for, into which the first one's sound reaches."""
    first = with_sound(media, "first.ts", rate=48_000, layout=first, at_s=0.0)
    media.path("joined.ts").write_bytes(
        first + with_sound(media, "then.ts", rate=rate, layout=layout, at_s=at_s)
    )
    return media.path("joined.ts")


@pytest.mark.parametrize(
    ("rate", "layout", "at_s", "until_s"),
    [
        (44_100, "stereo", 1.0, 2.0),
        (48_000, "mono", 1.0, 2.0),
        (22_050, "mono", 1.0, 2.0),
        (44_100, "mono", 0.0, 1.0),
    ],
    ids=["rate", "channels", "both", "back in time"],
)
@pytest.mark.parametrize("first", ["stereo", "mono"])
def test_sound_that_changes_midway_is_carried_over(
    rate: int, layout: str, at_s: float, until_s: float, first: str, media: Media
):
    out = media.path("out.webm")
    annotate(verdict(joined(media, rate, layout, at_s, first=first), duration_s=2.0), out)
    assert len(decoded(out)[0]) == 20
    heard = loudness(out)
    assert (
        heard[1 : round(until_s / 0.05) - 2].all() and not heard[round(until_s / 0.05) + 2 :].any()
    )


def test_sound_that_cannot_be_encoded_is_left_out_from_there_on(
    media: Media, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        "deepkd.report.sound.OVERLAP_S", 9.0
    )  # lets times go back, which no muxer takes
    out = media.path("out.webm")
    annotate(verdict(joined(media, 48_000, "stereo", 0.0), duration_s=2.0), out)
    assert len(decoded(out)[0]) == 20
    assert loudness(out)[1:18].all()


def test_frames_closer_together_than_the_clock_ticks_are_drawn(media: Media):
    clip, out = media.clip(faces=(), fps=9000, seconds=0.002, size=(64, 48)), media.path("out.webm")
    write_video(verdict(clip, fps=9000.0), out)
    assert decoded(out)[0] == pytest.approx([i / 1000 for i in range(18)])


@pytest.mark.parametrize(
    "error", [av.error.InvalidDataError(1, "no such pixels"), ValueError("no such pixels")]
)
def test_what_cannot_be_encoded_at_all_is_said(
    error: Exception, media: Media, monkeypatch: pytest.MonkeyPatch
):
    def broken(path: Path):
        raise error
        yield

    monkeypatch.setattr("deepkd.report.video.every_frame", broken)
    with pytest.raises(
        OutputError,
        match=r"clip\.mp4: cannot be drawn into a copy \(.*no such pixels.*; re-encode it",
    ):
        write_video(verdict(media.path("clip.mp4")), media.path("out.webm"))
