"""A desk on a free port of this machine, whose clips are judged in the test's own process.

with serve_desk(tmp_path / "desk", model) as desk:
    id = desk.upload(content, "a.mp4")
    desk.judge()
    desk.ask("GET", f"/api/v1/clips/{id}").json
"""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deepkd.pipeline import Detector
from deepkd.serve.app import make_server
from deepkd.serve.desk import Desk, open_desk
from deepkd.serve.judging import judge_clip
from deepkd.settings.detect import DetectConfig
from deepkd.settings.serve import ServeConfig

TOKEN = "0123456789abcdef0123"
load = cache(Detector.load)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass(frozen=True)
class Served:
    desk: Desk
    port: int

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, given)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self, data: bytes, *, ends: bool = False) -> bytes:
        """What the server answers to these bytes until it closes the connection."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
            got = b""
            with suppress(ConnectionResetError):  # one way to close it
                while piece := connection.recv(65536):
                    got += piece
            return got

    def upload(self, content: bytes, name: str = "clip.mp4", **headers: str) -> str:
        answer = self.ask("POST", f"/api/v1/clips?name={quote(name)}", content, **headers)
        assert answer.status in {200, 202}, answer.body
        return str(answer.json["id"])

    def judge(self) -> None:
        """Judge what waits."""
        judging = self.desk.judging
        thresholds = dict(self.desk.provenance.thresholds)
        detector = load(self.desk.config.detect_config(), thumbnails=True, threads=2)
        for task in judging:
            judging.keep(task, judge_clip(detector, thresholds, task), "")


@contextmanager
def serve_desk(
    folder: Path,
    model: Path | str = "deepkd-nano",
    *,
    keep_alive_s: int | None = None,
    **settings: Any,
) -> Iterator[Served]:
    """A desk whose workers are never started.

    After `keep_alive_s`, if given, it closes a connection that asks for nothing more.
    """
    config = ServeConfig(store=folder, model=str(model), **{"frames": 4, **settings})
    desk = open_desk(config)
    desk.judging.start = desk.judging.stop = lambda: None
    server = make_server(desk)
    if keep_alive_s is not None:
        server.config.timeout_keep_alive = keep_alive_s
    door = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
    thread.start()
    try:
        yield Served(desk, door.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        door.close()


def judge_by_detect(clip: Path, model: Path | str, frames: int = 4) -> dict[str, Any]:
    """The entry of `deepkd detect`, without its path and times."""
    detector = load(DetectConfig(model=str(model), frames=frames), thumbnails=True, threads=2)
    return drop_times(detector.detect(clip).to_dict())


def drop_times(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry without what differs between two runs."""
    left_out = {"path", "timing_ms", "schema", "model"}
    return {key: value for key, value in entry.items() if key not in left_out}
