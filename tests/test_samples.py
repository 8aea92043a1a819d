"""The sample clips that the project publishes: small, whole, and with one face throughout."""

import runpy
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from deepkd.video.faces import load_detector
from deepkd.video.frames import probe, read_frames

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "data" / "samples"


@pytest.mark.parametrize("name", ["real", "forged"])
def test_each_shows_one_face(name: str) -> None:
    path = SAMPLES / f"{name}.mp4"
    info = probe(path)
    assert (info.width, info.height, info.codec) == (640, 480, "h264")
    assert 4 <= info.duration_s <= 6 and path.stat().st_size < 300_000
    detector = load_detector(threads=1)
    faces = [detector.detect(frame.image) for frame in read_frames(path, frames=4, threads=1)]
    assert [len(found) for found in faces] == [1, 1, 1, 1]
    assert all(found[0].probability > 0.99 and found[0].box[3] > 200 for found in faces)


def first_frame(folder: Path, name: str) -> npt.NDArray[np.float32]:
    return next(
        frame.image.astype(np.float32)
        for frame in list(read_frames(folder / f"{name}.mp4", frames=1))
    )


def test_only_the_face_is_forged() -> None:
    difference = np.abs(first_frame(SAMPLES, "real") - first_frame(SAMPLES, "forged")).mean(-1)
    change = cv2.GaussianBlur(difference, (0, 0), 5)
    assert change[150:330, 230:400].mean() > 10, "the face"
    assert change[:60].mean() < 6 and change[:, :120].mean() < 6, "its surroundings"


def test_the_script_makes_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["make_samples.py", "--out", str(tmp_path), "--seconds", "0.2"]
    )
    runpy.run_path(str(ROOT / "tools/make_samples.py"), run_name="__main__")
    for name in ("real", "forged"):
        made, shipped = first_frame(tmp_path, name), first_frame(SAMPLES, name)
        assert (
            made.shape == shipped.shape and np.corrcoef(made.ravel(), shipped.ravel())[0, 1] > 0.7
        )
