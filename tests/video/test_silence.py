"""Sound that is there, and sound streams with nothing in them."""

from pathlib import Path

import av
import numpy as np
import pytest
from media import Media

from deepkd.video import silence
from deepkd.video.frames import MAX_PIXELS, probe
from deepkd.video.silence import is_silent

RATE = 8000
KINDS = {
    "a.mp4": ("aac", "fltp"),
    "a.mp3": ("libmp3lame", "fltp"),
    "a.flac": ("flac", "s16"),
    "wide.wav": ("pcm_s32le", "s32"),
    "narrow.wav": ("pcm_u8", "u8"),
}
"""Name of a file -> its codec and kind of number."""


def write_sound(path: Path, *, loudness: float, from_s: float = 0.0) -> Path:
    """Two seconds, silent up to a time."""
    codec, kind = KINDS[path.name]
    moments = np.arange(2 * RATE) / RATE
    wave = loudness * np.sin(2 * np.pi * 440 * moments) * (moments >= from_s)
    scale, zero, number = {
        "fltp": (1, 0, np.float32), "s16": (2**15 - 1, 0, np.int16),
        "s32": (2**31 - 1, 0, np.int32), "u8": (127, 128, np.uint8),
    }[kind]  # fmt: skip
    samples = np.round(wave * scale).astype(number) + number(zero) if scale > 1 else wave
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=RATE, layout="mono")
        piece = av.AudioFrame.from_ndarray(samples.astype(number)[None], kind, "mono")
        piece.sample_rate, piece.pts = RATE, 0
        container.mux(stream.encode(piece))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", KINDS)
def test_silence_is_told_from_sound_that_begins_late(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert is_silent(write_sound(path, loudness=0.0), MAX_PIXELS)
    assert not is_silent(write_sound(path, loudness=0.2, from_s=1.5), MAX_PIXELS)


def test_dither_is_silence(tmp_path: Path) -> None:
    assert is_silent(write_sound(tmp_path / "a.flac", loudness=1 / 2**15), MAX_PIXELS)
    assert not is_silent(write_sound(tmp_path / "a.flac", loudness=3 / 2**15), MAX_PIXELS)


def test_what_is_not_listened_to_counts_as_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sound(tmp_path / "a.mp4", loudness=0.0)
    data = path.read_bytes()
    monkeypatch.setattr(silence, "LONGEST_S", 1.0)
    assert not is_silent(path, MAX_PIXELS)
    path.write_bytes(data[:40])
    assert not is_silent(path, MAX_PIXELS)


@pytest.mark.parametrize("loudness", [0.0, 0.2])
def test_a_clip_with_a_silent_track_has_no_sound(loudness: float, media: Media) -> None:
    clip, sound = media.clip(faces=(), size=(64, 48)), media.path("a.mp4")
    write_sound(sound, loudness=loudness)
    joined = media.path("joined.mkv")
    with av.open(str(clip)) as one, av.open(str(sound)) as two, av.open(str(joined), "w") as out:
        sources = [file.streams[0] for file in (one, two)]
        targets = [out.add_stream_from_template(stream) for stream in sources]
        for source, target in zip(sources, targets, strict=True):
            for packet in source.container.demux():
                if packet.dts is not None:
                    packet.stream = target
                    out.mux(packet)
    assert probe(joined).has_sound == (loudness > 0)
