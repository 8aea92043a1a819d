"""The appendix of a report: every sampled frame with its face, as long as there is room."""

import base64
import dataclasses
import re
from io import StringIO
from pathlib import Path

import pytest

from deepkd.report import Provenance, open_report
from deepkd.report.html import HtmlReport, describe
from deepkd.scoring.calibration import Calibration
from deepkd.scoring.rules import Criteria
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Thresholds
from deepkd.scoring.verdict import Verdict, judge

LIMITS = Thresholds(0.3, 0.7)
MADE_WITH = Provenance("nano", "ab" * 32, 4, {}, {}, LIMITS.to_dict())


def verdict(count: int, people: int = 2) -> Verdict:
    """A clip with this many frames and people, and a frame without any; each face is another."""
    faces = {
        person: [
            FrameScore(
                i / 2, (9, 9, 99, 99), -3.0, 0.05, 0.99, thumbnail=b"large",
                small_thumbnail=f"{person} at {i}".encode(),
            )
            for i in range(count)
        ]
        for person in range(people)
    }  # fmt: skip
    found = judge(faces, Criteria(Calibration(), LIMITS), rule="mean-logit")
    times = tuple(i / 2 for i in range(count + 1))
    return Verdict(
        **vars(found), path=Path("clip.mp4"), frames_sampled=count + 1, sampled_s=times
    ).with_few_thumbnails()


def page(*verdicts: Verdict) -> str:
    out = StringIO()
    report = open_report("html", out, MADE_WITH)
    for one in verdicts:
        report.add(one)
    report.close()
    return out.getvalue()


def listed(text: str) -> list[str]:
    """The faces in the appendices, in order."""
    found = re.findall(r'class="face"><img src="data:image/jpeg;base64,([^"]+)"', text)
    return [base64.b64decode(face).decode() for face in found]


def test_every_sampled_frame_has_its_face() -> None:
    text = page(verdict(5))
    assert listed(text) == [f"{person} at {i}" for i in range(5) for person in range(2)]
    assert text.count('class="face">') == 11 and "faces are shown" not in text
    assert text.count(base64.b64encode(b"large").decode()) == 10


def test_of_very_many_some_are_shown_spread_over_the_clip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("deepkd.scoring.verdict.LISTED", 6)
    text = page(verdict(20, people=1))
    assert listed(text) == [f"0 at {i}" for i in (0, 3, 6, 10, 13, 16)]
    assert "6 of 20 faces are shown." in text
    assert text.count('class="face">') == 21


def test_a_page_has_room_for_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepkd.report.html.PICTURES", 9)
    text = page(verdict(3), verdict(2), verdict(2))
    assert len(listed(text)) == 9
    assert re.findall(r"\d of \d faces are shown", text) == [
        "3 of 4 faces are shown",
        "0 of 4 faces are shown",
    ]
    assert text.count('<table class="frames pictured"') == 2


def test_without_pictures_the_figures_stay() -> None:
    plain = dataclasses.replace(
        (one := verdict(3)),
        tracks=tuple(
            dataclasses.replace(
                track,
                frames=tuple(dataclasses.replace(f, small_thumbnail=b"") for f in track.frames),
            )
            for track in one.tracks
        ),
    )
    assert listed(page(plain)) == [] and page(plain).count("0:01.0") >= 2


def test_a_description_of_an_earlier_version_is_shown() -> None:
    clip = describe(verdict(3), LIMITS.to_dict(), file="")
    for frame in clip["frames"]:
        del frame["face"]
    out = StringIO()
    report = HtmlReport(out, MADE_WITH)
    report.add_described(clip)
    report.close()
    assert listed(out.getvalue()) == [] and "0 of 6 faces are shown." in out.getvalue()


def test_the_template_is_compiled_for_the_first_report_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = page(verdict(1))
    monkeypatch.setattr("jinja2.Environment.compile", lambda *_, **__: pytest.fail("once more"))
    assert listed(page(verdict(1))) == listed(first)
