"""Make the picture of a report that the README shows (needs a Chromium).

    python tools/report_picture.py

The clip is a published sample, so the picture may be published too.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SIZE, PAGE_PX = (1200, 1300), 960
"""Of the window, pixels; the picture ends with the first card. The page is no wider than the
second."""


def main() -> None:
    """Judge the clip, open the report in a browser, cut its picture."""
    parser = argparse.ArgumentParser(description="Make docs/report.jpg from a sample clip.")
    parser.add_argument(
        "--clip", default="data/samples/forged.mp4", help="clip, relative to the checkout"
    )
    parser.add_argument("--model", default="deepkd-nano", help="model that judges")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "report.jpg", help="picture to write"
    )
    args = parser.parse_args()
    browser = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )
    if browser is None:
        sys.exit("no Chromium is installed")
    with tempfile.TemporaryDirectory() as folder:
        page, picture = Path(folder, "report.html"), Path(folder, "page.png")
        words = [
            "detect",
            args.clip,
            "--model",
            args.model,
            "--report",
            str(page),
            "--language",
            "en",
        ]
        subprocess.run([sys.executable, "-m", "deepkd", *words], check=True, cwd=ROOT)
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        flags += [
            f"--window-size={SIZE[0]},{SIZE[1]}",
            f"--user-data-dir={folder}/profile",
            f"--screenshot={picture}",
        ]
        subprocess.run([browser, *flags, page.as_uri()], check=True, capture_output=True)
        image = cv2.imread(str(picture))
    cv2.imwrite(str(args.out), first_card(image), [cv2.IMWRITE_JPEG_QUALITY, 85])


def first_card(image: "np.ndarray") -> "np.ndarray":
    """The top of the page, down to the end of the first card: where its coloured edge ends."""
    left = max(0, image.shape[1] - PAGE_PX) // 2 + 18
    edge = np.flatnonzero(np.ptp(image[:, left].astype(int), axis=1) > 40)
    return image[: int(edge[-1]) + 16] if len(edge) else image


if __name__ == "__main__":
    main()
