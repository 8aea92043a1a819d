"""The store and the workers: what kills do not lose, and what is not judged twice."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from scorer_factory import tinted_clip, write_scorer
from serve_factory import drop_times, judge_by_detect, serve_desk

from deepkd.errors import OutputError, UsageError
from deepkd.outputs import alone_in
from deepkd.serve.app import serve
from deepkd.serve.clips import Choice, Decision, Evidence, Result, State
from deepkd.serve.desk import open_desk
from deepkd.serve.judging import Judging, Task
from deepkd.serve.store import ATTEMPTS, Store
from deepkd.settings.serve import ServeConfig

ROOT = Path(__file__).resolve().parents[2]
RESULT = Result("REAL", 0.1, "why", (), Evidence({"path": "a"}, {"name": "a"}))


def put(store: Store, name: str, made_with: str = "m") -> str:
    id = name * 64
    part = store.folder / "incoming" / name
    part.write_bytes(name.encode())
    return store.add(part, id, name=name, suffix=".mp4", made_with=made_with).id


def states(store: Store) -> dict[str, str]:
    return {clip.name: str(clip.state) for clip in store.select(limit=99)}


def test_a_kill_loses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [put(store, name) for name in "abc"]
    assert store.take("m").id == ids[0] and store.finish(ids[0], RESULT)
    assert store.take("m").id == ids[1]
    store.decide(ids[2], Decision(Choice.FORGED, "note", "who", 1.0))
    (tmp_path / "incoming" / "part").touch()
    (tmp_path / "clips" / "left-over").touch()
    del store  # as a kill does: nothing is closed
    again = Store(tmp_path)
    assert states(again) == {"a": "done", "b": "queued", "c": "queued"}
    assert again.read_evidence(ids[0]) == RESULT.evidence
    assert again.get(ids[2]).decision.note == "note"
    assert [file.name[0] for file in sorted(tmp_path.glob("clips/*"))] == ["a", "b", "c"]
    assert not [*tmp_path.glob("incoming/*")]
    assert [again.take("m").id, again.take("m").id, again.take("m")] == [*ids[1:], None]
    assert not again.finish(ids[0], RESULT), "it is judged already"


def test_a_clip_that_ends_the_server_again_and_again_is_given_up(tmp_path: Path) -> None:
    model = write_scorer(tmp_path / "green.onnx")
    with serve_desk(tmp_path / "desk", model) as desk:
        id = desk.upload(b"no clip")
    for _ in range(ATTEMPTS):
        assert Store(tmp_path / "desk").take("m")
    with serve_desk(tmp_path / "desk", model) as desk:
        desk.judge()
        clip = desk.ask("GET", f"/api/v1/clips/{id}").json
    assert clip["state"] == "failed" and f"ended {ATTEMPTS} times" in clip["reason"]


def test_a_removed_clip_takes_no_result(tmp_path: Path) -> None:
    store = Store(tmp_path)
    id = put(store, "a")
    store.take("m")
    assert store.delete(id) and not store.finish(id, RESULT) and states(store) == {}
    assert put(store, "a") == id and store.get(id).state is State.QUEUED


def test_old_clips_go_and_decided_ones_stay(tmp_path: Path) -> None:
    store = Store(tmp_path)
    ids = [put(store, name) for name in "abc"]
    for id in ids[:2]:
        store.take("m")
        store.finish(id, RESULT)
    store.decide(ids[0], Decision(Choice.UNCLEAR))
    assert store.expire(time.time() - 60) == 0
    assert store.expire(time.time() + 60) == 1
    assert states(store) == {"a": "done", "c": "queued"}


def test_two_servers_do_not_share_a_store(tmp_path: Path) -> None:
    with alone_in(tmp_path / "desk"), pytest.raises(OutputError, match="another run is writing"):
        serve(ServeConfig(store=tmp_path / "desk", port=0), print)


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        with pytest.raises(UsageError, match=f"127.0.0.1:{port}: cannot be listened on"):
            serve(ServeConfig(store=tmp_path / "desk", port=port), print)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "desk.sqlite").write_text("no database, but a text of some length" * 9)
    with pytest.raises(OutputError, match="choose another --store"):
        Store(tmp_path)


class Process:
    """`deepkd serve` as people start it."""

    def __init__(self, folder: Path, model: Path) -> None:
        words = ["serve", "--store", str(folder / "desk"), "--port", "0", "--model", str(model)]
        words += ["--workers", "1", "--frames", "4"]
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "deepkd", *words],
            stderr=subprocess.PIPE, text=True, cwd=ROOT,
        )  # fmt: skip
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found, line + self.process.stderr.read()
        self.address = f"{found[0]}api/v1/clips"

    def ask(self, path: str = "", body: bytes | None = None) -> dict:
        with urllib.request.urlopen(self.address + path, body, timeout=90) as answer:
            return json.load(answer)

    def worker(self) -> int:
        """The process that judges, once it is there."""
        while True:
            tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
            for pid in " ".join(task.read_text() for task in tasks).split():
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    return int(pid)
            time.sleep(0.01)

    def end(self, number: int) -> str:
        self.process.send_signal(number)
        return self.process.communicate()[1]


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes in /proc")
def test_kills_of_server_and_worker_lose_nothing(tmp_path: Path) -> None:
    model = write_scorer(tmp_path / "green.onnx", evidence=True)
    clip = tinted_clip(tmp_path / "fake.mp4")
    contents = [clip.read_bytes() + bytes(8 * number) for number in range(6)]
    server = Process(tmp_path, model)
    ids = [server.ask("?name=a.mp4", content)["id"] for content in contents[:4]]
    os.kill(server.worker(), signal.SIGKILL)
    first = server.ask(f"/{ids[0]}?wait=60")
    log = server.end(signal.SIGKILL)
    server = Process(tmp_path, model)
    ids += [server.ask("?name=a.mp4", content)["id"] for content in contents[4:]]
    answers = [server.ask(f"/{id}?wait=60") for id in ids]
    log += server.end(signal.SIGTERM)
    expected = judge_by_detect(clip, model)
    assert [drop_times(answer["result"]) for answer in answers] == [expected] * 6
    assert answers[0]["judged"] == first["judged"]
    judged = re.findall(r"judged (\w+):", log)
    assert len(judged) == len(set(judged)), "none twice"
    assert server.process.returncode == 128 + signal.SIGTERM


@pytest.fixture
def deadly(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Judging:
    """Judging in a process that ends at the clip called `deadly.mp4`."""
    model = write_scorer(tmp_path / "green.onnx")
    desk = open_desk(ServeConfig(store=tmp_path / "desk", model=str(model), frames=4))
    desk.judging._start = die_at_deadly
    return desk.judging


def die_at_deadly() -> Callable[[Task], Result]:
    return lambda task: os.kill(os.getpid(), 9) if task.name == "deadly.mp4" else RESULT


def test_a_clip_that_kills_its_worker_is_an_error_and_the_next_one_goes_on(
    deadly: Judging,
) -> None:
    store = deadly.store
    ids = [put(store, name) for name in "abc"]
    store._db.execute("UPDATE clips SET name = 'deadly.mp4' WHERE id = ?", (ids[1],))
    deadly.start()
    while not all(clip.is_settled for clip in store.select(limit=9)):
        time.sleep(0.02)
    deadly.stop()
    clips = [store.get(id) for id in ids]
    assert [clip.verdict for clip in clips] == ["REAL", "ERROR", "REAL"]
    assert "its worker process was ended by SIGKILL, 2 times" in clips[1].reason
