"""Guard: who may ask, under which name of the server, and from which page."""

import hmac
import ipaddress
import socket
import time
from hashlib import sha256
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepkd.serve.judging import say
from deepkd.settings.serve import LOOPBACK

if TYPE_CHECKING:
    from deepkd.serve.desk import Desk
    from deepkd.settings.serve import ServeConfig

COOKIE = "deepkd"
OPEN = ("/login", "/healthz", "/static/")
"""Paths that need no token."""
SAFE = {"GET", "HEAD"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src"
    " 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not say otherwise."""


class Guard:
    """Refuses requests that are not for this server or not from its visitors, and logs all."""

    def __init__(self, app: ASGIApp, desk: "Desk") -> None:
        self.app, self.desk = app, desk
        self.token = desk.config.token
        self._names = list_names(desk.config)
        self._takes_addresses = desk.config.host not in LOOPBACK

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        began = time.monotonic()
        status = 0

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refuse(scope)
        try:
            await (refusal or self.app)(scope, receive, send_safely)
        finally:
            self._note(scope, status, time.monotonic() - began)

    def _refuse(self, scope: Scope) -> Response | None:
        """The answer to a request that goes no further, or None."""
        headers = Headers(scope=scope)
        if not self._is_for_us(headers):
            return _make_answer(
                421, "this server has another name; see --allow-host in the documentation"
            )
        if not is_same_site(scope["method"], headers):
            return _make_answer(403, "this request comes from another site")
        if self.token is None or scope["path"].startswith(OPEN) or self._is_known(scope):
            return None
        if scope["method"] in SAFE and "text/html" in headers.get("accept", ""):
            return RedirectResponse("/login", 303)
        challenge = {"WWW-Authenticate": "Bearer"}
        return _make_answer(401, "give the token: Authorization: Bearer TOKEN", challenge)

    def _is_for_us(self, headers: Headers) -> bool:
        """Whether a request names this server, and not a name that a stranger points here."""
        given = headers.getlist("host")
        if len(given) != 1:
            return False
        name = parse_host(given[0])
        return name in self._names or (self._takes_addresses and is_address(name))

    def _is_known(self, scope: Scope) -> bool:
        """Whether a request has the token, or the cookie that stands for it."""
        asked = HTTPConnection(scope)
        kind, _, given = asked.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and is_token(given.strip(), self.token):
            return True
        cookie = asked.cookies.get(COOKIE, "")
        return bool(self.token) and is_same(cookie, make_cookie(self.token or ""))

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a refused request, and log every one: without names, which are in the query."""
        if status >= 400:
            refused = self.desk.counters.refused
            refused[status] = refused.get(status, 0) + 1
        if scope["path"] in {"/healthz", "/metrics"} or scope["path"].startswith("/static/"):
            return
        path = scope["path"].encode("ascii", "backslashreplace").decode()[:200]
        clip = scope.get("path_params", {}).get("id")
        if isinstance(clip, str):
            path = path.replace(clip, clip[:8])
        say(f"{scope['method']} {path!r} {status} {1000 * seconds:.0f} ms")


def list_names(config: "ServeConfig") -> set[str]:
    """The names under which this server answers."""
    names = {*LOOPBACK, *filter(None, (config.allow_host or "").lower().split(","))}
    if config.host not in LOOPBACK:
        names |= {config.host.lower(), socket.gethostname().lower()}
    return {name.strip() for name in names}


def parse_host(header: str) -> str:
    """The name in a Host header, without the port, in lower case; "" where it is none."""
    try:
        parts = urlsplit(f"//{header}")
        _ = parts.port
        plain = parts.path == parts.query == parts.fragment == "" and parts.username is None
        return (parts.hostname or "") if plain else ""
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Whether a name is an IP address, which nobody can point elsewhere."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_same_site(method: str, headers: Headers) -> bool:
    """Whether a request comes from a page of this server, or from no page at all."""
    site = headers.get("sec-fetch-site", "none")
    is_link = method in SAFE and headers.get("sec-fetch-mode") == "navigate"
    if site not in {"none", "same-origin"} and not is_link:
        return False
    origin = headers.get("origin")
    if method in SAFE or origin is None:
        return True
    return urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def is_token(given: str, token: str | None) -> bool:
    """Whether a text is the token; takes as long for any text."""
    return token is not None and is_same(given, token)


def is_same(one: str, other: str) -> bool:
    """Compare two secrets in a time that says nothing about them."""
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def make_cookie(token: str) -> str:
    """The cookie of a visitor who gave the token; the token cannot be had from it."""
    return hmac.new(token.encode(), b"a visitor of the desk", sha256).hexdigest()


def _make_answer(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": error}, status, {"Connection": "close", **(headers or {})})
