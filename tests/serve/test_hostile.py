"""Hostile requests and their answers, a test each; and that nothing of them is left behind."""

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from scorer_factory import write_scorer
from serve_factory import TOKEN, Served, serve_desk

from deepkd.errors import ConfigError
from deepkd.serve.guard import make_cookie
from deepkd.settings.serve import ServeConfig

EVIL = "<img src=x onerror=alert(1)>.mp4"
UNKNOWN = "0" * 64


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scorer(tmp_path_factory.mktemp("model") / "green.onnx")


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("desk")
    limits = {"max_clip_mb": 0.2, "stall_s": 0.6, "max_queue": 3}
    with serve_desk(folder, model, keep_alive_s=1, **limits) as desk:
        yield desk


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Served]:
    """A desk that asks for a token."""
    with serve_desk(tmp_path_factory.mktemp("locked"), model, token=TOKEN) as desk:
        yield desk


def is_clean(desk: Served) -> bool:
    """Whether no clip and no part of one is kept, once the server has noticed the end."""
    folder = desk.desk.store.folder
    for _ in range(200):
        if not [*folder.glob("incoming/*"), *folder.glob("clips/*"), *desk.desk.store.count()]:
            return True
        time.sleep(0.05)
    return False


PATHS = {
    "GET /../../../etc/passwd": 404,
    "GET /static/../../../../etc/passwd": 404,
    "GET /static/..%2f..%2fapp.py": 404,
    "GET /static/%2e%2e/%2e%2e/app.py": 404,
    "GET /api/v1/clips/..%2f..%2fdesk.sqlite/video": 404,
    "GET /api/v1/clips/%2e%2e/video": 404,
    "GET /api/v1/clips/%00/video": 404,
    "GET /api/v1/clips/%ff%fe/report.html": 404,
    "GET /api/v1/clips/' OR 1=1 --": 400,
    "GET /api/v1/clips/'%20OR%201=1%20--": 404,
    f"GET /clips/{UNKNOWN}/faces/99999999999999999999": 404,
    f"GET /api/v1/clips/{UNKNOWN}?wait=1e9": 404,
    "GET /api/v1/clips?after=nan": 400,
    "GET /api/v1/clips?limit=-1": 400,
    "GET /api/v1/clips?limit=1e999": 400,
    "GET /api/v1/clips?verdict='": 400,
    "GET /api/v1/clips?state=<script>": 400,
    "DELETE /api/v1/clips": 405,
    "TRACE /": 405,
    "OPTIONS /api/v1/clips": 405,
    "CONNECT 10.0.0.1:22": 404,
    "GET http://other.example/": 404,
}
"""Request line -> status."""


@pytest.mark.parametrize("line", PATHS)
def test_paths_lead_nowhere(line: str, desk: Served) -> None:
    answer = desk.raw(f"{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d" % PATHS[line]), answer[:300]
    assert b"root:" not in answer and b"SQLite" not in answer
    assert b"<script>" not in answer.lower()


HEADERS = {
    "Host: evil.example": 421,
    "Host: evil.example:80": 421,
    "Host: 127.0.0.1.evil.example": 421,
    "Host: localhost@evil.example": 421,
    "Host: localhost/evil": 421,
    "Host: 10.0.0.7": 421,
    "Host: ": 421,
    "X: no host": 400,
    "Host: localhost\r\nHost: evil.example": 400,
    "Host: localhost\r\nOrigin: http://evil.example": 403,
    "Host: localhost\r\nOrigin: null": 403,
    "Host: localhost\r\nOrigin: http://localhost:1": 403,
    "Host: localhost\r\nOrigin: http://localhost.evil.example": 403,
    "Host: localhost\r\nSec-Fetch-Site: cross-site": 403,
    "Host: localhost\r\nSec-Fetch-Site: same-site": 403,
    "Host: localhost\r\nContent-Length: -5": 400,
    "Host: localhost\r\nContent-Length: 5\r\nContent-Length: 6": 400,
    "Host: localhost\r\nContent-Length: 1e3": 400,
    "Host: localhost\r\nContent-Length: 99999999999": 413,
    "Host: localhost\r\nTransfer-Encoding: gzip": 400,
    "Host: localhost\r\nContent-Length: 0": 400,
}
"""Headers of an upload -> status."""


@pytest.mark.parametrize("headers", HEADERS, ids=lambda headers: headers[:60])
def test_headers_that_are_refused(headers: str, desk: Served) -> None:
    line = "POST /api/v1/clips HTTP/1.1\r\n"
    answer = desk.raw(f"{line}{headers}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 %d" % HEADERS[headers]), answer[:300]
    assert is_clean(desk)


@pytest.mark.parametrize(
    "headers", ["X: " + "x" * 70_000, "\r\n".join(f"X{number}: y" for number in range(9000))]
)
def test_huge_headers_are_dropped(headers: str, desk: Served) -> None:
    line = "POST /api/v1/clips HTTP/1.1\r\nHost: localhost\r\n"
    answer = desk.raw(f"{line}{headers}\r\n\r\n".encode())
    assert not answer or answer.startswith(b"HTTP/1.1 400"), "or cut off before it is read"
    assert is_clean(desk) and desk.ask("GET", "/healthz").status == 200


FORM = "multipart/form-data; boundary=x"
FILE = b'--x\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nabc\r\n'
BODIES = {
    "an empty body": ("", b"", 400),
    "too much": ("", bytes(200_001), 413),
    "a form without a boundary": ("multipart/form-data", FILE + b"--x--\r\n", 400),
    "a form without a file": (FORM, b"--x--\r\n", 400),
    "a form that is cut off": (FORM, FILE, 400),
    "a form with two files": (FORM, FILE + FILE + b"--x--\r\n", 400),
    "a form that is none": (FORM, b"hello", 400),
    "a form with huge headers": (FORM, b"--x\r\nA: " + b"b" * 99_999 + b"\r\n\r\n", 400),
    "a form with many headers": (FORM, b"--x\r\n" + b"A: b\r\n" * 9999 + b"\r\n", 400),
    "a long boundary": (f"multipart/form-data; boundary={'x' * 9999}", FILE, 400),
}
"""Content type, body, status."""


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_that_are_refused(what: str, chunked: bool, desk: Served) -> None:
    kind, body, status = BODIES[what]
    sent = iter([body]) if chunked else body
    answer = desk.ask("POST", "/api/v1/clips", sent, Content_Type=kind or "video/mp4")
    assert (answer.status, list(answer.json)) == (status, ["error"])
    assert is_clean(desk)


UPLOAD = b"POST /api/v1/clips HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "data",
    [
        UPLOAD + b"Content-Length: 100\r\n\r\nabc",
        UPLOAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nab",
        UPLOAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nab",
    ],
)
def test_a_body_of_the_wrong_length_is_dropped(data: bytes, desk: Served) -> None:
    answer = desk.raw(data, ends=True)
    assert not answer or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 408")), answer
    assert is_clean(desk)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"GET / HT", b""),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ", b""),
        (UPLOAD + b"Content-Length: 100\r\n\r\nabc", b"HTTP/1.1 408"),
    ],
)
def test_who_stalls_is_dropped(data: bytes, said: bytes, desk: Served) -> None:
    start = time.monotonic()
    answer = desk.raw(data)
    assert answer.startswith(said) and (said or not answer), answer
    assert time.monotonic() - start < 15 and is_clean(desk)


def test_who_drips_is_dropped(desk: Served) -> None:
    with socket.create_connection(("127.0.0.1", desk.port), timeout=20) as connection:
        connection.sendall(UPLOAD + b"Content-Length: 100000\r\n\r\n")
        answer = b""
        connection.settimeout(0.1)
        for _ in range(150):
            try:
                connection.sendall(b".")
                answer += connection.recv(4096)
                break
            except TimeoutError:
                continue
        assert answer.startswith(b"HTTP/1.1 408")
    assert is_clean(desk)


DECISIONS = {
    b"": 400,
    b"{": 400,
    b"[" * 50_000: 400,
    b"{}": 400,
    b"7": 400,
    b'{"decision": "FORGED"}': 400,
    b'{"decision": ["forged"]}': 400,
    b'{"decision": "forged", "who": 7}': 400,
    b'{"decision": "forged", "note": "' + b"n" * 4001 + b'"}': 400,
    b" " * 70_000: 413,
    b'{"decision": "forged", "note": "\\ud800"}': 200,
}


@pytest.mark.parametrize("body", DECISIONS, ids=lambda body: repr(body[:40]))
def test_decisions_that_are_none(body: bytes, desk: Served) -> None:
    id = desk.upload(b"no clip")
    answer = desk.ask("PUT", f"/api/v1/clips/{id}/decision", body)
    assert desk.ask("GET", "/api/v1/decisions.csv").status == 200
    assert desk.ask("DELETE", f"/api/v1/clips/{id}").status == 204
    assert answer.status == DECISIONS[body]


@pytest.mark.parametrize("name", [EVIL, 'a" autofocus onfocus="x.mp4', "{{ 7 * 7 }}.mp4", "\u202e"])
def test_names_are_escaped(name: str, desk: Served) -> None:
    id = desk.upload(b"no clip", name)
    decision = json.dumps({"decision": "unclear", "note": f"</textarea>{EVIL}", "who": EVIL})
    desk.ask("PUT", f"/api/v1/clips/{id}/decision", decision)
    desk.judge()
    pages = [
        desk.ask("GET", path, Accept="text/html").text
        for path in ("/", "/rows", f"/clips/{id}", f"/api/v1/clips/{id}/report.html")
    ]
    desk.ask("DELETE", f"/api/v1/clips/{id}")
    for page in pages:
        assert "<img src=x" not in page and '" autofocus onfocus' not in page
        assert "49.mp4" not in page and "\u202e" not in page


def test_every_answer_is_fenced_in(desk: Served) -> None:
    for path in ("/", "/api/v1/clips", "/static/desk.js", "/nowhere"):
        headers = desk.ask("GET", path).headers
        policy = headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Server" not in headers and "Access-Control-Allow-Origin" not in headers


def test_people_get_a_page_and_programs_json(desk: Served) -> None:
    page = desk.ask("GET", f"/clips/{UNKNOWN}", Accept="text/html")
    assert page.status == 404 and "<h1>404</h1><p>No such clip" in page.text
    assert "no such clip" in desk.ask("GET", f"/clips/{UNKNOWN}").json["error"]


def test_a_full_queue_says_when_to_come_again(desk: Served) -> None:
    ids = [desk.upload(b"clip %d" % number) for number in range(3)]
    answer = desk.ask("POST", "/api/v1/clips", b"one more")
    for id in ids:
        desk.ask("DELETE", f"/api/v1/clips/{id}")
    assert answer.status == 429 and 1 <= int(answer.headers["Retry-After"]) <= 120


def test_a_full_store_takes_no_more(model: Path, tmp_path: Path) -> None:
    with serve_desk(tmp_path, model, max_store_gb=0.001) as desk:
        answer = desk.ask("POST", "/api/v1/clips", bytes(1_000_000))
        assert answer.status == 507 and "--max-store-gb" in answer.json["error"]


def test_a_full_disk_takes_no_more(desk: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepkd.serve.desk.RESERVE", 1 << 60)
    answer = desk.ask("POST", "/api/v1/clips", b"clip")
    assert answer.status == 507 and "disk" in answer.json["error"] and is_clean(desk)


PLACES = ("/", "/rows", "/metrics", "/openapi.json", "/api/v1/clips", "/api/v1/decisions.csv")
FORGED = {
    "nothing": {},
    "a wrong token": {"Authorization": f"Bearer {TOKEN[:-1]}"},
    "an empty token": {"Authorization": "Bearer "},
    "a token of another kind": {"Authorization": f"Basic {TOKEN}"},
    "the token as cookie": {"Cookie": f"deepkd={TOKEN}"},
    "a cookie of another token": {"Cookie": f"deepkd={make_cookie(TOKEN[::-1])}"},
    "a token that is no text": {"Authorization": "Bearer \xff\xfe"},
}


@pytest.mark.parametrize("what", FORGED)
def test_forged_tokens(what: str, locked: Served) -> None:
    for path in PLACES:
        assert locked.ask("GET", path, **FORGED[what]).status == 401, path
    assert locked.ask("POST", f"/api/v1/clips?token={TOKEN}", b"clip", **FORGED[what]).status == 401
    assert locked.ask("GET", "/", Accept="text/html", **FORGED[what]).status == 303
    assert locked.ask("GET", "/healthz").status == 200
    assert is_clean(locked)


def test_the_token_opens(locked: Served) -> None:
    for path in PLACES:
        assert locked.ask("GET", path, Authorization=f"Bearer {TOKEN}").status == 200
    kind = "application/x-www-form-urlencoded"
    wrong = locked.ask("POST", "/login", f"token={TOKEN}x", Content_Type=kind)
    assert wrong.status == 403 and "Set-Cookie" not in wrong.headers
    right = locked.ask("POST", "/login", f"token={TOKEN}", Content_Type=kind)
    cookie = right.headers["Set-Cookie"]
    assert right.status == 303 and TOKEN not in cookie
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie
    assert locked.ask("GET", "/", Cookie=cookie.split(";")[0]).status == 200


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"host": "0.0.0.0"}, "--token"),
        ({"host": "0.0.0.0", "token": "short"}, "16 or more"),
        ({"token": "ä" * 20}, "plain characters"),
        ({"threshold_real": 0.9, "threshold_fake": 0.1}, "above"),
        ({"max_queue": 0}, "at least 1"),
    ],
)
def test_settings_that_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ServeConfig(**settings)


def test_the_token_and_names_are_written_nowhere(
    locked: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    locked.upload(b"no clip", "secret-source.mp4", Authorization=f"Bearer {TOKEN}")
    locked.judge()
    log = capsys.readouterr().err
    assert "POST '/api/v1/clips' 202" in log and "ERROR in" in log
    assert "secret" not in log and TOKEN not in log
    for file in locked.desk.store.folder.glob("*"):
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes()
