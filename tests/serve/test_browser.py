"""The pages in a real browser: upload, watch, read, seek, decide; keyboard, dark, narrow."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from chromium import BROWSER, launch_browser
from scorer_factory import tinted_clip, write_scorer
from serve_factory import TOKEN, Served, serve_desk

from deepkd.serve.clips import State

pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
NARROW = {"width": 360, "height": 740}
LONG = "a-name-without-any-space-" * 6 + ".mp4"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with launch_browser() as browser:
        yield browser


@pytest.fixture
def browse(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page; at the end nothing may have gone wrong in any of them."""
    problems: list[str] = []
    opened: list[Any] = []

    def open_page(address: str, **options: Any) -> Any:
        page = browser.new_page(**options)
        opened.append(page)
        page.set_default_timeout(20_000)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        origin = "/".join(address.split("/")[:3])
        outside = lambda request: request.url.startswith((origin, "data:", "blob:"))  # noqa: E731
        page.on("request", lambda it: None if outside(it) else problems.append(it.url))
        page.goto(address)
        return page

    yield open_page
    for page in opened:
        page.close()
    assert [text for text in problems if "status of 4" not in text] == []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model, and a clip for each answer."""
    folder = tmp_path_factory.mktemp("files")
    noise = np.random.default_rng(0).integers(0, 255, (120, 160, 3), np.uint8)
    cv2.imwrite(str(folder / "noise.png"), noise)
    (folder / "notes.txt").write_text("no clip")
    return {
        "model": write_scorer(
            folder / "green.onnx", evidence=True, thresholds={"real": 0.0, "fake": 0.9}
        ),
        "fake": tinted_clip(folder / "fake.mp4", seconds=3),
        "real": tinted_clip(folder / LONG, green=lambda t_s: False),
        "none": folder / "noise.png",
        "error": folder / "notes.txt",
    }


@pytest.fixture
def empty(tmp_path: Path, files: dict[str, Path]) -> Iterator[Served]:
    with serve_desk(tmp_path / "desk", files["model"]) as desk:
        yield desk


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory, files: dict[str, Path]) -> Iterator[Served]:
    """A desk with a clip for each answer; its ids by answer are in `ids`."""
    with serve_desk(tmp_path_factory.mktemp("full"), files["model"]) as desk:
        for name in ("fake", "real", "none", "error"):
            desk.upload(files[name].read_bytes(), files[name].name)
        desk.judge()
        yield desk


def page_of(desk: Served, verdict: str) -> str:
    (clip,) = desk.ask("GET", f"/api/v1/clips?verdict={verdict}").json["clips"]
    return desk.address + clip["page"][1:]


def now_s(page: Any) -> float:
    return float(page.evaluate("document.querySelector('video').currentTime"))


def wait_until(page: Any, condition: str) -> None:
    """Wait for a condition in JavaScript; the page's own rules let Playwright wait for none."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never true: {condition}")


def test_upload_watch_read_seek_decide_reload(
    empty: Served, files: dict[str, Path], browse: Callable[..., Any]
) -> None:
    page = browse(empty.address)
    assert "The desk is empty." in page.locator("#rows").inner_text()
    page.set_input_files("#files", files["fake"])
    page.wait_for_selector("#rows >> text=Next to be judged")
    clip = empty.desk.store.take(empty.desk.made_with)
    empty.desk.store.locate_progress(clip.id).write_text("0.5")
    wait_until(page, "document.querySelector('#rows progress')?.value === 0.5")
    empty.desk.store.queue_again()
    empty.judge()
    page.wait_for_selector("#rows .badge.fake")
    assert page.locator("#status").inner_text().startswith("fake.mp4: FAKE. 1 person, who")
    wait_until(page, "document.querySelector('.people img')?.naturalWidth === 112")
    page.click("#rows >> text=fake.mp4")
    wait_until(page, "document.querySelector('video').readyState >= 1")
    dot = page.locator("circle[data-t]").nth(2)
    dot.click()
    assert now_s(page) == pytest.approx(float(dot.get_attribute("data-t")), abs=0.01)
    button = page.locator(".moments .seek").first
    button.click()
    assert now_s(page) == pytest.approx(float(button.get_attribute("data-t")), abs=0.01)
    page.keyboard.press("n")
    later = float(page.locator(".moments .seek").nth(1).get_attribute("data-t"))
    assert now_s(page) == pytest.approx(later, abs=0.01)
    page.check("[value=forged]")
    page.fill("[name=note]", "the <lips> are late")
    page.fill("[name=who]", "Ann")
    page.click("#decision button")
    page.wait_for_selector("text=saved just now")
    page.reload()
    assert page.is_checked("[value=forged]")
    assert page.input_value("[name=note]") == "the <lips> are late"
    page.click("text=Every sampled frame")
    assert page.locator(".frames .face img").count() >= 3
    page.click("text=All clips")
    assert "decided: forged" in page.locator("#rows").inner_text()
    (decided,) = empty.desk.store.list_decided()
    assert (decided.decision.who, decided.state) == ("Ann", State.DONE)


def test_keyboard_only(full: Served, browse: Callable[..., Any]) -> None:
    page = browse(full.address)
    press = page.keyboard.press
    press("u")
    assert page.evaluate("document.activeElement.id") == "files"
    page.evaluate("document.activeElement.blur()")
    for key in "jjjjk":
        press(key)
    press("Enter")
    page.wait_for_selector("#decision")
    focus = "(name => document.activeElement.getAttribute('name') === name)"
    for _ in range(40):
        press("Tab")
        if page.evaluate(f"{focus}('decision')"):
            break
    press("Space")
    press("ArrowRight")
    press("Tab")
    page.keyboard.type("typed")
    assert page.evaluate(f"{focus}('note')")
    for _ in range(2):
        press("Tab")
    press("Enter")
    page.wait_for_selector("text=saved just now")
    (clip,) = full.ask("GET", "/api/v1/clips?decision=authentic").json["clips"]
    assert clip["decision"]["note"] == "typed"


def test_dropped_files_are_sent_and_refused_ones_stay(
    empty: Served, browse: Callable[..., Any], files: dict[str, Path]
) -> None:
    page = browse(empty.address)
    page.evaluate("""() => {
        const given = new DataTransfer();
        given.items.add(new File(["no clip"], "dropped.mp4"));
        given.items.add(new File([], "hollow.mp4"));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: given, cancelable: true }));
    }""")
    page.wait_for_selector("#rows >> text=dropped.mp4")
    page.wait_for_selector("#sending >> text=was not taken: no clip came")
    page.click("text=Dismiss")
    assert page.locator("#sending li").count() == 0


def test_a_full_queue_is_waited_for(
    tmp_path: Path, files: dict[str, Path], browse: Callable[..., Any]
) -> None:
    with serve_desk(tmp_path, files["model"], max_queue=1) as desk:
        desk.upload(b"first", "first.mp4")
        page = browse(desk.address)
        page.set_input_files("#files", files["error"])
        page.wait_for_selector("text=the queue is full; next try in")
        desk.judge()
        page.wait_for_selector("#rows >> text=notes.txt")
        assert page.locator("#rows >> text=notes.txt").count() == 1
        page.close()


STATES = {
    "FAKE": "This is a reason to have the file examined further, not a proof",
    "INCONCLUSIVE": "too little to call the faces forged or genuine",
    "NO_FACE": "nothing to examine. It may still be forged.",
    "ERROR": "could not be examined. To try again, remove the clip",
}


@pytest.mark.parametrize("verdict", STATES)
def test_states_say_what_they_mean(verdict: str, full: Served, browse: Callable[..., Any]) -> None:
    page = browse(page_of(full, verdict))
    assert STATES[verdict] in page.locator("article").inner_text()
    heard = page.locator("body").aria_snapshot()
    for words in ('link "All clips"', 'heading "Your decision"', 'textbox "Note"', 'radio "uncl'):
        assert words in heard
    assert ("img" in heard) == (verdict in {"FAKE", "INCONCLUSIVE", "NO_FACE"})


def test_the_list_is_heard_and_filtered(full: Served, browse: Callable[..., Any]) -> None:
    page = browse(full.address)
    heard = page.locator("body").aria_snapshot()
    for words in (
        'link "Skip to the content"', 'heading "Review desk" [level=1]', 'combobox "Verdict"',
        'list "Clips"', 'link "fake.mp4"', 'img "Probability of forgery of person 1 over time"',
        'img "Person 1"', "no face was found",
    ):  # fmt: skip
        assert words in heard, words
    page.select_option("[name=verdict]", "NO_FACE")
    page.wait_for_url("**verdict=NO_FACE**")
    assert page.locator("#rows .row").count() == 1
    page.select_option("[name=verdict]", "REAL")
    page.wait_for_selector("text=No clip matches this filter.")


def test_pages_fit(full: Served, browse: Callable[..., Any]) -> None:
    for address in (full.address, *(page_of(full, verdict) for verdict in STATES)):
        page = browse(address)
        for width in (320, 360, 900, 1400):
            page.set_viewport_size({"width": width, "height": 740})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, address
            outside = page.evaluate(
                "[...document.querySelectorAll('main *')].filter(e => e.getClientRects().length"
                " && e.getBoundingClientRect().right > innerWidth + 1).length"
            )
            assert outside == 0, (address, width)


@pytest.mark.parametrize(("scheme", "low", "high"), [("light", 230, 256), ("dark", 0, 60)])
def test_pages_are_light_or_dark(
    scheme: str, low: int, high: int, full: Served, browse: Callable[..., Any]
) -> None:
    for address in (full.address, page_of(full, "FAKE")):
        shot = browse(address, color_scheme=scheme).screenshot()
        picture = cv2.imdecode(np.frombuffer(shot, np.uint8), cv2.IMREAD_COLOR)
        assert low <= np.median(picture) < high
        assert np.ptp(picture) > 150, "text is to be read"


def test_a_visitor_gives_the_token_once(
    tmp_path: Path, files: dict[str, Path], browse: Callable[..., Any]
) -> None:
    with serve_desk(tmp_path, files["model"], token=TOKEN) as desk:
        page = browse(desk.address, viewport=NARROW)
        page.fill("[name=token]", TOKEN)
        page.press("[name=token]", "Enter")
        page.wait_for_selector("text=The desk is empty.")
        page.set_input_files("#files", files["error"])
        page.wait_for_selector("#rows >> text=notes.txt")
        assert json.loads(page.request.get(f"{desk.address}api/v1/clips").text())["clips"]
        page.close()
