"""A server on loopback for tests of links: good clips, and every kind of trouble."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PAGES = {
    "/empty": "nothing",
    "/list": '<video src="/a.mp4?1"></video><video src="/a.mp4?2"></video>',
    "/one": '<video src="/a.mp4"></video>',
    "/file": '<video src="file:///etc/passwd"></video>',
}
"""Path -> what is in the page."""
MOVED = {
    "/loop": "/loop",
    "/moved": "/a.mp4",
    "/private": "http://127.0.0.2:9/a.mp4",
    "/to-file": "file:///etc/passwd",
}
"""Path -> where it redirects to."""
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.2:9/a.ts\n#EXT-X-ENDLIST\n"


class Handler(BaseHTTPRequestHandler):
    """Answers by the path."""

    server: "LinkServer"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(self.path)
        if path in MOVED:
            self._begin(302, Location=MOVED[path])
        elif path in PAGES:
            self._send("text/html", f"<html><body>{PAGES[path]}</body></html>".encode())
        elif path == "/list.m3u8":
            self._send("application/vnd.apple.mpegurl", PLAYLIST.encode())
        elif path == "/a.mp4":
            self._send("video/mp4", self.server.clip)
        elif path == "/notes.txt":
            self._send("text/plain", b"no video")
        elif path == "/declared":
            self._begin(200, Content_Type="video/mp4", Content_Length=str(10**10))
        elif path in ("/endless", "/endless-page"):
            kind = "video/mp4" if path == "/endless" else "text/html"
            self._begin(200, Content_Type=kind)
            self._pour(b"<html>" if path == "/endless-page" else b"")
        elif path == "/slow":
            self._begin(200, Content_Type="video/mp4")
            self.server.ended.wait(60)
        else:
            self._begin(404, Content_Length="0")

    def _send(self, kind: str, body: bytes) -> None:
        self._begin(200, Content_Type=kind, Content_Length=str(len(body)))
        self.wfile.write(body)

    def _begin(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def _pour(self, head: bytes) -> None:
        self.wfile.write(head)
        while not self.server.ended.is_set():
            try:
                self.wfile.write(bytes(1 << 16))
            except OSError:
                return

    def log_message(self, *_: object) -> None: ...


class LinkServer(ThreadingHTTPServer):
    """Remembers what it was asked for."""

    daemon_threads = True

    def __init__(self, clip: bytes) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.clip, self.asked, self.ended = clip, list[str](), threading.Event()

    def handle_error(self, request: socket.socket, client_address: object) -> None: ...

    def link(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"


@contextmanager
def serve(clip: bytes) -> Iterator[LinkServer]:
    """The server, until the block ends."""
    with LinkServer(clip) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield server
        finally:
            server.ended.set()
            server.shutdown()
