"""Fixtures of these tests: a folder of labelled clips."""

from pathlib import Path

import pytest
from media import Media


@pytest.fixture(scope="session")
def clips(shared_media: Media) -> Path:
    """real/a, fake/a (its forgery), fake/two (two people), real/noise (nobody)."""
    small = {"seconds": 0.6, "fps": 10, "size": (160, 120), "face_share": 0.6}
    shared_media.clip("clips/real/a.mp4", **small)  # type: ignore[arg-type]
    shared_media.clip("clips/fake/a.mp4", forged=True, **small)  # type: ignore[arg-type]
    shared_media.clip("clips/real/noise.mp4", faces=(), **small)  # type: ignore[arg-type]
    pair = ("astronaut", "grace_hopper")
    return shared_media.clip(
        "clips/fake/two.mp4", faces=pair, seconds=0.6, size=(320, 160)
    ).parents[1]
