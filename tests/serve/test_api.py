"""The HTTP API: what goes in, what comes out, and that it is described."""

import csv
import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from media import Media
from scorer_factory import tinted_clip, write_scorer
from serve_factory import Served, drop_times, judge_by_detect, serve_desk

from deepkd.data.datasets.lists import read_list
from deepkd.serve.api import Api
from deepkd.serve.clips import clean_name, find_suffix


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scorer(tmp_path_factory.mktemp("model") / "green.onnx", evidence=True)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One clip for each answer."""
    folder = tmp_path_factory.mktemp("clips")
    (folder / "notes.mp4").write_text("no clip")
    return {
        "FAKE": tinted_clip(folder / "fake.mp4"),
        "REAL": tinted_clip(folder / "real.mp4", green=lambda t_s: False),
        "NO_FACE": Media(folder).clip("empty.mp4", faces=()),
        "ERROR": folder / "notes.mp4",
    }


@pytest.fixture(scope="module")
def desk(
    tmp_path_factory: pytest.TempPathFactory, model: Path, clips: dict[str, Path]
) -> Iterator[Served]:
    """A desk that has judged them all."""
    with serve_desk(tmp_path_factory.mktemp("desk"), model) as desk:
        for clip in clips.values():
            desk.upload(clip.read_bytes(), clip.name)
        desk.judge()
        yield desk


def listed(desk: Served, query: str = "") -> list[str]:
    return [clip["name"] for clip in desk.ask("GET", f"/api/v1/clips{query}").json["clips"]]


@pytest.mark.parametrize("label", ["FAKE", "REAL", "NO_FACE", "ERROR"])
def test_a_verdict_is_that_of_detect(
    label: str, desk: Served, clips: dict[str, Path], model: Path
) -> None:
    (clip,) = desk.ask("GET", f"/api/v1/clips?verdict={label}").json["clips"]
    whole = desk.ask("GET", f"/api/v1/clips/{clip['id']}?wait=30").json
    assert (clip["verdict"], clip["state"]) == (label, "failed" if label == "ERROR" else "done")
    assert whole["result"]["schema"] == "deepkd.detect/1"
    assert whole["result"]["path"] == clips[label].name
    if label != "ERROR":
        assert drop_times(whole["result"]) == judge_by_detect(clips[label], model)
    report = desk.ask("GET", f"/api/v1/clips/{clip['id']}/report.html")
    assert clips[label].name in report.text and "Are the faces forged?" in report.text
    assert clip["id"] in report.text and str(desk.desk.store.folder) not in report.text


def test_the_list_is_filtered_and_cut(desk: Served) -> None:
    names = ["notes.mp4", "empty.mp4", "real.mp4", "fake.mp4"]
    assert listed(desk) == names
    assert listed(desk, "?state=failed") == ["notes.mp4"]
    assert listed(desk, "?verdict=REAL&state=done") == ["real.mp4"]
    first = desk.ask("GET", "/api/v1/clips?limit=3").json
    assert [clip["name"] for clip in first["clips"]] == names[:3]
    assert listed(desk, f"?limit=3&after={first['next']}") == names[3:]
    assert desk.ask("GET", "/api/v1/clips?limit=4").json["next"] is None


def test_a_form_and_a_raw_body_are_the_same_clip(desk: Served, clips: dict[str, Path]) -> None:
    content = clips["FAKE"].read_bytes()
    head = b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    head += b'--x\r\nContent-Disposition: form-data; name="clip"; filename="b/again.mp4"\r\n\r\n'
    kind = "multipart/form-data; boundary=x"
    body = head + content + b"\r\n--x--\r\n"
    answer = desk.ask("POST", "/api/v1/clips", body, Content_Type=kind)
    assert answer.status == 200, "its verdict is known"
    assert (answer.json["name"], answer.json["verdict"]) == ("fake.mp4", "FAKE")
    assert len(listed(desk)) == 4


def test_a_clip_waits_is_judged_and_is_removed(desk: Served, clips: dict[str, Path]) -> None:
    content = clips["FAKE"].read_bytes() + bytes(8)
    answer = desk.ask("POST", "/api/v1/clips?name=new.mp4", iter([content[:99], content[99:]]))
    path = answer.headers["Location"]
    assert (answer.status, answer.json["state"], answer.json["ahead"]) == (202, "queued", 0)
    assert desk.ask("GET", f"{path}/report.html").status == 409
    judging = threading.Timer(0.2, desk.judge)
    judging.start()
    assert desk.ask("GET", f"{path}?wait=30").json["verdict"] == "FAKE", "it waited"
    judging.join()
    file = next(desk.desk.store.folder.glob(f"clips/{answer.json['id']}*"))
    assert desk.ask("DELETE", path).status == 204 and not file.exists()
    assert desk.ask("GET", path).status == desk.ask("DELETE", path).status == 404


def test_the_clip_is_sent_in_ranges(desk: Served, clips: dict[str, Path]) -> None:
    content = clips["REAL"].read_bytes()
    (clip,) = desk.ask("GET", "/api/v1/clips?verdict=REAL").json["clips"]
    path = f"/api/v1/clips/{clip['id']}/video"
    whole, part = desk.ask("GET", path), desk.ask("GET", path, Range="bytes=5-104")
    assert (whole.body, part.body, part.status) == (content, content[5:105], 206)
    assert whole.headers["Content-Type"] == "video/mp4"
    assert part.headers["Content-Range"] == f"bytes 5-104/{len(content)}"
    assert desk.ask("GET", path, Range="bytes=99999999-").status == 416
    (junk,) = desk.ask("GET", "/api/v1/clips?verdict=ERROR").json["clips"]
    kept = desk.ask("GET", f"/api/v1/clips/{junk['id']}/video").headers
    assert kept["Content-Type"] == "application/octet-stream"
    assert kept["Content-Disposition"].startswith("attachment")


def test_decisions_are_a_list_to_measure_on(
    desk: Served, tmp_path: Path, clips: dict[str, Path]
) -> None:
    by_name = {clip["name"]: clip["id"] for clip in desk.ask("GET", "/api/v1/clips").json["clips"]}
    for name, choice in (
        ("fake.mp4", "authentic"), ("fake.mp4", "forged"), ("real.mp4", "authentic"),
        ("empty.mp4", "unclear"),
    ):  # fmt: skip
        body = json.dumps({"decision": choice, "note": "=cmd()", "who": "Ann"})
        answer = desk.ask("PUT", f"/api/v1/clips/{by_name[name]}/decision", body)
        assert answer.json["decision"]["decision"] == choice
    assert listed(desk, "?decision=none") == ["notes.mp4"]
    file = tmp_path / "decisions.csv"
    file.write_bytes(desk.ask("GET", "/api/v1/decisions.csv").body)
    rows = list(csv.DictReader(io.StringIO(file.read_text())))
    assert {row["note"] for row in rows} == {"'=cmd()"}, "no formula for a spreadsheet"
    read = {clip.path.stat().st_size: clip.label for clip in read_list(file)}
    sizes = {label: clips[label].stat().st_size for label in clips}
    assert read == {sizes["FAKE"]: "FAKE", sizes["REAL"]: "REAL", sizes["NO_FACE"]: ""}


def test_another_model_judges_known_content_again(
    model: Path, clips: dict[str, Path], tmp_path: Path
) -> None:
    content = clips["FAKE"].read_bytes()
    with serve_desk(tmp_path / "desk", model) as desk:
        id = desk.upload(content)
        desk.judge()
        assert desk.ask("POST", "/api/v1/clips", content).status == 200
    never = write_scorer(tmp_path / "never.onnx", weights=(0, 0, 0), bias=-9.0)
    with serve_desk(tmp_path / "desk", never) as desk:
        assert desk.ask("GET", f"/api/v1/clips/{id}").json["verdict"] == "FAKE", "until then"
        assert desk.ask("POST", "/api/v1/clips", content).status == 202
        desk.judge()
        assert desk.ask("GET", f"/api/v1/clips/{id}").json["verdict"] == "REAL"


def test_monitors_learn_how_it_is(desk: Served) -> None:
    assert desk.ask("GET", "/healthz").json == {"ok": True, "problem": ""}
    text = desk.ask("GET", "/metrics").text
    assert 'deepkd_clips{state="failed"} 1' in text and 'deepkd_verdicts_total{verdict="REAL"} 1'
    for line in text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0
    desk.desk.judging.problem = "no worker starts"
    answer = desk.ask("GET", "/healthz")
    desk.desk.judging.problem = ""
    assert (answer.status, answer.json["problem"]) == (503, "no worker starts")


def test_every_request_is_described(desk: Served) -> None:
    described = desk.ask("GET", "/openapi.json").json
    routes = {
        (route.path, method)
        for route in Api(desk.desk).list_routes()
        for method in route.methods - {"HEAD"}
    }
    paths = described["paths"].items()
    assert routes == {
        (path, method.upper()) for path, item in paths for method in item if method != "parameters"
    }
    schemas = described["components"]["schemas"]
    clip = desk.ask("GET", "/api/v1/clips?limit=1").json["clips"][0]
    assert clip.keys() == schemas["Clip"]["properties"].keys() == set(schemas["Clip"]["required"])
    assert desk.ask("GET", "/healthz").json.keys() == schemas["Health"]["properties"].keys()
    assert desk.ask("GET", "/api/v1/clips/x").json.keys() == schemas["Error"]["properties"].keys()


@pytest.mark.parametrize(
    ("name", "shown", "suffix"),
    [
        ("a.mp4", "a.mp4", ".mp4"),
        ("../../etc/passwd", "passwd", ""),
        ("C:\\x\\b.MOV", "b.MOV", ".mov"),
        ("a.mp4/", "clip", ""),
        ("", "clip", ""),
        ("x\0.mp4", "x\\x00.mp4", ".mp4"),
        ("\u202egpj.mp4", "\\u202egpj.mp4", ".mp4"),
        ("a.php", "a.php", ""),
        ("n" * 999, "n" * 200, ""),
    ],
)
def test_names_are_only_shown(name: str, shown: str, suffix: str) -> None:
    assert clean_name(name) == shown
    assert find_suffix(clean_name(name)) == suffix
