"""Downloader: yt-dlp for one clip, under limits. Only the fetching process imports this module."""

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.networking._urllib import RedirectHandler, UrllibRH
from yt_dlp.utils import DownloadError, UnsupportedError
from yt_dlp.version import __version__ as VERSION

REDIRECTS = 5
"""Redirects that one request may follow."""
SOCKET_S = 20
"""Longest silence of a server, seconds."""
PIECE_BYTES = 1 << 16
FACTS = ("title", "uploader", "extractor")
"""What is kept of what a site says of a clip."""


class Stop(Exception):
    """The download ends here; the first argument is a code of `deepkd.origin.links.PROBLEMS`."""


class _Silent:
    """Takes what yt-dlp says, and drops it: it may hold addresses with credentials."""

    def debug(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...


class Downloader(YoutubeDL):
    """Asks for addresses over http and https only, and counts the bytes of all answers."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._left = self._max = max_bytes
        super().__init__(_make_settings(folder))

    def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
        """The handler that uses Python's sockets, which the guard sees; no other one."""
        return super().build_request_director([UrllibRH])

    def urlopen(self, req: Any) -> Any:
        """The answer to a request; its bytes count when they are read.

        Raises:
            Stop: the address is of another kind, or the answer is larger than what is left.
        """
        url = req if isinstance(req, str) else getattr(req, "url", "") or req.full_url
        if not url.lower().startswith(("http://", "https://")):
            raise Stop("scheme")
        answer = super().urlopen(req)
        length = answer.get_header("Content-Length") or ""
        if length.isdecimal() and int(length) > self._max:
            raise Stop("too large")
        answer.read = self._count(answer.read)
        return answer

    def _count(self, read: Any) -> Any:
        def read_counted(amount: int | None = None) -> bytes:
            if amount is None or amount < 0:
                return b"".join(iter(lambda: read_counted(PIECE_BYTES), b""))
            data: bytes = read(amount)
            self._left -= len(data)
            if self._left < 0:
                raise Stop("too large")
            return data

        return read_counted


def download(url: str, folder: Path, *, max_bytes: int) -> dict[str, Any]:
    """Download the one clip behind an address into a folder.

    Returns:
        `file`, its name; `title`, `uploader`, `extractor`, `format` as the site says; `tool`.

    Raises:
        Stop: there is no clip, more than one, or a limit is reached.
        Exception: whatever yt-dlp raises.
    """
    RedirectHandler.max_redirections = REDIRECTS
    urllib.request.install_opener(urllib.request.OpenerDirector())  # which opens nothing
    with Downloader(folder, max_bytes) as downloader:
        info = downloader.extract_info(url)
        if entries := list(_entries(info)):
            if len(entries) > 1:
                raise Stop("several")
            info = downloader.extract_info(entries[0]["url"])
    done = (info or {}).get("requested_downloads") or []
    if not done or list(_entries(info)):
        raise Stop("no video")
    facts = {key: info.get(key) for key in FACTS}
    return {"file": Path(done[0]["filepath"]).name, "format": _format(info), **facts,
            "tool": f"yt-dlp {VERSION}"}  # fmt: skip


def _entries(info: Any) -> Iterator[dict[str, Any]]:
    """The clips of a page with several, which are not downloaded; none for a clip."""
    is_list = bool(info) and info.get("_type") in ("playlist", "multi_video")
    yield from info.get("entries") or () if is_list else ()


def _format(info: dict[str, Any]) -> str:
    """As in: 22, mp4, 1280x720, avc1.64001F."""
    parts = (info.get(key) for key in ("format_id", "ext", "resolution", "vcodec"))
    return ", ".join(dict.fromkeys(part for part in parts if isinstance(part, str) and part))


def describe(error: BaseException) -> tuple[str, str]:
    """Why a download failed: a code of `deepkd.origin.links.PROBLEMS`, and a detail."""
    chain = list(_find_causes(error))
    for each in chain:
        if isinstance(each, Stop):
            return each.args[0], ""
        if getattr(each, "redirect_loop", False):
            return "redirects", ""
        if isinstance(status := getattr(each, "status", None), int):
            return "status", f"{status} {getattr(each, 'reason', '') or ''}".strip()
        if isinstance(each, UnsupportedError):
            return "no video", ""
    last = chain[-1]
    return "failed", str(last).removeprefix("ERROR: ") or type(last).__name__


def _find_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, and so on."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and each not in seen:
            seen.append(each)
            yield each
            nested = each.exc_info[1] if isinstance(each, DownloadError) and each.exc_info else None
            waiting += [nested, getattr(each, "cause", None), each.__cause__, each.__context__]


def _refuse_live(info: dict[str, Any], *, incomplete: bool = False) -> None:
    if info.get("is_live"):
        raise Stop("live")


def _make_settings(folder: Path) -> dict[str, Any]:
    """Settings of yt-dlp: one file, no cache, no login, no proxy, no other program."""
    return {
        "format": "best/bestvideo",
        "outtmpl": {"default": str(folder / "clip.%(ext)s")},
        "extract_flat": "in_playlist",
        "noplaylist": True,
        "playlist_items": "1-2",
        "match_filter": _refuse_live,
        "socket_timeout": SOCKET_S,
        **dict.fromkeys(("retries", "extractor_retries", "fragment_retries"), 1),
        "proxy": "",
        "cachedir": False,
        "usenetrc": False,
        "nopart": True,
        "updatetime": False,
        "fixup": "never",
        "hls_prefer_native": True,
        "external_downloader": "native",
        "js_runtimes": {},
        "remote_components": [],
        "logger": _Silent(),
        "quiet": True,
        "no_warnings": True,
        "noprogress": True,
        "color": "no_color",
    }
