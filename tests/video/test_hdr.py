"""HDR is shown as SDR screens show it, and every matrix and range as the file says."""

from pathlib import Path

import av
import numpy as np
import pytest
from hdr_factory import LUMA, TRANSFERS, Floats, hdr_signal, planes
from media import Media, scene

from deepkd.pipeline import Detector
from deepkd.video.frames import every_frame, probe, read_frames
from deepkd.video.hdr import BT2020_TO_BT709, TO_BT709, hlg_scene_light, pq_nits

ROOT = Path(__file__).resolve().parents[2]
CODECS = {
    "a.mp4": ("libx265", {"x265-params": "log-level=none", "crf": "16"}),
    "a.mov": ("libx264", {"crf": "16"}),
    "a.mkv": ("ffv1", {}),
}


def write(
    path: Path,
    signals: list[Floats],
    *,
    matrix: int = 9,
    transfer: int = 2,
    primaries: int = 9,
    is_full: bool = False,
    bits: int = 10,
    fps: float = 10,
) -> Path:
    """A clip of RGB signals from 0 to 1, 4:2:0, which says how its colors are meant."""
    codec, options = CODECS[path.name]
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=int(fps), options=options)
        height, width = signals[0].shape[:2]
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv420p10le" if bits == 10 else "yuv420p"
        context = stream.codec_context
        context.colorspace, context.color_trc = matrix, transfer
        context.color_primaries, context.color_range = primaries, 2 if is_full else 1
        for signal in signals:
            luma, *chroma = planes(signal, matrix, is_full=is_full, bits=bits)
            halved = [
                part.reshape(height // 2, 2, width // 2, 2).mean((1, 3)).reshape(-1, width)
                for part in chroma
            ]
            array = np.rint(np.concatenate([luma, *halved])).clip(0, 2**bits - 1)
            frame = av.VideoFrame.from_ndarray(
                array.astype(np.uint16 if bits == 10 else np.uint8), format=stream.pix_fmt
            )
            frame.colorspace, frame.color_range = matrix, 2 if is_full else 1
            frame.color_trc, frame.color_primaries = transfer, primaries
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("transfer", TRANSFERS)
def test_hdr_looks_as_the_same_frames_in_sdr(transfer: str, name: str, media: Media):
    picture = scene(size=(320, 240))
    sdr = write(media.path("a.mkv"), [picture / 255], matrix=1, transfer=1, primaries=1, bits=8)
    (frame,) = read_frames(sdr, frames=1)
    path = media.path(name)
    write(path, [hdr_signal(picture, transfer)] * 4, transfer=TRANSFERS[transfer])
    assert probe(path).warnings == (f"HDR ({transfer}) was converted to SDR",)
    images = [frame.image for frame in read_frames(path, frames=2)]
    images += [image for _, image in every_frame(path)]
    for image in images:
        error = np.abs(image.astype(int) - frame.image)
        assert error.mean() < 2.5
        assert np.abs(image.mean((0, 1)) - frame.image.mean((0, 1))).max() < 0.75


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
@pytest.mark.parametrize("matrix", LUMA)
def test_matrix_and_range_are_those_of_the_file(
    matrix: int, bits: int, is_full: bool, media: Media
):
    picture = np.full((64, 96, 3), (210, 70, 40), np.uint8)
    path = write(
        media.path("a.mov"), [picture / 255] * 3, matrix=matrix, transfer=1, primaries=1,
        is_full=is_full, bits=bits,
    )  # fmt: skip
    assert probe(path).warnings == ()
    (frame,) = read_frames(path, frames=1)
    assert np.abs(frame.image.astype(int) - picture).max() <= 4  # another matrix: 9 and more


def test_wide_gamut_comes_as_bt709(media: Media):
    picture = scene(size=(320, 240))
    wide = ((picture / 255) ** 2.4 @ np.linalg.inv(BT2020_TO_BT709).T).clip(0) ** (1 / 2.4)
    path = write(media.path("a.mkv"), [wide] * 3, transfer=14)
    assert probe(path).warnings == ()
    (frame,) = read_frames(path, frames=1)
    assert np.abs(frame.image.astype(int) - picture).mean() < 2.5


def test_what_is_brighter_than_white_is_white(media: Media):
    signal = np.ones((64, 96, 3))
    signal[:, 48:] = hdr_signal(np.full((64, 48, 3), 255, np.uint8), "PQ")
    signal[:32] = 0
    (frame,) = read_frames(write(media.path("a.mkv"), [signal], transfer=16), frames=1)
    assert frame.image[:31].max() <= 1
    assert frame.image[33:].min() >= 254


def test_formulas_have_the_values_of_their_standards():
    assert hlg_scene_light(np.array([0, 0.5, 0.75, 1])) == pytest.approx(
        [0, 1 / 12, 0.26496, 1], abs=1e-5
    )
    assert pq_nits(np.array([0, 0.508078, 0.58069, 0.751827, 1])) == pytest.approx(
        [0, 100, 203, 1000, 10_000], rel=1e-4
    )
    assert np.allclose([np.sum(matrix, 1) for matrix in TO_BT709.values()], 1, atol=2e-4)
    assert np.allclose(np.sum(BT2020_TO_BT709, 1), 1, atol=2e-4)


HDR_FORMS = [
    ("HLG", {}),
    ("PQ", {}),
    ("PQ", {"matrix": 6, "is_full": True}),
]


@pytest.mark.parametrize("sample", ["forged.mp4", "real.mp4"])
def test_scores_are_those_of_the_sdr_clip(sample: str, media: Media):
    pictures = [image for _, image in every_frame(ROOT / "data/samples" / sample)][::30][:5]
    signals = [image / 255 for image in pictures]
    detector, path = Detector(), media.path("a.mkv")
    expected = detector.detect(write(path, signals, matrix=1, transfer=1, primaries=1, bits=8))
    for transfer, form in HDR_FORMS:
        signals = [hdr_signal(image, transfer) for image in pictures]
        found = detector.detect(write(path, signals, transfer=TRANSFERS[transfer], **form))
        assert found.label == expected.label
        assert found.score == pytest.approx(expected.score, abs=0.03)
        assert found.reason.endswith(f"; note: HDR ({transfer}) was converted to SDR")
