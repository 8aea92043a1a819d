"""Every report over every kind of verdict, read as a program reads it."""

import base64
import csv
import dataclasses
import hashlib
import json
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepkd.errors import UsageError
from deepkd.origin.credentials import Credentials, State
from deepkd.report import Provenance, open_report, report_name
from deepkd.report.card import model_doubt
from deepkd.report.console import percent
from deepkd.report.csv import COLUMNS
from deepkd.report.heat import FORGED, GENUINE, OPACITY, SIDE_PX
from deepkd.report.html import DETAILED
from deepkd.report.timeline import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, timeline
from deepkd.scoring.calibration import Calibration, sigmoid
from deepkd.scoring.passages import ShotVerdict
from deepkd.scoring.rules import Criteria
from deepkd.scoring.scores import FrameScore
from deepkd.scoring.thresholds import Label, Thresholds
from deepkd.scoring.verdict import Verdict, judge
from deepkd.settings.choices import REPORTS
from deepkd.settings.detect import DetectConfig
from deepkd.text import cell, visible

THRESHOLDS = Thresholds(real=0.4, fake=0.6)
PROVENANCE = Provenance(
    model="nano <b>",
    sha256="ab" * 32,
    params=400_000,
    metadata={"trained_on": "some <i>clips</i>", "input": {"size": 160}, "macs": 12345},
    settings=DetectConfig(model="=x").as_dict(),
    thresholds=THRESHOLDS.to_dict(),
)
JPEG = bytes(cv2.imencode(".jpg", np.full((112, 112, 3), 200, np.uint8))[1])


def verdict(*people: list[float | None], path: str = "clip.mp4", every_s: float = 0.5) -> Verdict:
    """A clip in which people have these logits; None is a face too small."""
    faces = {
        person: [
            FrameScore(
                i * every_s, (10, 20, 30, 40), logit or 0.0, float(sigmoid(logit or 0.0)), 0.99,
                None if logit is not None else "too small", JPEG,
            )
            for i, logit in enumerate(logits)
        ]
        for person, logits in enumerate(people)
    }  # fmt: skip
    judgement = judge(faces, Criteria(Calibration(), THRESHOLDS), rule="mean-logit")
    timing = {"decode": 10.0, "faces": 20.0, "score": 1.0, "total": 32.5}
    return Verdict(
        **vars(judgement),
        path=Path(path),
        duration_s=10.0,
        fps=25.0,
        frames_sampled=16,
        timing_ms=timing,
    )


PART = [-4.0] * 6 + [5.0] * 4 + [-4.0] * 6
ALL = {
    Label.FAKE: verdict([-3.0] * 4, PART, path="two.mp4"),
    Label.REAL: verdict([-3.0] * 4),
    Label.INCONCLUSIVE: verdict([None, 0.0, None]),
    Label.NO_FACE: verdict(),
    Label.ERROR: Verdict.from_failure(Path("\x1b[31mbad\udcff.mp4"), "is <empty>, \u202eor so"),
}


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def written(name: str, *verdicts: Verdict, out: StringIO | None = None) -> str:
    out = out or StringIO()
    report = open_report(name, out, PROVENANCE)
    for one in verdicts:
        report.add(one)
    report.close()
    return out.getvalue()


def test_the_examples_are_what_they_say():
    assert {label: one.label for label, one in ALL.items()} == {label: label for label in Label}


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_tells_every_verdict(name: str):
    text = written(name, *ALL.values())
    for label, one in ALL.items():
        assert (label in text) or (label.replace("_", " ") in text)
        assert visible(one.path).replace("\\", "") in text.replace("\\", "").replace("u001b", "x1b")
    assert not {"\x1b", "\u202e", "\x00"} & set(text)
    text.encode("utf-8")


@pytest.mark.parametrize("name", REPORTS)
def test_every_report_of_nothing_is_whole(name: str):
    text = written(name)
    if name == "json":
        assert json.loads(text)["videos"] == []
    if name == "html":
        assert text.rstrip().endswith("</html>")


@pytest.mark.parametrize("name", ["jsonl", "csv", "table"])
def test_streams_tell_each_verdict_at_once(name: str):
    out = StringIO()
    report = open_report(name, out, PROVENANCE)
    for label, one in ALL.items():
        report.add(one)
        assert label in out.getvalue().splitlines()[-1]


def test_json_lines_are_the_entries_of_the_document():
    document = json.loads(written("json", *ALL.values()))
    lines = [json.loads(line) for line in written("jsonl", *ALL.values()).splitlines()]
    head = {"schema": document["schema"], "model": document["model"]}
    assert lines == [head | video for video in document["videos"]]
    assert document["model"] == {"name": "nano <b>", "sha256": "ab" * 32, "params": 400_000}


def test_csv_is_read_back():
    rows = list(csv.DictReader(StringIO(written("csv", *ALL.values()))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["verdict"] for row in rows] == list(ALL)
    assert rows[0]["score"] == f"{ALL[Label.FAKE].score:.4f}".rstrip("0")
    assert (rows[0]["people"], rows[0]["duration_s"], rows[0]["total_ms"]) == ("2", "10.0", "32.5")
    assert [row["evidence"] for row in rows] == [one.grade for one in ALL.values()]
    assert (rows[4]["score"], rows[4]["duration_s"], rows[4]["path"]) == (
        "",
        "",
        r"\x1b[31mbad\xff.mp4",
    )


def test_csv_tells_passages_persons_and_credentials():
    one = ALL[Label.FAKE]
    first, second = one.tracks
    spans = ((3.2, 1207.475), (12.0, 15.5))
    rich = dataclasses.replace(
        one,
        tracks=(first, dataclasses.replace(second, person=first.person)),
        shots=tuple(ShotVerdict(0, 20, Label.FAKE, 0.9, (0,), (span,)) for span in spans),
        provenance=Credentials(State.INVALID),
    )
    plain, told = csv.DictReader(StringIO(written("csv", one, rich)))
    assert [told[name] for name in COLUMNS[-4:]] == [
        "1",
        "moderate",
        "3.2-1207.475; 12-15.5",
        "invalid",
    ]
    assert [plain[name] for name in COLUMNS[-4:]] == ["2", "moderate", "", ""]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("=1+1.mp4", "'=1+1.mp4"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\t=1", r"\t=1"),
        ("a=1", "a=1"),
    ],
)
def test_no_cell_is_a_formula(text: str, shown: str):
    assert cell(text) == shown
    assert not cell(text).startswith(("=", "+", "-", "@", "\t", "\r"))


def test_a_model_that_guesses_is_told_of():
    out = StringIO()
    report = open_report(
        "html", out, dataclasses.replace(PROVENANCE, metadata={"validation": {"val_auc": 0.53}})
    )
    report.close()
    assert (
        "<li>The model&#39;s AUC on its own validation crops is 0.53, where 0.5 is guessing"
        in out.getvalue()
    )
    assert "where 0.5 is guessing" not in written("html", ALL[Label.REAL])
    for validation in ({"val_auc": 0.61}, {"val_auc": "0.2"}, {"val_auc": None}, {}, None, "0.2"):
        assert not model_doubt({"validation": validation}) and not model_doubt({})


def test_the_page_names_the_very_file_that_was_judged(tmp_path: Path):
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"abc")
    page = written("html", dataclasses.replace(ALL[Label.REAL], path=clip))
    assert f"3 bytes, SHA-256 {hashlib.sha256(b'abc').hexdigest()}" in page
    clip.unlink()
    assert "bytes, SHA-256" not in written("html", dataclasses.replace(ALL[Label.REAL], path=clip))


@pytest.mark.parametrize(
    ("score", "text"), [(None, "-"), (0.0, "1%"), (0.004, "1%"), (0.5, "50%"), (0.999, "99%")]
)
def test_no_percentage_is_a_certainty(score: float | None, text: str):
    assert percent(score) == text


def test_plain_lines_in_a_pipe():
    assert (
        written("table", ALL[Label.REAL])
        == "REAL\tforgery 5%\tclip.mp4\t1 person, who shows the model no sign of forgery in 4"
        " frames\n"
    )


def test_a_table_on_a_terminal(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    colored = written("table", *ALL.values(), out=Terminal())
    assert "\x1b[1;31mFAKE" in colored
    monkeypatch.setenv("NO_COLOR", "1")
    plain = written("table", *ALL.values(), out=Terminal())
    assert "\x1b[31m" not in plain and "31mFAKE" not in plain
    assert "person 2, seen 0:00.0 to 0:07.5" in plain
    assert r"\x1b[31mbad\xff.mp4" in plain
    assert "1 FAKE, 1 REAL, 1 INCONCLUSIVE, 1 NO_FACE, 1 ERROR; judged by nano <b>" in plain


@pytest.mark.parametrize(("label", "is_told"), [(Label.REAL, True), (Label.NO_FACE, False)])
def test_the_table_says_that_sound_was_not_examined(label: Label, is_told: bool):
    for has_sound in (True, False, None):
        one = dataclasses.replace(ALL[label], has_sound=has_sound)
        told = "Sound was not examined." in written("table", one, out=Terminal())
        assert told == (is_told and has_sound is True)


class Page(HTMLParser):
    """What a browser would make of a page: its elements, and its text."""

    VOID = frozenset({"meta", "img", "br", "line", "rect", "circle", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(written("html", *ALL.values()))


def test_the_page_is_whole_and_asks_nothing_of_the_network(page: Page):
    assert page.open == []
    assert not {"script", "link", "iframe", "object", "base", "form"} & {
        tag for tag, _ in page.elements
    }
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "action", "data"):
            inside = ("#", "data:image/jpeg;base64,", "data:image/png;base64,")
            assert (attrs.get(name) or "#").startswith(inside), (tag, attrs)
    policy = next(attrs["content"] for attrs in page.all("meta") if attrs.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert "url(" not in page.text and "@import" not in page.text


def test_the_page_shows_the_evidence(page: Page):
    for one in ALL.values():
        assert visible(one.reason) in page.text
    assert "person 2 looks forged from 0:03.0 to 0:04.5" in page.text
    assert len(page.all("img")) == sum(
        bool(f.thumbnail) for one in ALL.values() for t in one.tracks for f in t.frames
    )
    assert "some <i>clips</i>" in page.text
    assert "What this report cannot say" in page.text
    assert "too small" in page.text


def test_the_page_can_be_read_aloud(page: Page):
    assert page.all("html")[0]["lang"] == "en"
    assert all(attrs["alt"] for attrs in page.all("img")), (
        "only a face shown a second time, under its heat, has none"
    )
    drawings = page.all("svg")
    assert all(
        attrs["role"] == "img" and "Probability of forgery of person" in attrs["aria-label"]
        for attrs in drawings
    )
    assert all(attrs.get("scope") == "col" for attrs in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["href"] for attrs in page.all("a")} <= {f"#{id}" for id in ids}


def test_a_page_of_many_clips_shows_the_first_in_detail():
    page = Page(written("html", *[ALL[Label.ERROR]] * (DETAILED + 5)))
    assert len(page.all("article")) == DETAILED
    assert sum(attrs.get("role") == "row" for attrs in page.all("tr")) == DETAILED + 5 + 1


def test_the_timeline_by_hand():
    track = ALL[Label.FAKE].tracks[1]
    drawing = Page(timeline(track, 10.0, THRESHOLDS.to_dict()))
    dots = drawing.all("circle")
    assert len(dots) == 16
    plot_px = WIDTH - LEFT - RIGHT
    assert float(dots[6]["cx"]) == pytest.approx(LEFT + plot_px * 0.3, abs=0.06)
    assert float(dots[6]["cy"]) == pytest.approx(
        TOP + (HEIGHT - TOP - BOTTOM) * (1 - sigmoid(5.0)), abs=0.06
    )
    run = next(attrs for attrs in drawing.all("rect") if attrs["class"] == "run")
    assert float(run["x"]) == pytest.approx(LEFT + plot_px * 0.3 - 4, abs=0.06)
    fake = next(attrs for attrs in drawing.all("rect") if attrs["class"] == "band-fake")
    assert float(fake["height"]) == pytest.approx((HEIGHT - TOP - BOTTOM) * 0.4, abs=0.06)
    weak = Page(timeline(ALL[Label.INCONCLUSIVE].tracks[0], 10.0, THRESHOLDS.to_dict())).all(
        "circle"
    )
    assert [attrs["class"] for attrs in weak] == ["weak", "dot", "weak"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.html", "html"), ("b.JSON", "json"), ("c.csv", "csv"), ("d.jsonl", "jsonl")],
)
def test_the_suffix_names_the_report(name: str, kind: str):
    assert report_name(Path(name)) == kind


@pytest.mark.parametrize("name", ["a.table", "a.txt", "a", "html"])
def test_other_suffixes_are_refused(name: str):
    with pytest.raises(UsageError, match=r"choose from \.json, \.jsonl, \.csv, \.html"):
        report_name(Path(name))


def located(evidence: np.ndarray) -> Verdict:
    plain = verdict([-3.0] * 4)
    frames = tuple(
        dataclasses.replace(frame, evidence=evidence) for frame in plain.tracks[0].frames
    )
    return dataclasses.replace(plain, tracks=(dataclasses.replace(plain.tracks[0], frames=frames),))


def test_the_page_shows_where_the_model_looked():
    one = located(np.array([[2.0, -1.0], [0.0, 0.0]], np.float32))
    heats = [
        a for a in Page(written("html", one)).all("img") if a["src"].startswith("data:image/png")
    ]
    assert len(heats) == 4 and all(
        attrs["alt"].startswith("Where the model looked") for attrs in heats
    )
    picture = cv2.imdecode(
        np.frombuffer(base64.b64decode(heats[0]["src"].split(",")[1]), np.uint8), -1
    )
    assert picture.shape == (SIDE_PX, SIDE_PX, 4)
    assert (*picture[5, 5, 2::-1],) == FORGED and (*picture[5, -5, 2::-1],) == GENUINE
    opacity = picture[..., 3] / 255
    assert opacity[5, 5] == pytest.approx(OPACITY, abs=0.01) and opacity[5, -5] == pytest.approx(
        OPACITY / 2, abs=0.01
    )
    assert opacity[-5].max() == 0


def test_the_page_says_where_the_model_does_not_tell():
    assert "does not tell which places" in written("html", ALL[Label.REAL])
    assert "does not tell which places" not in written("html", located(np.ones((2, 2), np.float32)))
