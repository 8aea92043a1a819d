"""Corruption of whole clips: what an encoder does, and what falls on single frames."""

import numpy as np
import pytest
from media import Media
from scorer_factory import tinted_clip

from deepkd.data.clips import Clip
from deepkd.data.corruptions import CORRUPTIONS as PERTURBATIONS
from deepkd.evaluation.corruption import corrupt_clip, steps_of
from deepkd.video.frames import Frame, every_frame, probe
from deepkd.video.sources import Source


def clip_of(path, video="v"):
    return Clip(path, "REAL", video, video)


@pytest.mark.parametrize(
    ("name", "level"), [("h264", 40), ("double-compression", 38), ("frame-rate", 15)]
)
def test_encodings_write_the_whole_clip_anew(name, level, tmp_path):
    path = tinted_clip(tmp_path / "a.mp4", seconds=1.0, fps=30, size=(161, 121))
    with corrupt_clip(clip_of(path), name, level, seed=0) as (source, alter):
        frames = [image for _, image in every_frame(source.path)]
        info = probe(source.path)
        kept = source.path.read_bytes()
    assert not source.path.exists()
    side = {"double-compression": 0.75}.get(name, 1)
    assert (info.codec, len(frames)) == ("h264", 15 if name == "frame-rate" else 30)
    assert (info.width, info.height) == pytest.approx((160 * side, 120 * side), abs=2)
    assert info.duration_s == pytest.approx(1.0, abs=0.05)
    with corrupt_clip(clip_of(path), name, level, seed=0) as (source, _):
        assert source.path.read_bytes() == kept, "the same bytes each time"
    frame = Frame(frames[0], 0.0, 0)
    assert alter(frame).image is frames[0]


def test_stronger_compression_is_worse(tmp_path):
    path = tinted_clip(tmp_path / "a.mp4", seconds=0.3)
    original = next(image for _, image in every_frame(path)).astype(int)
    errors = []
    for level in PERTURBATIONS["h264"].severities:
        with corrupt_clip(clip_of(path), "h264", level, seed=0) as (source, _):
            errors.append(
                np.abs(next(image for _, image in every_frame(source.path)) - original).mean()
            )
    assert errors == sorted(errors) and errors[-1] > errors[0]


def test_mixed_damage_falls_in_its_order_around_the_encoding(tmp_path):
    path = tinted_clip(tmp_path / "a.mp4", seconds=0.3)
    drawn = {f"v{n}": steps_of("mixed", 3, seed=0, video=f"v{n}") for n in range(400)}
    video, steps = next(
        (v, s) for v, s in drawn.items() if [name for name, _ in s][:2] == ["contrast", "h264"]
    )
    with corrupt_clip(clip_of(path, video), "mixed", 3, seed=0) as (source, alter):
        image = next(image for _, image in every_frame(source.path))
        assert alter(Frame(image, 0.0, 0)).image.tolist() != image.tolist(), (
            f"{steps[2]} falls after the encoding"
        )
    plain = next(image for _, image in every_frame(path))
    assert image.mean() == pytest.approx(steps[0][1] * plain.mean(), rel=0.1), (
        "the contrast falls before it"
    )


def test_stills_and_what_cannot_be_decoded(tmp_path):
    media = Media(tmp_path)
    still = media.still("a.png")
    with corrupt_clip(clip_of(still), "h264", 40, seed=0) as (source, alter):
        assert source == Source(still)
        image = np.full((16, 16, 3), 100, np.uint8) + np.arange(16, dtype=np.uint8)[:, None]
        assert alter(Frame(image, 0.0, 0)).image.tolist() != image.tolist()
    with corrupt_clip(clip_of(media.junk("b.mp4")), "h264", 40, seed=0) as (source, _):
        assert source.path.name == "b.mp4" and "not a video" in source.problem
