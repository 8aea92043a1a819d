"""The report and the saved video in a real browser: requests, looks, accessibility.

Skipped where there is no Chromium, and in part where there is no Playwright; nothing else needs
them.
"""

import dataclasses
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import BROWSER, launch_browser
from media import Media

from deepkd.languages import LANGUAGES
from deepkd.report import Provenance, open_report
from deepkd.report.video import annotate
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.rules import Criteria
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Thresholds
from deepkd.scoring.verdict import Verdict, judge
from deepkd.video.shots import Span

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
JPEG = bytes(cv2.imencode(".jpg", np.full((112, 112, 3), 200, np.uint8))[1])
LIGHT, DARK = 1, 0


def report(path: Path, language: str = "en") -> Path:
    """A report of a clip of three shots, one of two people forged in a part, with faces and
    heat."""
    path.write_text(write_report(language))
    return path


@cache
def write_report(language: str) -> str:
    """The text of a report, see `report`."""
    places = np.array([[2.0, -1.0], [0.0, 0.5]], np.float32)
    faces = {
        person: [
            FrameScore(
                i * 0.6, (9, 9, 99, 99), logit, 1 / (1 + np.exp(-logit)), 0.99, None, JPEG, places,
                small_thumbnail=JPEG,
            )
            for i, logit in enumerate(logits)
        ]
        for person, logits in enumerate(([-3.0] * 16, [-3.0] * 6 + [5.0] * 4 + [-3.0] * 6))
    }  # fmt: skip
    limits = Thresholds(0.3, 0.7)
    spans = [Span(0.0, 3.4), Span(3.4, 5.6), Span(5.6, 10.0)]
    judgement = judge(faces, Criteria(Calibration(), limits), rule="mean-logit", spans=spans)
    clip = Verdict(
        **vars(judgement), path=Path("<b>clip.mp4"), duration_s=10.0, fps=25.0, frames_sampled=17,
        has_sound=True, sampled_s=(*(frame.t_s for frame in faces[0]), 9.6),
    )  # fmt: skip
    out = io.StringIO()
    about = Provenance("nano", "ab" * 32, 4, {}, {"model": "nano"}, limits.to_dict(), language)
    page = open_report("html", out, about)
    page.add(clip)
    page.add(dataclasses.replace(clip, path=Path("again.mp4")))
    page.close()
    return out.getvalue()


def opened(
    page: Path, folder: Path, *, scheme: int = LIGHT, width: int = 900
) -> tuple[np.ndarray, list[str], str]:
    """Open a page: its picture (RGB), the other addresses it asked for, and its console."""
    picture, log = folder / "page.png", folder / "net.json"
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--hide-scrollbars",
            "--disable-background-networking",
            "--disable-component-update",
            "--host-resolver-rules=MAP * ~NOTFOUND",
            f"--user-data-dir={folder / 'profile'}",
            f"--log-net-log={log}",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={scheme}",
            f"--window-size={width},1000",
            "--virtual-time-budget=2000",
            f"--screenshot={picture}",
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, "HOME": str(folder)},
    )
    console = "\n".join(line for line in done.stderr.splitlines() if ":CONSOLE" in line)
    return cv2.imread(str(picture))[..., ::-1], asked_for(json.loads(log.read_text())), console


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, list[str], str]:
    """What `opened` gives for the report, light and 900 pixels wide."""
    folder = tmp_path_factory.mktemp("usual")
    return opened(report(folder / "report.html"), folder)


def asked_for(log: dict) -> list[str]:
    """The addresses on the network that a page, and not the browser itself, asked for."""
    params = (event.get("params", {}) for event in log["events"])
    return [
        p["url"]
        for p in params
        if p.get("initiator", "not an origin") != "not an origin" and ":" in p["url"]
    ]


def test_it_asks_for_nothing_and_complains_of_nothing(usual: tuple[np.ndarray, list[str], str]):
    _, addresses, console = usual
    assert addresses == [] and console == ""


def test_a_page_that_did_would_be_noticed(tmp_path: Path):
    page = tmp_path / "page.html"
    page.write_text("<img src='http://pictures.invalid/a.png'><script>console.error('oh')</script>")
    _, addresses, console = opened(page, tmp_path)
    assert addresses == ["http://pictures.invalid/a.png"] and "oh" in console


@pytest.mark.parametrize(("scheme", "low", "high"), [(LIGHT, 230, 256), (DARK, 0, 40)])
def test_it_is_light_or_dark_as_the_reader_likes(
    scheme: int, low: int, high: int, usual: tuple[np.ndarray, list[str], str], tmp_path: Path
):
    picture, _, _ = usual
    if scheme != LIGHT:
        picture, _, _ = opened(report(tmp_path / "report.html"), tmp_path, scheme=scheme)
    assert low <= np.median(picture) < high
    assert picture.max() - picture.min() > 150, "text is to be read"


def test_it_fits_a_telephone(usual: tuple[np.ndarray, list[str], str], tmp_path: Path):
    wide, _, _ = usual
    narrow, _, _ = opened(report(tmp_path / "report.html"), tmp_path, width=500)
    assert (wide.shape[1], narrow.shape[1]) == (900, 500)
    assert np.ptp(narrow[:, -6:].astype(int), axis=0).max() < 12, "nothing reaches the edge"


@pytest.fixture(scope="module")
def browse() -> Iterator[Callable[..., Any]]:
    """A function that opens a page in one browser, with options of Playwright's `new_page`."""
    with launch_browser() as browser:

        def open_page(address: Path, **options: Any) -> Any:
            page = browser.new_page(**options)
            page.goto(address.as_uri())
            return page

        yield open_page


def test_a_screen_reader_hears_it_all(browse: Callable[..., Any], tmp_path: Path):
    file = report(tmp_path / "report.html")
    page = browse(file)
    heard = page.locator("body").aria_snapshot()
    for words in (
        'heading "Are the faces forged?" [level=1]',
        'row "<b>clip.mp4 FAKE 99% 2 people; person 2 looks forged from 0:03.6 to 0:05.4"',
        'heading "again.mp4" [level=2]',
        'heading "Person 2" [level=3]',
        (
            'img "Probability of forgery of person 2 in 16 frames from 0:00.0 to 0:09.0: between 5%'
            " and 99%; looks forged"
        ),
        'img "Face of person 2 at 0:03.6"',
        'img "Where the model looked, 0:03.6"',
    ):
        assert words in heard
    assert "▲" not in heard and "■" not in heard, "shapes and colours are for the eye"
    narrow = browse(file, viewport={"width": 390, "height": 800})
    assert narrow.locator("body").aria_snapshot() == heard, "the layout changes nothing of it"


@pytest.fixture(scope="module")
def resizable(browse: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The report, open to be looked at in any size."""
    return browse(report(tmp_path_factory.mktemp("resizable") / "report.html"))


@pytest.mark.parametrize("width", [320, 390, 640, 900, 1280])
def test_it_is_read_at_any_width(width: int, resizable: Any):
    page = resizable
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    rows = page.evaluate(
        "[...document.querySelectorAll('.all tbody tr')].map(row => row.offsetHeight)"
    )
    assert len(rows) == 2 and max(rows) < 160, "no column is squeezed to a few letters"


@pytest.mark.parametrize("language", LANGUAGES)
def test_it_is_read_on_a_telephone_in_every_language(
    language: str, browse: Callable[..., Any], tmp_path: Path
):
    page = browse(
        report(tmp_path / "report.html", language), viewport={"width": 360, "height": 740}
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.documentElement.lang") == language
    rows = page.evaluate(
        "[...document.querySelectorAll('.shots tbody tr, .frames tr')].map(row => row.offsetHeight)"
    )
    assert len(rows) == 2 * (3 + 34) and max(rows) < 120, "no column is squeezed to a few letters"


def test_paper_has_every_frame_a_head_on_each_page_and_whole_faces(
    browse: Callable[..., Any], tmp_path: Path
):
    pdfium = pytest.importorskip("pypdfium2", reason="PDFium is not installed")
    opened = browse(report(tmp_path / "report.html"))
    document = pdfium.PdfDocument(opened.pdf(format="A4"))
    texts = [page.get_textpage().get_text_range() for page in document]
    assert len(texts) > 4
    for number, text in enumerate(texts, 1):
        assert "deepkd report, 20" in text and "Model nano" in text
        assert f"{number} / {len(texts)}" in text
        assert len(text.splitlines()) > 5, "more than what stands at the edges"
    whole = "\n".join(texts)
    assert whole.count("no face that counts") == 2 and whole.count("0:09.0") >= 4
    faces = [
        (image.get_bounds(), page.get_size())
        for page in document
        for image in page.get_objects(filter=[pdfium.raw.FPDF_PAGEOBJ_IMAGE])
    ]
    shown = opened.locator("img").count()
    assert len(faces) == shown, "a face on the edge would be on two pages"
    assert shown > 2 * 32, "each face of the appendix, and some of each person"
    for (left, bottom, right, top), (width, height) in faces:
        assert 40 < left < right < width - 40 and 50 < bottom < top < height - 60
        assert min(abs(top - bottom - size) for size in (43, 72)) < 2, "0.6 inches, or one"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_printed_on_white_paper(scheme: str, browse: Callable[..., Any], tmp_path: Path):
    page = browse(report(tmp_path / "report.html"), color_scheme=scheme)
    page.emulate_media(media="print")
    colors = page.evaluate(
        "[document.body, document.querySelector('h2')].map(e => getComputedStyle(e))"
        ".map(style => [style.backgroundColor, style.color])"
    )
    assert (colors[0][0], colors[1][1]) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
    assert page.pdf().startswith(b"%PDF")


SEEK = """async times => {
    const video = document.querySelector("video"), shown = [];
    for (const time of times) {
        const frame = new Promise(
          done => video.requestVideoFrameCallback((_, frame) => done(frame.mediaTime)));
        video.currentTime = time;
        shown.push(await frame);
    }
    return [video.duration, video.videoWidth, video.videoHeight, shown];
}"""


def test_the_saved_video_plays_at_its_own_times(browse: Callable[..., Any], media: Media):
    times = (0.0, 0.1, 0.5, 0.6, 1.2)
    clip, out, page = (
        media.clip(faces=(), times=times),
        media.path("out.webm"),
        media.path("page.html"),
    )
    frames = [FrameScore(t_s, (90, 60, 80, 100), 3.0, 0.95, 0.99) for t_s in times]
    answer = judge({0: frames}, Criteria(Calibration(), Thresholds()), rule="mean-logit")
    annotate(Verdict(**vars(answer), path=clip, duration_s=1.3, fps=10.0, frames_sampled=5), out)
    page.write_text("<video src='out.webm' muted></video>")
    opened = browse(page)
    opened.wait_for_function("document.querySelector('video').readyState >= 2")
    length_s, width, height, shown = opened.evaluate(SEEK, [t_s + 0.03 for t_s in reversed(times)])
    assert (width, height) == (320, 240) and 1.2 < length_s < 1.5
    assert shown == pytest.approx(times[::-1], abs=0.002)
    opened.evaluate("document.querySelector('video').play()")
    opened.wait_for_function("document.querySelector('video').currentTime > 0.3")
