"""A server on loopback that speaks as much S3 as tests need, and fails where it is told to.

    with ObjectServer() as server:
        server.objects["clips/a.mp4"] = content
        server.faults["clips/b.mp4"] = "truncate"       "truncate once", "vanish", "stall", "refuse"
        os.environ.update(server.environment)           then s3://bucket/clips

Listings have two objects a page, so that pages matter.
"""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 2
WHEN = "2026-01-01T00:00:00.000Z"


class ObjectServer:
    """Objects of one bucket, by key."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.faults: dict[str, str] = {}
        """Key -> what goes wrong when its content is asked for."""
        self.asked: list[str] = []
        """Method and key of each request."""
        handler = type("Handler", (_Handler,), {"server_of": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.stalled = threading.Event()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stalled.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def environment(self) -> dict[str, str]:
        """What makes clients ask this server."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of: ObjectServer

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _key(self) -> str:
        key = unquote(urlsplit(self.path).path).removeprefix("/bucket").lstrip("/")
        self.server_of.asked.append(f"{self.command} {key}")
        return key

    def _answer(self, status: int, body: bytes = b"", *, size: int | None = None, **headers: str):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        key, query = self._key(), parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        if not key:
            self._list(query)
            return
        fault, content = self.server_of.faults.get(key), self.server_of.objects.get(key)
        if content is None or fault == "vanish":
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")
        elif fault == "refuse":
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        else:
            self._send(content, fault)

    def _send(self, content: bytes, fault: str | None) -> None:
        """The content, or the rest of it; a fault ends it early or leaves the client waiting."""
        begin = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
        rest, headers = content[begin:], _about(content)
        if "Range" in self.headers:
            headers["Content_Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        is_cut = fault in ("truncate", "stall") or (fault == "truncate once" and not begin)
        sent = rest[: len(rest) // 2] if is_cut else rest
        self._answer(206 if "Range" in self.headers else 200, sent, size=len(rest), **headers)
        if fault == "stall":
            self.server_of.stalled.wait(20)
        self.close_connection = is_cut

    do_HEAD = do_GET

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix = query.get("prefix", [""])[0]
        after = query.get("continuation-token", [""])[0]
        keys = [key for key in sorted(self.server_of.objects) if key.startswith(prefix)]
        keys = [key for key in keys if key > after]
        page, rest = keys[:PAGE], keys[PAGE:]
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{WHEN}</LastModified><ETag>"
            f"{_about(self.server_of.objects[key])['ETag']}</ETag>"
            f"<Size>{len(self.server_of.objects[key])}</Size></Contents>"
            for key in page
        )
        more = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if rest else ""
        self._answer(
            200,
            f"<ListBucketResult><IsTruncated>{str(bool(rest)).lower()}</IsTruncated>"
            f"{more}{entries}</ListBucketResult>".encode(),
        )

    def do_PUT(self) -> None:
        key = self._key()
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.server_of.objects[key] = content
        self._answer(200, **_about(content))


def _about(content: bytes) -> dict[str, str]:
    tag = hashlib.md5(content).hexdigest()
    return {"ETag": f'"{tag}"', "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}
