import dataclasses
from pathlib import Path

import av
import numpy as np
import pytest
from media import Media

from deepkd.errors import OutputError
from deepkd.report.video import COLORS, MAX_SIDE_PX, PLAIN, VideoReport, annotate, drawn
from deepkd.scoring.verdict import FrameScore, Label, TrackVerdict, Verdict


def verdict(path: Path = Path("x.mp4"), *, zoom: int = 1, **changes) -> Verdict:
    """A box that moves from x=40 at 0 s to x=140 at 1 s, forged from 0.5 s on; all `zoom` times larger."""
    frames = tuple(
        FrameScore(t_s, (zoom * (40 + 100 * t_s), zoom * 60, zoom * 80, zoom * 100), 3.0, 0.9, 0.99)
        for t_s in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    track = TrackVerdict(0, frames, Label.FAKE, 0.9, "looks forged", forged_s=(0.5, 1.0))
    plain = Verdict(Label.FAKE, 0.9, "why", (track,), path=path, duration_s=1.0, fps=10.0, frames_sampled=5)
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
    assert has(drawn(black, 0.5, verdict()), COLORS[Label.FAKE])
    assert not has(drawn(black, 0.0, verdict()), PLAIN)
    early = np.flatnonzero(drawn(black, 0.2, verdict())[110, :, 0] > 150)
    assert early.min() == pytest.approx(60, abs=2)
    assert early.max() == pytest.approx(140, abs=2)
    assert drawn(black, 0.2, verdict())[110, early[0]] == pytest.approx(PLAIN, abs=40)
    assert not black.any(), "the picture handed in stays as it is"


@pytest.mark.parametrize("t_s", [1.2, 2.0, 50.0])
def test_nobody_is_drawn_long_after_they_left(t_s: float):
    image = drawn(np.zeros((240, 320, 3), np.uint8), t_s, verdict())
    assert not image[100:130].any()


def test_large_pictures_are_shrunk_with_their_boxes():
    image = drawn(np.zeros((2400, 3840, 3), np.uint8), 0.5, verdict(zoom=10))
    assert image.shape == (1200, MAX_SIDE_PX, 3)
    assert np.flatnonzero(image[600, :, 0] > 150).min() == pytest.approx(450, abs=4)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Verdict.failed(Path("a.mp4"), "is empty"), "is empty; so no video"),
        (verdict(duration_s=0.0), "is a still image"),
    ],
)
def test_without_a_clip_nothing_is_drawn(answer: Verdict, message: str, tmp_path: Path):
    with pytest.raises(OutputError, match=message):
        VideoReport(tmp_path / "out.webm").add(answer)
