"""The HTML report in a real browser: it asks the network for nothing, complains of nothing, and obeys light and dark.

Skipped where there is no Chromium; nothing else needs one.
"""

import dataclasses
import json
import os
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepkd.report import Provenance, open_report
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.verdict import Criteria, FrameScore, Thresholds, Verdict, judge

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
JPEG = bytes(cv2.imencode(".jpg", np.full((112, 112, 3), 200, np.uint8))[1])
LIGHT, DARK = 1, 0


def report(path: Path) -> Path:
    """A report of a clip, one of two people forged in a part, with faces and heat."""
    places = np.array([[2.0, -1.0], [0.0, 0.5]], np.float32)
    faces = {
        person: [
            FrameScore(i * 0.6, (9, 9, 99, 99), logit, 1 / (1 + np.exp(-logit)), 0.99, None, JPEG, places)
            for i, logit in enumerate(logits)
        ]
        for person, logits in enumerate(([-3.0] * 16, [-3.0] * 6 + [5.0] * 4 + [-3.0] * 6))
    }
    limits = Thresholds(0.3, 0.7)
    judgement = judge(faces, Criteria(Calibration(), limits), rule="mean-logit")
    clip = Verdict(**vars(judgement), path=Path("<b>clip.mp4"), duration_s=10.0, fps=25.0, frames_sampled=16)
    with path.open("w") as out:
        page = open_report("html", out, Provenance("nano", "ab" * 32, 4, {}, {"model": "nano"}, limits.to_dict()))
        page.add(clip)
        page.add(dataclasses.replace(clip, path=Path("again.mp4")))
        page.close()
    return path


def opened(page: Path, folder: Path, *, scheme: int = LIGHT, width: int = 900) -> tuple[np.ndarray, list[str], str]:
    """Open a page: its picture (RGB), the addresses that it asked for beside itself, and what the console said."""
    picture, log = folder / "page.png", folder / "net.json"
    done = subprocess.run(
        [
            str(BROWSER), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={scheme}", f"--window-size={width},1000",
            "--virtual-time-budget=2000", f"--screenshot={picture}", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True, env={**os.environ, "HOME": str(folder)},
    )  # fmt: skip
    console = "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
    return cv2.imread(str(picture))[..., ::-1], asked_for(json.loads(log.read_text())), console


def asked_for(log: dict) -> list[str]:
    """The addresses on the network that a page, and not the browser itself, asked for."""
    params = (event.get("params", {}) for event in log["events"])
    return [p["url"] for p in params if p.get("initiator", "not an origin") != "not an origin" and ":" in p["url"]]


def test_it_asks_for_nothing_and_complains_of_nothing(tmp_path: Path):
    _, addresses, console = opened(report(tmp_path / "report.html"), tmp_path)
    assert addresses == [] and console == ""


def test_a_page_that_did_would_be_noticed(tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("<img src='http://pictures.invalid/a.png'><script>console.error('oh')</script>")
    _, addresses, console = opened(page, tmp_path)
    assert addresses == ["http://pictures.invalid/a.png"] and "oh" in console


@pytest.mark.parametrize(("scheme", "low", "high"), [(LIGHT, 230, 256), (DARK, 0, 40)])
def test_it_is_light_or_dark_as_the_reader_likes(scheme: int, low: int, high: int, tmp_path: Path):
    picture, _, _ = opened(report(tmp_path / "report.html"), tmp_path, scheme=scheme)
    assert low <= np.median(picture) < high
    assert picture.max() - picture.min() > 150, "text is to be read"


def test_it_fits_a_telephone(tmp_path: Path):
    wide, _, _ = opened(report(tmp_path / "report.html"), tmp_path)
    narrow, _, _ = opened(report(tmp_path / "report.html"), tmp_path, width=500)
    assert (wide.shape[1], narrow.shape[1]) == (900, 500)
    assert np.ptp(narrow[:, -6:].astype(int), axis=0).max() < 12, "nothing reaches the edge"
