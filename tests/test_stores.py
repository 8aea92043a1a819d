"""Objects of a store on loopback: as sources and as --out; those that vanish, stall or are cut."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from media import Media
from object_server import ObjectServer
from scorer_factory import write_scorer
from typer.testing import CliRunner

import deepkd
from deepkd import stores
from deepkd.cli.app import app
from deepkd.pool import Outcome
from deepkd.settings.choices import ENGINES

CLIPS = "s3://bucket/clips"
PART = "out/part-0001-of-0001.jsonl"


@pytest.fixture
def server(media: Media, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectServer]:
    """Three stills among other objects; temporary files lie in a folder of the test."""
    for name, value in {"SILENT_S": 0.3, "RETRIES": 1, "RETRY_S": 3.0}.items():
        monkeypatch.setattr(stores, name, value)
    content = media.still("still.jpg", size=(160, 120)).read_bytes()
    temporary = media.path("temporary/x").parent
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with ObjectServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        stores._store.cache_clear()
        server.objects |= {
            f"clips/{name}": content
            for name in ("a.jpg", "b c#1%.jpg", "deep/é.jpg", ".hidden.jpg")
        }
        server.objects |= {"clips/notes.txt": b"text", "clips2/z.jpg": content}
        yield server
        assert not list(temporary.iterdir())
    stores._store.cache_clear()


@pytest.fixture
def model(media: Media) -> str:
    return str(write_scorer(media.path("green.onnx")))


def run(*words: object, **options):
    return CliRunner().invoke(app, list(map(str, words)), env={"COLUMNS": "200"}, **options)


def judge(model: str, *words: object, **options) -> tuple[int, dict[str, tuple[str, str]]]:
    """The exit code, and the verdict and the reason for each path."""
    result = run("detect", *words, "--model", model, "--format", "jsonl", **options)
    entries = map(json.loads, result.stdout.splitlines())
    found = {entry["path"]: (entry["verdict"], entry["reason"]) for entry in entries}
    return result.exit_code, found


def test_a_prefix_stands_for_what_is_below_it(server: ObjectServer, model: str) -> None:
    code, found = judge(model, CLIPS)
    names = ["a.jpg", "b c#1%.jpg", "deep/é.jpg"]
    assert (code, list(found)) == (0, [f"{CLIPS}/{name}" for name in names])
    assert {verdict for verdict, _ in found.values()} == {"REAL"}
    assert sum(asked == "GET " for asked in server.asked) == 3, "five objects, two a page"


def test_objects_by_name_from_a_list_in_workers_and_in_python(
    server: ObjectServer, model: str
) -> None:
    address = f"{CLIPS}/a.jpg"
    assert judge(model, address)[1].keys() == {address}
    assert judge(model, "-", "--workers", "1", input=f"{address}\n")[1].keys() == {address}
    assert not [asked for asked in server.asked if asked == "GET "], "nothing is listed"
    verdict = deepkd.detect(address, model=model)
    assert (str(verdict.path), verdict.label) == (address, "REAL")


@pytest.mark.parametrize(
    ("fault", "answer", "reason"),
    [
        ("vanish", "ERROR", "there is no such object; check the name"),
        ("refuse", "ERROR", "the store refuses access; check the credentials"),
        ("truncate", "ERROR", "the store cannot be read or written"),
        ("stall", "ERROR", "the store cannot be read or written"),
        ("truncate once", "REAL", "1 person"),
    ],
)
def test_faults_cost_only_their_own_clip(
    fault: str, answer: str, reason: str, server: ObjectServer, model: str
) -> None:
    server.faults["clips/a.jpg"] = fault
    code, found = judge(model, CLIPS)
    assert code == (3 if answer == "ERROR" else 0) and len(found) == 3
    assert found[f"{CLIPS}/a.jpg"][0] == answer and reason in found[f"{CLIPS}/a.jpg"][1]


def test_a_damaged_object_is_named_by_its_address(server: ObjectServer, model: str) -> None:
    server.objects["clips/a.jpg"] = b"no picture at all"
    _, found = judge(model, f"{CLIPS}/a.jpg")
    verdict, reason = found[f"{CLIPS}/a.jpg"]
    assert verdict == "ERROR" and "clip.jpg" not in reason


def test_what_does_not_fit_is_not_fetched(
    server: ObjectServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "LARGEST_BYTES", 100)
    _, found = judge(model, f"{CLIPS}/a.jpg")
    assert "and at most 100 can be fetched" in found[f"{CLIPS}/a.jpg"][1]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["s3://bucket/none"], 1, "no object below it is a video or image"),
        (["s3://"], 2, "is no address of objects"),
        ([f"{CLIPS}/a.jpg", "--save-video", "v.webm"], 2, "download s3://bucket/clips/a.jpg"),
    ],
)
def test_what_cannot_be_judged(
    words: list[str], code: int, message: str, server: ObjectServer, model: str
) -> None:
    result = run("detect", *words, "--model", model)
    assert result.exit_code == code and message in result.stderr + result.stdout


def test_a_part_in_a_store_is_whole_and_goes_on(server: ObjectServer, model: str) -> None:
    words = ("detect", CLIPS, "--model", model, "--out", "s3://bucket/out")
    server.faults["clips/a.jpg"] = "vanish"
    assert run(*words).exit_code == 3
    puts = [asked for asked in server.asked if asked.startswith("PUT")]
    assert puts[-1] == f"PUT {PART}" and len(puts) == 3
    refused = run(*words)
    assert refused.exit_code == 1 and "add --resume" in refused.stderr
    server.faults.clear()
    server.asked.clear()
    resumed = run(*words, "--resume")
    assert resumed.exit_code == 0 and "2 of them judged before" in resumed.stdout
    fetched = [asked for asked in server.asked if asked.startswith("GET clips/")]
    assert fetched == ["GET clips/a.jpg"]
    server.asked.clear()
    assert run(*words, "--resume").exit_code == 0
    assert not [asked for asked in server.asked if asked.startswith("PUT")], "nothing is new"
    collected = run("collect", "s3://bucket/out")
    assert collected.exit_code == 0 and "3 inputs" in collected.stdout


def test_an_unfinished_part_is_absent(
    server: ObjectServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("deepkd.cluster.parts.Part.add", interrupt)
    result = run("detect", CLIPS, "--model", model, "--out", "s3://bucket/out")
    assert result.exit_code == 130
    assert not [key for key in server.objects if key.startswith("out/")]


class Here:
    """An engine that does the work in this process."""

    def __init__(self, address: str, *, cpus: int) -> None:
        self.address = address

    def __enter__(self) -> "Here":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def slots(self) -> int:
        return 1

    def run(self, works):
        for name, work in works:
            yield Outcome(name, work() if self.address != "broken" else None, "its node burns")


def test_a_cluster_writes_parts_to_a_store(
    server: ObjectServer, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENGINES.targets, "here", f"{__name__}:Here")
    monkeypatch.setattr(ENGINES, "load", lambda name: Here)
    words = ("detect", CLIPS, "--model", model, "--out", "s3://bucket/out", "--shards", "2")
    broken = run(*words, "--cluster", "here://broken")
    assert broken.exit_code == 1 and "unfinished: shard 1/2: its node burns" in broken.stderr
    assert run(*words, "--cluster", "here").exit_code == 0
    assert f"PUT {PART.replace('0001-of-0001', '0002-of-0002')}" in server.asked
    again = run(*words[:-2], "--cluster", "here", "--resume")
    assert again.exit_code == 0 and "3 inputs, 3 of them judged before" in again.stdout
    refused = run(*words[:-1], "3", "--cluster", "here", "--resume")
    assert refused.exit_code == 1 and "holds parts of 2 shards, not 3" in refused.stderr


def test_crops_of_objects(server: ObjectServer, tmp_path: Path) -> None:
    server.objects["data/real/c.jpg"] = server.objects["clips/a.jpg"]
    server.faults["clips/a.jpg"] = "truncate"
    words = ("extract", CLIPS, "s3://bucket/data", "--frames", "1", "--workers", "0")
    done = run(*words, "--out", tmp_path / "crops")
    rows = (tmp_path / "crops" / "index.csv").read_text().splitlines()[1:]
    assert done.exit_code == 3 and "failed: a.jpg: the store" in done.stdout
    assert len(rows) == 3 and sum(",REAL,c.jpg," in row for row in rows) == 1


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    stores._store.cache_clear()
    result = run("detect", CLIPS)
    assert result.exit_code == 2 and "pip install 'deepkd[remote]'" in result.stderr
