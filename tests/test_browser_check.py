"""The shipped student in onnxruntime-web, in a real browser; skipped where either is missing."""

import json
import sys
import threading
from functools import partial
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tools"))

import browser_check  # noqa: E402

LACKING = browser_check.find_missing()


@pytest.mark.skipif(LACKING is not None, reason=str(LACKING))
def test_the_student_gives_the_same_logits_in_a_browser() -> None:
    document = browser_check.check("deepkd-nano")
    assert document["difference"] <= browser_check.TOLERANCE
    logits = document["logits"]["browser"]
    assert len(logits) == 5 and max(logits) - min(logits) > 0.1, "five crops, not one five times"
    assert document["ms"] > 0


def test_what_is_missing_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DEEPKD_ORT_WEB", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["browser_check.py"])
    with pytest.raises(SystemExit, match=r"no Chromium|no onnxruntime-web there"):
        browser_check.main()
    assert not capsys.readouterr().out


def test_only_what_is_meant_is_served(tmp_path: Path) -> None:
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / "a.mjs").write_text("1")
    (tmp_path / "secret").write_text("2")
    found: dict = {}
    told = threading.Event()
    handler = partial(
        browser_check.Site, files={"/": b"page"}, web=tmp_path / "dist", found=found, done=told
    )
    with browser_check.serve(handler) as address:
        with urlopen(address) as page, urlopen(address + "ort/a.mjs") as module:
            assert (page.read(), module.read()) == (b"page", b"1")
            assert module.headers["Content-Type"] == "text/javascript"
        with pytest.raises(HTTPError) as refused:
            urlopen(address + "ort/../../secret")
        refused.value.close()
        urlopen(address + "result", data=json.dumps({"one": [1.0]}).encode()).close()
    assert told.wait(10) and found == {"one": [1.0]}
